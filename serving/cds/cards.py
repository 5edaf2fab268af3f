"""Cards: a recorded prediction as a summary, a table of probabilities, and a suggested resource."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from features.dictionary import load_dictionary
from features.sources.fhir import Extracted
from models.prediction import OutcomePrediction, Prediction
from serving.cds.prefetch import PrefetchedChart
from serving.cds.services import CdsService
from serving.contract import ModelStamp
from serving.fhir.assessment import ChartAssessment
from serving.fhir.datatypes import coding
from serving.wording import (
    COVERAGE,
    NO_REASON,
    REAL,
    agreed,
    event_at,
    in_percent,
    notices,
    reasons,
    unknown,
    unseen_categories,
)

LONGEST_SUMMARY = 139
MOST_LISTED, MOST_TESTS = 8, 3
ASKED = (("Known already to you?", "history"), ("To be done", "test"))
SIMULATED = "SIMULATED, not for care: "
OVERRIDES = "urn:salvage:override-reason"
TOPICS = "urn:salvage:topic"
TOPIC = coding(TOPICS, "outcome-after-relapse", "Outcome after relapse")
SUGGESTION = "risk-assessment"
OVERRIDE_REASONS = [
    coding(OVERRIDES, "other-patient", "Does not fit this patient"),
    coding(OVERRIDES, "chart-wrong", "The chart is wrong or out of date"),
    coding(OVERRIDES, "considered", "Already considered"),
    coding(OVERRIDES, "disagree", "Clinical judgement differs"),
]
PLAN_UNUSED = (
    "The orders do not change this estimate: the model does not take the planned treatment into account."
)


def card(
    assessed: ChartAssessment,
    extracted: Extracted,
    gathered: PrefetchedChart,
    *,
    service: CdsService,
    public_url: str,
) -> dict[str, Any]:
    """Return the card of one recorded prediction.

    Its uuid is the record's id, so that feedback finds the record. The suggestion creates the RiskAssessment.
    """
    recorded = assessed.recorded
    stamp, identifier = recorded.stamp, recorded.receipt.id
    resource = {name: value for name, value in assessed.assessment.items() if name != "id"}
    action = {"type": "create", "description": "Create the RiskAssessment", "resource": resource}
    suggestion = {
        "label": "Add this estimate to the chart",
        "uuid": str(uuid.uuid5(uuid.UUID(identifier), SUGGESTION)),
        "actions": [action],
    }
    return {
        "uuid": identifier,
        "summary": summary(recorded.prediction, stamp),
        "indicator": "info",
        "detail": "\n\n".join(_detail(assessed, extracted, gathered, service)),
        "source": {
            "label": stamp.title,
            "url": f"{public_url}/v1/models/{stamp.name}",
            "topic": TOPIC,
        },
        "suggestions": [suggestion],
        "selectionBehavior": "at-most-one",
        "overrideReasons": OVERRIDE_REASONS,
        "links": [
            {
                "label": "Explanation and record",
                "url": f"{public_url}/v1/predictions/{identifier}",
                "type": "absolute",
            }
        ],
    }


def summary(prediction: Prediction, stamp: ModelStamp) -> str:
    """Return the leading answer in one line of at most 139 characters."""
    endpoint = prediction.endpoints[0]
    outcome = endpoint.outcomes[0]
    horizon = outcome.explanation.horizon
    words = event_at(endpoint, outcome, horizon)
    line = f"{words[0].upper()}{words[1:]}: {_at(outcome, horizon)} from {prediction.index_event}"
    line = line if stamp.evidence == REAL else SIMULATED + line
    return line if len(line) <= LONGEST_SUMMARY else line[: LONGEST_SUMMARY - 1] + "…"


def _at(outcome: OutcomePrediction, horizon: float | None) -> str:
    return next(in_percent(p) for p in outcome.probabilities if p.horizon == horizon)


def _detail(
    assessed: ChartAssessment, extracted: Extracted, gathered: PrefetchedChart, service: CdsService
) -> Iterator[str]:
    prediction, stamp = assessed.recorded.prediction, assessed.recorded.stamp
    yield from (f"**{notice}**" for notice in notices(prediction.notice, stamp.evidence)[:-1])
    yield f"Counted from {prediction.index_event}, taken as {extracted.index_date}."
    yield _table(prediction)
    yield _why(prediction)
    if service.ordering:
        yield _orders(assessed, extracted)
    yield from _limits(assessed, gathered)
    yield f"*{prediction.notice}*"


def _table(prediction: Prediction) -> str:
    rows = [f"| Outcome | Probability ({COVERAGE} interval) |", "|---|---|"]
    for endpoint in prediction.endpoints:
        for outcome in endpoint.outcomes:
            rows += [
                f"| {event_at(endpoint, outcome, p.horizon)} | {in_percent(p)} |"
                for p in outcome.probabilities
            ]
    return "\n".join(rows)


def _why(prediction: Prediction) -> str:
    endpoint = prediction.endpoints[0]
    outcome = endpoint.outcomes[0]
    scale = outcome.explanation.scales[0]
    words = event_at(endpoint, outcome, outcome.explanation.horizon)
    head = f"**Why** ({words}; the {scale.reference_name} is {100 * scale.reference:.0f} %):"
    unseen = unseen_categories(prediction)
    said = [f"- {reason}" for reason in reasons(outcome, unseen)] or [f"- {NO_REASON}"]
    said += [f"- {rest.strip()}" for rest in (unknown(outcome, unseen), agreed(outcome)) if rest]
    return "\n".join([head, "", *said])


def _orders(assessed: ChartAssessment, extracted: Extracted) -> str:
    """Name the draft orders that the estimate takes into account, and count those it cannot read."""
    names = assessed.bundle.dictionary.names
    planned = [name for name in extracted.fields if name.startswith("plan_")]
    used = [load_dictionary()[name].label for name in planned if name in names]
    parts = []
    if used:
        parts.append("Orders taken into account: " + ", ".join(used) + ".")
    elif not any(name.startswith("plan_") for name in names):
        parts.append(PLAN_UNUSED)
    else:
        parts.append("None of the orders says anything that this model takes into account.")
    if extracted.unread_orders:
        parts.append(f"Draft orders whose codes are not known here: {len(extracted.unread_orders)}.")
    return "**Orders**: " + " ".join(parts)


def _limits(assessed: ChartAssessment, gathered: PrefetchedChart) -> Iterator[str]:
    """Yield what limits the estimate: missing values, useful tests, unusual values, unread resources."""
    prediction = assessed.recorded.prediction
    contributions = prediction.endpoints[0].outcomes[0].explanation.scales[0].contributions
    order = {test.predictor: at for at, test in enumerate(prediction.next_tests)}
    missing = [c for c in contributions if c.value is None]
    missing.sort(key=lambda c: order.get(c.predictor, len(order)))
    if missing:
        yield f"**Not known of this patient**: {_some([c.label for c in missing])}."
    for heading, source in ASKED:
        tests = [test.words for test in prediction.next_tests if test.source == source][:MOST_TESTS]
        if tests:
            yield f"**{heading}**: " + "; ".join(tests)
    unusual = [c.message for c in prediction.warnings if c.kind != "not_known"]
    if unusual:
        yield "**Take care**: " + "; ".join(unusual[:MOST_LISTED]) + "."
    if gathered.absent:
        yield "**Not sent by the record system**: " + ", ".join(gathered.absent) + "."
    if gathered.cut:
        yield "**Not read**: further pages of what the record system sent."
    if assessed.remarks:
        yield "\n".join(
            [
                "**How the chart was read**:",
                "",
                *(f"- {_plain(one)}" for one in assessed.remarks[:MOST_LISTED]),
            ]
        )


def _some(labels: Sequence[str]) -> str:
    listed, rest = labels[:MOST_LISTED], len(labels) - MOST_LISTED
    return ", ".join(listed) + (f" and {rest} more" if rest > 0 else "")


def _plain(text: str) -> str:
    """Quote text from a chart, so that none of it is rendered as Markdown."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def answer(cards: Sequence[Mapping[str, Any]], *, system_actions: bool) -> dict[str, Any]:
    """Return a service's response; some clients require ``systemActions``, if only an empty list."""
    return {"cards": list(cards)} | ({"systemActions": []} if system_actions else {})
