"""Decoding a column: each distinct value is looked up once, however many rows it stands in."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.dictionary import Field, FloatArray
from features.errors import Problem
from features.sources.forms import CodedColumn

Rows = npt.NDArray[np.bool_]
ROW = "__row__"
UNKNOWN_CODE = "code is not in the recipe"
NOT_A_NUMBER = "is not a number"
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


def number(value: object) -> float | None:
    """Return a value, or the text that spells it, as a number; None for any other, true and false included.

    >>> number("12"), number(" -9.1"), number(3), number("3 cm"), number(True)
    (12.0, -9.1, 3.0, None, None)
    """
    if isinstance(value, str):
        return float(value) if NUMBER.fullmatch(value) else None
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]


def meaning(value: object, codes: Mapping[object, object]) -> tuple[object, ...]:
    """Return what a code stands for as a tuple of one, an empty tuple where it is unknown.

    A code matches as it is written, else as the number that it spells: one stray word turns a whole column to
    text, in which ``1`` has to match ``"1"``.
    """
    if value in codes:
        return (codes[value],)
    spelled = number(value)
    if spelled is None:
        return ()
    return next(((target,) for code, target in codes.items() if number(code) == spelled), ())


def member(series: pd.Series, codes: Iterable[object]) -> Rows:
    """Return, shape (rows,), which cells hold one of the codes; null among them is the empty cell."""
    known = {code: code for code in codes}
    if pd.api.types.is_numeric_dtype(series.dtype):
        plain = [float(c) if isinstance(c, bool) else number(c) for c in known]
        present: Rows = np.isin(
            series.to_numpy(dtype=float, na_value=np.nan), [n for n in plain if n is not None]
        )
        return present | series.isna().to_numpy(dtype=bool) if None in known else present
    places, distinct = pd.factorize(series, use_na_sentinel=True)
    listed = [bool(meaning(value, known)) for value in distinct.tolist()]
    return np.array([*listed, None in known], dtype=bool)[places]


def decode(form: CodedColumn, series: pd.Series, field: Field) -> tuple[FloatArray, Rows]:
    """Return the field's numbers, and which rows hold a text that no code or pattern maps."""
    places, distinct = pd.factorize(series, use_na_sentinel=True)
    targets = [_target(form, value) for value in distinct.tolist()]
    targets.append((form.codes.get(None),))
    numbers = field.read([target[0] if target else None for target in targets]).numbers
    unknown = np.array([not target for target in targets], dtype=bool)
    return numbers[places], unknown[places]


def _target(form: CodedColumn, value: object) -> tuple[object, ...]:
    if form.until:
        value = _cut(str(value), form.until)
    if coded := meaning(value, form.codes):
        return coded
    text = str(value) if form.patterns else ""
    matched = ((target,) for pattern, target in form.patterns if re.search(pattern, text))
    return next(matched, form.otherwise)


def _cut(text: str, marks: tuple[str, ...]) -> str:
    ends = [at for mark in marks if (at := text.find(mark)) >= 0]
    return text[: min(ends)].strip() if ends else text.strip()


def as_numbers(series: pd.Series) -> pd.Series:
    """Return a text column with numbers where it spells them; other words stay, to be reported by row."""
    if pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype):
        return series
    if series.dtype == object and series.map(lambda value: isinstance(value, bool)).any():
        return series
    places, distinct = pd.factorize(series, use_na_sentinel=True)
    values = distinct.tolist()
    read = [number(value) for value in values]
    if None not in read:
        return pd.Series(np.array([*read, np.nan], dtype=float)[places], index=series.index)
    mixed = [value if spelled is None else spelled for value, spelled in zip(values, read, strict=True)]
    return pd.Series(np.array([*mixed, None], dtype=object)[places], index=series.index, dtype=object)


def numeric(series: pd.Series, table: pd.DataFrame) -> tuple[FloatArray, list[Problem]]:
    """Return a column as numbers, NaN where empty, and a problem for cells that are not numbers."""
    numbers = pd.to_numeric(series, errors="coerce")
    wrong = np.flatnonzero(numbers.isna() & series.notna())
    problems = []
    if wrong.size:
        remedy = "correct the value or leave it empty"
        problems.append(rows_problem(str(series.name), NOT_A_NUMBER, remedy, table, wrong))
    return numbers.to_numpy(dtype=float, na_value=np.nan), problems


def rows_problem(field: str, problem: str, remedy: str, table: pd.DataFrame, at: Any) -> Problem:
    """Return a problem of the rows at these positions, numbered as in the source."""
    return Problem.in_rows(field, problem, remedy, table[ROW].to_numpy()[at].tolist())


def codes_remedy(codes: Iterable[object]) -> str:
    """Return the remedy for an unknown code: the codes that the recipe has."""
    return "the recipe knows " + ", ".join("an empty cell" if code is None else str(code) for code in codes)
