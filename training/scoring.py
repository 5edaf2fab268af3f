"""Scoring: a metric's estimate with its interval, and what predictions are scored on."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from features.censoring import BoolArray
from features.dictionary import FloatArray
from training.bootstrap import BootstrapSamples
from training.follow_up import FOLLOWED

MODEL, EVERYONE = "model", "all"
FEWEST_EVENTS = 10
"""With fewer events, or fewer patients without one, there is no figure."""
NOT_COMPARABLE = "no two patients can be compared"


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % bootstrap interval over patients.

    ``value`` is None where there is none, and ``reason`` says why: nobody is followed that long, or a
    concordance has no pair to compare.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    @classmethod
    def missing(cls, reason: str) -> "Estimate":
        """Return no value, with the reason."""
        return cls(None, reason=reason)

    @classmethod
    def without_interval(cls, value: float) -> "Estimate":
        """Return the value alone, none where it is not finite."""
        return cls(value) if np.isfinite(value) else cls.missing(NOT_COMPARABLE)

    @classmethod
    def resampled(cls, value: float, samples: FloatArray) -> "Estimate":
        """Return the value between percentiles of its bootstrap samples, where half of them are finite."""
        usable = samples[np.isfinite(samples)]
        if not np.isfinite(value) or len(usable) < len(samples) / 2:
            return cls.without_interval(value)
        low, high = np.quantile(usable, [0.025, 0.975])
        return cls(value, float(low), float(high))

    def as_dict(self) -> dict[str, float | str | None]:
        """Return value and interval, and the reason where there is no value."""
        given: dict[str, float | str | None] = {"value": self.value, "low": self.low, "high": self.high}
        return given | ({"reason": self.reason} if self.reason else {})


Scores = Mapping[str, Mapping[str, Estimate]]
"""Estimates by model or baseline, and by metric."""


@dataclass(frozen=True)
class Scale:
    """What predictions are scored on: the times of the curves, the horizons, and the bootstrap samples.

    ``followed`` is the last month until which the patients are followed; nothing is scored beyond it.
    """

    times: FloatArray
    horizons: tuple[float, ...]
    samples: int
    seed: int
    followed: float = np.inf

    @property
    def reached(self) -> BoolArray:
        """Tell which of the times patients are followed to."""
        return self.times <= self.followed

    @property
    def too_short(self) -> str | None:
        """Say why no curve is scored; None where the first two times are reached."""
        return self.beyond(float(self.times[:2][-1]))

    def beyond(self, horizon: float) -> str | None:
        """Say why a horizon is not scored; None where patients are followed to it."""
        if horizon <= self.followed:
            return None
        return f"fewer than {FOLLOWED:.0%} of patients are followed beyond {self.followed:.1f} months"

    def column(self, horizon: float) -> int:
        """Return the position of a horizon among the times."""
        return int(np.flatnonzero(np.isclose(self.times, horizon))[0])

    def resampled(self, patients: int) -> BootstrapSamples:
        """Return bootstrap samples of so many patients; the same ones for every model and metric."""
        return _drawn(patients, self.samples, self.seed)


@lru_cache(maxsize=1)
def _drawn(patients: int, samples: int, seed: int) -> BootstrapSamples:
    """Draw the samples, and keep the last: drawing takes longer than most metrics."""
    drawn = BootstrapSamples.draw(patients, samples=samples, seed=seed)
    drawn.counts.setflags(write=False)
    return drawn
