"""The baselines that a model must beat, by the kind of endpoint.

Every kind has one that knows the disease alone (Kaplan-Meier, the share of responders, Aalen-Johansen) and a
regression. In the regressions disease is a covariate, as the encoder shows it, and the mean stands for a
missing value. Everything fitted here answers ``probabilities(X, strata, times)`` of shape (patients,
outcomes, times), as :mod:`models.estimators.interface` has it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.endpoints import COMPETING_RISKS, RESPONSE, SURVIVAL, CompetingOutcome, ResponseOutcome
from models.estimators.competing import CAUSES, cause_specific
from models.estimators.cox import PENALTIES, CoxModel, RidgeCox
from models.estimators.curves import IntArray, SurvivalModel, kaplan_meier, step
from models.estimators.folds import stratified_folds
from models.estimators.slots import chance

KAPLAN_MEIER, COX, RIDGE_COX = "kaplan_meier", "cox", "ridge_cox"
PREVALENCE, LOGISTIC = "prevalence", "logistic"
AALEN_JOHANSEN = "aalen_johansen"
ALMOST_NO_PENALTY = 1e-4
FOLDS = 5
AT_ONCE = 500


class Baseline(Protocol):
    """Anything fitted that answers with probabilities."""

    def probabilities(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return probabilities, shape (patients, outcomes, times)."""
        ...


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


@dataclass(frozen=True)
class PrevalenceModel:
    """Everyone of a disease gets its share of responders; ``shares`` has shape (strata, outcomes)."""

    shares: FloatArray

    def probabilities(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return the shares, shape (patients, outcomes, 1); times do not matter."""
        found: FloatArray = self.shares[strata][:, :, None]
        return found


@dataclass(frozen=True)
class LogisticModel:
    """Ridge-penalised logistic regressions, one an outcome: ``coefficients`` (outcomes, columns)."""

    means: FloatArray
    scales: FloatArray
    intercepts: FloatArray
    coefficients: FloatArray

    def probabilities(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return the probabilities of a response, shape (patients, outcomes, 1); times do not matter."""
        Z = standardised(X, self.means, self.scales)
        return chance(self.intercepts + Z @ self.coefficients.T)[:, :, None]


@dataclass(frozen=True)
class AalenJohansenModel:
    """Everyone of a disease gets its incidences: (times, curves of shape (causes + 1, times)) a disease."""

    curves: tuple[tuple[FloatArray, FloatArray], ...]

    def probabilities(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return each cause's incidence, then the event-free share, shape (patients, causes + 1, times)."""
        found = []
        for at, curves in self.curves:
            *causes, free = curves
            steps = [step(at, incidence, times, before=0.0) for incidence in causes]
            found.append(np.stack([*steps, step(at, free, times, before=1.0)]))
        return np.stack(found)[strata]


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
        found: FloatArray = np.concatenate([before, curves], axis=2)[
            :, :, np.searchsorted(at, times, "right")
        ]
        return found


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


def fit_prevalence(X: FloatArray, strata: IntArray, outcome: ResponseOutcome) -> PrevalenceModel:
    """Take each disease's share where the response is known; everyone's where it never is."""
    shares = np.empty((int(strata.max()) + 1, len(outcome.parts)))
    for at, part in enumerate(outcome.parts):
        for stratum in range(len(shares)):
            inside = part.known & (strata == stratum)
            shares[stratum, at] = part.event[inside if inside.any() else part.known].mean()
    return PrevalenceModel(shares)


def fit_logistic(X: FloatArray, strata: IntArray, outcome: ResponseOutcome) -> LogisticModel:
    """Fit one ridge-penalised logistic regression an outcome, its penalty chosen by held-out likelihood."""
    means, scales = _moments(X)
    Z = standardised(X, means, scales)
    with threadpool_limits(1):  # on a busy machine the many small products are slowed by threads
        fitted = [_logistic(Z[part.known], part.event[part.known]) for part in outcome.parts]
    intercepts = np.array([intercept for intercept, _ in fitted])
    return LogisticModel(means, scales, intercepts, np.stack([coefficients for _, coefficients in fitted]))


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


FITS: Mapping[str, Mapping[str, Callable[[FloatArray, IntArray, Any], Baseline]]] = {
    SURVIVAL: {KAPLAN_MEIER: fit_kaplan_meier, COX: fit_plain_cox, RIDGE_COX: fit_ridge_cox},
    RESPONSE: {PREVALENCE: fit_prevalence, LOGISTIC: fit_logistic},
    COMPETING_RISKS: {AALEN_JOHANSEN: fit_aalen_johansen, COX: fit_cause_specific_cox},
}


def baselines(kind: str) -> Mapping[str, Callable[[FloatArray, IntArray, Any], Baseline]]:
    """Return what fits each baseline of a kind of endpoint, by name: ``fit(X, strata, outcome)``.

    >>> list(baselines("response"))
    ['prevalence', 'logistic']
    """
    return FITS[kind]


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


def standardised(X: FloatArray, means: FloatArray, scales: FloatArray) -> FloatArray:
    """Return columns of mean zero and unit spread, missing values at the mean."""
    Z = (X - means) / scales
    filled: FloatArray = np.where(np.isnan(Z), 0.0, Z)
    return filled


def _unstratified(how: RidgeCox, X: FloatArray, outcome: Outcome) -> SurvivalBaseline:
    one = np.zeros(len(outcome), dtype=np.int64)
    return SurvivalBaseline(UnstratifiedCoxModel(how.fit(X, one, outcome)))


def _moments(X: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return each column's mean and spread where it is known; zero and one where it never is."""
    seen = ~np.isnan(X)
    count = np.maximum(seen.sum(axis=0), 1)
    means = np.where(seen, X, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(seen, X - means, 0.0) ** 2).sum(axis=0) / count)
    return means, np.where(spread > 0.0, spread, 1.0)


def _logistic(Z: FloatArray, event: BoolArray) -> tuple[float, FloatArray]:
    """Return intercept and coefficients; where all ended alike, a share drawn to one half and no effect."""
    rarer = min(int(event.sum()), int((~event).sum()))
    if not rarer:
        share = (event.sum() + 0.5) / (len(event) + 1.0)
        return float(np.log(share / (1.0 - share))), np.zeros(Z.shape[1])
    penalty = _penalty(Z, event) if rarer > 1 else PENALTIES[-1]
    return _ridge_logistic(Z, event, penalty)


def _ridge_logistic(Z: FloatArray, event: BoolArray, penalty: float) -> tuple[float, FloatArray]:
    fitted = LogisticRegression(C=1.0 / penalty, solver="newton-cholesky").fit(Z, event)
    return float(fitted.intercept_[0]), fitted.coef_[0]


def _penalty(Z: FloatArray, event: BoolArray) -> float:
    everyone = Outcome(np.ones(len(event)), event)
    fold = stratified_folds(np.zeros(len(event), dtype=np.int64), everyone, folds=FOLDS, seed=0)
    tried = PENALTIES[::2]
    losses = np.zeros(len(tried))
    for at, penalty in enumerate(tried):
        for out in range(FOLDS):
            train = fold != out
            intercept, coefficients = _ridge_logistic(Z[train], event[train], penalty)
            margin = intercept + Z[~train] @ coefficients
            losses[at] += float((np.logaddexp(0.0, margin) - event[~train] * margin).sum())
    return tried[int(np.argmin(losses))]
