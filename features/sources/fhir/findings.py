"""Findings of reading FHIR: problems that stop it, and notes that are counted and do not."""

from collections import Counter
from dataclasses import dataclass, field

from features.errors import Problem


@dataclass(frozen=True)
class Findings:
    """Collects the problems and notes of one record or one export.

    ``record`` holds problems of the record itself (its patient, its dates). They stop the reading even where
    the patient would be excluded, because they may be the reason. ``values`` holds problems of single values,
    which stop it only for a patient who enters the cohort; those of a unit stand by field in ``units``, too.
    ``notes`` counts notes by their wording.
    """

    record: list[Problem] = field(default_factory=list)
    values: list[Problem] = field(default_factory=list)
    units: dict[str, Problem] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    def wrong(self, where: str, problem: str, remedy: str) -> None:
        """Add a problem of the record, once."""
        if (added := Problem(where, problem, remedy)) not in self.record:
            self.record.append(added)

    def unreadable(self, where: str, problem: str, remedy: str) -> None:
        """Add a problem of a value."""
        self.values.append(Problem(where, problem, remedy))

    def ask_unit(self, where: str, name: str, problem: str, remedy: str) -> None:
        """Add a problem of the unit of a field's value."""
        self.unreadable(where, problem, remedy)
        self.units[name] = self.values[-1]

    def note(self, wording: str) -> None:
        """Count a note."""
        self.notes[wording] += 1
