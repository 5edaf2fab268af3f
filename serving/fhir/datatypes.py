"""FHIR data types, and the code systems that this service defines."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

Json = dict[str, Any]

MEDIA_TYPE = "application/fhir+json"
UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"
URI = "urn:ietf:rfc:3986"
AUDIT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ENTITY_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
TRANSACTION = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"

MODELS, BUNDLES, OUTCOMES, RECORDS, SUBJECTS, CLIENTS, ASSESSMENTS = (
    f"urn:salvage:{noun}"
    for noun in ("model", "bundle", "outcome", "record-kind", "subject", "client", "assessment")
)
DAYS_OF_A_MONTH = 365.25 / 12


def coding(system: str, code: str, display: str | None = None, *, version: str | None = None) -> Json:
    """Return a Coding; empty members are left out, since FHIR forbids them."""
    members = {"system": system, "version": version, "code": code, "display": display}
    return {name: value for name, value in members.items() if value}


def concept(*codings: Json, text: str | None = None) -> Json:
    """Return a CodeableConcept."""
    return ({"coding": list(codings)} if codings else {}) | ({"text": text} if text else {})


def references(targets: Iterable[str]) -> list[Json]:
    """Return References, each once, in their order."""
    return [{"reference": target} for target in dict.fromkeys(targets)]


def percent(probability: float) -> float:
    """Return a probability in per cent, as R4 wants it, to one decimal.

    >>> percent(0.4167)
    41.7
    """
    return round(100.0 * probability, 1)


def months_later(day: date, months: float) -> date:
    """Return the day some months later; a day that its month lacks is the last one of it.

    >>> months_later(date(2024, 8, 31), 6), months_later(date(2024, 1, 1), 1.5)
    (datetime.date(2025, 2, 28), datetime.date(2024, 2, 16))
    """
    whole = int(months)
    year, month = divmod(day.year * 12 + day.month - 1 + whole, 12)
    following = date(year + (month == 11), (month + 1) % 12 + 1, 1)
    landed = min(date(year, month + 1, 1) + timedelta(days=day.day - 1), following - timedelta(days=1))
    return landed + timedelta(days=round((months - whole) * DAYS_OF_A_MONTH))
