"""Intervals for probabilities: where the risk may lie of patients alike in everything recorded.

A model is the mean of members, each fitted without one fold of the patients. On the link's scale their
spread, scaled up as the delete-a-fold jackknife says, estimates the variance of the model. One patient's own
members are too few to tell that variance from chance, so it is moderated all the way: one variance for each
outcome, averaged over the training cohort and its horizons, that grows with the patient's distance from the
cohort's mean as the leverage of a regression on uncorrelated columns does; a missing value stands at the mean
distance. Squared biases add to it. What the ridge penalty shrinks away follows from the penalty. What else
remains to be learned (curves, interactions, effects that change in time) is a constant share of the variance:
a model tuned by cross-validation learns on for as long as that lowers bias by more than it adds in variance,
so the two stay in proportion. The share was so chosen that 90 % intervals held about 90 % of the true risks
in 24 simulated truths of 300, 1,000 and 5,000 patients (``CHOSEN`` in tests/benchmarks/coverage.py).

Assumption: true risks differ from a model's as in those truths. Coverage is then nominal on average over
patients and truths: above it where effects are linear, below where much remains to be learned. What no
column records, and what changes after training, is not allowed for.

Sources: Shao and Wu, Annals of Statistics 1989;17:1176-1197 (delete-a-group jackknife); Smyth, Statistical
Applications in Genetics and Molecular Biology 2004;3:3 (moderated variances).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np

from features.dictionary import FloatArray
from features.errors import InvalidInput, Problem
from models.estimators.curves import IntArray
from models.estimators.interface import CrossFit, EndpointModel, probabilities
from models.estimators.links import COMPLEMENTARY_LOG_LOG, LOG_CUMULATIVE_HAZARD, LOG_ODDS, links
from models.explanation.aumann_shapley import EDGE, FARTHEST, INSIDE, find_ends, measure_distance

DOCUMENT = "intervals.json"
MOST_PATIENTS = 1000
UNLEARNED = 0.85


@dataclass(frozen=True)
class Intervals:
    """Intervals around a model's probabilities.

    ``means`` and ``scales`` (columns,) standardise columns; ``errors`` (outcomes,) are sampling standard
    errors on the link's scale at the mean distance; ``inflation`` (outcomes,) multiplies them for bias.
    """

    model: EndpointModel
    means: FloatArray
    scales: FloatArray
    errors: FloatArray
    inflation: FloatArray

    @classmethod
    def fit(cls, cross_fit: CrossFit[Any], X: FloatArray, strata: IntArray, times: FloatArray) -> "Intervals":
        """Estimate the errors from the members' spread over the training cohort at the given times.

        Of a large cohort 1,000 patients, evenly spaced, are enough.
        """
        known = ~np.isnan(X)
        count = np.maximum(known.sum(axis=0), 1)
        means = np.where(known, X, 0.0).sum(axis=0) / count
        scales = np.sqrt((np.where(known, X - means, 0.0) ** 2).sum(axis=0) / count)
        some = np.unique(np.linspace(0, len(X) - 1, MOST_PATIENTS).astype(np.int64))
        variance = jackknife_variance(cross_fit, X[some], strata[some], times).mean(axis=(0, 2))
        shrunk = shrinkage(cross_fit.model, probabilities(cross_fit.model, X, strata, times))
        return cls(
            cross_fit.model,
            means,
            np.where(scales > 0.0, scales, 1.0),
            np.sqrt(variance),
            np.sqrt(shrunk + UNLEARNED),
        )

    def interval(
        self, X: FloatArray, strata: IntArray, times: FloatArray, *, level: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper bounds, each of shape (patients, outcomes, times).

        They hold the point prediction between them, lie in [0, 1] and run in time as the curve does.

        Raises:
            InvalidInput: a level that is not between 0 and 1.

        """
        return self.around(probabilities(self.model, X, strata, times), X, level=level)

    def around(
        self, probability: FloatArray, X: FloatArray, *, level: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Return the bounds of :meth:`interval` around known probabilities (patients, outcomes, times).

        Raises:
            InvalidInput: a level that is not between 0 and 1.

        """
        reach = np.sqrt(distance(X, self.means, self.scales))[:, None] * self.reach(level)
        low, high = np.empty(probability.shape), np.empty(probability.shape)
        find_ends(np.ascontiguousarray(probability), reach, self._links, low, high)
        return low, high

    @cached_property
    def _links(self) -> IntArray:
        return np.array([link.code for link in links(self.model)])

    def reach(self, level: float = 0.9) -> FloatArray:
        """Return how far intervals reach on the link's scale at the mean distance, shape (outcomes,).

        Raises:
            InvalidInput: a level that is not between 0 and 1.

        """
        if not 0.0 < level < 1.0:
            raise InvalidInput("interval", [Problem("level", "is not between 0 and 1", "use 0.9")])
        found: FloatArray = NormalDist().inv_cdf((1.0 + level) / 2.0) * self.inflation * self.errors
        return found

    def standard_errors(self, X: FloatArray) -> FloatArray:
        """Return standard errors on the link's scale, bias allowed for, shape (patients, outcomes)."""
        size = np.sqrt(distance(X, self.means, self.scales))
        found: FloatArray = size[:, None] * (self.inflation * self.errors)
        return found

    def errors_between(self, X: FloatArray, others: FloatArray) -> FloatArray:
        """Return standard errors of the difference from other rows, as :meth:`standard_errors`.

        What two rows share cancels; their distance is that of the columns in which they differ.
        """
        apart = np.clip((X - others) / self.scales, -FARTHEST, FARTHEST) ** 2
        unknown = np.isnan(X) ^ np.isnan(others)
        size = np.where(np.isnan(apart), unknown, apart).sum(axis=1) / (1.0 + X.shape[1])
        found: FloatArray = self.inflation * np.sqrt(size)[:, None] * self.errors
        return found

    def moved(self, probability: FloatArray, by: FloatArray) -> FloatArray:
        """Return probabilities (patients, outcomes, times) moved along their link by (patients, outcomes)."""
        linked = links(self.model)
        moved = [
            (INVERSES[link.name](link.value(probability[:, at]) + by[:, at, None]) - EDGE) / INSIDE
            for at, link in enumerate(linked)
        ]
        return np.clip(np.stack(moved, axis=1), 0.0, 1.0)

    def files(self) -> Mapping[str, bytes]:
        """Return the intervals as one file, without the model; the same intervals give the same bytes."""
        plain = {name: getattr(self, name).tolist() for name in _ARRAYS}
        return {DOCUMENT: json.dumps(plain, indent=1, allow_nan=False).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], model: EndpointModel) -> "Intervals":
        """Read what :meth:`files` wrote, for the model that it was fitted to."""
        stored = json.loads(files[DOCUMENT])
        return cls(model, **{name: np.array(stored[name]) for name in _ARRAYS})


