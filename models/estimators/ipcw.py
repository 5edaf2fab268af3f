"""Inverse-probability-of-censoring weights, and the squared error of survival curves under them.

The weights come from the Kaplan-Meier curve of the censoring times among the patients scored. Assumption:
censoring is independent of prognosis.
"""

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray

SMALLEST_WEIGHT = 1e-3


def censoring_survival(outcome: Outcome, at: FloatArray, *, before: bool) -> FloatArray:
    """Return the Kaplan-Meier probability of not being censored yet, just before or at each time.

    At a tied time deaths come first, so the dead are not at risk of being censored then.
    """
    times, first = np.unique(np.sort(outcome.duration), return_index=True)
    position = np.searchsorted(times, outcome.duration)
    censored = np.bincount(position, weights=~outcome.event, minlength=len(times))
    died = np.bincount(position, weights=outcome.event, minlength=len(times))
    at_risk = len(outcome) - first - died
    share = np.divide(censored, at_risk, out=np.zeros(len(times)), where=at_risk > 0)
    free = np.concatenate([[1.0], np.cumprod(1.0 - share)])
    uncensored: FloatArray = free[np.searchsorted(times, at, side="left" if before else "right")]
    return np.maximum(uncensored, SMALLEST_WEIGHT)


def brier(survival: FloatArray, outcome: Outcome, times: FloatArray) -> FloatArray:
    """Return each patient's weighted squared error at each time, shape (patients, times).

    Its mean over patients is the Brier score. Source: Graf et al., Statistics in Medicine 1999;18:2529-2545.
    """
    gone = (outcome.duration[:, None] <= times) & outcome.event[:, None]
    errors: FloatArray = known_weight(outcome, times) * np.where(gone, survival, 1.0 - survival) ** 2
    return errors


def known_weight(outcome: Outcome, times: FloatArray) -> FloatArray:
    """Return the weight of each patient whose status at each time is known, 0 elsewhere, (patients, times).

    Who had the event by then counts for those censored before it, who was followed to the time without it
    for those censored before the time; who is censored at the very time was followed to it.
    """
    own = censoring_survival(outcome, outcome.duration, before=True)
    at = censoring_survival(outcome, times, before=True)
    gone = (outcome.duration[:, None] <= times) & outcome.event[:, None]
    here = ~gone & (outcome.duration[:, None] >= times)
    weight: FloatArray = np.where(gone, 1.0 / own[:, None], 0.0) + np.where(here, 1.0 / at, 0.0)
    return weight


def integrated_brier(survival: FloatArray, outcome: Outcome, times: FloatArray) -> FloatArray:
    """Return each patient's squared error averaged over the times' span, shape (patients,)."""
    errors: FloatArray = np.trapezoid(brier(survival, outcome, times), times, axis=1) / (times[-1] - times[0])
    return errors
