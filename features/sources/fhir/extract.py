"""From one patient's resources to dictionary fields and the index date."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from features.dictionary import load_dictionary
from features.eligibility import NO_FOLLOW_UP
from features.errors import InvalidCohort, Problem
from features.sources.fhir.basis import ReadResources, basis_of
from features.sources.fhir.counted import Fields, counted_fields
from features.sources.fhir.disease import (
    Cancer,
    histology,
    metastases,
    read_cancers,
    treated_cancer,
)
from features.sources.fhir.findings import Findings
from features.sources.fhir.index_event import (
    INDEX_EVENTS,
    LATEST,
    choose_proof,
    latest_status,
    read_proofs,
    read_statuses,
)
from features.sources.fhir.intake import one_patient
from features.sources.fhir.observations import collect_candidates, read_fields
from features.sources.fhir.person import Person, read_person
from features.sources.fhir.resources import DatedResource, LocatedResource, PatientRecord, index_record
from features.sources.fhir.stage import condition_stage
from features.sources.fhir.treatment import planned, unread_orders
from features.sources.fhir.values import PlainValue

NO_RELAPSE = "no relapse or progression recorded"
NO_DISEASE = "no disease of the dictionary recorded"


@dataclass(frozen=True)
class Extracted:
    """One patient's record as dictionary fields.

    ``fields`` are within the dictionary's rules. Without an index date they are the latest known values, and
    lack what is relative to it (age, prior treatment, follow-up). ``disease_status`` is mCODE's status
    (improved, stable, worsened, ...), not the dictionary's (relapsed, refractory, ...). ``excluded`` is the
    reason why the patient cannot enter a cohort, None where they can. ``record_problems`` concern the record
    as a whole, ``value_problems`` single values. ``units_in_question`` are, by field, those of a unit that is
    missing or that the number contradicts.

    ``basis`` holds, by field, the resources that its value was read from, ``condition`` the treated cancer,
    and ``unread_orders`` the draft orders that map to no plan field. All are references, Type/id.
    """

    patient: str | None
    fields: Mapping[str, PlainValue]
    index_date: date | None
    disease_status: str | None
    excluded: str | None
    record_problems: tuple[Problem, ...]
    value_problems: tuple[Problem, ...]
    notes: Mapping[str, int]
    basis: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    condition: str | None = None
    unread_orders: tuple[str, ...] = ()
    units_in_question: Mapping[str, Problem] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return the problems of the record and of its values."""
        return self.record_problems + self.value_problems


def extract_bundle(
    resources: Mapping[str, Any] | Iterable[Mapping[str, Any]], *, index_event: str = LATEST, source: str = ""
) -> Extracted:
    """Extract one patient from a Bundle, or from the resources of one.

    Faults of the record are returned in ``problems``, never raised. References by full URL are resolved only
    in a whole Bundle. ``source`` is what problems call the record.

    Raises:
        InvalidCohort: when the index event is none that a record can prove.

    """
    findings = Findings()
    patient, entries = one_patient(resources, source=source, findings=findings)
    return extract_patient(patient, entries, index_event=index_event, findings=findings)


