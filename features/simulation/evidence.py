"""Published figures of salvage treatment by trial arm, as transcribed in ``evidence.yaml``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

from features.errors import NotFound

TrialEndpoint = Literal["pfs", "os"]
LANDMARK = re.compile(r"(pfs|os)_(\d+)")


@dataclass(frozen=True)
class PublishedFigure:
    """One published figure: percent, or months for a median; ``checked`` once verified in its source."""

    name: str
    value: float
    checked: bool


@dataclass(frozen=True)
class TrialArm:
    """One arm of a trial, or one registry cohort, and its published figures."""

    name: str
    disease: str
    setting: str
    trial: str
    year: int | None
    regimen: str
    modality: tuple[str, ...]
    plan_regimen: str
    patients: int | None
    source: str
    figures: tuple[PublishedFigure, ...]

    def checked(self, name: str) -> float | None:
        """Return a figure that was verified in its source, None without one."""
        return next((f.value for f in self.figures if f.name == name and f.checked), None)

    def points(self, endpoint: TrialEndpoint) -> tuple[tuple[float, float], ...]:
        """Return an endpoint's checked points, median included: (months, proportion event-free) by time."""
        median = self.checked(f"median_{endpoint}")
        points = [] if median is None else [(median, 0.5)]
        for figure in self.figures:
            landmark = LANDMARK.fullmatch(figure.name)
            if landmark and landmark[1] == endpoint and figure.checked:
                points.append((float(landmark[2]), figure.value / 100.0))
        return tuple(sorted(points))


@dataclass(frozen=True)
class RandomisedComparison:
    """A published hazard ratio of randomised arms, with its interval where one was reported."""

    arm: str
    control: str
    endpoint: TrialEndpoint
    hazard_ratio: float
    checked: bool
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class TrialEvidence:
    """Trial arms by name, and the comparisons of randomised arms."""

    arms: Mapping[str, TrialArm]
    comparisons: tuple[RandomisedComparison, ...]

    def arm(self, name: str) -> TrialArm:
        """Return an arm by name.

        Raises:
            NotFound: for an unknown name.

        """
        if name not in self.arms:
            raise NotFound(f"no simulated arm {name}; known: {', '.join(self.arms)}")
        return self.arms[name]

    def diseases(self) -> tuple[str, ...]:
        """Return the diseases that have an arm, in the order of the file."""
        return tuple(dict.fromkeys(arm.disease for arm in self.arms.values()))

    def settings(self, disease: str) -> tuple[str, ...]:
        """Return the settings of a disease that have an arm."""
        return tuple(dict.fromkeys(a.setting for a in self.arms.values() if a.disease == disease))

    def arms_in(self, disease: str, setting: str) -> tuple[TrialArm, ...]:
        """Return the arms open to patients of a disease and setting."""
        return tuple(a for a in self.arms.values() if (a.disease, a.setting) == (disease, setting))


@cache
def load_evidence() -> TrialEvidence:
    """Return the project's evidence.

    >>> load_evidence().arm("zuma7_axi_cel").checked("os_24")
    61
    """
    return read_evidence(read_yaml("evidence.yaml"))


def read_evidence(declared: Mapping[str, Any]) -> TrialEvidence:
    """Read evidence as ``evidence.yaml`` declares it."""
    arms = {name: _arm(name, entry) for name, entry in declared["arms"].items()}
    return TrialEvidence(arms, tuple(RandomisedComparison(**entry) for entry in declared["comparisons"]))


def read_yaml(name: str) -> dict[str, Any]:
    """Return a data file of this package."""
    text = resources.files("features.simulation").joinpath(name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return loaded


def _arm(name: str, entry: Mapping[str, Any]) -> TrialArm:
    plain = {key: value for key, value in entry.items() if key not in ("figures", "modality")}
    figures = tuple(
        PublishedFigure(key, given["value"], given["checked"]) for key, given in entry["figures"].items()
    )
    return TrialArm(name=name, figures=figures, modality=tuple(entry["modality"]), **plain)
