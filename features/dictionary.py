"""The data dictionary: each field's meaning, unit and range, declared once in ``dictionary.yaml``."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import yaml

from features.errors import InvalidDictionary, Problem

if TYPE_CHECKING:
    import pandas as pd

FloatArray = npt.NDArray[np.float64]
FieldType = Literal["number", "integer", "flag", "category"]

TYPES = ("number", "integer", "flag", "category")
KNOWN = ("diagnosis", "index", "after")
GROUPS = ("disease", "prior_treatment", "reassessment", "overall_health", "plan", "outcome")


@dataclass(frozen=True)
class Category:
    """One allowed value of a category field; ``codes`` are its terminology codes by system."""

    name: str
    label: str
    codes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Field:
    """One predictor or outcome: its meaning, unit, range and when it becomes known.

    ``known`` is ``diagnosis``, ``index`` (by the index date) or ``after``. ``applies_to`` lists the diseases
    in which the field has a meaning, None for all. ``conversions`` give, by other usual unit, the factor to
    ``unit``; ``usual`` is the range met in patients with cancer, by which units are told apart.
    """

    name: str
    label: str
    group: str
    type: FieldType
    known: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[Category, ...] = ()
    ordered: bool = False
    applies_to: tuple[str, ...] | None = None
    scale: Literal["linear", "log"] = "linear"
    codes: Mapping[str, str] = field(default_factory=dict)
    conversions: Mapping[str, float] = field(default_factory=dict)
    usual: tuple[float, float] | None = None

    @property
    def category_names(self) -> tuple[str, ...]:
        """Return the allowed category names in their declared order."""
        return tuple(category.name for category in self.categories)

    @cached_property
    def _positions(self) -> dict[str, float]:
        """Return each category's position by its name."""
        return {category.name: float(at) for at, category in enumerate(self.categories)}

    @property
    def expected(self) -> str:
        """Return the allowed values in words, with the unit, as error messages state them."""
        if self.type == "flag":
            return "true or false"
        if self.type == "category":
            return "one of " + ", ".join(self.category_names)
        noun = "a whole number" if self.type == "integer" else "a number"
        unit = f" {self.unit}" if self.unit else ""
        return f"{noun} from {_plain(self.minimum)} to {_plain(self.maximum)}{unit}"

    def applies(self, disease: str) -> bool:
        """Return whether the field has a meaning in this disease."""
        return self.applies_to is None or disease in self.applies_to

    def read(self, values: Sequence[object]) -> "Column":
        """Convert raw values to numbers: flags 0/1, categories their position, missing (None) NaN.

        A table's column and a single patient's value are converted alike. A value that is not allowed becomes
        NaN and is reported under its fault, so nothing is clipped or guessed.
        """
        numbers = np.empty(len(values))
        faults: dict[str, list[int]] = {}
        for row, value in enumerate(values):
            numbers[row], fault = self.read_one(value)
            if fault is not None:
                faults.setdefault(fault, []).append(row)
        return Column(numbers, {fault: tuple(rows) for fault, rows in faults.items()})

    def read_one(self, value: object) -> tuple[float, str | None]:
        """Convert one raw value as :meth:`read` does; return its number, and its fault or None."""
        if value is None:
            return math.nan, None
        number = self._number(value)
        fault = _fault(number, self)
        if number is None or fault is not None:
            return math.nan, fault
        return number + 0.0, None  # so that minus zero is zero

    def read_series(self, series: "pd.Series") -> "Column":
        """Convert a table's column, in which NaN and NA mean missing, with the faults of :meth:`read`."""
        import pandas as pd  # noqa: PLC0415  takes a while to load and is never needed to answer

        numeric = pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_bool_dtype(series.dtype)
        if self.type in ("number", "integer") and numeric:
            return self._read_numbers(series.to_numpy(dtype=np.float64, na_value=np.nan))
        if series.dtype == object:
            missing = series.isna().to_numpy()
            return self.read([None if m else v for v, m in zip(series, missing, strict=True)])
        codes, distinct = pd.factorize(series, use_na_sentinel=True)
        column = self.read(distinct.tolist())
        numbers = np.append(column.numbers, np.nan)[codes]
        faults = {
            fault: tuple(np.flatnonzero(np.isin(codes, rows)).tolist())
            for fault, rows in column.faults.items()
        }
        return Column(numbers, faults)

    def _read_numbers(self, numbers: FloatArray) -> "Column":
        """Convert a numeric column at once, with the faults that :meth:`read` would report."""
        known = ~np.isnan(numbers)
        finite = np.isfinite(numbers)
        whole = finite & (np.trunc(numbers) == numbers) if self.type == "integer" else finite
        low = -np.inf if self.minimum is None else self.minimum
        high = np.inf if self.maximum is None else self.maximum
        within = whole & (numbers >= low) & (numbers <= high)
        wrong = {
            NOT_FINITE: known & ~finite,
            NOT_WHOLE: finite & ~whole,
            OUT_OF_RANGE: whole & ~within,
        }
        faults = {fault: tuple(np.flatnonzero(rows).tolist()) for fault, rows in wrong.items() if rows.any()}
        return Column(np.where(within, numbers, np.nan), faults)

    def value(self, number: float) -> float | int | bool | str | None:
        """Return the value that a number encodes, None for NaN: the inverse of :meth:`read`."""
        if math.isnan(number):
            return None
        if self.type == "category":
            return self.categories[int(number)].name
        if self.type == "flag":
            return bool(number)
        return int(number) if self.type == "integer" else float(number)

    def _number(self, value: object) -> float | None:
        """Return the number that encodes a raw value, None where its type or category is wrong."""
        if self.type == "category":
            return self._positions.get(value) if isinstance(value, str) else None
        if isinstance(value, bool | np.bool_):
            return float(value) if self.type == "flag" else None
        if self.type == "flag" or not isinstance(value, float | int | np.integer | np.floating):
            return None
        try:
            return float(value)
        except OverflowError:
            return math.inf

    def as_dict(self) -> dict[str, Any]:
        """Return the declaration as JSON values, as a bundle stores it, without empty entries."""
        plain: dict[str, Any] = {
            "label": self.label, "group": self.group, "type": self.type, "known": self.known,
            "unit": self.unit, "minimum": self.minimum, "maximum": self.maximum,
            "ordered": self.ordered, "scale": self.scale, "codes": dict(self.codes),
            "conversions": dict(self.conversions),
            "usual": None if self.usual is None else list(self.usual),
            "applies_to": None if self.applies_to is None else list(self.applies_to),
            "categories": {c.name: {"label": c.label, "codes": dict(c.codes)} for c in self.categories},
        }  # fmt: skip
        return {
            name: value
            for name, value in plain.items()
            if value not in (None, {}, "linear") and value is not False
        }


