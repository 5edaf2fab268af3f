"""What was found while reading: problems to mend, and notes that are counted and stop nothing."""

from collections import Counter
from dataclasses import dataclass, field

from features.errors import Problem


@dataclass(frozen=True)
class Findings:
    """Collects while one record, or one export, is read.

    ``record`` are problems of the record itself (its patient, its dates): they stop the reading even where
    the patient would be left out, because they may be why. ``values`` are problems of single values: they
    stop it only for a patient who enters the cohort. ``notes`` are counted by their wording.
    """

    record: list[Problem] = field(default_factory=list)
    values: list[Problem] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def wrong(self, where: str, problem: str, remedy: str) -> None:
        """Add a problem of the record, once."""
        found = Problem(where, problem, remedy)
        if found not in self.record:
            self.record.append(found)

    def unreadable(self, where: str, problem: str, remedy: str) -> None:
        """Add a problem of a value."""
        self.values.append(Problem(where, problem, remedy))

    def note(self, wording: str) -> None:
        """Count a note."""
        self.notes[wording] += 1
