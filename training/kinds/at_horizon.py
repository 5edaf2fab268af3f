"""At a horizon: how well the risk of an outcome by then is calibrated; every kind gives the same figures."""

from dataclasses import dataclass

from features.dictionary import FloatArray
from training.bootstrap import BootstrapSamples
from training.scoring import Estimate
from training.smooth_calibration import SmoothCalibration
from training.status import Status

FIGURES = ("ici", "e50", "e90", "observed_to_expected")


@dataclass(frozen=True)
class Observed:
    """The observed risk in everyone, and in every bootstrap sample, shape (samples,)."""

    risk: float
    samples: FloatArray


def at_horizon(
    risk: FloatArray, status: Status, observed: Observed, *, link: str, samples: BootstrapSamples
) -> dict[str, Estimate]:
    """Return smooth calibration's ICI, E50 and E90, and observed over expected risk, with intervals.

    All are missing where fewer than ten patients had the outcome, or were known to be without it.
    """
    if shortage := status.shortage:
        return missing(shortage)
    ratio = Estimate.resampled(observed.risk / float(risk.mean()), observed.samples / samples.mean(risk))
    smooth = SmoothCalibration.fit(risk, status, link=link)
    return smooth.estimates(samples) | {"observed_to_expected": ratio}


def missing(reason: str) -> dict[str, Estimate]:
    """Return no figure, with the reason."""
    return dict.fromkeys(FIGURES, Estimate.missing(reason))
