"""The door to FHIR files: a validated cohort, with every excluded patient counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from features.cohort import PATIENT, Cohort, Provenance
from features.dictionary import Dictionary, load_dictionary
from features.eligibility import NO_FOLLOW_UP, Attrition
from features.errors import InvalidCohort, Problem
from features.sources.fhir.extract import (
    NO_DISEASE,
    NO_RELAPSE,
    Extracted,
    extract_patient,
    require_index_event,
)
from features.sources.fhir.files import read_documents
from features.sources.fhir.findings import Findings
from features.sources.fhir.index_event import LATEST
from features.sources.fhir.intake import bundle_patient, group, is_bundle, open_bundle, remember_medication
from features.sources.fhir.resources import LocatedResource, ReferenceScope
from features.sources.fhir.terminology import load_terminology

if TYPE_CHECKING:
    import pandas as pd

EVIDENCE = ("synthetic", "real")
LISTED_NOTES = 40
COUNTED = (
    "disease", "histology", "age", "sex", "months_diagnosis_to_relapse", "months_since_transplant",
    "disease_status", "prior_lines", "line_inferred", "ldh_ratio", "months_followed", "died",
)  # fmt: skip
PREFIXES = ("site_", "prior_", "plan_")
NOT_READ = ("prior_best_response", "plan_regimen", "plan_class_change", "plan_intensity", "plan_conditioning",
            "plan_donor", "plan_graft", "plan_route", "plan_intent", "plan_re_irradiation",
            "plan_supportive_care", "plan_clinical_trial")  # fmt: skip


@dataclass(frozen=True)
class FhirRecipe:
    """What FHIR files do not say themselves.

    ``evidence`` is ``synthetic`` or ``real``. ``index_event`` starts the clock at the latest or the first
    relapse or progression.
    """

    evidence: str
    index_event: str = LATEST
    name: ClassVar[str] = "fhir"
    public: ClassVar[None] = None


class FhirDoor:
    """Files with mCODE records: Bundles, a folder of them, or an NDJSON bulk export.

    The cohort has every field of :func:`readable`. A patient without a recorded relapse or progression,
    without a disease of the dictionary, or without follow-up is excluded and counted by reason. Notes (codes
    not read, partial dates) stand in the provenance with their counts.
    """

    name = "FHIR"
    inputs = "a Bundle or resource (.json), a bulk export (.ndjson), or a folder of either"
    follows = FhirRecipe

    def recognises(self, source: str) -> bool:
        """Accept any path; reading names each file that is not FHIR."""
        return True

    def read(self, recipe: FhirRecipe, source: str) -> Cohort:
        """Return the cohort of everyone with a relapse or progression.

        Raises:
            InvalidCohort: naming every file, line and resource that cannot be read as it should.

        """
        require_index_event(recipe.index_event)
        if recipe.evidence not in EVIDENCE:
            problem = Problem("evidence", "is neither real nor synthetic", "say synthetic or real")
            raise InvalidCohort(source, [problem])
        findings = Findings()
        patients = _patients(Path(source), findings)
        extracted = [
            extract_patient(patient, entries, index_event=recipe.index_event, findings=Findings())
            for patient, entries in sorted(patients.items())
        ]
        problems = [*findings.record, *(p for one in extracted for p in _blocking(one))]
        if problems:
            raise InvalidCohort(source, problems)
        kept = [one for one in extracted if one.excluded is None]
        provenance = _provenance(recipe, Path(source).name, extracted, findings)
        return Cohort.from_frame(
            _frame(kept), dictionary=readable(), provenance=(provenance,), units_stated=True
        )


def readable() -> Dictionary:
    """Return the fields that this door can read, in the dictionary's order.

    >>> {"ecog", "prior_lines", "months_followed"} <= set(readable().names)
    True
    """
    names = {*COUNTED, *load_terminology().fields.values()}
    names |= {n for n in load_dictionary().names if n.startswith(PREFIXES) and n not in NOT_READ}
    return load_dictionary().slice(load_dictionary().ordered(names))


def _patients(path: Path, findings: Findings) -> dict[str, list[LocatedResource]]:
    """Return the resources of every patient, over all files."""
    loose: list[LocatedResource] = []
    whole: dict[str, list[LocatedResource]] = {}
    scope = ReferenceScope()
    for document in read_documents(path, findings):
        if not is_bundle(document.resource):
            loose.append(LocatedResource(document.resource, document.source, scope))
            remember_medication(loose[-1])
            continue
        before, entries = len(findings.record), open_bundle(document.resource, source=document.source)
        patient = bundle_patient(entries, findings)
        if patient:
            whole.setdefault(patient, []).extend(entries)
        elif patient is None and len(findings.record) == before:
            loose.extend(entries)
            _require_someone(entries, document.source, findings)
        else:
            findings.wrong(document.source, "has no single Patient with an id", "give the Patient an id")
    for patient, entries in group(loose, findings).items():
        whole.setdefault(patient, []).extend(entries)
    return whole


def _require_someone(entries: Sequence[LocatedResource], source: str, findings: Findings) -> None:
    if not any(entry.patient for entry in entries):
        findings.wrong(source, "has no patient", "expected a Bundle with exactly one Patient")


def _blocking(one: Extracted) -> tuple[Problem, ...]:
    """Return the problems that stop the reading; those of values only for a patient who is included."""
    return one.problems if one.excluded is None else one.record_problems


def _frame(kept: Sequence[Extracted]) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415  takes long to load, and a single patient needs no table

    columns = {PATIENT: pd.Series([one.patient for one in kept], dtype=object)}
    for name in readable().names:
        columns[name] = pd.Series([one.fields.get(name) for one in kept], dtype=object)
    return pd.DataFrame(columns)


def _provenance(
    recipe: FhirRecipe, files: str, extracted: Sequence[Extracted], findings: Findings
) -> Provenance:
    attrition = Attrition(len(extracted))
    reasons = Counter(one.excluded for one in extracted)
    for reason in (NO_RELAPSE, NO_DISEASE, NO_FOLLOW_UP):
        attrition = attrition.then(reason, reasons[reason])
    notes = Counter(findings.notes)
    for one in extracted:
        notes.update(one.notes)
        if one.excluded and one.value_problems:
            notes["a value that cannot be read, of a patient left out"] += len(one.value_problems)
    return Provenance(
        recipe=recipe.name,
        evidence=recipe.evidence,
        source=f"FHIR files: {files}",
        terms="as agreed with whoever exported the records",
        index_event=recipe.index_event,
        selection=_stated(notes),
        attrition=attrition,
    )


def _stated(notes: Counter[str]) -> tuple[str, ...]:
    """Return how the cohort was made, and the most frequent notes with their counts."""
    ranked = sorted(notes.items(), key=lambda note: (-note[1], note[0]))
    listed = [f"{wording} ({times})" for wording, times in ranked[:LISTED_NOTES]]
    rest = len(ranked) - len(listed)
    return (
        "values are the latest at or before the index date; none from after it is used",
        "the plan is read from drafts alone, from the index date on",
        *listed,
        *([f"{rest} further notes"] if rest > 0 else []),
    )
