"""The errors that this project raises on purpose; every other exception is a bug.

SalvageError
├── InvalidInput              the caller can correct it; lists every problem at once
│   ├── InvalidDictionary
│   ├── InvalidProtocol
│   ├── InvalidRecipe
│   ├── InvalidCohort
│   └── InvalidRequest
├── NotFound                  there is no model, recipe, protocol or prediction of this name
├── NotFittable               the cohort has too few patients or events for the model
├── MissingExtra              an optional package is not installed
├── BundleRefused             a model file is not what its manifest says
├── NotExplained              contributions do not sum to their prediction
├── NoChampion                no model version has been promoted yet
├── RecordNotWritten          the audit record could not be made durable
├── TooBusy                   the audit record's queue is full
└── KeyReused                 an idempotency key was sent again with a different request
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

EXAMPLES = 5


@dataclass(frozen=True)
class Problem:
    """One fault of an input: its field, what is wrong, in how many rows, and the remedy.

    ``examples`` are the first row numbers, counted from 1. A problem never carries a patient's value.
    """

    field: str
    problem: str
    remedy: str
    rows: int | None = None
    examples: tuple[int, ...] = ()

    @classmethod
    def in_rows(cls, field: str, problem: str, remedy: str, rows: Sequence[int]) -> "Problem":
        """Return a problem of these rows; they are counted, and the first five named by their numbers.

        >>> str(Problem.in_rows("age", "out of range", "correct it", [3, 4, 5, 6, 7, 8]))
        'age: out of range (6 rows, e.g. 3, 4, 5, 6, 7); correct it'
        """
        return cls(field, problem, remedy, len(rows), tuple(rows[:EXAMPLES]))

    def as_dict(self) -> dict[str, Any]:
        """Return the problem as JSON values, without row counts where it is not about rows."""
        return {name: value for name, value in asdict(self).items() if value not in (None, ())}

    def __str__(self) -> str:
        rows = "" if self.rows is None else f" ({self.rows} rows, e.g. {', '.join(map(str, self.examples))})"
        return f"{self.field}: {self.problem}{rows}; {self.remedy}"


class SalvageError(Exception):
    """Root of the errors that this project raises on purpose."""


class InvalidInput(SalvageError):
    """Input that the caller can correct; ``problems`` holds every fault of it."""

    def __init__(self, subject: str, problems: Iterable[Problem]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        super().__init__(f"{subject}: " + " | ".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type["InvalidInput"], tuple[str, tuple[Problem, ...]]]:
        """Travel between processes with every problem; an exception would send its message alone."""
        return type(self), (self.subject, self.problems)


class InvalidDictionary(InvalidInput):
    """The data dictionary contradicts itself."""


class InvalidProtocol(InvalidInput):
    """A study protocol names unknown fields or knowledge from later than its index date."""


class InvalidRecipe(InvalidInput):
    """A recipe names unknown fields, columns or codes."""


class InvalidCohort(InvalidInput):
    """A cohort table breaks the dictionary or its recipe."""


class InvalidRequest(InvalidInput):
    """A prediction request breaks the contract of the model it asks for."""


class NotFound(SalvageError):
    """A model, recipe, protocol or prediction that does not exist here."""


class NotFittable(SalvageError):
    """The cohort has too few patients or events for the model."""


class MissingExtra(SalvageError):
    """An optional package is needed and not installed; the message names the command that installs it."""


class BundleRefused(SalvageError):
    """A model bundle differs from its manifest or cannot be read."""


class NotExplained(SalvageError):
    """An explanation does not sum to its prediction within tolerance, so neither is returned."""


class NoChampion(SalvageError):
    """No model is promoted for serving."""


class RecordNotWritten(SalvageError):
    """The audit record could not be made durable, so the prediction is withheld."""


class TooBusy(SalvageError):
    """The audit record's queue is full; nothing was done, so the request can be sent again."""


class KeyReused(SalvageError):
    """An idempotency key was sent again with a different request."""
