"""A prediction as a FHIR R4 RiskAssessment: probabilities in per cent, each with its period."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from itertools import chain

from models.prediction import EndpointPrediction, OutcomePrediction, Prediction, Probability
from serving.audit.record import Receipt
from serving.contract import ModelStamp
from serving.fhir.datatypes import (
    ACT_REASON,
    ASSESSMENTS,
    BUNDLES,
    LOINC,
    MODELS,
    OUTCOMES,
    UCUM,
    URI,
    Json,
    coding,
    concept,
    months_later,
    percent,
    references,
)
from serving.wording import COVERAGE, REAL, event_at, notices, rationale, unseen_categories

TEST_DATA = coding(ACT_REASON, "HTEST", "test health data")
LOINC_OUTCOMES = {"complete_response": coding(LOINC, "LA28366-5", "Complete response")}


def risk_assessment(
    prediction: Prediction,
    stamp: ModelStamp,
    receipt: Receipt,
    *,
    subject: str,
    basis: Sequence[str],
    index_date: date,
    condition: str | None = None,
    encounter: str | None = None,
    remarks: Iterable[str] = (),
) -> Json:
    """Return the RiskAssessment of one recorded prediction.

    Every probability is one ``prediction`` in per cent, and its interval a second one with the same outcome
    and period, because ``probability[x]`` holds a number or a range. Periods begin at the index date. An
    answer from simulated patients carries the security label HTEST. References are Type/id.
    """
    assessment = {
        "resourceType": "RiskAssessment",
        "id": receipt.id,
        "meta": None if stamp.evidence == REAL else {"security": [TEST_DATA]},
        "contained": [device(stamp)],
        "identifier": [{"system": URI, "value": f"urn:uuid:{receipt.id}"}],
        "status": "final",
        "method": concept(coding(MODELS, stamp.name, stamp.title, version=stamp.version), text=stamp.title),
        "code": concept(coding(ASSESSMENTS, stamp.protocol), text=f"Outcomes from {prediction.index_event}"),
        "subject": {"reference": subject},
        "encounter": encounter and {"reference": encounter},
        "occurrenceDateTime": receipt.recorded_at,
        "condition": condition and {"reference": condition},
        "performer": {"reference": "#model"},
        "basis": references(basis),
        "prediction": _predictions(prediction, index_date),
        "mitigation": " ".join(notices(prediction.notice, stamp.evidence)),
        "note": [{"text": text} for text in _notes(prediction, stamp, receipt, remarks)],
    }
    return {name: value for name, value in assessment.items() if value}


def device(stamp: ModelStamp) -> Json:
    """Return the model as the contained Device that performed the assessment."""
    return {
        "resourceType": "Device",
        "id": "model",
        "identifier": [{"system": BUNDLES, "value": stamp.bundle}],
        "deviceName": [{"name": stamp.name, "type": "model-name"}],
        "type": {"text": "prediction model"},
        "version": [{"value": stamp.version}],
    }


def _predictions(prediction: Prediction, index_date: date) -> list[Json]:
    predictions = (
        _stated(endpoint, outcome, probability, index_date, unseen_categories(prediction))
        for endpoint in prediction.endpoints
        for outcome in endpoint.outcomes
        for probability in outcome.probabilities
    )
    return list(chain.from_iterable(predictions))


def _stated(
    endpoint: EndpointPrediction,
    outcome: OutcomePrediction,
    probability: Probability,
    index_date: date,
    unseen: Collection[str],
) -> list[Json]:
    """Return the elements of one probability and its interval, none beyond the supported follow-up."""
    horizon = probability.horizon
    if probability.probability is None:
        return []
    period = {"start": index_date.isoformat()}
    if horizon is not None:
        period["end"] = months_later(index_date, horizon).isoformat()
    words = event_at(endpoint, outcome, horizon)
    code = coding(OUTCOMES, f"{endpoint.endpoint}.{outcome.outcome}", outcome.label)
    codes = [code, *([LOINC_OUTCOMES[outcome.outcome]] if outcome.outcome in LOINC_OUTCOMES else [])]
    point: Json = {
        "outcome": concept(*codes, text=words),
        "probabilityDecimal": percent(probability.probability),
        "whenPeriod": period,
    }
    if horizon == outcome.explanation.horizon:
        point["rationale"] = rationale(outcome, unseen)
    if probability.low is None or probability.high is None:
        return [point]
    bounds = {"low": _quantity(probability.low), "high": _quantity(probability.high)}
    text = f"{words}: interval made to hold the true probability in {COVERAGE} of patients"
    return [
        point,
        {"outcome": concept(*codes, text=text), "probabilityRange": bounds, "whenPeriod": period},
    ]


def _quantity(probability: float) -> Json:
    return {"value": percent(probability), "unit": "%", "system": UCUM, "code": "%"}


def _notes(
    prediction: Prediction, stamp: ModelStamp, receipt: Receipt, remarks: Iterable[str]
) -> Iterable[str]:
    yield from notices(prediction.notice, stamp.evidence)[:-1]
    yield (
        f"Record {receipt.id}, number {receipt.seq}, leaf hash {receipt.leaf_hash}; model {stamp.name} "
        f"version {stamp.version}, bundle SHA-256 {stamp.bundle}"
    )
    yield from (f"{caution.kind.replace('_', ' ')}: {caution.message}" for caution in prediction.warnings)
    yield from unanswered(prediction)
    yield from (f"As read from the record: {remark}" for remark in remarks)


def unanswered(prediction: Prediction) -> Iterable[str]:
    """Yield each probability that follow-up does not support, and why."""
    for endpoint in prediction.endpoints:
        for outcome in endpoint.outcomes:
            for probability in outcome.probabilities:
                if probability.probability is None:
                    yield f"{event_at(endpoint, outcome, probability.horizon)}: {probability.reason}"
