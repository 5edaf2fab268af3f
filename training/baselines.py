"""The baselines a model must beat: Kaplan-Meier by disease, and a plain Cox regression."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from models.cox import CoxModel, RidgeCox
from models.curves import IntArray, SurvivalModel, kaplan_meier, step

ALMOST_NO_PENALTY = 1e-4


@dataclass(frozen=True)
class KaplanMeierModel:
    """Everyone of a disease gets the disease's Kaplan-Meier curve."""

    curves: tuple[tuple[FloatArray, FloatArray], ...]

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities, shape (patients, times)."""
        return np.stack([step(t, s, times, before=1.0) for t, s in self.curves])[strata]


@dataclass(frozen=True)
class PlainCoxModel:
    """A Cox regression as a textbook fits it: one baseline, disease a covariate, the mean for missing."""

    cox: CoxModel

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities, shape (patients, times)."""
        return self.cox.survival(X, np.zeros_like(strata), times)


def fit_kaplan_meier(X: FloatArray, strata: IntArray, outcome: Outcome) -> SurvivalModel:
    """Fit one curve a disease."""
    return KaplanMeierModel(
        tuple(kaplan_meier(outcome.take(strata == s)) for s in range(int(strata.max()) + 1))
    )


def fit_plain_cox(X: FloatArray, strata: IntArray, outcome: Outcome) -> SurvivalModel:
    """Fit an unpenalised Cox regression on every column (a penalty of 0.0001 events keeps it solvable)."""
    return PlainCoxModel(RidgeCox(penalties=(ALMOST_NO_PENALTY,)).fit(X, np.zeros_like(strata), outcome))


BASELINES: Mapping[str, object] = {"kaplan_meier": fit_kaplan_meier, "cox": fit_plain_cox}
