"""From a chart to a recorded assessment: what FHIR clients and CDS clients both ask for."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from models.bundle import ModelBundle
from models.prediction import Prediction
from serving.access.principal import Principal
from serving.audit.record import Receipt
from serving.champions import Champion
from serving.contract import ModelStamp
from serving.fhir.chart import Chart, basis_for, patient_of, remarks, require_readable
from serving.fhir.datatypes import Json
from serving.fhir.risk_assessment import risk_assessment

STALE_DAYS = 90


class Recorded(Protocol):
    """A prediction, the model that made it, and where it stands on record."""

    @property
    def prediction(self) -> Prediction:
        """Return what was answered."""
        ...

    @property
    def stamp(self) -> ModelStamp:
        """Return which model answered."""
        ...

    @property
    def receipt(self) -> Receipt:
        """Return where the answer stands on record."""
        ...


class PredictPatient(Protocol):
    """Whatever predicts for one patient, and returns once the record is durable."""

    def __call__(
        self,
        champion: Champion,
        patient: Mapping[str, Any],
        horizon: float | None,
        caller: Principal,
        facts: Mapping[str, Any],
        *,
        subject: str | None,
    ) -> Awaitable[Recorded]:
        """Predict, record and return; ``facts`` name no patient, of ``subject`` a keyed hash is kept."""
        ...


@dataclass(frozen=True)
class Assessed:
    """One recorded prediction, its RiskAssessment, and how the chart was read for it."""

    recorded: Recorded
    bundle: ModelBundle
    assessment: Json
    remarks: tuple[str, ...]


async def assess(
    chart: Chart,
    champion: Champion,
    *,
    predict: PredictPatient,
    caller: Principal,
    facts: Mapping[str, Any],
    today: date,
    horizon: float | None = None,
    encounter: str | None = None,
) -> Assessed:
    """Predict for the patient of a chart, with the resources that the prediction stands on.

    Raises:
        InvalidRequest: when the chart is not that of one living patient with a relapse in the model's scope.

    """
    bundle = champion.bundle
    found = chart.at(bundle.protocol.index_event)
    index_date = require_readable(found)
    subject = f"Patient/{found.patient}"
    patient = patient_of(found, bundle)
    recorded = await predict(champion, patient, horizon, caller, facts, subject=subject)
    read = (*remarks(found, bundle), *since(index_date, today))
    assessment = risk_assessment(
        recorded.prediction,
        recorded.stamp,
        recorded.receipt,
        subject=subject,
        basis=basis_for(found, bundle),
        index_date=index_date,
        condition=found.condition,
        encounter=encounter,
        remarks=read,
    )
    return Assessed(recorded, bundle, assessment, read)


def since(index_date: date, today: date) -> tuple[str, ...]:
    """Return what to say where the index date is long past: every risk counts from then, not from today."""
    days = (today - index_date).days
    if days <= STALE_DAYS:
        return ()
    return (f"the index date is {days} days ago; the risks count from it and do not know of the time since",)
