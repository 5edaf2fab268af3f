"""Curves as they are reported: monotone throughout, with the months at which they cross given levels."""

import numpy as np

from features.dictionary import FloatArray
from models.compiled import compiled


def monotone(curve: FloatArray, *, falling: bool) -> FloatArray:
    """Return curves, the last axis being time, that fall, or rise, throughout."""
    return (np.minimum if falling else np.maximum).accumulate(curve, axis=-1)


def monotone_ends(low: FloatArray, high: FloatArray, *, falling: bool) -> tuple[FloatArray, FloatArray]:
    """Return the ends of intervals, the last axis being time, widened so that they run as the curve does."""
    backwards = (..., slice(None, None, -1))
    if falling:
        return np.minimum.accumulate(low, axis=-1), np.maximum.accumulate(high[backwards], axis=-1)[backwards]
    return np.minimum.accumulate(low[backwards], axis=-1)[backwards], np.maximum.accumulate(high, axis=-1)


def crossing_times(months: FloatArray, survival: FloatArray, levels: FloatArray) -> FloatArray:
    """Return the months at which survival falls to each level, (rows, outcomes, levels).

    ``survival`` (rows, outcomes, months) is 1 at month 0 and straight between months; NaN where it stays
    above a level.
    """
    out = np.full((*survival.shape[:2], len(levels)), np.nan)
    if len(levels):
        _cross(months, np.ascontiguousarray(survival), levels, out)
    return out


@compiled
def _cross(months: FloatArray, survival: FloatArray, levels: FloatArray, out: FloatArray) -> None:
    for r in range(survival.shape[0]):
        for o in range(survival.shape[1]):
            for at in range(len(levels)):
                month, left = 0.0, 1.0
                for t in range(len(months)):
                    right = survival[r, o, t]
                    if right <= levels[at]:
                        share = 1.0 if left == right else (left - levels[at]) / (left - right)
                        out[r, o, at] = month + share * (months[t] - month)
                        break
                    month, left = months[t], right
