"""Fields read from Observations: the latest value at or before the index date."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from features.dictionary import Field, load_dictionary
from features.sources.fhir.element import Element, child, children, codes, number
from features.sources.fhir.findings import Findings
from features.sources.fhir.resources import DatedResource, PatientRecord
from features.sources.fhir.terminology import load_terminology
from features.sources.fhir.units import factor
from features.sources.fhir.values import FieldValue, PlainValue, read_value

STALE_DAYS = 90
HANDLED = frozenset({"97509-4", "81956-5", "21889-1", "line-of-therapy"})


@dataclass(frozen=True)
class ValueCandidate:
    """A candidate for a field's value: an Observation, and the element of it that holds the value."""

    item: DatedResource
    element: Element


def collect_candidates(
    record: PatientRecord, *, about: frozenset[str], findings: Findings
) -> dict[str, list[ValueCandidate]]:
    """Return every field's candidates; codes that map to no field are noted.

    A stage whose focus is none of the treated disease's Conditions (``about``) is left out and noted.
    """
    fields = load_terminology().fields
    by_field: dict[str, list[ValueCandidate]] = {}
    for item in record.of("Observation"):
        for element in (item.resource, *children(item.resource, "component")):
            coding = codes(child(element, "code"))
            name = next((fields[code] for code in coding if code in fields), None)
            if name is None:
                _note_unread(coding, findings)
            elif name == "stage_at_relapse" and about and not _concerns(item, about):
                findings.note("stage_at_relapse: a stage of another disease is not read")
            else:
                by_field.setdefault(name, []).append(ValueCandidate(item, element))
    return by_field


def _note_unread(coding: Sequence[tuple[str, str]], findings: Findings) -> None:
    if coding and coding[0][1] not in HANDLED:
        findings.note(f"Observation code {coding[0][0][:60]} {coding[0][1][:40]} is not read")


def _concerns(item: DatedResource, about: frozenset[str]) -> bool:
    focus = item.entry.refers_to("focus")
    return not focus or bool(about.intersection(focus))


def read_fields(
    readings: Mapping[str, Sequence[ValueCandidate]], *, index: date | None, findings: Findings
) -> tuple[dict[str, PlainValue], dict[str, DatedResource]]:
    """Return the fields' values and the Observation of each; undated and stale Observations are noted."""
    values: dict[str, PlainValue] = {}
    used: dict[str, DatedResource] = {}
    for name, candidates in readings.items():
        field = load_dictionary()[name]
        undated = sum(c.item.when is None for c in candidates)
        findings.notes.update({f"{name}: an undated Observation is not read": undated} if undated else {})
        chosen = _latest(field, [c for c in candidates if c.item.by(index)], findings)
        if chosen is None:
            continue
        reading, value = chosen
        used[name] = reading.item
        values[name] = value
        if index and reading.item.when and (index - reading.item.when).days > STALE_DAYS:
            findings.note(f"{name}: older than {STALE_DAYS} days at the index date")
        if name == "ldh" and (ratio := _over_upper_limit(field, reading.element, value)) is not None:
            values["ldh_ratio"], used["ldh_ratio"] = ratio, reading.item
    return values, used


def _latest(
    field: Field, candidates: Sequence[ValueCandidate], findings: Findings
) -> tuple[ValueCandidate, PlainValue] | None:
    """Return the latest candidate with a value; a latest value that is refused is a problem, not skipped."""
    ranked = sorted(candidates, key=lambda c: (c.item.when or date.min, c.item.entry.label), reverse=True)
    for position, reading in enumerate(ranked):
        read = read_value(field, reading.element)
        if read.remark:
            findings.note(read.remark)
        if read.problem and read.unit_in_question:
            findings.ask_unit(reading.item.entry.label, field.name, read.problem, read.remedy)
            return None
        if read.problem:
            findings.unreadable(reading.item.entry.label, read.problem, read.remedy)
            return None
        if read.value is not None:
            if _contradicted(field, read, reading, ranked[position + 1 :]):
                findings.note(f"{field.name}: two different values on one day, the last by id is read")
            return reading, read.value
    return None


def _contradicted(
    field: Field, read: FieldValue, reading: ValueCandidate, others: Sequence[ValueCandidate]
) -> bool:
    same_day = [other for other in others if other.item.when == reading.item.when]
    return any(read_value(field, o.element).value not in (None, read.value) for o in same_day)


def _over_upper_limit(field: Field, element: Element, value: PlainValue) -> float | None:
    """Return a value as a multiple of the upper limit in its own ``referenceRange``, None without one."""
    highs = [child(span, "high") for span in children(element, "referenceRange")]
    for high in highs:
        limit, by = number(high, "value"), factor(field, str(high.get("code") or high.get("unit") or "")[:40])
        if by and limit and limit > 0:
            ratio = float(value) / (limit * by)
            return ratio if not load_dictionary()["ldh_ratio"].read([ratio]).faults else None
    return None
