"""Times read off survival curves: the median and the restricted mean, each with its interval, and a bound."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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
        outcomes, drawn = curve.shape[1], np.concatenate([curve, low, high], axis=1)
        half = crossing_times(self.months, drawn, HALF)[:, :, 0]
        weights = self._weights
        areas = weights[0] + (drawn[:, :, : len(weights) - 1] * weights[1:]).sum(axis=2)
        parts = [*np.split(half, 3, axis=1), *np.split(areas, 3, axis=1)]
        if self.bound is not None:
            parts.append(crossing_times(self.months, curve, np.array(self.bound[:1]))[:, :, 0])
        return np.stack(parts, axis=2).reshape(len(curve), outcomes * len(parts))

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

    @cached_property
    def _weights(self) -> FloatArray:
        """Return the weights of heights at month 0 and at the months in the area up to the horizon."""
        grid = np.append(0.0, self.months)
        at = int(np.searchsorted(grid, self.horizon))
        share = (self.horizon - grid[at - 1]) / (grid[at] - grid[at - 1])
        last = np.zeros(at + 1)
        last[at - 1 :] = 1.0 - share, share
        steps = np.diff(np.append(grid[:at], self.horizon))
        weights = np.zeros(at + 1)
        weights[:at] += steps / 2.0
        weights[1:at] += steps[:-1] / 2.0
        area: FloatArray = weights + last * steps[-1] / 2.0
        return area
