"""Charts made by hand: a woman whose breast cancer came back, and what else a chart may hold."""

from datetime import date, timedelta
from typing import Any

SCT, LOINC = "http://snomed.info/sct", "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ANNA = "Patient/anna"
RELAPSE = date(2024, 3, 31)
NODES, GRADE, STATUS = "21893-3", "33732-9", "97509-4"


def concept(system: str, code: str, display: str | None = None) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code} | ({"display": display} if display else {})]}


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": "anna", "gender": "female", "birthDate": "1967-02-01"} | more


def condition(relapse: date = RELAPSE, code: str = "254837009") -> dict[str, Any]:
    diagnosed = relapse - timedelta(days=609)
    return {
        "resourceType": "Condition",
        "id": "cancer",
        "subject": {"reference": ANNA},
        "code": concept(SCT, code, "Malignant neoplasm of breast"),
        "onsetDateTime": diagnosed.isoformat(),
    }


def observation(loinc: str, when: date, **value: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o-{loinc}",
        "status": "final",
        "code": concept(LOINC, loinc),
        "subject": {"reference": ANNA},
        "effectiveDateTime": when.isoformat(),
    } | value


def worsened(relapse: date = RELAPSE) -> dict[str, Any]:
    return observation(STATUS, relapse, valueCodeableConcept=concept(SCT, "271299001", "worsened"))


def nodes(relapse: date = RELAPSE, unit: str = "1") -> dict[str, Any]:
    return observation(NODES, relapse - timedelta(days=600), valueQuantity={"value": 4, "code": unit})


def administration(relapse: date = RELAPSE) -> dict[str, Any]:
    return {
        "resourceType": "MedicationAdministration",
        "id": "given",
        "status": "completed",
        "subject": {"reference": ANNA},
        "medicationCodeableConcept": concept(RXNORM, "3639", "doxorubicin"),
        "effectiveDateTime": (relapse - timedelta(days=500)).isoformat(),
    }


def order(code: str = "56946", name: str = "paclitaxel", identifier: str = "order") -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": identifier,
        "status": "draft",
        "intent": "order",
        "subject": {"reference": ANNA},
        "medicationCodeableConcept": concept(RXNORM, code, name),
    }


def relapsed(relapse: date = RELAPSE) -> list[dict[str, Any]]:
    return [patient(), condition(relapse), worsened(relapse), nodes(relapse), administration(relapse)]


def bundle(*resources: dict[str, Any], kind: str = "collection") -> dict[str, Any]:
    listed = [{"fullUrl": f"http://ehr.example.org/{_name(r)}", "resource": r} for r in resources]
    return {"resourceType": "Bundle", "type": kind} | ({"entry": listed} if listed else {})


def _name(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"