def extract_patient(
    patient: str | None, entries: Sequence[LocatedResource], *, index_event: str, findings: Findings
) -> Extracted:
    """Extract one patient from all their resources.

    Raises:
        InvalidCohort: when the index event is none that a record can prove.

    """
    require_index_event(index_event)
    person = read_person(entries, findings)
    record = index_record(entries, death=person.death, findings=findings)
    cancers = read_cancers(record, findings)
    statuses = read_statuses(record, cancers, findings)
    proofs = read_proofs(statuses, cancers, findings)
    chosen = choose_proof(proofs, index_event)
    index = chosen.when if chosen else None
    about = chosen.about if chosen else frozenset()
    cancer = treated_cancer(cancers, index=index, evidence=about, findings=findings)
    fields, read = _known(record, cancers, cancer, index, findings)
    used = list(read.values())
    if person.sex:
        fields["sex"] = person.sex
    treatment: list[DatedResource] = []
    if chosen:
        counted, treatment = counted_fields(chosen, person, record, cancers, cancer, statuses, findings)
        fields, used = fields | counted, used + treatment
    _judge_days(person, index, [*used, *(c.item for c in cancers), *(s.item for s in statuses)], findings)
    proof = chosen.item if chosen else None
    seen = ReadResources(patient, index, proof, read, cancers, cancer, statuses, treatment, record)
    status = latest_status(statuses, index)
    kept = _applicable(fields, person.where, findings)
    return Extracted(
        patient=patient,
        fields=kept,
        index_date=index,
        disease_status=status.status if status else None,
        excluded=_excluded(kept, index),
        record_problems=tuple(findings.record),
        value_problems=tuple(findings.values),
        notes=dict(findings.notes),
        basis=basis_of(kept, seen),
        condition=cancer.reference if cancer else None,
        unread_orders=unread_orders(record.drafts),
        units_in_question=dict(findings.units),
    )


def require_index_event(index_event: str) -> None:
    """Check that a record can prove an index event.

    Raises:
        InvalidCohort: naming the index events that it can prove, when it cannot.

    """
    if index_event not in INDEX_EVENTS:
        problem = Problem("index_event", "is none this door knows", "use " + " or ".join(INDEX_EVENTS))
        raise InvalidCohort("FHIR", [problem])


def _known(
    record: PatientRecord,
    cancers: Sequence[Cancer],
    cancer: Cancer | None,
    index: date | None,
    findings: Findings,
) -> tuple[Fields, dict[str, DatedResource]]:
    """Return the values known at the index date, or now where there is none, and their Observations."""
    about = frozenset({cancer.reference}) if cancer else frozenset[str]()
    same = frozenset(c.reference for c in cancers if cancer and c.disease == cancer.disease and c.disease)
    readings = collect_candidates(record, about=about | same, findings=findings)
    fields, used = read_fields(readings, index=index, findings=findings)
    fields |= metastases(cancers, index=index)
    fields |= planned(record.drafts, index=index)
    if cancer and cancer.disease:
        fields["disease"] = cancer.disease
        if kind := histology(cancer):
            fields["histology"] = kind
        if "stage_at_relapse" not in fields and (stage := condition_stage(cancer, findings)):
            fields["stage_at_relapse"] = stage
    return fields, used


def _judge_days(
    person: Person, index: date | None, used: Sequence[DatedResource], findings: Findings
) -> None:
    """Add a problem for each resource dated before birth, and for a death before the index date."""
    if person.birth:
        for item in used:
            if item.when and item.when < person.birth:
                findings.wrong(item.entry.label, "is dated before birth", "correct its date or birthDate")
    if index and person.death and person.death < index:
        remedy = "correct deceasedDateTime, or the date of the relapse or progression"
        findings.wrong(person.where, "died before the index date", remedy)


def _applicable(fields: Fields, where: str, findings: Findings) -> Fields:
    """Return the fields that apply to the disease; the others are noted, values out of range are problems."""
    disease = str(fields.get("disease", ""))
    kept: Fields = {}
    for name, value in fields.items():
        declared = load_dictionary()[name]
        if declared.applies(disease):
            faults = declared.read([value]).faults
            if faults:
                findings.unreadable(where, f"{name} is {next(iter(faults))}", f"expected {declared.expected}")
            else:
                kept[name] = value
        elif value is not False:
            findings.note(f"{name}: has no meaning in this disease and is left out")
    return kept


def _excluded(fields: Mapping[str, PlainValue], index: date | None) -> str | None:
    """Return the reason why the patient cannot enter a cohort, None where they can."""
    if index is None:
        return NO_RELAPSE
    if "disease" not in fields:
        return NO_DISEASE
    return NO_FOLLOW_UP if fields.get("months_followed") == 0 else None
