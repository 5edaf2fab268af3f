"""Assessments: a chart's prediction, recorded and as a RiskAssessment, for FHIR and CDS Hooks clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from models.bundle.bundle import ModelBundle
from serving.champions import Champion
from serving.fhir.chart import Chart, basis_for, patient_of, remarks, require_readable
from serving.fhir.datatypes import Json
from serving.fhir.risk_assessment import risk_assessment
from serving.predictor import Predictor, RecordedPrediction
from serving.recorder import Caller

STALE_DAYS = 90


@dataclass(frozen=True)
class ChartAssessment:
    """One recorded prediction, its RiskAssessment, and how the chart was read for it."""

    recorded: RecordedPrediction
    bundle: ModelBundle
    assessment: Json
    remarks: tuple[str, ...]


async def assess(
    chart: Chart,
    champion: Champion,
    *,
    predictor: Predictor,
    caller: Caller,
    facts: Mapping[str, Any],
    today: date,
    horizon: float | None = None,
    encounter: str | None = None,
) -> ChartAssessment:
    """Predict for the patient of a chart; the RiskAssessment references the resources that were used.

    Raises:
        InvalidRequest: when the chart is not that of one living patient with a relapse in the model's scope,
            or a predictor's unit is in question.
        RecordNotWritten, TooBusy: when the record could not be made durable; nothing was answered.

    """
    bundle = champion.bundle
    extracted = chart.at(bundle.protocol.index_event)
    index_date = require_readable(extracted, bundle)
    subject = f"Patient/{extracted.patient}"
    recorded = await predictor.predict_patient(
        champion, patient_of(extracted, bundle), horizon, caller, facts, subject=subject
    )
    notes = (*remarks(extracted, bundle), *since(index_date, today))
    assessment = risk_assessment(
        recorded.prediction,
        recorded.stamp,
        recorded.receipt,
        subject=subject,
        basis=basis_for(extracted, bundle),
        index_date=index_date,
        condition=extracted.condition,
        encounter=encounter,
        remarks=notes,
    )
    return ChartAssessment(recorded, bundle, assessment, notes)


def since(index_date: date, today: date) -> tuple[str, ...]:
    """Return a remark where the index date is over 90 days past: risks count from then, not from today."""
    days = (today - index_date).days
    if days <= STALE_DAYS:
        return ()
    return (f"the index date is {days} days ago; the risks count from it and do not know of the time since",)
