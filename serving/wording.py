"""The words of an answer, the same in every protocol: notices, outcomes, probabilities and reasons."""

from collections.abc import Collection, Sequence

from models.prediction import Contribution, EndpointPrediction, OutcomePrediction, Prediction, Probability

SYNTHETIC = "Every patient behind this model is simulated: its answers must not be used for a patient."
REAL = "real"
COVERAGE = "90 %"
MOST_REASONS = 5
SMALLEST_SHARE = 0.0005
NOT_KNOWN = "not_known"
NO_REASON = "Nothing known of this patient moves it."


def notices(notice: str, evidence: str) -> tuple[str, ...]:
    """Return the notices that go with every answer: the prediction's own, after a warning where simulated."""
    return (notice,) if evidence == REAL else (SYNTHETIC, notice)


def event_at(endpoint: EndpointPrediction, outcome: OutcomePrediction, horizon: float | None) -> str:
    """Name the event of a probability: the outcome's label, and by which month; survival is *at* a month."""
    if horizon is None:
        return outcome.label
    by = "at" if endpoint.kind == "survival" else "by"
    return f"{outcome.label} {by} {horizon:g} months"


def in_percent(probability: Probability) -> str:
    """Return a probability with its interval, or why there is none.

    >>> in_percent(Probability(12.0, 0.634, 0.48, 0.764))
    '63 % (48–76 %)'
    """
    if probability.probability is None:
        return f"not answered: {probability.reason}"
    middle = f"{100 * probability.probability:.0f} %"
    if probability.low is None or probability.high is None:
        return middle
    return f"{middle} ({100 * probability.low:.0f}–{100 * probability.high:.0f} %)"


def unseen_categories(prediction: Prediction) -> frozenset[str]:
    """Return the predictors whose category no training patient had: the answer takes them as not known."""
    return frozenset(c.predictor for c in prediction.warnings if c.predictor and c.kind == "unseen_category")


def reasons(outcome: OutcomePrediction, unseen: Collection[str] = ()) -> list[str]:
    """Return the largest contributions to a probability in words, the largest first.

    A value that is not known, or taken as not known because it is ``unseen``, is no reason; nor is the
    disease, from whose own mean contributions start.
    """
    contributions = outcome.explanation.scales[0].contributions
    none = {"disease", *unseen}
    known = [c for c in contributions if c.value is not None and c.predictor not in none]
    ranked = sorted(known, key=lambda c: -abs(c.contribution))[:MOST_REASONS]
    return [
        f"{c.label} ({_value(c)}): {100 * c.contribution:+.1f} points"
        for c in ranked
        if abs(c.contribution) >= SMALLEST_SHARE
    ]


def rationale(outcome: OutcomePrediction, unseen: Collection[str] = ()) -> str:
    """Explain in words why a probability differs from the reference, as associations and not effects."""
    scale = outcome.explanation.scales[0]
    start = f"Starts from {100 * scale.reference:.0f} %, the {scale.reference_name}. "
    said = _listed(reasons(outcome, unseen)) + unknown(outcome, unseen) + agreed(outcome)
    return start + said + " These are associations, not effects."


def unknown(outcome: OutcomePrediction, unseen: Collection[str] = ()) -> str:
    """Say what the values not known add together, nothing where all are known."""
    scale = outcome.explanation.scales[0]
    if not unseen and all(c.value is not None for c in scale.contributions):
        return ""
    together = next(g.contribution for g in scale.groups if g.group == NOT_KNOWN)
    return f" What is not known adds {100 * together:+.1f} points and widens the interval."


def agreed(outcome: OutcomePrediction) -> str:
    """Say what made the probability agree with the patient's other endpoints, nothing where nothing did."""
    coherence = outcome.explanation.scales[0].coherence
    if abs(coherence) < SMALLEST_SHARE:
        return ""
    return f" Agreeing with the other endpoints adds {100 * coherence:+.1f} points."


def _listed(parts: Sequence[str]) -> str:
    if not parts:
        return NO_REASON
    return "Largest contributions in percentage points: " + "; ".join(parts) + "."


def _value(contribution: Contribution) -> str:
    value = contribution.value
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value.replace("_", " ")
    number = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return number + (f" {contribution.unit}" if contribution.unit else "")
