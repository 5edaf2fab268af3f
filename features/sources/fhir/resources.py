"""One patient's resources, each with its day, by resource type."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from features.sources.fhir.dates import read_day
from features.sources.fhir.element import NOTHING, Element, child, children, codes, extension, string
from features.sources.fhir.findings import Findings

DATED_BY = {
    "Observation": ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued"),
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "MedicationRequest": ("authoredOn",),
    "MedicationAdministration": ("effectiveDateTime", "effectivePeriod"),
    "MedicationStatement": ("effectiveDateTime", "effectivePeriod", "dateAsserted"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "ServiceRequest": ("authoredOn",),
    "RequestGroup": ("authoredOn",),
    "Encounter": ("period",),
    "DiagnosticReport": ("effectiveDateTime", "effectivePeriod", "issued"),
    "Immunization": ("occurrenceDateTime",),
}
CONTACT = frozenset(DATED_BY) - {"ServiceRequest", "RequestGroup"}
VOID = frozenset({"entered-in-error", "cancelled", "not-done", "draft", "refuted"})
DATE_REMEDY = "write yyyy-mm-dd, yyyy-mm or yyyy, with a time after T if there is one"


@dataclass(frozen=True)
class ReferenceScope:
    """The resources that references can point to within one Bundle, or within an export without Bundles.

    ``aliases`` maps full URLs to Type/id, ``medications`` Type/id to the Medication's code.
    """

    aliases: dict[str, str] = field(default_factory=dict)
    medications: dict[str, Element] = field(default_factory=dict)

    def resolve(self, reference: str) -> str:
        """Return a reference as Type/id, without its version.

        >>> ReferenceScope().resolve("http://example.org/fhir/Patient/7/_history/2")
        'Patient/7'
        """
        if reference in self.aliases:
            return self.aliases[reference]
        parts = reference.split("/_history/")[0].split("/")
        return "/".join(parts[-2:])


@dataclass(frozen=True)
class LocatedResource:
    """A resource, the file (and line) that it comes from, and the scope of its references."""

    resource: Element
    source: str
    scope: ReferenceScope

    @property
    def kind(self) -> str:
        """Return the resource type."""
        return string(self.resource, "resourceType")

    @property
    def label(self) -> str:
        """Return file, type and id, as problems name the resource."""
        own = f"{self.kind}/{string(self.resource, 'id') or '?'}"
        return f"{self.source}: {own}" if self.source else own

    def refers_to(self, name: str) -> list[str]:
        """Return the references in the element of this name, one or repeated, as Type/id."""
        parts = [child(self.resource, name), *children(self.resource, name)]
        return [self.scope.resolve(r) for part in parts if (r := string(part, "reference"))]

    @property
    def patient(self) -> str | None:
        """Return the patient's id: a Patient's own, else that of ``subject`` or ``patient``."""
        if self.kind == "Patient":
            return string(self.resource, "id") or None
        for reference in (*self.refers_to("subject"), *self.refers_to("patient")):
            if reference.startswith("Patient/"):
                return reference.removeprefix("Patient/")
        return None

    @property
    def medication(self) -> Element:
        """Return the medication's CodeableConcept, inline or from the Medication that is referred to."""
        concept = child(self.resource, "medicationCodeableConcept")
        if concept:
            return concept
        reference = string(child(self.resource, "medicationReference"), "reference")
        if reference.startswith("#"):
            contained = (c for c in children(self.resource, "contained") if string(c, "id") == reference[1:])
            return child(next(contained, NOTHING), "code")
        return self.scope.medications.get(self.scope.resolve(reference), NOTHING)


@dataclass(frozen=True)
class DatedResource:
    """A resource and its clinically relevant day (``DATED_BY``), None where it is undated."""

    entry: LocatedResource
    when: date | None

    @property
    def resource(self) -> Element:
        """Return the resource."""
        return self.entry.resource

    @property
    def reference(self) -> str:
        """Return the reference to the resource, Type/id."""
        return f"{self.entry.kind}/{string(self.resource, 'id') or '?'}"

    def by(self, index: date | None) -> bool:
        """Return whether the resource is dated, and by the index date where there is one."""
        return self.when is not None and (index is None or self.when <= index)


@dataclass(frozen=True)
class PatientRecord:
    """One patient's resources by type, without void ones, and draft orders apart.

    ``last_contact`` is the latest day of a resource that proves contact (``CONTACT``).
    """

    items: Mapping[str, tuple[DatedResource, ...]]
    drafts: tuple[DatedResource, ...]
    last_contact: date | None

    def of(self, *kinds: str) -> tuple[DatedResource, ...]:
        """Return the resources of these types."""
        return tuple(item for kind in kinds for item in self.items.get(kind, ()))


def index_record(
    entries: Iterable[LocatedResource], *, death: date | None, findings: Findings
) -> PatientRecord:
    """Date one patient's resources and sort them by type.

    Of resources with the same type and id the last one counts. Resources dated after death are no contact,
    and are noted.
    """
    items: dict[str, dict[str, DatedResource]] = {}
    drafts: list[DatedResource] = []
    for number, entry in enumerate(entries):
        if entry.kind not in DATED_BY:
            continue
        item = DatedResource(entry, _day(entry, findings))
        status = _status(entry.resource)
        if status == "draft" or string(entry.resource, "intent") in ("plan", "proposal"):
            drafts.append(item)
        elif status not in VOID:
            items.setdefault(entry.kind, {})[string(entry.resource, "id") or f" {number}"] = item
    by_type = {kind: tuple(named.values()) for kind, named in items.items()}
    days = [i.when for kind in CONTACT for i in by_type.get(kind, ()) if i.when]
    alive = [day for day in days if death is None or day <= death]
    if len(alive) < len(days):
        findings.note("resources dated after the patient's death do not count as contact")
    return PatientRecord(by_type, tuple(drafts), max(alive, default=None))


def _status(resource: Element) -> str:
    """Return a resource's status; for a Condition, its verification status."""
    if string(resource, "resourceType") == "Condition":
        verified = codes(child(resource, "verificationStatus"))
        return verified[0][1] if verified else ""
    return string(resource, "status")


def _day(entry: LocatedResource, findings: Findings) -> date | None:
    text = _date_text(entry.resource, DATED_BY[entry.kind])
    if not text and entry.kind == "Condition":
        text = string(extension(entry.resource, "condition-assertedDate"), "valueDateTime")
    return read_date(text, entry.label, findings) if text else None


def _date_text(resource: Element, names: tuple[str, ...]) -> str:
    for name in names:
        value = resource.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, dict):
            start = string(value, "start")
            return string(value, "end") or start if name == "period" else start
    return ""


def read_date(text: str, where: str, findings: Findings) -> date | None:
    """Return the day of a date; a partial date is noted, any other text is a problem of the record."""
    day, partial = read_day(text)
    if day is None:
        findings.wrong(where, "carries something that is no date", DATE_REMEDY)
    elif partial:
        findings.note("a partial date is read as the middle of its year or month")
    return day
