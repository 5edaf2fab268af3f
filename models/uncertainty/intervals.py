"""Intervals for probabilities: where the risk may lie of patients alike in every predictor.

A model has members, each fitted without one fold of the patients. On the link's scale their spread, scaled up
as the delete-a-fold jackknife says, estimates the variance of the model. One patient's own members are too
few to tell that variance from chance, so it is moderated all the way: one variance for each outcome, disease
and horizon, averaged over the training patients. It grows with the patient's distance from the cohort's mean,
as the leverage of a regression on uncorrelated columns does, and with how far the prediction itself lies from
the disease's mean prediction, as the slope of a prognosis is uncertain too; a missing value stands at the
mean distance. Squared biases add to it. What a ridge penalty shrinks away follows from the penalty. What else
remains to be learned (curves, interactions, effects that change in time) is a constant share of the variance
that the estimator declares: one tuned by cross-validation learns on for as long as that lowers bias by more
than it adds in variance, so the two stay in proportion. The share is larger in a disease the smaller a part
of the cohort it is, as more of what is said of it was learned from others. All these constants were so chosen
that 90 % intervals held about 90 % of the true risks in 24 simulated truths (``CHOSEN`` in
tests/benchmarks/coverage.py), in each disease, at every horizon and in every tenth of risk.

Where values are unknown, the variance of what the answer would be if they were known is added.

Assumption: true risks differ from a model's as in those truths. Coverage is then nominal on average over
patients and truths: above it where effects are linear, below where much remains to be learned. What no
column records, and what changes after training, is not allowed for.

Sources: Shao and Wu, Annals of Statistics 1989;17:1176-1197 (delete-a-group jackknife); Smyth, Statistical
Applications in Genetics and Molecular Biology 2004;3:3 (moderated variances).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np

from features.dictionary import FloatArray
from features.endpoints import Endpoint
from features.errors import InvalidInput, Problem
from models.compiled import compiled
from models.estimators.additive import require_numbers
from models.estimators.curves import IntArray
from models.estimators.interface import CrossFit, Model
from models.estimators.links import LINKS, Link, off_link, on_link

DOCUMENT = "intervals.json"
MOST_PATIENTS = 1000
FARTHEST = 12.0
EVEN, BY_DISTANCE, BY_PROGNOSIS = 0.45, 0.4, 0.15
"""Parts of the variance: alike for all, in proportion to distance, to the squared standardised prediction."""
BORROWED = 1.5
SHARED = 20.0
LEAST_SPREAD = 1e-6
MOST_PREPARED = 64


@dataclass(frozen=True)
class Intervals:
    """Intervals around a model's probabilities.

    ``means`` and ``scales`` (columns,) standardise columns. ``errors`` (strata, outcomes, times) are sampling
    standard errors on the link's scale, averaged over a disease's training patients, at the months ``times``
    (times,); ``centres`` and ``spreads``, of that shape, are mean and standard deviation of the predictions
    there. ``inflation`` (strata, outcomes) multiplies errors for bias.
    """

    link: Link
    means: FloatArray
    scales: FloatArray
    times: FloatArray
    errors: FloatArray
    centres: FloatArray
    spreads: FloatArray
    inflation: FloatArray

    @classmethod
    def fit(
        cls,
        cross_fit: CrossFit[Model],
        X: FloatArray,
        strata: IntArray,
        times: FloatArray,
        *,
        endpoint: Endpoint,
        unlearned: float,
    ) -> "Intervals":
        """Estimate the errors from the members' spread over the training cohort at the given times.

        ``unlearned`` is the estimator's share of squared bias. Of a large cohort 1,000 patients, evenly
        spaced, are enough.
        """
        known, link = ~np.isnan(X), LINKS[endpoint.link]
        count = np.maximum(known.sum(axis=0), 1)
        means = np.where(known, X, 0.0).sum(axis=0) / count
        scales = np.sqrt((np.where(known, X - means, 0.0) ** 2).sum(axis=0) / count)
        some = np.unique(np.linspace(0, len(X) - 1, MOST_PATIENTS).astype(np.int64))
        own, diseases = strata[some], int(strata.max()) + 1
        variance = by_disease(jackknife_variance(cross_fit, X[some], own, times, link), own, diseases)
        values = link.value(np.clip(cross_fit.model.predict(X[some], own, times), 0.0, 1.0))
        centres = by_disease(values, own, diseases)
        spreads = np.sqrt(by_disease((values - centres[own]) ** 2, own, diseases))
        model, last, shares = cross_fit.model, times[-1:], np.bincount(strata) / len(strata)
        shrunk = shrinkage(model.penalties, model.predict(X, strata, last), endpoint)
        return cls(
            link,
            means,
            np.where(scales > 0.0, scales, 1.0),
            times,
            np.sqrt(variance),
            centres,
            np.where(spreads > LEAST_SPREAD, spreads, 1.0),
            np.sqrt(shrunk + unlearned * (1.0 + BORROWED * (1.0 - shares))[:, None]),
        )

    def around(
        self,
        probability: FloatArray,
        X: FloatArray,
        strata: IntArray,
        times: FloatArray,
        spread: FloatArray | None = None,
        *,
        level: float = 0.9,
    ) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper bounds around probabilities, each of shape (patients, outcomes, times).

        They hold the probability between them and lie in [0, 1]. Between the months of the errors these are
        interpolated. ``spread``, of the probabilities' shape, is the variance on the link's scale of what
        they would be if unknown values were known.

        Raises:
            InvalidInput: a level that is not between 0 and 1.

        """
        errors, centres, spreads = self._at(times)
        known = normal_reach(level) * self.inflation[:, :, None] * errors
        unknown = np.zeros(probability.shape) if spread is None else normal_reach(level) ** 2 * spread
        low, high = np.empty(probability.shape), np.empty(probability.shape)
        apart, middle = distance(X, self.means, self.scales), np.ascontiguousarray(probability)
        find_ends(middle, strata, known, centres, spreads, apart, unknown, self.link.code, low, high)
        return low, high

    def errors_between(
        self, X: FloatArray, others: FloatArray, strata: IntArray, times: FloatArray
    ) -> FloatArray:
        """Return standard errors of differences from other rows on the link's scale, (rows, outcomes, times).

        What two rows share cancels; their distance is that of the columns in which they differ.
        """
        apart = np.clip((X - others) / self.scales, -FARTHEST, FARTHEST) ** 2
        unknown = np.isnan(X) ^ np.isnan(others)
        size = np.where(np.isnan(apart), unknown, apart).sum(axis=1) / (1.0 + X.shape[1])
        own = self._at(times)[0][strata]
        errors: FloatArray = self.inflation[strata][:, :, None] * np.sqrt(size)[:, None, None] * own
        return errors

    def moved(self, probability: FloatArray, by: FloatArray) -> FloatArray:
        """Return probabilities (patients, outcomes, times) moved along their link by as many numbers."""
        return self.link.inverse(self.link.value(probability) + by)

    def _at(self, times: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return errors, centres and spreads (strata, outcomes, times) at some months; kept once made."""
        key = times.tobytes()
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= MOST_PREPARED:
                self._made.clear()
            made = self._made[key] = tuple(
                np.apply_along_axis(lambda own: np.interp(times, self.times, own), 2, table)
                for table in (self.errors, self.centres, self.spreads)
            )
        return made

    @cached_property
    def _made(self) -> dict[bytes, Any]:
        return {}

    def files(self) -> Mapping[str, bytes]:
        """Return the intervals as one file, without the model; the same intervals give the same bytes."""
        plain = {name: getattr(self, name).tolist() for name in _ARRAYS}
        return {DOCUMENT: json.dumps(plain, indent=1, allow_nan=False).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], endpoint: Endpoint) -> "Intervals":
        stored = json.loads(files[DOCUMENT])
        return cls(LINKS[endpoint.link], **{name: np.array(stored[name]) for name in _ARRAYS})

    def check(self, *, columns: int, strata: int, outcomes: int) -> None:
        """Raise ValueError, naming the part, where the parts are not of so many columns and outcomes."""
        count = max(1, len(self.times))
        shapes = {
            "means": (columns,),
            "scales": (columns,),
            "times": (count,),
            "inflation": (strata, outcomes),
        }
        for name in _ARRAYS:
            require_numbers(
                f"intervals' {name}", getattr(self, name), shapes.get(name, (strata, outcomes, count))
            )
        rising = (np.diff(self.times) > 0.0).all()
        if not rising or (self.scales <= 0.0).any() or (self.spreads <= 0.0).any():
            raise ValueError("intervals' scales are not as they must be")
        if min(self.errors.min(), self.inflation.min()) < 0.0:
            raise ValueError("intervals' errors are not as they must be")


_ARRAYS = ("means", "scales", "times", "errors", "centres", "spreads", "inflation")


def by_disease(values: FloatArray, strata: IntArray, diseases: int) -> FloatArray:
    """Return means (strata, ...) of patients' values (patients, ...), drawn towards that of all patients.

    The mean of all counts as much as 20 patients.
    """
    everyone = values.mean(axis=0)
    rows = [values[strata == at] for at in range(diseases)]
    return np.stack([(own.sum(axis=0) + SHARED * everyone) / (len(own) + SHARED) for own in rows])


def normal_reach(level: float) -> float:
    """Return how many standard deviations an interval of this level reaches.

    Raises:
        InvalidInput: a level that is not between 0 and 1.

    """
    if not 0.0 < level < 1.0:
        raise InvalidInput("interval", [Problem("level", "is not between 0 and 1", "use 0.9")])
    return NormalDist().inv_cdf((1.0 + level) / 2.0)


def shrinkage(penalties: FloatArray, probability: FloatArray, endpoint: Endpoint) -> FloatArray:
    """Return variance and squared bias over variance under each outcome's ridge penalty, shape (outcomes,).

    It is 1 + penalty / information I, the penalty being in events: a coefficient shrunk by I / (I + penalty)
    has the sampling variance I / (I + penalty)^2, and about its true value, drawn as the penalty supposes,
    the variance 1 / (I + penalty). ``probability`` (patients, outcomes, 1) are the training cohort's at the
    last time; the information is the number of events they expect by then, without time the sum of p (1 - p).
    Source: Nychka, JASA 1988;83:1134-1143 (why such intervals cover on average over patients).
    """
    had = 1.0 - probability[:, :, -1] if endpoint.falls else probability[:, :, -1]
    information = (had if endpoint.timed else had * (1.0 - had)).sum(axis=0)
    ratio: FloatArray = 1.0 + penalties / np.maximum(information, 1.0)
    return ratio


def jackknife_variance(
    cross_fit: CrossFit[Model], X: FloatArray, strata: IntArray, times: FloatArray, link: Link
) -> FloatArray:
    """Return the variance of the model on the link's scale, shape (patients, outcomes, times).

    With a share f left out of each member it is (1 - f) / f times the members' mean squared deviation from
    their mean; f of 1/5 gives 4. Source: Shao and Wu 1989.
    """
    members = np.stack([link.value(member.predict(X, strata, times)) for member in cross_fit.members])
    left_out = cross_fit.fold_share
    variance: FloatArray = members.var(axis=0) * (1.0 - left_out) / left_out
    return variance


def distance(X: FloatArray, means: FloatArray, scales: FloatArray) -> FloatArray:
    """Return (1 + sum of squared standardised columns) / (1 + columns), shape (patients,): 1 on average.

    It is the leverage, up to a factor, of a regression with an intercept on uncorrelated columns. A missing
    value counts 1, a value more than twelve standard deviations from the mean as twelve.

    >>> distance(np.array([[2.0, np.nan]]), np.zeros(2), np.ones(2))
    array([2.])
    """
    measured = np.empty(len(X))
    measure_distance(np.ascontiguousarray(X), means, scales, measured)
    return measured


@compiled
def find_ends(
    probability: FloatArray,
    strata: IntArray,
    reach: FloatArray,
    centres: FloatArray,
    spreads: FloatArray,
    apart: FloatArray,
    more: FloatArray,
    link: int,
    low: FloatArray,
    high: FloatArray,
) -> None:
    """Write the ends of intervals, of the probabilities' shape (rows, outcomes, times).

    ``reach``, ``centres`` and ``spreads`` (strata, outcomes, times) are each disease's, ``apart`` (rows,) the
    rows' distances; ``more``, of the probabilities' shape, adds to the square of the reach.
    """
    for r in range(probability.shape[0]):
        s = strata[r]
        for o in range(probability.shape[1]):
            for t in range(probability.shape[2]):
                middle = probability[r, o, t]
                value = on_link(link, middle)
                off = min(FARTHEST, abs(value - centres[s, o, t]) / spreads[s, o, t])
                scale = EVEN + BY_DISTANCE * apart[r] + BY_PROGNOSIS * off * off
                by = np.sqrt(reach[s, o, t] ** 2 * scale + more[r, o, t])
                one, other = off_link(link, value - by), off_link(link, value + by)
                low[r, o, t] = min(middle, one, other)
                high[r, o, t] = max(middle, one, other)


@compiled
def measure_distance(X: FloatArray, means: FloatArray, scales: FloatArray, out: FloatArray) -> None:
    """Write each row's mean squared standardised column, as :func:`distance`."""
    for r in range(X.shape[0]):
        total = 1.0
        for c in range(X.shape[1]):
            z = (X[r, c] - means[c]) / scales[c]
            z = max(-FARTHEST, min(FARTHEST, z))
            total += 1.0 if np.isnan(X[r, c]) else z * z
        out[r] = total / (1.0 + X.shape[1])
