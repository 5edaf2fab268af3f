"""Baselines of competing risks: Aalen-Johansen by disease, and a Cox regression of each cause's hazard."""

from dataclasses import dataclass

import numpy as np

from features.dictionary import FloatArray
from features.endpoints import CompetingOutcome
from models.estimators.competing import CAUSES, cause_specific
from models.estimators.cox import CoxModel, RidgeCox
from models.estimators.curves import IntArray, kaplan_meier, step

AALEN_JOHANSEN = "aalen_johansen"
AT_ONCE = 500


@dataclass(frozen=True)
class AalenJohansenModel:
    """Everyone of a disease gets its incidences: (times, curves of shape (causes + 1, times)) a disease."""

    curves: tuple[tuple[FloatArray, FloatArray], ...]

    def probabilities(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return each cause's incidence, then the event-free share, shape (patients, causes + 1, times)."""
        by_disease = []
        for at, curves in self.curves:
            *causes, free = curves
            steps = [step(at, incidence, times, before=0.0) for incidence in causes]
            by_disease.append(np.stack([*steps, step(at, free, times, before=1.0)]))
        return np.stack(by_disease)[strata]


@dataclass(frozen=True)
class CauseSpecificCoxModel:
    """A Cox regression of each cause's hazard; together they give incidences that sum to one.

    At an event time of either cause those who leave are shared out in the ratio of the causes' hazards.
    Source: Prentice et al., Biometrics 1978;34:541-554.
    """

    causes: tuple[CoxModel, ...]

    def probabilities(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return each cause's incidence, then the event-free share, shape (patients, causes + 1, times)."""
        parts = [self._some(X[at : at + AT_ONCE], times) for at in range(0, max(len(X), 1), AT_ONCE)]
        return np.concatenate(parts)

    def _some(self, X: FloatArray, times: FloatArray) -> FloatArray:
        one = np.zeros(len(X), dtype=np.int64)
        at = np.unique(np.concatenate([cox.baselines[0][0] for cox in self.causes]))
        steps = np.stack(
            [np.diff(step(*cox.baselines[0], at, before=0.0), prepend=0.0) for cox in self.causes]
        )
        ratios = np.stack([np.exp(cox.terms(X, one).sum(axis=1)) for cox in self.causes], axis=1)
        hazards = ratios[:, :, None] * steps
        total = hazards.sum(axis=1)
        free = np.exp(-np.cumsum(total, axis=1))
        left = np.diff(-free, axis=1, prepend=-1.0)
        shared = np.divide(hazards, total[:, None], out=np.zeros_like(hazards), where=total[:, None] > 0.0)
        curves = np.concatenate([np.cumsum(shared * left[:, None], axis=2), free[:, None]], axis=1)
        before = np.zeros((len(X), len(self.causes) + 1, 1))
        before[:, -1] = 1.0
        whole = np.concatenate([before, curves], axis=2)
        incidences: FloatArray = whole[:, :, np.searchsorted(at, times, "right")]
        return incidences


def fit_aalen_johansen(X: FloatArray, strata: IntArray, outcome: CompetingOutcome) -> AalenJohansenModel:
    """Fit one set of incidences a disease."""
    return AalenJohansenModel(
        tuple(aalen_johansen(outcome.take(strata == s)) for s in range(int(strata.max()) + 1))
    )


def fit_cause_specific_cox(
    X: FloatArray, strata: IntArray, outcome: CompetingOutcome
) -> CauseSpecificCoxModel:
    """Fit a ridge-penalised Cox regression a cause, the other cause censoring."""
    one = np.zeros_like(strata)
    causes = range(1, len(CAUSES) + 1)
    return CauseSpecificCoxModel(
        tuple(RidgeCox().fit(X, one, cause_specific(outcome, cause)) for cause in causes)
    )


def aalen_johansen(outcome: CompetingOutcome) -> tuple[FloatArray, FloatArray]:
    """Return the distinct times and, just after each, every cause's incidence and the event-free share.

    The curves have shape (causes + 1, times) and sum to one.
    Source: Aalen and Johansen, Scandinavian Journal of Statistics 1978;5:141-150.

    >>> aalen_johansen(CompetingOutcome(np.array([1.0, 2.0]), np.array([2, 1])))[1].tolist()
    [[0.0, 0.5], [0.5, 0.5], [0.5, 0.0]]
    """
    times, free = kaplan_meier(outcome.any_event())
    before = np.concatenate([[1.0], free[:-1]])
    position = np.searchsorted(times, outcome.duration)
    at_risk = len(outcome) - np.searchsorted(np.sort(outcome.duration), times)
    curves = [
        np.cumsum(before * np.bincount(position, outcome.cause == cause, len(times)) / at_risk)
        for cause in range(1, len(CAUSES) + 1)
    ]
    return times, np.stack([*curves, free])
