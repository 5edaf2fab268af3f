"""Models compared on public cohorts: the default one, its ridge Cox kind, and Cox models fitted exactly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.dictionary import FloatArray
from models.estimators.cox import PENALTIES, CoxModel, RidgeCox
from models.estimators.curves import IntArray
from models.estimators.scikit import (
    SurvivalEstimator,
    TableColumn,
    default_model,
    read_outcome,
    table_columns,
)

OURS, RIDGE, PLAIN = "ours", "ridge_cox", "plain_cox"
NEXT_TO_NOTHING = 1e-3
"""The penalty, in events, of a Cox model that counts as plain: it converges where groups are separable."""
FIRM = 0.1
"""The penalty a patient of the arena's ``lifelines``, a ridge Cox model of fixed settings."""


class Contender(Protocol):
    """What a benchmark asks of a model."""

    def fit(self, X: pd.DataFrame, y: npt.NDArray[np.void]) -> Any: ...

    def predict(self, X: pd.DataFrame) -> FloatArray: ...

    def predict_survival_function(self, X: pd.DataFrame, times: FloatArray) -> FloatArray: ...


@dataclass
class ExactCox:
    """A Cox model with Breslow's baseline, fitted on all patients at once.

    Its penalty is chosen among ``penalties`` as the project does; where there are none, ``FIRM`` a patient.
    """

    penalties: tuple[float, ...] = PENALTIES

    def fit(self, X: pd.DataFrame, y: npt.NDArray[np.void]) -> Self:
        self.columns: tuple[TableColumn, ...] = table_columns(X)
        penalties = self.penalties or (FIRM * len(X),)
        how = RidgeCox(penalties=penalties)
        self.model: CoxModel = how.fit(self._matrix(X), _one_stratum(X), read_outcome(y, rows=len(X)))
        return self

    def predict(self, X: pd.DataFrame) -> FloatArray:
        score: FloatArray = self.model.terms(self._matrix(X), _one_stratum(X)).sum(axis=1)
        return score

    def predict_survival_function(self, X: pd.DataFrame, times: FloatArray) -> FloatArray:
        return self.model.survival(self._matrix(X), _one_stratum(X), times)

    def _matrix(self, X: pd.DataFrame) -> FloatArray:
        return np.column_stack([column.read(X) for column in self.columns])


def _one_stratum(X: pd.DataFrame) -> IntArray:
    return np.zeros(len(X), dtype=np.int64)


CONTENDERS: Mapping[str, Callable[[int], Contender]] = {
    OURS: lambda seed: default_model(seed=seed),
    "cox_kind": lambda seed: SurvivalEstimator("cox", random_state=seed),
    RIDGE: lambda _: ExactCox(),
    "firm_cox": lambda _: ExactCox(()),
    PLAIN: lambda _: ExactCox((NEXT_TO_NOTHING,)),
}
"""Each model from its seed; ``cox_kind`` is this project's ``cox``, without trees."""
