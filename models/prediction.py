"""What a model answers: frozen results, independent of how they are sent."""

from dataclasses import dataclass

from models.information import NextTest


@dataclass(frozen=True)
class SurvivalCurve:
    """Survival probability at rising months; never rises, and stops where the training data stop."""

    months: tuple[float, ...]
    survival: tuple[float, ...]


@dataclass(frozen=True)
class HorizonSurvival:
    """Survival probability at one horizon; None, with the reason, beyond the supported follow-up."""

    horizon: float
    probability: float | None
    reason: str | None = None


@dataclass(frozen=True)
class MedianSurvival:
    """Median survival in months; None, with the reason, where the curve does not reach one half."""

    months: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Contribution:
    """What one predictor adds to, or takes from, the reference; ``value`` None where missing."""

    predictor: str
    label: str
    group: str
    value: float | int | bool | str | None
    unit: str | None
    contribution: float


@dataclass(frozen=True)
class GroupContribution:
    """What a group of predictors adds to, or takes from, the reference: the sum of its predictors'."""

    group: str
    contribution: float


@dataclass(frozen=True)
class ExplainedScale:
    """Contributions on one scale: ``reference`` plus their sum, by predictor or group, is ``prediction``."""

    scale: str
    unit: str
    prediction: float
    reference: float
    reference_name: str
    contributions: tuple[Contribution, ...]
    groups: tuple[GroupContribution, ...]


@dataclass(frozen=True)
class Explanation:
    """Why the answer at one horizon differs from the reference: the same patient on two scales."""

    horizon: float
    method: str
    scales: tuple[ExplainedScale, ...]


@dataclass(frozen=True)
class Caution:
    """A reason to trust this answer less; ``kind`` is missing, out_of_range or unseen_category."""

    kind: str
    predictor: str | None
    message: str


@dataclass(frozen=True)
class Prediction:
    """Everything said about one patient. Times are months from the index event."""

    endpoint: str
    index_event: str
    survival: tuple[HorizonSurvival, ...]
    median: MedianSurvival
    curve: SurvivalCurve
    explanation: Explanation
    next_tests: tuple[NextTest, ...]
    warnings: tuple[Caution, ...]
    notice: str
