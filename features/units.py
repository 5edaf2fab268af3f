"""Units: whether a number fits another usual unit of its field better than the declared one.

A field's ``usual`` range holds what is met in patients with cancer; its ``conversions`` are the other usual
units. The range is taken as the central interval of a log-normal distribution, so that of several units the
likeliest brings the number nearest to its middle. Assumption: a number within the range of its own unit is
right. Where the ranges of two units overlap they cannot be told apart by one number (:func:`alike`;
docs/dictionary.md lists these numbers).
"""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from features.dictionary import OUT_OF_RANGE, Column, Field
from features.errors import Problem

if TYPE_CHECKING:
    import pandas as pd

Range = tuple[float, float]

TINY = 1e-6
"""Where a range that begins at zero is taken to begin on the scale of logarithms."""

BELIEVED_SHARE = 0.05
"""Largest share of a column in a stated unit that may fit another: a usual range holds all but a few."""


def suspected_unit(
    declared: Field, value: float, *, factor: float = 1.0, seen: Range | None = None
) -> str | None:
    """Return the usual unit that a number fits better than its own unit, None where there is none.

    ``factor`` turns the number's own unit into the field's: 1 where the number is in the declared unit.
    ``seen`` is the range in training, in the numbers of the training cohort, and takes the place of the
    field's ``usual`` range. It is narrower: judge by it to warn, not to refuse. Where it fits another unit
    itself, the cohort was read in that unit, which is what a number in the declared unit is told.

    >>> from features.dictionary import load_dictionary
    >>> albumin = load_dictionary()["albumin"]
    >>> suspected_unit(albumin, 3.8), suspected_unit(albumin, 38.0)
    ('g/dL', None)
    >>> suspected_unit(albumin, 38.0, factor=10.0)
    'g/L'
    >>> suspected_unit(albumin, 38.0, seen=(2.1, 5.2))
    'g/dL'
    """
    usual = seen or declared.usual
    if usual is None or _within(value * factor, usual):
        return None
    others = {u: f for u, f in factors(declared).items() if not math.isclose(f, factor, rel_tol=1e-6)}
    if seen is not None and (unit := suspected_unit(declared, (seen[0] + seen[1]) / 2.0)) is not None:
        return unit if _within(value / declared.conversions[unit], seen) else None
    return _likeliest(declared, value, others, usual)


def likeliest_unit(declared: Field, value: float) -> str | None:
    """Return the unit that a number without one most likely is in, None where it is usual in none."""
    return None if declared.usual is None else _likeliest(declared, value, factors(declared), declared.usual)


def factors(declared: Field) -> dict[str, float]:
    """Return by unit, the field's own first, what to multiply by to get the field's unit."""
    return {declared.unit or "": 1.0, **declared.conversions}


def rescaled(declared: Field) -> bool:
    """Return whether the field has another usual unit in which its numbers differ."""
    return any(not math.isclose(factor, 1.0) for factor in declared.conversions.values())


def alike(declared: Field, unit: str) -> Range | None:
    """Return the numbers that are usual in both units, None where every usual number tells its unit.

    >>> from features.dictionary import load_dictionary
    >>> alike(load_dictionary()["albumin"], "g/dL"), alike(load_dictionary()["creatinine_clearance"], "mL/s")
    (None, (3, 6.666666666666667))
    """
    if declared.usual is None:
        return None
    (low, high), by = declared.usual, declared.conversions[unit]
    both = max(low, low / by), min(high, high / by)
    return both if both[0] <= both[1] else None


def unit_question(declared: Field, value: object) -> Problem | None:
    """Return what to ask of a value, as a request gives it, that fits another unit; None of any other.

    >>> from features.dictionary import load_dictionary
    >>> print(unit_question(load_dictionary()["haemoglobin"], 121))
    haemoglobin: fits g/L better than g/dL: did you mean g/L?; give it in g/dL: multiply by 0.1 if it is in \
g/L, or check the value
    """
    if declared.usual is None or not isinstance(value, float | int | np.number) or isinstance(value, bool):
        return None
    try:
        unit = suspected_unit(declared, float(value))
    except OverflowError:
        return None
    return None if unit is None else Problem(declared.name, asked(declared, unit), converted(declared, unit))


def asked(declared: Field, unit: str, *, own: str | None = None) -> str:
    """Return the question in words: which unit fits better than the number's own, the field's by default."""
    return f"fits {unit} better than {own or declared.unit}: did you mean {unit}?"


def converted(declared: Field, unit: str) -> str:
    """Return the remedy for a single value: how to convert it to the declared unit."""
    by = f"{declared.conversions[unit]:.6g}"
    return f"give it in {declared.unit}: multiply by {by} if it is in {unit}, or check the value"


def rows_in_question(
    declared: Field, series: "pd.Series", column: Column, *, stated: bool, factor: float = 1.0
) -> tuple[Column, Mapping[str, tuple[int, ...]]]:
    """Return a column's rows, from 0, by the unit that they fit better; they are no longer out of range.

    ``column`` is what :meth:`Field.read_series` made of ``series``. Of a column whose unit is ``stated``
    (declared in a recipe, or by each record), rare extremes are believed: rows are in question only where
    they are several, and more than ``BELIEVED_SHARE`` of the column's numbers. Of any other column, all are.
    ``factor`` is what its numbers have been multiplied by, to get from the stated unit to the field's.
    """
    by_unit: dict[str, list[int]] = {}
    if declared.usual is None:
        return column, {}
    for row, number in _unusual(declared.usual, series, column):
        if (unit := suspected_unit(declared, number / factor, factor=factor)) is not None:
            by_unit.setdefault(unit, []).append(row)
    known = np.count_nonzero(~np.isnan(column.numbers)) + len(column.faults.get(OUT_OF_RANGE, ()))
    if stated:
        least = max(2.0, BELIEVED_SHARE * known)
        by_unit = {unit: rows for unit, rows in by_unit.items() if len(rows) >= least}
    taken = {row for rows in by_unit.values() for row in rows}
    faults = {fault: tuple(r for r in rows if r not in taken) for fault, rows in column.faults.items()}
    left = Column(column.numbers, {fault: rows for fault, rows in faults.items() if rows})
    return left, {unit: tuple(rows) for unit, rows in by_unit.items()}


def _unusual(usual: Range, series: "pd.Series", column: Column) -> Iterator[tuple[int, float]]:
    """Yield the rows whose number is outside the usual range, those beyond the field's limits among them."""
    numbers = column.numbers.copy()
    beyond = list(column.faults.get(OUT_OF_RANGE, ()))
    numbers[beyond] = series.iloc[beyond].to_numpy(dtype=np.float64)
    low, high = usual
    for row in np.flatnonzero((numbers < low) | (numbers > high)).tolist():
        yield row, float(numbers[row])


def _likeliest(declared: Field, value: float, units: Mapping[str, float], usual: Range) -> str | None:
    fitting = {unit: value * by for unit, by in units.items() if value > 0.0 and _within(value * by, usual)}
    return min(fitting, key=lambda unit: _distance(fitting[unit], usual), default=None)


def _distance(number: float, usual: Range) -> float:
    """Return the distance from the middle of the range on the scale of logarithms."""
    low, high = (math.log(max(end, TINY)) for end in usual)
    return abs(math.log(number) - (low + high) / 2.0)


def _within(number: float, usual: Range) -> bool:
    return usual[0] <= number <= usual[1]
