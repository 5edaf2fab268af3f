"""The penalised Cox model: proportional hazards within each stratum, coefficients shared across strata.

Assumption: within a stratum (disease) the hazards of two patients keep their ratio over time. Each column
has one coefficient that all strata share and one deviation per stratum; ridge penalties shrink both, so a
small stratum borrows from a large one as far as the data allow. Where deviations would be more than 400 (many
columns in many strata) there are none. Columns are centred within their stratum,
a missing value stands at the stratum's mean.

The penalty is the precision of a normal distribution from which the coefficients are taken to come, and is
chosen by its marginal likelihood: made of all patients at once, that varies less from sample to sample than
cross-validation, whose noise costs a small cohort accuracy. Their standard deviation is taken to be anything
alike beforehand, which keeps a few columns from being shrunk too far.

Source: Cox, JRSS B 1972;34:187-220; ties by Breslow; the penalty as in Verweij and van Houwelingen,
Statistics in Medicine 1994;13:2427-2436, its choice by Laplace's approximation as in Ripatti and Palmgren,
Biometrics 2000;56:1016-1022; the flat standard deviation as in Gelman, Bayesian Analysis 2006;1:515-534.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.errors import NotFittable
from models.estimators.curves import IntArray, step

PENALTIES = tuple(float(p) for p in np.geomspace(0.1, 3000.0, 16))
SMALLEST_HAZARD = 1e-12
MOST_DEVIATIONS = 400
PAST = 4
ROUNDING = 1e-9


@dataclass(frozen=True)
class CoxModel:
    """A fitted Cox model: ``means`` and ``coefficients`` have shape (strata, columns).

    ``penalty`` is that of the shared coefficients, ``firmer`` how many times firmer that of deviations is.
    """

    means: FloatArray
    coefficients: FloatArray
    baselines: tuple[tuple[FloatArray, FloatArray], ...]
    penalty: float
    firmer: float = 1.0

    def terms(self, X: FloatArray, strata: IntArray) -> FloatArray:
        """Return each column's share of the log hazard ratio, shape (patients, columns)."""
        centred = X - self.means[strata]
        terms: FloatArray = np.where(np.isnan(centred), 0.0, centred) * self.coefficients[strata]
        return terms

    def log_baseline(self, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return the log cumulative baseline hazard, shape (patients, times), finite from the start."""
        steps = np.stack([step(t, hazard, times, before=0.0) for t, hazard in self.baselines])
        logged: FloatArray = np.log(np.maximum(steps, SMALLEST_HAZARD))[strata]
        return logged

    def log_cumulative_hazard(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return the log cumulative hazard, shape (patients, times)."""
        score: FloatArray = self.terms(X, strata).sum(axis=1, keepdims=True)
        return self.log_baseline(strata, times) + score

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities, shape (patients, times)."""
        return np.exp(-np.exp(self.log_cumulative_hazard(X, strata, times)))


@dataclass(frozen=True)
class RidgeCox:
    """Fits :class:`CoxModel`; the penalty is in events.

    The penalty of a stratum's deviations is as many times that of the shared coefficients as ``firmer`` says.
    Of several ``penalties`` and ``firmer`` those with the largest marginal likelihood are taken.
    """

    penalties: tuple[float, ...] = PENALTIES
    firmer: tuple[float, ...] = (1.0,)

    def fit(self, X: FloatArray, strata: IntArray, outcome: Outcome) -> CoxModel:
        """Fit on standardised columns.

        Raises:
            NotFittable: when a stratum has no event.

        """
        _require_events(strata, outcome)
        count = int(strata.max()) + 1
        means, scales = _means(X, strata, count), _scales(X)
        design = _design(X, strata, means, scales)
        deviating = np.arange(design.shape[1]) >= X.shape[1]
        found = []
        for firmer in self.firmer if deviating.any() else self.firmer[:1]:
            narrow = np.where(deviating, firmer**-0.5, 1.0)  # one penalty is firmer on narrower columns
            likelihood, penalty, beta = self._choose(_Risk(design * narrow, strata, outcome))
            found.append((likelihood, penalty, firmer, beta * narrow))
        _, penalty, firmer, beta = max(found, key=lambda one: one[0])
        coefficients = _per_stratum(beta, count, X.shape[1]) / scales
        model = CoxModel(means, coefficients, (), penalty, firmer)
        score = model.terms(X, strata).sum(axis=1)
        return replace(model, baselines=_breslow(score, strata, outcome, count))

    def _choose(self, risk: "_Risk") -> tuple[float, float, FloatArray]:
        """Return the largest log marginal likelihood, its penalty and fit; the firmest is tried first."""
        falling, fits, gained = sorted(self.penalties, reverse=True), list[FloatArray](), list[float]()
        for penalty in falling:
            fits.append(_newton(risk, penalty=penalty, start=fits[-1] if fits else None))
            gained.append(_marginal(risk, fits[-1], penalty) if self._several else 0.0)
            if is_past(gained):
                break
        best = int(np.argmax(gained))
        return gained[best], falling[best], fits[best]

    @property
    def _several(self) -> bool:
        return len(self.penalties) * len(self.firmer) > 1


class _Risk:
    """Breslow's stratified partial likelihood, with its gradient and Hessian.

    Rows are sorted by stratum and falling duration, so each risk set is a running sum.
    """

    def __init__(self, Z: FloatArray, strata: IntArray, outcome: Outcome) -> None:
        order = np.lexsort((-outcome.duration, strata))
        self.Z, self.event = Z[order], outcome.event[order]
        strata, duration = strata[order], outcome.duration[order]
        starts = np.flatnonzero(np.r_[True, strata[1:] != strata[:-1]])
        self.starts, self.sizes = starts, np.diff(np.r_[starts, len(order)])
        self.start = np.repeat(starts, self.sizes)
        new = np.r_[True, (strata[1:] != strata[:-1]) | (duration[1:] != duration[:-1])]
        lasts = np.r_[np.flatnonzero(new)[1:], len(order)] - 1
        self.last = lasts[np.cumsum(new) - 1]
        self.first = np.flatnonzero(new)[np.cumsum(new) - 1]

    def _sums(self, rows: FloatArray) -> FloatArray:
        """Return, for each row, the sum over its risk set; each stratum apart, so that small sums survive."""
        running: FloatArray = np.empty(rows.shape)
        for start, size in zip(self.starts, self.sizes, strict=True):
            np.cumsum(rows[start : start + size], axis=0, out=running[start : start + size])
        total: FloatArray = running[self.last]
        return total

    def _weights(self, score: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return scores from their stratum's largest down, and their exponentials."""
        below = score - np.repeat(np.maximum.reduceat(score, self.starts), self.sizes)
        return below, np.exp(below)

    def log_likelihood(self, beta: FloatArray) -> float:
        """Return the log partial likelihood; minus infinity where scores are too far apart to add up."""
        below, weight = self._weights(self.Z @ beta)
        at_risk = self._sums(weight)[self.event]
        if not (at_risk > 0.0).all():
            return -np.inf
        return float((below[self.event] - np.log(at_risk)).sum())

    def derivatives(self, beta: FloatArray) -> tuple[FloatArray, FloatArray]:
        below, weight = self._weights(self.Z @ beta)
        at_risk = self._sums(weight)
        mean = self._sums(weight[:, None] * self.Z) / at_risk[:, None]
        gradient = (self.Z - mean)[self.event].sum(axis=0)
        hazard = np.where(self.event, 1.0 / at_risk, 0.0)
        # every row's cumulated hazard: the events at or before its own time, in its stratum
        after = np.concatenate([np.cumsum(hazard[::-1])[::-1], [0.0]])
        ends = np.r_[np.flatnonzero(np.diff(self.start)) + 1, len(below)]
        end = ends[np.searchsorted(ends, self.start, side="right")]
        cumulated = after[self.first] - after[end]
        spread = (weight * cumulated)[:, None] * self.Z
        hessian = self.Z.T @ spread - mean[self.event].T @ mean[self.event]
        return gradient, hessian


def is_past(gained: Sequence[float]) -> bool:
    """Tell whether the best of a path lies four steps back, so that the path has passed its top.

    >>> is_past([1.0, 2.0, 1.5, 1.4, 1.6]), is_past([1.0, 2.0, 1.5, 1.4, 1.6, 1.2])
    (False, True)
    """
    return len(gained) - 1 - int(np.argmax(gained)) >= PAST


def _marginal(risk: "_Risk", beta: FloatArray, penalty: float) -> float:
    """Return the log likelihood of a penalty, coefficients integrated out by Laplace's approximation.

    With normal coefficients of precision ``penalty`` it is the penalised log likelihood at its maximum
    ``beta``, less half the log of how much narrower the coefficients are after the data than before. Half the
    penalty's log is taken off, as the density of its log where the standard deviation's is flat.
    """
    _, hessian = risk.derivatives(beta)
    _, narrowing = np.linalg.slogdet(np.eye(len(beta)) + hessian / penalty)
    penalised = risk.log_likelihood(beta) - 0.5 * penalty * float(beta @ beta)
    return penalised - 0.5 * float(narrowing) - 0.5 * float(np.log(penalty))


def _newton(risk: "_Risk", *, penalty: float, start: FloatArray | None = None) -> FloatArray:
    """Maximise the penalised partial likelihood by Newton's method with step halving."""
    beta = np.zeros(risk.Z.shape[1]) if start is None else start
    value = risk.log_likelihood(beta) - 0.5 * penalty * float(beta @ beta)
    for _ in range(50):
        gradient, hessian = risk.derivatives(beta)
        direction = np.linalg.solve(hessian + penalty * np.eye(len(beta)), gradient - penalty * beta)
        length = 1.0
        while True:
            tried = beta + length * direction
            reached = risk.log_likelihood(tried) - 0.5 * penalty * float(tried @ tried)
            if reached >= value - 1e-12 or length < 1e-4:
                break
            length /= 2
        done = reached - value < 1e-9 * (1.0 + abs(value))
        beta, value = tried, reached
        if done:
            return beta
    raise NotFittable("the Cox model did not converge in 50 steps; raise the penalty or drop a predictor")


def _breslow(
    score: FloatArray, strata: IntArray, outcome: Outcome, count: int
) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """Return each stratum's event times and Breslow's cumulative baseline hazard at them."""
    baselines = []
    for stratum in range(count):
        inside = strata == stratum
        duration, event, weight = outcome.duration[inside], outcome.event[inside], np.exp(score[inside])
        times = np.unique(duration[event])
        order = np.argsort(duration)
        remaining = np.cumsum(weight[order][::-1])[::-1]
        at_risk = remaining[np.searchsorted(duration[order], times, side="left")]
        deaths = np.bincount(np.searchsorted(times, duration[event]), minlength=len(times))
        baselines.append((times, np.cumsum(deaths / at_risk)))
    return tuple(baselines)


def _design(X: FloatArray, strata: IntArray, means: FloatArray, scales: FloatArray) -> FloatArray:
    """Return the shared columns and, with several strata, each stratum's deviations where not too many."""
    centred = (X - means[strata]) / scales
    Z = np.where(np.isnan(centred), 0.0, centred)
    count = len(means)
    if count == 1 or count * Z.shape[1] > MOST_DEVIATIONS:
        return Z
    return np.hstack([Z, *(Z * (strata == s)[:, None] for s in range(count))])


def _per_stratum(beta: FloatArray, count: int, columns: int) -> FloatArray:
    if len(beta) == columns:
        return np.tile(beta, (count, 1))
    shared, *deviations = np.split(beta, count + 1)
    return np.stack([shared + deviation for deviation in deviations])


def _means(X: FloatArray, strata: IntArray, count: int) -> FloatArray:
    """Return each column's mean in each stratum; zero where the column is never observed there."""
    means = np.zeros((count, X.shape[1]))
    for stratum in range(count):
        rows = X[strata == stratum]
        seen = ~np.isnan(rows)
        means[stratum] = np.where(seen, rows, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return means


def _scales(X: FloatArray) -> FloatArray:
    """Return each column's standard deviation; 1 where it varies by no more than rounding."""
    seen = ~np.isnan(X)
    count = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, X, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(seen, X - mean, 0.0) ** 2).sum(axis=0) / count)
    size = np.abs(np.where(seen, X, 0.0)).max(axis=0, initial=1.0)
    return np.where(spread > ROUNDING * size, spread, 1.0)


def _require_events(strata: IntArray, outcome: Outcome) -> None:
    events = np.bincount(strata, weights=outcome.event)
    empty = np.flatnonzero(events == 0)
    if empty.size:
        raise NotFittable(
            f"no event in {empty.size} of {len(events)} disease strata; drop them from the protocol"
        )
