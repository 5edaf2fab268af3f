"""Birth, sex and death, from Patient resources that must agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from features.sources.fhir.element import child, codes, string
from features.sources.fhir.findings import Findings
from features.sources.fhir.resources import LocatedResource, read_date

DEATH_DATE = ("loinc", "81956-5")  # Date and time of death


@dataclass(frozen=True)
class Person:
    """One patient; ``death`` is None while alive, and where the day of death is unknown."""

    where: str
    birth: date | None
    sex: str | None
    death: date | None
    died: bool


def read_person(entries: Sequence[LocatedResource], findings: Findings) -> Person:
    """Return the person; a missing Patient, and two birth dates, sexes or deaths, are problems."""
    patients = [entry for entry in entries if entry.kind == "Patient"]
    if not patients:
        where = entries[0].source if entries else "the record"
        findings.wrong(where, "has no Patient resource", "add the one patient whom the resources are about")
        return Person(where, None, None, None, False)
    label = patients[0].label
    births = _days(patients, "birthDate", findings)
    deaths = _days(patients, "deceasedDateTime", findings) | _observed_deaths(entries, findings)
    genders = {g for p in patients if (g := string(p.resource, "gender")) in ("female", "male")}
    for noun, values in (("birth dates", births), ("sexes", genders), ("deaths", deaths)):
        if len(values) > 1:
            findings.wrong(label, f"has two different {noun}", "keep the right one")
    birth, death = min(births, default=None), min(deaths, default=None)
    if birth and death and death < birth:
        findings.wrong(label, "died before birth", "correct birthDate or deceasedDateTime")
    if birth is None:
        findings.note("a patient without a birth date has no age")
    died = bool(deaths) or any(p.resource.get("deceasedBoolean") is True for p in patients)
    return Person(label, birth, min(genders, default=None), death, died)


def _days(patients: Sequence[LocatedResource], name: str, findings: Findings) -> set[date]:
    texts = {(text, p.label) for p in patients if (text := string(p.resource, name))}
    return {day for text, label in texts if (day := read_date(text, label, findings))}


def _observed_deaths(entries: Sequence[LocatedResource], findings: Findings) -> set[date]:
    return {
        day
        for entry in entries
        if entry.kind == "Observation" and DEATH_DATE in codes(child(entry.resource, "code"))
        if (text := string(entry.resource, "valueDateTime"))
        and (day := read_date(text, entry.label, findings))
    }
