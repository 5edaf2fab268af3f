"""Survival functions: the estimators' common ground.

An estimator takes a matrix ``X`` of shape (patients, columns) with NaN for missing values, the patients'
``strata`` (one whole number each: the disease) and an :class:`~features.censoring.Outcome`; what it fits
answers ``survival(X, strata, times)`` of shape (patients, times), in [0, 1] and never rising with time.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from features.censoring import Outcome
from features.dictionary import FloatArray

IntArray = npt.NDArray[np.int64]


class SurvivalModel(Protocol):
    """Anything fitted that answers with survival functions."""

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities of shape (patients, times)."""
        ...


def kaplan_meier(outcome: Outcome) -> tuple[FloatArray, FloatArray]:
    """Return the distinct times and the product-limit survival just after each of them.

    Source: Kaplan and Meier, JASA 1958;53:457-481. Events precede censorings at tied times.

    >>> kaplan_meier(Outcome(np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, False])))
    (array([1., 2., 3.]), array([0.75, 0.5 , 0.5 ]))
    """
    times, first = np.unique(np.sort(outcome.duration), return_index=True)
    deaths = np.bincount(
        np.searchsorted(times, outcome.duration), weights=outcome.event, minlength=len(times)
    )
    at_risk = len(outcome) - first
    return times, np.asarray(np.cumprod(1.0 - deaths / at_risk), dtype=np.float64)


def step(times: FloatArray, values: FloatArray, at: FloatArray, *, before: float) -> FloatArray:
    """Return a right-continuous step function at some times; ``before`` holds until its first step."""
    return np.concatenate([[before], values])[np.searchsorted(times, at, side="right")]


def supported_until(outcome: Outcome, *, at_risk: int = 10) -> float:
    """Return the last time at which at least this many patients were still followed.

    Beyond it survival is not estimated: a curve resting on a handful of patients is a guess.
    """
    if len(outcome) < at_risk:
        return 0.0
    return float(np.sort(outcome.duration)[-at_risk])


def median_time(times: FloatArray, survival: FloatArray) -> float | None:
    """Return the time at which a curve starting at 1 crosses one half, None where it does not."""
    below = np.flatnonzero(survival <= 0.5)
    if not below.size:
        return None
    last = int(below[0])
    left_time, left = (0.0, 1.0) if last == 0 else (float(times[last - 1]), float(survival[last - 1]))
    right_time, right = float(times[last]), float(survival[last])
    share = 1.0 if left == right else (left - 0.5) / (left - right)
    return left_time + share * (right_time - left_time)


def stratified_folds(strata: npt.NDArray[Any], outcome: Outcome, *, folds: int, seed: int) -> IntArray:
    """Return each patient's fold, balanced by stratum, event and third of follow-up.

    One row is one patient, so no patient stands in two folds.
    """
    rng = np.random.default_rng(seed)
    assigned = np.empty(len(outcome), dtype=np.int64)
    thirds = np.searchsorted(np.quantile(outcome.duration, [1 / 3, 2 / 3]), outcome.duration)
    keys = np.stack([strata, outcome.event.astype(np.int64), thirds], axis=1)
    offset = 0
    for key in np.unique(keys, axis=0):
        rows = rng.permutation(np.flatnonzero((keys == key).all(axis=1)))
        assigned[rows] = (np.arange(len(rows)) + offset) % folds
        offset += len(rows)
    return assigned
