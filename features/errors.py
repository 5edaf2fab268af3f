"""Every error raised on purpose.

SalvageError
├── InvalidInput              the caller can mend it; lists every problem at once
│   ├── InvalidDictionary
│   ├── InvalidProtocol
│   ├── InvalidRecipe
│   ├── InvalidCohort
│   └── InvalidRequest
├── NotFound                  a name that stands for nothing here
├── NotFittable               the cohort cannot carry the model asked for
├── MissingExtra              an optional package is not installed
├── BundleRefused             a model file is not what its manifest says
├── NotExplained              contributions do not add up to their prediction
├── NoChampion                no model has been promoted yet
├── RecordNotWritten          the audit record could not be made durable
├── TooBusy                   more waits to be put on record than the queue holds
└── KeyReused                 an idempotency key came again with another request
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input: where, what was expected, in how many rows, what to do.

    It never carries a patient's value.
    """

    field: str
    problem: str
    remedy: str
    rows: int | None = None
    examples: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the problem as JSON-ready fields, leaving out row counts where there are no rows."""
        return {name: value for name, value in asdict(self).items() if value not in (None, ())}

    def __str__(self) -> str:
        rows = "" if self.rows is None else f" ({self.rows} rows, e.g. {', '.join(map(str, self.examples))})"
        return f"{self.field}: {self.problem}{rows}; {self.remedy}"


class SalvageError(Exception):
    """The root of every error raised on purpose."""


class InvalidInput(SalvageError):
    """Input that the caller can mend; carries every problem found."""

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
    """The cohort cannot carry the model asked for."""


class MissingExtra(SalvageError):
    """An optional package is needed and is not installed."""


class BundleRefused(SalvageError):
    """A model bundle differs from its manifest or cannot be read."""


class NotExplained(SalvageError):
    """An explanation missed its prediction, so neither is shown."""


class NoChampion(SalvageError):
    """No model is promoted for serving."""


class RecordNotWritten(SalvageError):
    """The audit record could not be made durable, so no prediction may leave."""


class TooBusy(SalvageError):
    """The queue of what waits to be put on record is full; nothing was done, and asking again is safe."""


class KeyReused(SalvageError):
    """An idempotency key stands for one request, and came again with another."""
