"""Checking calibration: published figures of each arm against those of its drawn patients."""

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.simulation.arms import ArmCalibration, CalibratedArm
from features.simulation.derived import code
from features.simulation.estimates import hazard_ratio, median, survival_at
from features.simulation.evidence import (
    LANDMARK,
    PublishedFigure,
    RandomisedComparison,
    TrialArm,
    TrialEvidence,
)
from features.simulation.simulate import draw_arm, project_arms

POINTS = 3.0  # percentage points that a proportion or a landmark may be off
RELATIVE = 0.10  # share that a median may be off
RATIO = 0.1  # that a hazard ratio may be off; anywhere in the published interval is also within
SHORTEST, LONGEST = 24.0, 90.0  # months of follow-up in the simulated trial
MEDIANS_FOLLOWED = 2.5


@dataclass(frozen=True)
class FigureCheck:
    """One published figure, the drawn patients' value, and the tolerance that it must lie in.

    Values are percent, months for a median, or a hazard ratio.
    """

    figure: str
    published: float
    simulated: float
    low: float
    high: float

    @property
    def within(self) -> bool:
        """Return whether the simulated value lies in [``low``, ``high``]."""
        return self.low <= self.simulated <= self.high


@dataclass(frozen=True)
class ArmCheck:
    """The checked figures of one arm."""

    arm: str
    disease: str
    trial: str
    figures: tuple[FigureCheck, ...]

    @property
    def within(self) -> bool:
        """Return whether every figure of the arm lies in its tolerance."""
        return all(figure.within for figure in self.figures)

    def as_dict(self) -> dict[str, Any]:
        """Return the check as JSON values, each figure with its own verdict."""
        figures = [asdict(figure) | {"within": figure.within} for figure in self.figures]
        return {"arm": self.arm, "disease": self.disease, "trial": self.trial} | {
            "within": self.within,
            "figures": figures,
        }

    @property
    def missed(self) -> tuple[FigureCheck, ...]:
        """Return the figures outside their tolerance."""
        return tuple(figure for figure in self.figures if not figure.within)


def check_simulation(
    *, patients_per_arm: int = 20_000, seed: int, calibration: ArmCalibration | None = None
) -> list[ArmCheck]:
    """Draw every arm that has a checked figure under its trial's follow-up, and compare.

    Response and toxicity are shares of the drawn patients, medians and landmarks Kaplan-Meier estimates, and
    hazard ratios Cox estimates, all under administrative censoring. A hazard ratio counts for the
    experimental arm.
    """
    arms = calibration or project_arms()
    evidence = arms.evidence
    drawn = {
        name: _draw(arms.arm(name), evidence, patients=patients_per_arm, seed=seed)
        for name, arm in evidence.arms.items()
        if any(figure.checked for figure in arm.figures)
    }
    return [_check(evidence.arm(name), evidence, drawn) for name in drawn]


Drawn = Mapping[str, FloatArray]


def _draw(arm: CalibratedArm, evidence: TrialEvidence, *, patients: int, seed: int) -> Drawn:
    """Draw an arm with a generator of its own, followed long enough for every figure of its trial."""
    rng = np.random.default_rng([seed, zlib.crc32(arm.evidence.name.encode())])
    trial = [other for other in evidence.arms.values() if other.trial == arm.evidence.trial]
    months = min(max(SHORTEST, *(_months_needed(other) for other in trial)), LONGEST)
    values, _ = draw_arm(arm, patients, follow_up=(months, 1.1 * months), rng=rng)
    return values


def _months_needed(arm: TrialArm) -> float:
    needed = [SHORTEST]
    for figure in arm.figures:
        if figure.name.startswith("median_"):
            needed.append(MEDIANS_FOLLOWED * figure.value)
        elif named := LANDMARK.fullmatch(figure.name):
            needed.append(1.1 * float(named[2]))
    return max(needed)


def _check(arm: TrialArm, evidence: TrialEvidence, drawn: Mapping[str, Drawn]) -> ArmCheck:
    figures = [_figure_check(f, drawn[arm.name]) for f in arm.figures if f.checked]
    figures += [_ratio_check(c, drawn) for c in evidence.comparisons if c.checked and c.arm == arm.name]
    return ArmCheck(arm.name, arm.disease, arm.trial, tuple(figures))


def _figure_check(figure: PublishedFigure, values: Drawn) -> FigureCheck:
    published = figure.value
    simulated = _simulated(figure.name, values)
    margin = RELATIVE * published if figure.name.startswith("median_") else POINTS
    return FigureCheck(figure.name, published, simulated, published - margin, published + margin)


def _simulated(name: str, values: Drawn) -> float:
    """Return a figure of the drawn patients: percent, or months for a median."""
    shares = {
        "orr": values["response"] <= code("response", "partial_response"),
        "cr": values["response"] == code("response", "complete_response"),
        "grade3": values["grade_3_toxicity"] == 1.0,
        "trm": values["treatment_related_death"] == 1.0,
    }
    if name in shares:
        return 100.0 * float(shares[name].mean())
    if name.startswith("median_"):
        return median(_outcome(name.removeprefix("median_"), values))
    endpoint, months = name.split("_")
    return 100.0 * float(survival_at(_outcome(endpoint, values), months=np.array([float(months)]))[0])


def _ratio_check(pair: RandomisedComparison, drawn: Mapping[str, Drawn]) -> FigureCheck:
    simulated = hazard_ratio(*(_outcome(pair.endpoint, drawn[name]) for name in (pair.arm, pair.control)))
    low = min(pair.hazard_ratio - RATIO, pair.hazard_ratio if pair.low is None else pair.low)
    high = max(pair.hazard_ratio + RATIO, pair.hazard_ratio if pair.high is None else pair.high)
    return FigureCheck(f"hazard_ratio_{pair.endpoint}", pair.hazard_ratio, simulated, low, high)


def _outcome(endpoint: str, values: Drawn) -> Outcome:
    if endpoint == "os":
        return Outcome(values["months_followed"], values["died"] == 1.0)
    return Outcome(values["months_progression_free"], values["progressed_or_died"] == 1.0)
