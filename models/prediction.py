"""What a model answers: frozen results, independent of how they are sent. Times are months."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Probability:
    """The probability of one outcome, with the interval made to hold the true one in nine cases of ten.

    ``horizon`` is None for an outcome without time. Beyond the supported follow-up there is no probability
    but a reason.
    """

    horizon: float | None
    probability: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Curve:
    """A probability at rising months; stops where the training data stop."""

    months: tuple[float, ...]
    probability: tuple[float, ...]


@dataclass(frozen=True)
class MedianTime:
    """Median time in months; None, with the reason, where the curve does not reach one half.

    ``low`` and ``high`` are where the ends of the probabilities' intervals reach it, None where they do not
    by the end of follow-up.
    """

    months: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class RestrictedMean:
    """Mean months lived, or free of the event, of those up to ``horizon``: the area under the curve.

    ``low`` and ``high`` are the areas under the ends of the probabilities' intervals.
    """

    horizon: float
    months: float
    low: float
    high: float


@dataclass(frozen=True)
class Contribution:
    """What one predictor adds to, or takes from, the reference; ``value`` None where it is not known."""

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
    """Contributions on one scale: ``reference`` plus their sum, by predictor or group, is ``prediction``.

    ``coherence`` belongs to the sum too: what moved the answer so that it does not contradict another
    endpoint's. The reference is the disease's own; ``whole`` is that of all diseases, so their difference is
    what the disease says by itself. The group ``not_known`` has the contributions of unknown values.
    ``standard_error`` is the largest of the contributions', None where they are exact.
    """

    scale: str
    unit: str
    prediction: float
    reference: float
    reference_name: str
    whole: float
    whole_name: str
    coherence: float
    standard_error: float | None
    contributions: tuple[Contribution, ...]
    groups: tuple[GroupContribution, ...]


@dataclass(frozen=True)
class Explanation:
    """Why the answer, at one horizon where it has any, differs from the reference: on two scales."""

    horizon: float | None
    method: str
    scales: tuple[ExplainedScale, ...]


@dataclass(frozen=True)
class LowerBound:
    """The month that such patients outlive with a probability of ``level``, on average over patients."""

    months: float
    level: float


@dataclass(frozen=True)
class OutcomePrediction:
    """One outcome: its probabilities, and with time its curve; of survival also times.

    ``restricted_mean`` is up to the explained horizon. ``at_least`` is None where too few of the training
    cohort had the event to calibrate a bound.
    """

    outcome: str
    label: str
    probabilities: tuple[Probability, ...]
    curve: Curve | None
    median: MedianTime | None
    restricted_mean: RestrictedMean | None
    at_least: LowerBound | None
    explanation: Explanation


@dataclass(frozen=True)
class EndpointPrediction:
    """One endpoint: its kind (survival, competing_risks or response) and each of its outcomes."""

    endpoint: str
    title: str
    kind: str
    outcomes: tuple[OutcomePrediction, ...]


@dataclass(frozen=True)
class Caution:
    """A reason to trust this answer less.

    ``kind`` is not_known (one caution for all unknown values), out_of_range, unseen_category or not_answered.
    """

    kind: str
    predictor: str | None
    message: str


@dataclass(frozen=True)
class NextTest:
    """One unknown predictor and what knowing it would do to the answer, a probability.

    ``source`` says who can tell: history (known already to someone?), test (to be done) or plan (to be
    decided). ``expected_change`` is the mean absolute change over plausible values; ``low`` and ``high``
    bound the answers in nine cases of ten.
    """

    predictor: str
    label: str
    source: str
    expected_change: float
    low: float
    high: float
    words: str


@dataclass(frozen=True)
class Typical:
    """The share of training patients with the disease at least as unusual as this one, and in words."""

    share: float
    words: str


@dataclass(frozen=True)
class Prediction:
    """The whole answer to one patient, from the index event on."""

    index_event: str
    endpoints: tuple[EndpointPrediction, ...]
    next_tests: tuple[NextTest, ...]
    typical: Typical
    warnings: tuple[Caution, ...]
    notice: str
