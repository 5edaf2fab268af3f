"""Assigning resources to patients: by Bundle, or by the patient whom each resource refers to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from features.sources.fhir.element import Element, child, children, string
from features.sources.fhir.findings import Findings
from features.sources.fhir.resources import DATED_BY, LocatedResource, ReferenceScope

TWO_PATIENTS = "holds two patients"
ONE_EACH = "write one Bundle a patient, or an NDJSON export grouped by subject"


def open_bundle(bundle: Element, *, source: str) -> list[LocatedResource]:
    """Return a Bundle's resources, with references by full URL resolved within it."""
    scope = ReferenceScope()
    entries = []
    for part in children(bundle, "entry"):
        resource = child(part, "resource")
        if not resource:
            continue
        entry = LocatedResource(resource, source, scope)
        entries.append(entry)
        if address := string(part, "fullUrl"):
            scope.aliases[address] = f"{entry.kind}/{string(resource, 'id')}"
        remember_medication(entry)
    return entries


def remember_medication(entry: LocatedResource) -> None:
    """Add a Medication to its scope, for references from orders; other resources are ignored."""
    if entry.kind == "Medication":
        entry.scope.medications[f"Medication/{string(entry.resource, 'id')}"] = child(entry.resource, "code")


def is_bundle(resource: Element) -> bool:
    """Return whether a resource is a Bundle."""
    return resource.get("resourceType") == "Bundle"


def one_patient(
    resources: Mapping[str, Any] | Iterable[Mapping[str, Any]], *, source: str, findings: Findings
) -> tuple[str | None, list[LocatedResource]]:
    """Return the patient of a Bundle, or of a list of resources, and all their resources."""
    if isinstance(resources, Mapping):
        entries = open_bundle(resources, source=source)
    else:
        scope = ReferenceScope()
        entries = [LocatedResource(r, source, scope) for r in resources if isinstance(r, dict)]
        for entry in entries:
            remember_medication(entry)
    return bundle_patient(entries, findings), entries


def bundle_patient(entries: Sequence[LocatedResource], findings: Findings) -> str | None:
    """Return the id of a Bundle's patient, empty without an id, None without Patient or with several.

    A second Patient, and a resource about another patient, are problems of the record.
    """
    own = dict.fromkeys(e.patient or "" for e in entries if e.kind == "Patient")
    if len(own) > 1:
        findings.wrong(entries[0].source or "Bundle", TWO_PATIENTS, ONE_EACH)
        return None
    patient = next(iter(own), None)
    for entry in entries:
        about = entry.patient
        if patient is not None and about is not None and about != patient:
            findings.wrong(entry.label, "is about another patient than its Bundle", ONE_EACH)
    return patient


def group(entries: Iterable[LocatedResource], findings: Findings) -> dict[str, list[LocatedResource]]:
    """Group resources outside Bundles by patient; a clinical resource without a patient is a problem."""
    grouped: dict[str, list[LocatedResource]] = {}
    for entry in entries:
        patient = entry.patient
        if patient is not None:
            grouped.setdefault(patient, []).append(entry)
        elif entry.kind in DATED_BY or entry.kind == "Patient":
            remedy = (
                "give the Patient an id" if entry.kind == "Patient" else "add subject.reference Patient/id"
            )
            findings.wrong(entry.label, "names no patient", remedy)
    return grouped
