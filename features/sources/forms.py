"""The words of a recipe as frozen values: how a column, a code, a condition and a record are meant.

``docs/recipes-reference.md`` shows each with an example. Nothing here reads a table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MONTH = 365.25 / 12
YEAR = 365.25
DAYS_IN = {"days": 1.0, "weeks": 7.0, "months": MONTH, "years": YEAR}
COMPARISONS = ("before", "not_after", "after", "not_before", "same_as")

Explicit = tuple[object, ...]
"""A value that must be said to count: empty where the recipe is silent, else the one value it gives."""


@dataclass(frozen=True)
class RowCondition:
    """What must hold in a row: the column carries one of the codes, or compares as said.

    ``comparison`` is one of :data:`COMPARISONS`, against a number or another column in the same unit, or
    ``known``. It holds in no row in which one of the two is empty.
    """

    column: str
    codes: tuple[object, ...] | None = None
    comparison: str | None = None
    other: object = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that are looked at."""
        return (self.column, self.other) if isinstance(self.other, str) else (self.column,)


@dataclass(frozen=True)
class SumTerm:
    """One column of a sum, counted with its sign, in a unit of time where it has one."""

    column: str
    sign: int
    unit: str | None


@dataclass(frozen=True)
class Constant:
    """The same value for everyone."""

    value: object


@dataclass(frozen=True)
class PlainColumn:
    """A column that already holds what the dictionary expects, in its unit."""

    column: str


@dataclass(frozen=True)
class CodedColumn:
    """A column whose codes, or patterns in its text, stand for values; the first pattern found wins.

    ``until`` cuts the text at whichever mark comes first. What is neither a code nor matched takes
    ``otherwise`` if the recipe says one, and is a problem if not. An empty cell is missing, unless ``null``
    stands among the codes.
    """

    column: str
    codes: Mapping[object, object]
    patterns: tuple[tuple[str, object], ...] = ()
    otherwise: Explicit = ()
    until: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sum:
    """Columns added up; missing where one of them is."""

    terms: tuple[SumTerm, ...]


@dataclass(frozen=True)
class Case:
    """A value for the rows in which every condition holds."""

    when: tuple[RowCondition, ...]
    value: object


@dataclass(frozen=True)
class Cases:
    """The first case that holds; a row with an empty cell and no case is missing, any other a problem."""

    cases: tuple[Case, ...]
    otherwise: Explicit = ()


@dataclass(frozen=True)
class FirstOf:
    """The first of several readings that gives a value."""

    readings: tuple["FieldMapping", ...]


@dataclass(frozen=True)
class Joined:
    """A value from a patient's records in another table: a flag is true when one record says so.

    Any other field takes the value on which the records agree, and ``several`` where they do not.
    ``without`` is the value of patients without a record in the window.
    """

    related: str
    form: Constant | CodedColumn | PlainColumn
    without: object
    several: Explicit = ()


Form = Constant | PlainColumn | CodedColumn | Sum | Cases | FirstOf | Joined


@dataclass(frozen=True)
class FieldMapping:
    """How one dictionary field is read; missing where ``where`` does not hold or in other diseases."""

    form: Form
    where: tuple[RowCondition, ...] = ()
    diseases: tuple[str, ...] = ()

    @property
    def columns(self) -> Iterator[str]:
        """Yield the columns of the patients' own table that are looked at."""
        yield from form_columns(self.form)
        for condition in self.where:
            yield from condition.columns

    @property
    def joined(self) -> Iterator[Joined]:
        """Yield what is read from related tables."""
        if isinstance(self.form, Joined):
            yield self.form
        elif isinstance(self.form, FirstOf):
            for reading in self.form.readings:
                yield from reading.joined


def form_columns(form: Form) -> Iterator[str]:
    """Yield the columns that a form reads in its own table."""
    if isinstance(form, PlainColumn | CodedColumn):
        yield form.column
    elif isinstance(form, Sum):
        yield from (term.column for term in form.terms)
    elif isinstance(form, Cases):
        yield from (c for case in form.cases for condition in case.when for c in condition.columns)
    elif isinstance(form, FirstOf):
        yield from (column for reading in form.readings for column in reading.columns)


@dataclass(frozen=True)
class MissingCodes:
    """Codes that mean an empty cell, in every column but the patient's and those excepted."""

    codes: tuple[object, ...]
    excepted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reshape:
    """Turns several rows a patient into one: ``columns`` are repeated once per code of ``by``."""

    by: str
    codes: Mapping[object, str]
    columns: tuple[str, ...]

    @property
    def made(self) -> tuple[str, ...]:
        """Return the names of the columns that reshaping makes."""
        return tuple(f"{name}_{column}" for name in self.codes.values() for column in self.columns)


@dataclass(frozen=True)
class InclusionRule:
    """Patients are kept or left out by a column; those left out are counted under the reason.

    By codes (``keep``, ``leave_out``): a code in neither list is a problem of the table, never a silent
    exclusion. By a condition: rows in which it cannot be judged are a problem, unless ``missing`` gives the
    reason under which they are left out.
    """

    reason: str
    condition: RowCondition
    leave_out: tuple[object, ...] = ()
    missing: str | None = None


@dataclass(frozen=True)
class DuplicateRule:
    """Rows equal in every one of these columns are one patient; the first is kept, the others counted."""

    columns: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class RelatedTable:
    """Another file's records of the same patients, within a window of time around the index date.

    A record counts when ``start`` less the patient's ``index`` lies from ``first`` to ``last``, both
    included, in the unit of these two columns; None leaves the window open on that side. ``left_out`` says
    which records may be passed over: ``undated`` ones, and those ``unmatched`` with any patient.
    """

    file: str
    key: str
    start: str
    index: str
    first: float | None
    last: float | None
    where: tuple[RowCondition, ...]
    left_out: tuple[str, ...]


def explicit(entry: Mapping[str, Any], key: str) -> Explicit:
    """Return the value under a key as said, or nothing where the key is absent; null is a value.

    >>> explicit({"otherwise": None}, "otherwise"), explicit({}, "otherwise")
    ((None,), ())
    """
    return (entry[key],) if key in entry else ()
