"""Marginal survival curves of an arm, drawn through its published points.

A curve is a cumulative hazard H(t) on ``GRID``; survival is exp(-H). Through several points log H is
interpolated monotonically against log t (PCHIP, Fritsch and Butland 1984). Through a single point runs a
Weibull curve, or, where patients can be cured, H(t) = H_end (1 - exp(-(t/s)^1.2)), which levels off (the
bounded cumulative hazard of Yakovlev). What lies beyond the last published point is extrapolation.
"""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

from features.dictionary import FloatArray

# Months; hazards are constant between neighbours.
GRID: FloatArray = np.concatenate([np.arange(0, 24, 0.25), np.arange(24, 60, 1.0), np.arange(60, 241, 4.0)])
LAST_MONTH = float(GRID[-1])
DEFAULT_SHAPE = 1.15
SHAPES = (0.75, 2.2)  # what a Weibull shape may be, when it is chosen to meet a hazard ratio
CURABLE_SHAPE = 1.2
CURABLE_TAIL = 0.12  # slope of log H against log t after the last point, where patients can be cured
SMALLEST_STEP = 0.006  # cumulative hazard between two points that a trial reports out of order

Points = Sequence[tuple[float, float]]


def cumulative_hazard(points: Points, *, shape: float, curable: bool) -> FloatArray:
    """Return H on the grid through (months, proportion event-free) points, in order of time.

    ``shape`` is the slope of log H against log t before the first point, and everywhere if there is but one.
    """
    months = np.array([t for t, _ in points])
    hazards = -np.log(np.clip([s for _, s in points], 0.002, 0.995))
    hazards = _rising(hazards)
    if len(points) == 1 and curable:
        return _levelling(months[0], hazards[0], median=points[0][1] == 0.5)
    tail = shape if len(points) == 1 else _tail_slope(months, hazards, curable=curable)
    x, y = np.log(months), np.log(hazards)
    x = np.concatenate([[x[0] - 4.0], x, [x[-1] + 3.0]])
    y = np.concatenate([[y[0] - 4.0 * shape], y, [y[-1] + 3.0 * tail]])
    log_time = np.log(np.maximum(GRID, 1e-9))
    inside = np.clip(log_time, x[0], x[-1])
    steps = np.where(log_time < x[0], (log_time - x[0]) * shape, (log_time - x[-1]).clip(0.0) * tail)
    curve: FloatArray = np.exp(PchipInterpolator(x, y)(inside) + steps)
    curve[0] = 0.0
    return curve


def stretch(curve: FloatArray, *, time_ratio: float, scale: float) -> FloatArray:
    """Return the cumulative hazard H'(t) = scale * H(t / time_ratio) on the grid."""
    scaled: FloatArray = scale * np.interp(GRID / time_ratio, GRID, curve)
    return scaled


def shape_from_ratio(hazard_ratio: float, *, median: float, control_median: float) -> float:
    """Return the Weibull shape under which two medians give a hazard ratio: k = log HR / log(m0 / m1)."""
    if abs(np.log(control_median / median)) < 0.02:
        return DEFAULT_SHAPE
    return float(np.clip(np.log(hazard_ratio) / np.log(control_median / median), *SHAPES))


def _rising(hazards: FloatArray) -> FloatArray:
    for at in range(1, hazards.size):
        hazards[at] = max(hazards[at], hazards[at - 1] + SMALLEST_STEP)
    return hazards


def _levelling(month: float, hazard: float, *, median: bool) -> FloatArray:
    """Return a levelling curve through one point.

    Its end is 1.9 times the point's H for a median, and a smaller multiple for a later landmark.
    """
    end = 1.9 if median else 1.6 if month <= 12 else 1.15 if month < 36 else 1.08
    time_scale = month / (-np.log(1.0 - 1.0 / end)) ** (1.0 / CURABLE_SHAPE)
    return np.asarray(end * hazard * -np.expm1(-((GRID / time_scale) ** CURABLE_SHAPE)))


def _tail_slope(months: FloatArray, hazards: FloatArray, *, curable: bool) -> float:
    if curable and months[-1] >= 12:
        return CURABLE_TAIL
    last = np.log(hazards[-1] / hazards[-2]) / np.log(months[-1] / months[-2])
    return float(np.clip(last, 0.6, 1.0))
