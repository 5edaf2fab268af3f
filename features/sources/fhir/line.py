"""Lines of therapy: as recorded (CodeX MOPA), else inferred from drugs and progressions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from features.sources.fhir.element import child, children, string
from features.sources.fhir.findings import Findings
from features.sources.fhir.resources import DatedResource, PatientRecord
from features.sources.fhir.terminology import load_terminology
from features.sources.fhir.treatment import Dose

PAUSE_DAYS = 180


@dataclass(frozen=True)
class TherapyLines:
    """The number of systemic lines begun before the index date, and whether it was inferred."""

    lines: int
    inferred: bool


def prior_lines(
    record: PatientRecord, doses: Sequence[Dose], worsened: Sequence[date], *, index: date, findings: Findings
) -> TherapyLines | None:
    """Return the lines before the index date, None where neither lines nor drugs are recorded."""
    recorded = _recorded(record, index, findings)
    if recorded is not None:
        return TherapyLines(recorded, inferred=False)
    earlier = [dose for dose in doses if dose.when < index and dose.drug.classes]
    if not earlier:
        return None
    return TherapyLines(inferred_lines(earlier, worsened), inferred=True)


def inferred_lines(doses: Sequence[Dose], worsened: Sequence[date]) -> int:
    """Count lines of therapy in doses that are in order of day.

    A line begins with the first drug, with the first drug after a progression, and with a drug not given
    before that starts after a pause of more than 180 days. Endocrine therapy after a pause continues the line
    before it.
    """
    lines, begun, last, given = 0, date.min, date.min, set[str]()
    for dose in doses:
        progressed = any(begun < day <= dose.when for day in worsened)
        paused = (dose.when - last).days > PAUSE_DAYS and dose.drug.name not in given
        if lines == 0 or progressed or (paused and dose.drug.classes != ("endocrine_therapy",)):
            lines, begun = lines + 1, dose.when
        last = dose.when
        given.add(dose.drug.name)
    return lines


def _recorded(record: PatientRecord, index: date, findings: Findings) -> int | None:
    """Return the highest line recorded before the index date, None where none is; maintenance is none."""
    numbers = []
    for item in record.of("Observation"):
        number = line_number(item)
        if number and item.when and item.when < index:
            numbers.append(number)
    if max(numbers, default=0) == 3:
        findings.note("prior_lines: third line or later is read as three")
    return max(numbers, default=None)


def line_number(item: DatedResource) -> int | None:
    """Return the line of therapy that an Observation states, None where it states none."""
    systems = tuple(load_terminology().maps["line_systems"])
    code = children(child(item.resource, "code"), "coding")
    if not any(
        string(c, "code") == "line-of-therapy" and string(c, "system").startswith(systems) for c in code
    ):
        return None
    lines: dict[str, int] = load_terminology().maps["lines"]
    answers = children(child(item.resource, "valueCodeableConcept"), "coding")
    return next((lines[name] for c in answers if (name := string(c, "code")) in lines), None)
