"""The basis of a patient's fields: the resources that each value was read from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from features.sources.fhir.disease import Cancer
from features.sources.fhir.index_event import DiseaseStatus
from features.sources.fhir.line import line_number
from features.sources.fhir.resources import DatedResource, PatientRecord
from features.sources.fhir.treatment import plan_of

PERSON = frozenset({"age", "sex"})
DISEASE = frozenset({"disease", "histology", "stage_at_relapse", "months_diagnosis_to_relapse"})
FROM_TIME_ZERO = frozenset({"age", "months_diagnosis_to_relapse", "months_since_transplant"})
LINES = frozenset({"prior_lines", "line_inferred"})


@dataclass(frozen=True)
class ReadResources:
    """The resources that one patient's fields were read from.

    ``proof`` sets the index date; ``read`` holds the Observation of each field that is read from one.
    """

    patient: str | None
    index: date | None
    proof: DatedResource | None
    read: Mapping[str, DatedResource]
    cancers: Sequence[Cancer]
    cancer: Cancer | None
    statuses: Sequence[DiseaseStatus]
    treatment: Sequence[DatedResource]
    record: PatientRecord


def basis_of(fields: Iterable[str], seen: ReadResources) -> dict[str, tuple[str, ...]]:
    """Return, by field, references (Type/id) to the resources that it was read from, each once.

    The basis of an age or a time since includes the proof of the index event.
    """
    return {name: tuple(dict.fromkeys(_references(name, seen))) for name in fields}


def _references(name: str, seen: ReadResources) -> Iterator[str]:
    if name in PERSON and seen.patient:
        yield f"Patient/{seen.patient}"
    items = _items(name, seen)
    if name in FROM_TIME_ZERO and seen.proof:
        items = [*items, seen.proof]
    yield from (item.reference for item in items if not item.reference.endswith("/?"))


def _items(name: str, seen: ReadResources) -> list[DatedResource]:
    if name in seen.read:
        return [seen.read[name]]
    if name in DISEASE:
        return [c.item for c in seen.cancers if _same(c, seen.cancer)]
    if name.startswith("site_"):
        return [c.item for c in seen.cancers if c.metastatic and c.item.by(seen.index)]
    if name.startswith("plan_"):
        return [item for item in seen.record.drafts if name in plan_of(item)]
    if name == "disease_status":
        return [s.item for s in seen.statuses if s.item.by(seen.index)]
    if name in LINES and (lines := [i for i in seen.record.of("Observation") if line_number(i)]):
        return lines
    if name.startswith("prior_") or name in LINES or name == "months_since_transplant":
        return [i for i in seen.treatment if i.when and seen.index and i.when < seen.index]
    return []


def _same(one: Cancer, treated: Cancer | None) -> bool:
    return treated is not None and (one is treated or bool(one.disease and one.disease == treated.disease))
