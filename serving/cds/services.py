"""The CDS services: one for each hook, with its prefetch templates.

Source: HL7 CDS Hooks 2.0.1, and 3.0.0-ballot for the FHIRPath date in one template.
"""

from dataclasses import dataclass
from typing import Any

PATIENT_VIEW, ORDER_SELECT, ORDER_SIGN = "patient-view", "order-select", "order-sign"
VERSION, HOOK_VERSION = "2.0.1", "1.0"
NECESSARY = ("patient", "conditions", "diseaseStatus")
RECENT_LABS, LABS = "labsRecent", "labs"
RECENT_DAYS = 180
OF_PATIENT = "patient={{context.patientId}}"
LABORATORY = f"Observation?{OF_PATIENT}&category=laboratory"
LINE_OF_THERAPY = "http://hl7.org/fhir/us/codex-mopa/CodeSystem/ocpa-codes|line-of-therapy"
PREFETCH = {
    "patient": "Patient/{{context.patientId}}",
    "conditions": f"Condition?{OF_PATIENT}",
    "diseaseStatus": f"Observation?{OF_PATIENT}&code=http://loinc.org|97509-4&_sort=-date",
    "performance": (
        f"Observation?{OF_PATIENT}&code=http://loinc.org|89247-1,http://loinc.org|89243-0"
        "&_sort=-date&_count=5"
    ),
    RECENT_LABS: f"{LABORATORY}&date=ge{{{{today() - {RECENT_DAYS} days}}}}",
    LABS: f"{LABORATORY}&_sort=-date&_count=200",
    "medAdmins": f"MedicationAdministration?{OF_PATIENT}",
    "medRequests": f"MedicationRequest?{OF_PATIENT}",
    "procedures": f"Procedure?{OF_PATIENT}",
    "lineOfTherapy": f"Observation?{OF_PATIENT}&code={LINE_OF_THERAPY}",
}
USAGE = (
    "Necessary: " + ", ".join(NECESSARY) + f". {RECENT_LABS} and {LABS} stand for each other; send either. "
    "What is not sent is fetched where fhirServer and fhirAuthorization allow it."
)


@dataclass(frozen=True)
class CdsService:
    """One service: its id, hook, title and description."""

    id: str
    hook: str
    title: str
    description: str

    def as_dict(self) -> dict[str, Any]:
        """Return the service as discovery lists it."""
        return {
            "id": self.id,
            "hook": self.hook,
            "title": self.title,
            "description": self.description,
            "prefetch": PREFETCH,
            "usageRequirements": USAGE,
            "version": VERSION,
            "hookVersion": HOOK_VERSION,
        }

    @property
    def ordering(self) -> bool:
        """Tell whether the service is called about orders."""
        return self.hook != PATIENT_VIEW


SERVICES = {
    service.id: service
    for service in (
        CdsService(
            "salvage-patient-view",
            PATIENT_VIEW,
            "Outcomes after relapse",
            "Estimates how patients like this one fared after a relapse or progression, with reasons.",
        ),
        CdsService(
            "salvage-order-select",
            ORDER_SELECT,
            "Outcomes after relapse, with the orders selected",
            "The same estimate, for the treatment that is being ordered as far as its codes are known.",
        ),
        CdsService(
            "salvage-order-sign",
            ORDER_SIGN,
            "Outcomes after relapse, with the orders to be signed",
            "The same estimate, for the treatment that is about to be signed.",
        ),
    )
}


def discovery() -> dict[str, Any]:
    """Return what GET /cds-services answers."""
    return {"services": [service.as_dict() for service in SERVICES.values()]}
