"""One patient's resources, dated and sorted by kind."""

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
    """What references may point to within one Bundle, or within the loose resources of an export."""

    aliases: dict[str, str] = field(default_factory=dict)
    medications: dict[str, Element] = field(default_factory=dict)

    def resolve(self, reference: str) -> str:
        """Return a reference as Type/id; one that cannot be resolved comes back as it is.

        >>> ReferenceScope().resolve("http://example.org/fhir/Patient/7/_history/2")
        'Patient/7'
        """
        if reference in self.aliases:
            return self.aliases[reference]
        parts = reference.split("/_history/")[0].split("/")
        return "/".join(parts[-2:])


@dataclass(frozen=True)
class LocatedResource:
    """A resource and where it stands: the file, with the line where there are lines."""

    resource: Element
    source: str
    scope: ReferenceScope

    @property
    def kind(self) -> str:
        """Return the resource type."""
        return string(self.resource, "resourceType")

    @property
    def label(self) -> str:
        """Return where the resource stands, for a problem's text."""
        own = f"{self.kind}/{string(self.resource, 'id') or '?'}"
        return f"{self.source}: {own}" if self.source else own

    def refers_to(self, name: str) -> list[str]:
        """Return the references of this name as Type/id."""
        parts = [child(self.resource, name), *children(self.resource, name)]
        return [self.scope.resolve(r) for part in parts if (r := string(part, "reference"))]

    @property
    def patient(self) -> str | None:
        """Return the id of the patient whom the resource is about, or who it is."""
        if self.kind == "Patient":
            return string(self.resource, "id") or None
        for reference in (*self.refers_to("subject"), *self.refers_to("patient")):
            if reference.startswith("Patient/"):
                return reference.removeprefix("Patient/")
        return None

    @property
    def medication(self) -> Element:
        """Return the medication's CodeableConcept, followed through a reference where there is one."""
        concept = child(self.resource, "medicationCodeableConcept")
        if concept:
            return concept
        reference = string(child(self.resource, "medicationReference"), "reference")
        if reference.startswith("#"):
            found = (c for c in children(self.resource, "contained") if string(c, "id") == reference[1:])
            return child(next(found, NOTHING), "code")
        return self.scope.medications.get(self.scope.resolve(reference), NOTHING)


@dataclass(frozen=True)
class DatedResource:
    """A resource that counts, with its day; None where it is undated."""

    entry: LocatedResource
    when: date | None

    @property
    def resource(self) -> Element:
        """Return the resource."""
        return self.entry.resource

    @property
    def reference(self) -> str:
        """Return how other resources refer to it, Type/id."""
        return f"{self.entry.kind}/{string(self.resource, 'id') or '?'}"

    def by(self, index: date | None) -> bool:
        """Tell whether it is known at the index date: dated, and not later."""
        return self.when is not None and (index is None or self.when <= index)


@dataclass(frozen=True)
class PatientRecord:
    """One patient's resources by type; those entered in error are gone."""

    items: Mapping[str, tuple[DatedResource, ...]]
    drafts: tuple[DatedResource, ...]
    last_contact: date | None

    def of(self, *kinds: str) -> tuple[DatedResource, ...]:
        """Return the resources of these types."""
        return tuple(item for kind in kinds for item in self.items.get(kind, ()))


def index_record(
    entries: Iterable[LocatedResource], *, death: date | None, findings: Findings
) -> PatientRecord:
    """Date and sort one patient's resources.

    A resource that stands twice counts once, as it stands last. Contact ends at death: what was written
    later is no contact, and is noted.
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
    found = {kind: tuple(named.values()) for kind, named in items.items()}
    days = [i.when for kind in CONTACT for i in found.get(kind, ()) if i.when]
    alive = [day for day in days if death is None or day <= death]
    if len(alive) < len(days):
        findings.note("resources dated after the patient's death do not count as contact")
    return PatientRecord(found, tuple(drafts), max(alive, default=None))


def _status(resource: Element) -> str:
    """Return a resource's status; for a Condition, whether it was verified."""
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
    """Return the day of a date, noting a partial one and naming one that cannot be read."""
    day, partial = read_day(text)
    if day is None:
        findings.wrong(where, "carries something that is no date", DATE_REMEDY)
    elif partial:
        findings.note("a partial date is read as the middle of its year or month")
    return day
