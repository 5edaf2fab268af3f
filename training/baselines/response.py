"""Baselines of a response: each disease's share of responders, and a logistic regression."""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.endpoints import ResponseOutcome
from models.estimators.cox import PENALTIES
from models.estimators.curves import IntArray
from models.estimators.folds import stratified_folds
from models.estimators.slots import chance

PREVALENCE, LOGISTIC = "prevalence", "logistic"
FOLDS = 5


@dataclass(frozen=True)
class PrevalenceModel:
    """Everyone of a disease gets its share of responders; ``shares`` has shape (strata, outcomes)."""

    shares: FloatArray

    def probabilities(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return the shares, shape (patients, outcomes, 1); times do not matter."""
        shares: FloatArray = self.shares[strata][:, :, None]
        return shares


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


def standardised(X: FloatArray, means: FloatArray, scales: FloatArray) -> FloatArray:
    """Return columns of mean zero and unit spread, missing values at the mean."""
    Z = (X - means) / scales
    filled: FloatArray = np.where(np.isnan(Z), 0.0, Z)
    return filled


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
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  takes a second to load

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
