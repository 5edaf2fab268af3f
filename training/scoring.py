"""Scoring: a metric's estimate with its interval, and what predictions are scored on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.dictionary import FloatArray
from training.bootstrap import BootstrapSamples

MODEL, EVERYONE = "model", "all"


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % bootstrap interval over patients.

    None where there is none: a concordance without a pair to compare has no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def without_interval(cls, value: float) -> "Estimate":
        """Return the value alone, None where it is not finite."""
        return cls(value if np.isfinite(value) else None)

    @classmethod
    def resampled(cls, value: float, samples: FloatArray) -> "Estimate":
        """Return the value between percentiles of its bootstrap samples, where half of them are finite."""
        usable = samples[np.isfinite(samples)]
        if not np.isfinite(value) or len(usable) < len(samples) / 2:
            return cls.without_interval(value)
        low, high = np.quantile(usable, [0.025, 0.975])
        return cls(value, float(low), float(high))

    def as_dict(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}


Scores = Mapping[str, Mapping[str, Estimate]]
"""Estimates by model or baseline, and by metric."""


@dataclass(frozen=True)
class Scale:
    """What predictions are scored on: the times of the curves, the horizons, and the bootstrap samples."""

    times: FloatArray
    horizons: tuple[float, ...]
    samples: int
    seed: int

    def column(self, horizon: float) -> int:
        """Return the position of a horizon among the times."""
        return int(np.flatnonzero(np.isclose(self.times, horizon))[0])

    def resampled(self, patients: int) -> BootstrapSamples:
        """Draw bootstrap samples of so many patients; the same ones for every model."""
        return BootstrapSamples.draw(patients, samples=self.samples, seed=self.seed)
