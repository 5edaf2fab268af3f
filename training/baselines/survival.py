"""Baselines of survival: Kaplan-Meier by disease, and Cox regressions with and without a penalty."""

from dataclasses import dataclass

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from models.estimators.cox import CoxModel, RidgeCox
from models.estimators.curves import IntArray, SurvivalModel, kaplan_meier, step

KAPLAN_MEIER, COX, RIDGE_COX = "kaplan_meier", "cox", "ridge_cox"
ALMOST_NO_PENALTY = 1e-4


@dataclass(frozen=True)
class SurvivalBaseline:
    """A survival model as a baseline; its one outcome is being free of the event."""

    model: SurvivalModel

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities, shape (patients, times)."""
        return self.model.survival(X, strata, times)

    def probabilities(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival, shape (patients, 1, times)."""
        return self.survival(X, strata, times)[:, None]


@dataclass(frozen=True)
class KaplanMeierModel:
    """Everyone of a disease gets the disease's Kaplan-Meier curve."""

    curves: tuple[tuple[FloatArray, FloatArray], ...]

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities, shape (patients, times)."""
        return np.stack([step(t, s, times, before=1.0) for t, s in self.curves])[strata]


@dataclass(frozen=True)
class UnstratifiedCoxModel:
    """A Cox regression with one baseline hazard for all diseases."""

    cox: CoxModel

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities, shape (patients, times)."""
        return self.cox.survival(X, np.zeros_like(strata), times)


def fit_kaplan_meier(X: FloatArray, strata: IntArray, outcome: Outcome) -> SurvivalBaseline:
    """Fit one curve a disease."""
    curves = tuple(kaplan_meier(outcome.take(strata == s)) for s in range(int(strata.max()) + 1))
    return SurvivalBaseline(KaplanMeierModel(curves))


def fit_plain_cox(X: FloatArray, strata: IntArray, outcome: Outcome) -> SurvivalBaseline:
    """Fit an unpenalised Cox regression on every column (a penalty of 0.0001 events keeps it solvable)."""
    return _unstratified(RidgeCox(penalties=(ALMOST_NO_PENALTY,)), X, outcome)


def fit_ridge_cox(X: FloatArray, strata: IntArray, outcome: Outcome) -> SurvivalBaseline:
    """Fit a ridge-penalised Cox regression; the penalty is chosen by cross-validation.

    One baseline hazard for all diseases, as strata of their own gained nothing on the public cohorts.
    """
    return _unstratified(RidgeCox(), X, outcome)


def _unstratified(how: RidgeCox, X: FloatArray, outcome: Outcome) -> SurvivalBaseline:
    one = np.zeros(len(outcome), dtype=np.int64)
    return SurvivalBaseline(UnstratifiedCoxModel(how.fit(X, one, outcome)))
