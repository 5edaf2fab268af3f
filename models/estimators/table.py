"""The default survival model, for a table of numbers and categories with missing values.

It is the estimator that bundles hold, behind the interface that survival libraries share.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.errors import InvalidInput, Problem
from models.estimators.cross_fitted import CrossFitted
from models.estimators.hazard import HazardModel

FEWEST_IN_CATEGORY = 5


@dataclass(frozen=True)
class TableColumn:
    """One column of the matrix: a number, or whether a category holds."""

    name: str
    category: str | None = None

    def read(self, frame: pd.DataFrame) -> FloatArray:
        """Return the column's values, shape (patients,)."""
        if self.category is None:
            return np.asarray(frame[self.name], dtype=np.float64)
        missing = frame[self.name].isna().to_numpy()
        return np.where(missing, np.nan, (frame[self.name].astype(str) == self.category).to_numpy(np.float64))


class SurvivalEstimator:
    """Survival from a table: ``fit(X, duration, event)``, then ``predict_survival`` and ``predict_risk``.

    ``X`` has one row a patient; a numeric column may be missing, a text, category or flag column becomes one
    0/1 column a category, those of fewer than five patients together being the reference. A category that
    training did not see is none of the known ones. Times are in the unit of ``duration``.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self._columns: tuple[TableColumn, ...] = ()
        self._model: HazardModel | None = None
        self._times: FloatArray = np.empty(0)

    def fit(self, X: pd.DataFrame, duration: npt.ArrayLike, event: npt.ArrayLike) -> "SurvivalEstimator":
        """Fit on patients with their durations and whether the event ended them.

        Raises:
            InvalidInput: naming every fault of the table and the outcome.
            NotFittable: when there are fewer events than folds.

        """
        durations, events = np.asarray(duration, dtype=np.float64), np.asarray(event)
        _require_sound(X, durations, events)
        outcome = Outcome(durations, events.astype(bool))
        self._columns = table_columns(X)
        if not self._columns:
            raise InvalidInput(
                "survival data", [Problem("columns", "none varies", "give predictors that do")]
            )
        strata = np.zeros(len(X), dtype=np.int64)
        self._model = CrossFitted(seed=self.seed).fit(self._matrix(X), strata, outcome)
        self._times = np.quantile(outcome.duration[outcome.event], np.linspace(0.02, 0.8, 50))
        return self

    def predict_survival(self, X: pd.DataFrame, times: npt.ArrayLike) -> FloatArray:
        """Return survival probabilities, shape (patients, times): in [0, 1], never rising with time."""
        model, strata = self._fitted(), np.zeros(len(X), dtype=np.int64)
        return model.survival(self._matrix(X), strata, np.asarray(times, dtype=np.float64))

    def predict_risk(self, X: pd.DataFrame) -> FloatArray:
        """Return a risk score, shape (patients,): minus the mean survival up to four fifths of the events."""
        times = np.unique(self._times)
        curve = np.column_stack([np.ones(len(X)), self.predict_survival(X, times)])
        risk: FloatArray = -np.trapezoid(curve, np.concatenate([[0.0], times]), axis=1)
        return risk

    def _matrix(self, X: pd.DataFrame) -> FloatArray:
        absent = sorted({column.name for column in self._columns} - set(X.columns))
        if absent:
            raise InvalidInput(
                "table", [Problem(n, "is missing", "give the columns of the fit") for n in absent]
            )
        return np.column_stack([column.read(X) for column in self._columns])

    def _fitted(self) -> HazardModel:
        if self._model is None:
            raise InvalidInput("model", [Problem("model", "is not fitted", "call fit first")])
        return self._model


def default_model(*, seed: int = 0) -> SurvivalEstimator:
    """Return the default survival model, unfitted."""
    return SurvivalEstimator(seed=seed)


def table_columns(X: pd.DataFrame) -> tuple[TableColumn, ...]:
    """Return the matrix's columns; one that never varies is left out."""
    columns: list[TableColumn] = []
    for name in X.columns:
        numeric = pd.api.types.is_numeric_dtype(X[name]) and not pd.api.types.is_bool_dtype(X[name])
        if numeric:
            columns += [TableColumn(name)] if X[name].nunique() > 1 else []
            continue
        counts = X[name].dropna().astype(str).value_counts()
        frequent = sorted(str(c) for c in counts.index if counts[c] >= FEWEST_IN_CATEGORY)
        most = str(counts.index[0]) if len(counts) else ""
        shown = [c for c in frequent if c != most] if len(frequent) == len(counts) else frequent
        columns += [TableColumn(name, category) for category in shown if counts[category] < len(X)]
    return tuple(columns)


def _require_sound(X: pd.DataFrame, duration: FloatArray, event: npt.NDArray[Any]) -> None:
    problems = []
    if not len(X) == len(duration) == len(event):
        problems.append(
            Problem("rows", "differ in number between X, duration and event", "give one a patient")
        )
    if not np.isfinite(duration).all() or (duration <= 0).any():
        problems.append(Problem("duration", "has values that are not above zero", "exclude those patients"))
    if not np.isin(event, (0, 1)).all():
        problems.append(Problem("event", "has values other than 0 and 1", "1 where the event happened"))
    elif not event.astype(bool).any():
        problems.append(Problem("event", "never happens", "nothing can be learned without events"))
    problems += [
        Problem(str(name), "has infinite values", "make them missing")
        for name in X.columns
        if pd.api.types.is_numeric_dtype(X[name]) and np.isinf(X[name].to_numpy(dtype=np.float64)).any()
    ]
    if problems:
        raise InvalidInput("survival data", problems)