@dataclass(frozen=True)
class Column:
    """A field's values as numbers, shape (rows,), and by fault the rows, from 0, that break its rule."""

    numbers: FloatArray
    faults: Mapping[str, tuple[int, ...]]


UNKNOWN_CATEGORY, WRONG_TYPE = "unknown category", "wrong type"
NOT_FINITE, NOT_WHOLE, OUT_OF_RANGE = "not a finite number", "not a whole number", "out of range"
OPEN_NAME = re.compile(r"([a-z]+)_[a-z0-9][a-z0-9_]{0,40}")


@dataclass(frozen=True)
class Dictionary:
    """An ordered set of fields, looked up by name.

    ``open`` holds patterns of fields that are not listed one by one: with a pattern ``marker``, any name
    ``marker_<symbol>`` is a field.
    """

    fields: tuple[Field, ...]
    open: tuple[Field, ...] = ()

    def __getitem__(self, name: str) -> Field:
        declared = self.by_name.get(name) or self._opened(name)
        if declared is None:
            raise KeyError(name)
        return declared

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self.by_name or self._opened(name) is not None)

    def _opened(self, name: str) -> Field | None:
        matched = OPEN_NAME.fullmatch(name)
        pattern = next((f for f in self.open if matched and matched[1] == f.name), None)
        if pattern is None:
            return None
        return replace(
            pattern, name=name, label=f"{pattern.label} {name.removeprefix(pattern.name + '_').upper()}"
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Return the field names in their declared order."""
        return tuple(f.name for f in self.fields)

    def ordered(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return names in their declared order, then those of open patterns in alphabetical order."""
        given = set(names)
        return (*(n for n in self.names if n in given), *sorted(given - set(self.names)))

    def slice(self, names: Iterable[str]) -> "Dictionary":
        """Return the dictionary of these fields, in this order.

        Raises:
            KeyError: for a name that is no field.

        """
        return Dictionary(tuple(self[name] for name in names))

    def as_dict(self) -> dict[str, Any]:
        """Return the declarations by field name as JSON values, as :meth:`from_dict` reads them."""
        return {f.name: f.as_dict() for f in self.fields}

    @cached_property
    def known(self) -> frozenset[str]:
        """Return the fields' names."""
        return frozenset(self.by_name)

    @cached_property
    def limited(self) -> tuple[Field, ...]:
        """Return the fields that apply to some diseases only."""
        return tuple(f for f in self.fields if f.applies_to is not None)

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """Return the fields by name, in their declared order."""
        return {f.name: f for f in self.fields}

    @classmethod
    def from_dict(cls, declared: Mapping[str, Any]) -> "Dictionary":
        """Read declared fields.

        Raises:
            InvalidDictionary: naming every declaration that is incomplete or contradicts itself.

        """
        problems = [p for name, entry in declared.items() for p in _declaration_problems(name, entry)]
        if problems:
            raise InvalidDictionary("data dictionary", problems)
        return cls(tuple(_field(name, entry) for name, entry in declared.items()))

    def with_open(self, declared: Mapping[str, Any]) -> "Dictionary":
        """Return the dictionary with these patterns of open fields."""
        return replace(self, open=Dictionary.from_dict(declared).fields)


@cache
def load_dictionary() -> Dictionary:
    """Return the project's dictionary.

    >>> load_dictionary()["age"].expected
    'a number from 0 to 120 years'
    """
    text = resources.files("features").joinpath("dictionary.yaml").read_text(encoding="utf-8")
    declared = yaml.load(text, Loader=yaml.CSafeLoader)
    return Dictionary.from_dict(declared["fields"]).with_open(declared["open"])


def _field(name: str, entry: Mapping[str, Any]) -> Field:
    options = dict(entry)
    categories = tuple(
        Category(key, value["label"], dict(value.get("codes", {})))
        for key, value in options.pop("categories", {}).items()
    )
    applies_to = options.pop("applies_to", None)
    return Field(
        name=name,
        categories=categories,
        applies_to=None if applies_to is None else tuple(applies_to),
        codes=options.pop("codes", {}),
        conversions=options.pop("conversions", {}),
        usual=tuple(options.pop("usual", ())) or None,
        **options,
    )


def _declaration_problems(name: str, entry: Mapping[str, Any]) -> list[Problem]:
    problems = [
        Problem(name, f"has no {key}", f"declare {key}")
        for key in ("label", "group", "type", "known")
        if key not in entry
    ]
    allowed = set(Field.__dataclass_fields__) - {"name"}
    problems += [
        Problem(name, f"has the unknown key {key}", "use " + ", ".join(sorted(allowed)))
        for key in entry
        if key not in allowed
    ]
    kind = entry.get("type")
    if kind not in TYPES:
        problems.append(Problem(name, "has no usable type", "use one of " + ", ".join(TYPES)))
    if entry.get("group") not in GROUPS:
        problems.append(Problem(name, "belongs to no group", "use one of " + ", ".join(GROUPS)))
    if entry.get("known") not in KNOWN:
        problems.append(Problem(name, "does not say when it is known", "use one of " + ", ".join(KNOWN)))
    return problems + (
        _category_problems(name, entry) if kind == "category" else _range_problems(name, entry)
    )


def _category_problems(name: str, entry: Mapping[str, Any]) -> list[Problem]:
    categories = entry.get("categories")
    labelled = isinstance(categories, dict) and all(
        isinstance(c, dict) and "label" in c for c in categories.values()
    )
    if categories and labelled:
        return []
    if not categories:
        return [Problem(name, "categories and type disagree", "list categories for type category")]
    return [Problem(name, "has no usable categories", "map each category to its label")]


def _range_problems(name: str, entry: Mapping[str, Any]) -> list[Problem]:
    if "categories" in entry:
        return [Problem(name, "categories and type disagree", "list categories for type category only")]
    if entry.get("type") not in ("number", "integer"):
        return []
    if not {"minimum", "maximum"} <= set(entry):
        return [Problem(name, "has no range", "declare minimum and maximum")]
    low, high, scale = entry.get("minimum"), entry.get("maximum"), entry.get("scale", "linear")
    if not (isinstance(low, int | float) and isinstance(high, int | float) and low < high):
        return [Problem(name, "has no usable range", "declare a minimum and a larger maximum")]
    if scale not in ("linear", "log") or (scale == "log" and low <= -1):
        return [Problem(name, "has no usable scale", "use linear, or log with a minimum above -1")]
    return _unit_problems(name, entry, low, high)


def _unit_problems(name: str, entry: Mapping[str, Any], low: float, high: float) -> list[Problem]:
    """Return problems of the other units and of the usual range, which both rest on the field's own unit."""
    by, usual = entry.get("conversions", {}), entry.get("usual", [low, high])
    if not isinstance(by, dict) or not all(
        isinstance(f, int | float) and 0.0 < f < math.inf for f in by.values()
    ):
        return [Problem(name, "has no usable conversions", "give by other unit the factor to the field's")]
    numbers = isinstance(usual, list) and len(usual) == 2 and all(isinstance(u, int | float) for u in usual)
    if not numbers or not low <= usual[0] < usual[1] <= high:
        return [Problem(name, "has no usable usual range", "give [low, high] within minimum and maximum")]
    return []


def _fault(number: float | None, field: Field) -> str | None:
    """Return the fault of a number, None where it is allowed."""
    if number is None:
        return UNKNOWN_CATEGORY if field.type == "category" else WRONG_TYPE
    if not math.isfinite(number):
        return NOT_FINITE
    if field.type == "integer" and number != int(number):
        return NOT_WHOLE
    if field.minimum is not None and number < field.minimum:
        return OUT_OF_RANGE
    if field.maximum is not None and number > field.maximum:
        return OUT_OF_RANGE
    return None


def _plain(bound: float | None) -> str:
    return "" if bound is None else f"{bound:g}"
