"""The index event of a record: proofs of relapse or progression, and disease statuses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from features.sources.fhir.disease import Cancer
from features.sources.fhir.element import child, codes
from features.sources.fhir.findings import Findings
from features.sources.fhir.resources import DatedResource, PatientRecord
from features.sources.fhir.terminology import load_terminology

DISEASE_STATUS = ("loinc", "97509-4")
LATEST, FIRST = "latest relapse or progression", "first relapse or progression"
INDEX_EVENTS = (LATEST, FIRST)
REMISSION = frozenset({"full_remission", "partial_remission", "improved"})


@dataclass(frozen=True)
class DiseaseStatus:
    """One disease status Observation: improved, stable, worsened, undetermined or a remission."""

    item: DatedResource
    status: str


@dataclass(frozen=True)
class ProgressionProof:
    """Evidence of relapse or progression: its day, the Conditions it is ``about``, and its resource."""

    when: date
    about: frozenset[str]
    recurrence: bool
    item: DatedResource


def read_statuses(
    record: PatientRecord, cancers: Sequence[Cancer], findings: Findings
) -> list[DiseaseStatus]:
    """Return the cancers' statuses in order of day; those whose focus is another Condition are left out."""
    listed = load_terminology().maps["disease_status"]
    ours = {c.reference for c in cancers}
    all_conditions = {f"Condition/{item.resource.get('id')}" for item in record.of("Condition")}
    statuses = []
    for item in record.of("Observation"):
        if DISEASE_STATUS not in codes(child(item.resource, "code")):
            continue
        focus = set(item.entry.refers_to("focus")) & all_conditions
        answers = [code for _, code in codes(child(item.resource, "valueCodeableConcept"))]
        status = next((listed[code] for code in answers if code in listed), None)
        if focus and not focus & ours:
            findings.note("a disease status of another condition is not read")
        elif status is None:
            findings.note("a disease status that is none we know is not read")
        elif item.when is None and status == "worsened":
            findings.wrong(item.entry.label, "says worsened on no day", "add effectiveDateTime")
        else:
            statuses.append(DiseaseStatus(item, status))
    return sorted(statuses, key=lambda s: (s.item.when or date.min, s.item.entry.label))


def read_proofs(
    statuses: Sequence[DiseaseStatus], cancers: Sequence[Cancer], findings: Findings
) -> list[ProgressionProof]:
    """Return every proof of relapse or progression in order of day; an undated one is a problem."""
    proofs = [
        ProgressionProof(s.item.when, frozenset(s.item.entry.refers_to("focus")), False, s.item)
        for s in statuses
        if s.status == "worsened" and s.item.when
    ]
    for cancer in cancers:
        if not cancer.relapsing:
            continue
        if cancer.item.when is None:
            findings.wrong(cancer.item.entry.label, "came back on no day", "add onsetDateTime")
        else:
            about = frozenset({cancer.reference})
            proofs.append(ProgressionProof(cancer.item.when, about, True, cancer.item))
    return sorted(proofs, key=lambda e: e.when)


def choose_proof(evidence: Sequence[ProgressionProof], index_event: str) -> ProgressionProof | None:
    """Return the proof that sets the index date: the latest, or the first; None where there is none."""
    ordered = evidence[-1:] if index_event == LATEST else evidence[:1]
    return ordered[0] if ordered else None


def latest_status(statuses: Sequence[DiseaseStatus], index: date | None) -> DiseaseStatus | None:
    """Return the latest disease status by the index date."""
    return next((s for s in reversed(statuses) if s.item.by(index)), None)


def came_back(chosen: ProgressionProof, statuses: Sequence[DiseaseStatus]) -> bool:
    """Return whether the index event is a relapse: recorded as recurrence, or after a recorded response.

    Progression without a recorded response is refractory disease or a relapse; the record cannot tell which.
    """
    earlier = (s for s in statuses if s.item.when and s.item.when < chosen.when)
    return chosen.recurrence or any(s.status in REMISSION for s in earlier)
