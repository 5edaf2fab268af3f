"""Times read off survival curves: the median and the restricted mean, each with its interval, and a bound."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.dictionary import FloatArray
from models.answer.curves import crossing_times
from models.prediction import LowerBound, MedianTime, RestrictedMean

HALF = np.array([0.5])
OWN = 6


@dataclass(frozen=True)
class SurvivalTimes:
    """What is read off curves drawn at ``months`` (months,), the last of which is ``limit``.

    The restricted mean is up to ``horizon``. ``bound`` is the survival at which the lower bound stands, and
    the share of patients who outlive it; None where no bound could be calibrated.
    """

    months: FloatArray
    horizon: float
    limit: float
    bound: tuple[float, float] | None

    @property
    def count(self) -> int:
        """Return the number of results of one outcome."""
        return 2 if self.bound is None else 3

    def read(self, curve: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
        """Return times (patients, outcomes * numbers) from curves (patients, outcomes, months) and ends.

        Of each outcome the median, where the ends reach one half, the restricted mean, the areas under the
        ends and, with a bound, the month at which it stands; NaN beyond the follow-up.
        """
        half = [crossing_times(self.months, drawn, HALF) for drawn in (curve, low, high)]
        areas = [self._area(drawn)[:, :, None] for drawn in (curve, low, high)]
        levels = np.array([] if self.bound is None else self.bound[:1])
        found = np.concatenate([*half, *areas, crossing_times(self.months, curve, levels)], axis=2)
        return found.reshape(len(curve), -1)

    def results(self, months: Sequence[float]) -> list[MedianTime | RestrictedMean | LowerBound]:
        """Return one patient's results, given the row that :meth:`read` returned."""
        made: list[MedianTime | RestrictedMean | LowerBound] = []
        width = OWN if self.bound is None else OWN + 1
        for start in range(0, len(months), width):
            median, low, high, *areas = months[start : start + OWN]
            made += [self._median(median, low, high), RestrictedMean(self.horizon, *areas)]
            if self.bound is not None:
                stands = months[start + OWN]
                made.append(LowerBound(stands if stands == stands else self.limit, self.bound[1]))
        return made

    def _median(self, months: float, low: float, high: float) -> MedianTime:
        ends = (low if low == low else None), (high if high == high else None)
        if months == months:
            return MedianTime(months, *ends)
        reason = f"more than half are predicted to get beyond {self.limit:.0f} months, where follow-up ends"
        return MedianTime(None, *ends, reason)

    def _area(self, curve: FloatArray) -> FloatArray:
        """Return the areas under curves up to the horizon, (patients, outcomes), in months."""
        grid = np.concatenate([[0.0], self.months])
        drawn = np.concatenate([np.ones((*curve.shape[:2], 1)), curve], axis=2)
        inside = grid < self.horizon
        at = int(inside.sum())
        share = (self.horizon - grid[at - 1]) / (grid[at] - grid[at - 1])
        last = drawn[:, :, at - 1] + share * (drawn[:, :, at] - drawn[:, :, at - 1])
        heights = np.concatenate([drawn[:, :, :at], last[:, :, None]], axis=2)
        area: FloatArray = np.trapezoid(heights, np.append(grid[:at], self.horizon), axis=2)
        return area