_ARRAYS = ("means", "scales", "errors", "inflation")


def shrinkage(model: EndpointModel, probability: FloatArray) -> FloatArray:
    """Return variance and squared bias over variance under each outcome's ridge penalty, shape (outcomes,).

    It is 1 + penalty / information I, the penalty being in events: a coefficient shrunk by I / (I + penalty)
    has the sampling variance I / (I + penalty)^2, and about its true value, drawn as the penalty supposes,
    the variance 1 / (I + penalty). ``probability`` (patients, outcomes, times) are the training cohort's; the
    information is the number of events they expect by the last time, without time the sum of p (1 - p).
    Source: Nychka, JASA 1988;83:1134-1143 (why such intervals cover on average over patients).
    """
    parts = getattr(model, "hazards", (model,))
    penalties = [_penalty(getattr(part, "chosen", {})) for part in parts]
    last = probability[:, :, -1]
    rising = [link is not LOG_CUMULATIVE_HAZARD for link in links(model)]
    had = np.where(rising, last, 1.0 - last)
    information = (had if model.timed else had * (1.0 - had)).sum(axis=0)
    found: FloatArray = 1.0 + np.array(penalties) / np.maximum(information, 1.0)
    return found


def _penalty(chosen: Mapping[str, float]) -> float:
    """Return the ridge penalty that a fit chose, 0 where it names none."""
    return next((value for name, value in chosen.items() if name.endswith("penalty")), 0.0)


def jackknife_variance(
    cross_fit: CrossFit[Any], X: FloatArray, strata: IntArray, times: FloatArray
) -> FloatArray:
    """Return the variance of the model on the link's scale, shape (patients, outcomes, times).

    With a share f left out of each member it is (1 - f) / f times the members' mean squared deviation from
    their mean; f of 1/5 gives 4. Source: Shao and Wu 1989.
    """
    members = np.stack([_on_link(member, X, strata, times) for member in cross_fit.members])
    left_out = cross_fit.fold_share
    variance: FloatArray = members.var(axis=0) * (1.0 - left_out) / left_out
    return variance


def distance(X: FloatArray, means: FloatArray, scales: FloatArray) -> FloatArray:
    """Return (1 + sum of squared standardised columns) / (1 + columns), shape (patients,): 1 on average.

    It is the leverage, up to a factor, of a regression with an intercept on uncorrelated columns. A missing
    value counts 1, a value more than four standard deviations from the mean as four.

    >>> distance(np.array([[2.0, np.nan]]), np.zeros(2), np.ones(2))
    array([2.])
    """
    found = np.empty(len(X))
    measure_distance(np.ascontiguousarray(X), means, scales, found)
    return found


def _on_link(model: EndpointModel, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
    probability = probabilities(model, X, strata, times)
    return np.stack([link.value(probability[:, at]) for at, link in enumerate(links(model))], axis=1)


def _from_log_hazard(value: FloatArray) -> FloatArray:
    found: FloatArray = np.exp(-np.exp(value))
    return found


def _from_log_log(value: FloatArray) -> FloatArray:
    found: FloatArray = -np.expm1(-np.exp(value))
    return found


def _from_log_odds(value: FloatArray) -> FloatArray:
    found: FloatArray = 1.0 / (1.0 + np.exp(-value))
    return found


INVERSES: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    LOG_CUMULATIVE_HAZARD.name: _from_log_hazard,
    COMPLEMENTARY_LOG_LOG.name: _from_log_log,
    LOG_ODDS.name: _from_log_odds,
}
