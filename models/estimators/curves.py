"""Survival functions: the estimators' common ground.

An estimator takes a matrix ``X`` of shape (patients, columns) with NaN for missing values, the patients'
``strata`` (one whole number each: the disease) and an :class:`~features.censoring.Outcome`; what it fits
answers ``survival(X, strata, times)`` of shape (patients, times), in [0, 1] and never rising with time.
"""

from typing import Protocol

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
