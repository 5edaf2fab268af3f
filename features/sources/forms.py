"""The parts of a parsed recipe as frozen values; ``docs/recipes-reference.md`` shows each with an example."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from features.dictionary import Field
from features.units import factors

MONTH = 365.25 / 12
YEAR = 365.25
DAYS_IN = {"days": 1.0, "weeks": 7.0, "months": MONTH, "years": YEAR}
COMPARISONS = ("before", "not_after", "after", "not_before", "same_as")

Explicit = tuple[object, ...]
"""An optional value that may be null: a tuple of one where the recipe gives it, else an empty one."""


@dataclass(frozen=True)
class RowCondition:
    """A condition on a row: its column has one of ``codes``, or compares with ``other``.

    ``comparison`` is one of :data:`COMPARISONS`, with a number or with another column in the same unit, or
    ``known``. A comparison never holds in a row in which a compared cell is empty.
    """

    column: str
    codes: tuple[object, ...] | None = None
    comparison: str | None = None
    other: object = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that the condition reads."""
        return (self.column, self.other) if isinstance(self.other, str) else (self.column,)


@dataclass(frozen=True)
class SumTerm:
    """One column of a sum, its sign (1 or -1), and its unit where the recipe declares it."""

    column: str
    sign: int
    unit: str | None


@dataclass(frozen=True)
class Constant:
    """One value for every row."""

    value: object


@dataclass(frozen=True)
class PlainColumn:
    """A column that holds the field's values as the dictionary declares them, in its unit."""

    column: str


@dataclass(frozen=True)
class CodedColumn:
    """A column mapped by its codes, then by the first regular expression that its text matches.

    ``until`` cuts the text at the first of these marks. Any other text takes ``otherwise`` where the recipe
    gives it and is a problem where not. An empty cell is missing, unless ``null`` is among the codes.
    """

    column: str
    codes: Mapping[object, object]
    patterns: tuple[tuple[str, object], ...] = ()
    otherwise: Explicit = ()
    until: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sum:
    """The sum of columns, missing where one of them is."""

    terms: tuple[SumTerm, ...]


@dataclass(frozen=True)
class Case:
    """The value of the rows in which every condition holds."""

    when: tuple[RowCondition, ...]
    value: object


@dataclass(frozen=True)
class Cases:
    """The value of the first case that holds.

    A row in which none holds takes ``otherwise`` where the recipe gives it. Without, the row is missing if it
    has an empty cell among the cases' columns, and a problem if not.
    """

    cases: tuple[Case, ...]
    otherwise: Explicit = ()


@dataclass(frozen=True)
class FirstOf:
    """The value of the first of several mappings that is not missing."""

    readings: tuple["FieldMapping", ...]


@dataclass(frozen=True)
class Joined:
    """A value from a patient's records in a related table: a flag is true where one record's value is.

    Any other field takes the value that all records share, and ``several`` where they differ. ``without`` is
    the value of patients without a record in the window.
    """

    related: str
    form: Constant | CodedColumn | PlainColumn | Sum
    without: object
    several: Explicit = ()


Form = Constant | PlainColumn | CodedColumn | Sum | Cases | FirstOf | Joined


@dataclass(frozen=True)
class FieldMapping:
    """How a recipe reads one dictionary field.

    The field is missing in rows in which a condition of ``where`` does not hold, and outside ``diseases``
    where any are given.
    """

    form: Form
    where: tuple[RowCondition, ...] = ()
    diseases: tuple[str, ...] = ()

    @property
    def columns(self) -> Iterator[str]:
        """Yield the columns of the patients' table that the mapping reads."""
        yield from form_columns(self.form)
        for condition in self.where:
            yield from condition.columns

    @property
    def joined(self) -> Iterator[Joined]:
        """Yield the parts of the mapping that read a related table."""
        if isinstance(self.form, Joined):
            yield self.form
        elif isinstance(self.form, FirstOf):
            for reading in self.form.readings:
                yield from reading.joined


def units_of(field: Field) -> tuple[str, ...]:
    """Return the units that a column of the field can be in: those of time, or the dictionary's, or none."""
    if field.unit in DAYS_IN:
        return tuple(DAYS_IN)
    return tuple(factors(field)) if field.unit else ()


def factor(field: Field, unit: str) -> float:
    """Return what to multiply by to bring a unit of :func:`units_of` to the field's.

    >>> from features.dictionary import load_dictionary
    >>> factor(load_dictionary()["age"], "months") * 12.0, factor(load_dictionary()["albumin"], "g/dL")
    (1.0, 10.0)
    """
    return DAYS_IN[unit] / DAYS_IN[field.unit] if field.unit in DAYS_IN else factors(field)[unit]


def form_columns(form: Form) -> Iterator[str]:
    """Yield the columns that a form reads in its table."""
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
    """Codes for missing, in every column except the patient's and those in ``excepted``."""

    codes: tuple[object, ...]
    excepted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reshape:
    """Long to wide: one row a patient, with ``columns`` repeated for each code of ``by``."""

    by: str
    codes: Mapping[object, str]
    columns: tuple[str, ...]

    @property
    def made(self) -> tuple[str, ...]:
        """Return the columns of the wide table that the long one lacks."""
        return tuple(f"{name}_{column}" for name in self.codes.values() for column in self.columns)


@dataclass(frozen=True)
class InclusionRule:
    """An inclusion criterion; the patients whom it excludes are counted under ``reason``.

    Of codes, those of the condition are kept and those in ``leave_out`` excluded; a code in neither list is a
    problem. Of a comparison, a row with an empty cell is a problem, unless ``missing`` gives the reason under
    which such rows are excluded.
    """

    reason: str
    condition: RowCondition
    leave_out: tuple[object, ...] = ()
    missing: str | None = None


@dataclass(frozen=True)
class DuplicateRule:
    """Rows that are equal in all of these columns are one patient; the first is kept, the others counted."""

    columns: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class RelatedTable:
    """Another file's records of the same patients, in a time window around the index date.

    A record counts when its ``start`` minus the patient's ``index`` lies in [``first``, ``last``], in the
    unit of these two columns; None leaves that side open. ``left_out`` names the records that may be ignored:
    ``undated`` ones, and those ``unmatched`` with any patient. Others of these kinds are problems.
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
    """Return the value under a key, null included, as a tuple of one; an empty tuple without the key.

    >>> explicit({"otherwise": None}, "otherwise"), explicit({}, "otherwise")
    ((None,), ())
    """
    return (entry[key],) if key in entry else ()
