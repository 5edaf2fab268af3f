"""Over all of follow-up: the figures of whole curves that survival and competing risks share."""

import numpy as np

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from training.goodness_of_fit import a_calibration, d_calibration
from training.scoring import FEWEST_EVENTS, Estimate, Scale

SCORED_UNTIL = "scored_until"
"""The last month that curves are scored at: patients are followed to it."""
NONE_EXPECTED = "no event is expected"
GOODNESS_OF_FIT = ("a_calibration", "d_calibration")


def goodness_of_fit(free: FloatArray, outcome: Outcome, times: FloatArray) -> dict[str, Estimate]:
    """Return the p-values of both tests of curves that fall from one, shape (patients, times)."""
    tests = (a_calibration(free, outcome, times), d_calibration(free, outcome, times))
    return {
        name: Estimate(test.p) if test.freedom else Estimate.missing(NONE_EXPECTED)
        for name, test in zip(GOODNESS_OF_FIT, tests, strict=True)
    }


def unscored(event: BoolArray, duration: FloatArray, scale: Scale) -> str | None:
    """Say why curves are not scored: too short a follow-up, or too few events in it; None if neither."""
    if scale.too_short:
        return scale.too_short
    until = float(scale.times[scale.reached][-1])
    events = int(np.count_nonzero(event & (duration <= until)))
    if events >= FEWEST_EVENTS:
        return None
    return f"{events} events by {until:g} months, fewer than {FEWEST_EVENTS}"
