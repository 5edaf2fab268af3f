"""Following a recipe: from a source's table to a validated cohort, every exclusion counted."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.cohort import PATIENT, Cohort, Provenance, applicability_problems
from features.dictionary import Field, FloatArray, load_dictionary
from features.eligibility import Attrition, has_follow_up
from features.errors import InvalidCohort, Problem
from features.sources.public import read_public
from features.sources.recipe import DAYS_IN, Mapped, Recipe, Reshape
from features.sources.table import read_table

NA = "NA"
UNKNOWN_CODE = "code is not in the recipe"
NO_FOLLOW_UP = "no follow-up after the index date"


def build_cohort(recipe: Recipe, *, file: Path | None = None) -> Cohort:
    """Read the recipe's source, or a file in its place, and return the cohort.

    Raises:
        InvalidCohort: naming every missing column, repeated patient, unknown code and impossible value.
        MissingExtra: when a public source's package is not installed.

    """
    if file is not None:
        return follow(recipe, read_table(file))
    if recipe.public is None:
        remedy = "add --input FILE"
        raise InvalidCohort(f"recipe {recipe.name}", [Problem("input", "is needed by this recipe", remedy)])
    return follow(recipe, read_public(*recipe.public))


def follow(recipe: Recipe, table: pd.DataFrame) -> Cohort:
    """Turn a table into the recipe's cohort: reshape, include, map, validate."""
    _require_columns(recipe, table)
    table = _without_gaps(recipe, table)
    rows = _reshape(recipe, table) if recipe.reshape else table.assign(**{_ROW: np.arange(1, len(table) + 1)})
    _require_patients(recipe, rows)
    kept, attrition = _include(recipe, rows)
    mapped = _map_fields(recipe, kept)
    frame = mapped.drop(columns=_ROW)
    if "months_followed" in frame:
        followed = has_follow_up(frame["months_followed"].to_numpy(dtype=float, na_value=np.nan))
        attrition = attrition.then(NO_FOLLOW_UP, int((~followed).sum()))
        frame = frame[followed]
    provenance = Provenance(
        recipe.name,
        recipe.evidence,
        recipe.citation,
        recipe.terms,
        recipe.index_event,
        recipe.selection,
        attrition,
    )
    dictionary = load_dictionary().slice(n for n in load_dictionary().names if n in recipe.fields)
    return Cohort.from_frame(frame.reset_index(drop=True), dictionary=dictionary, provenance=(provenance,))


_ROW = "__row__"


def _require_columns(recipe: Recipe, table: pd.DataFrame) -> None:
    needed = set(recipe.columns)
    if recipe.reshape:
        made = {
            f"{name}_{column}" for name in recipe.reshape.codes.values() for column in recipe.reshape.columns
        }
        needed = (needed - made) | {recipe.reshape.by, *recipe.reshape.columns}
        if clash := sorted(made & set(table.columns)):
            remedy = "rename it, or the code's name in the recipe"
            raise InvalidCohort(
                recipe.name, [Problem(n, "stands in the table and is made too", remedy) for n in clash]
            )
    missing = sorted(needed - set(table.columns))
    if missing:
        remedy = "add the column or correct its name in the recipe"
        raise InvalidCohort(recipe.name, [Problem(name, "column is missing", remedy) for name in missing])


def _reshape(recipe: Recipe, table: pd.DataFrame) -> pd.DataFrame:
    """Bring each patient's rows side by side; the other columns must agree within a patient."""
    shape: Reshape = recipe.reshape  # type: ignore[assignment]
    numbered = table.assign(**{_ROW: np.arange(1, len(table) + 1)})
    constant = [name for name in recipe.columns if name in table and name not in (recipe.patient, shape.by)]
    differing = table.groupby(recipe.patient)[constant].transform("nunique").gt(1) if constant else None
    problems = []
    if (unknown := np.flatnonzero(~_has_code(table[shape.by], tuple(shape.codes)))).size:
        problems.append(_rows_problem(shape.by, UNKNOWN_CODE, _codes_remedy(shape.codes), unknown + 1))
    if (again := np.flatnonzero(table.duplicated([recipe.patient, shape.by], keep=False))).size:
        problem = f"stands twice with the same {shape.by}"
        problems.append(_rows_problem(recipe.patient, problem, "keep one row of each", again + 1))
    for name in constant:
        if differing is not None and (rows := np.flatnonzero(differing[name])).size:
            problems.append(_rows_problem(name, "differs within a patient", "make the rows agree", rows + 1))
    if problems:
        raise InvalidCohort(recipe.name, problems)
    first = table.groupby(recipe.patient, sort=False)[constant].first() if constant else None
    wide = numbered.drop_duplicates(recipe.patient)[[recipe.patient, _ROW]]
    wide = wide if first is None else wide.merge(first, left_on=recipe.patient, right_index=True, how="left")
    for code, name in shape.codes.items():
        part = numbered.loc[_has_code(numbered[shape.by], (code,)), [recipe.patient, *shape.columns]]
        made = part.rename(columns={c: f"{name}_{c}" for c in shape.columns})
        wide = wide.merge(made, on=recipe.patient, how="left")
    return wide


def _require_patients(recipe: Recipe, rows: pd.DataFrame) -> None:
    patients = rows[recipe.patient]
    problems = []
    if (blank := np.flatnonzero(patients.isna())).size:
        problems.append(
            _rows_problem(
                recipe.patient, "is missing", "give every row an identifier", rows[_ROW].to_numpy()[blank]
            )
        )
    if (again := np.flatnonzero(patients.duplicated(keep=False) & patients.notna())).size:
        problems.append(
            _rows_problem(
                recipe.patient,
                "stands in several rows",
                "keep one row a patient",
                rows[_ROW].to_numpy()[again],
            )
        )
    if problems:
        raise InvalidCohort(recipe.name, problems)


def _include(recipe: Recipe, rows: pd.DataFrame) -> tuple[pd.DataFrame, Attrition]:
    _require_inclusion_codes(recipe, rows)
    attrition = Attrition(len(rows))
    for rule in recipe.include:
        kept = _has_code(rows[rule.column], rule.keep)
        attrition = attrition.then(rule.reason, int((~kept).sum()))
        rows = rows[kept]
    return rows, attrition


def _require_inclusion_codes(recipe: Recipe, rows: pd.DataFrame) -> None:
    problems = []
    for rule in recipe.include:
        known = (*rule.keep, *rule.leave_out)
        if (unknown := np.flatnonzero(~_has_code(rows[rule.column], known))).size:
            numbers = rows[_ROW].to_numpy()[unknown]
            problems.append(_rows_problem(rule.column, UNKNOWN_CODE, _codes_remedy(known), numbers))
    if problems:
        raise InvalidCohort(recipe.name, problems)


def code_text(value: object) -> str:
    """Return the text of a code, the same for 1, 1.0 and "1": a CSV and a Parquet file mean the same.

    >>> code_text(1.0), code_text(True), code_text("<=20")
    ('1', 'true', '<=20')
    """
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    text = str(value)
    whole = re.fullmatch(r"(-?\d+)\.0+", text)
    return whole[1] if whole else text


def _without_gaps(recipe: Recipe, table: pd.DataFrame) -> pd.DataFrame:
    """Take the text NA for a missing value, except in columns where the recipe knows it as a code."""
    coded = {m.column for m in recipe.fields.values() if m.codes and NA in map(code_text, m.codes)}
    coded |= {rule.column for rule in recipe.include if NA in map(code_text, (*rule.keep, *rule.leave_out))}
    gaps = [str(name) for name in table if name not in coded and (table[name].astype(object) == NA).any()]
    return table.assign(**{name: table[name].mask(table[name].astype(object) == NA) for name in gaps})


def _has_code(column: pd.Series, codes: tuple[object, ...]) -> npt.NDArray[np.bool_]:
    known = {code_text(code) for code in codes}
    cells = zip(column, column.isna(), strict=True)
    return np.array([not missing and code_text(value) in known for value, missing in cells], dtype=bool)


def _map_fields(recipe: Recipe, rows: pd.DataFrame) -> pd.DataFrame:
    """Map every field, and judge the values here, where the source's row numbers are still known."""
    dictionary = load_dictionary()
    numbers = rows[_ROW].to_numpy()
    columns: dict[str, Any] = {PATIENT: rows[recipe.patient].astype(str).to_numpy(), _ROW: numbers}
    values: dict[str, FloatArray] = {}
    problems: list[Problem] = []
    for name, mapped in recipe.fields.items():
        field = dictionary[name]
        series, unread = _map_field(field, mapped, rows)
        problems += [
            _rows_problem(source, fault, remedy, numbers[at]) for source, fault, remedy, at in unread
        ]
        read = field.read_series(series)
        problems += [
            _rows_problem(name, fault, f"expected {field.expected}", numbers[list(at)])
            for fault, at in read.faults.items()
        ]
        values[name] = read.numbers
        columns[name] = [field.value(value) for value in read.numbers.tolist()]
    problems += applicability_problems(dictionary.slice(values), values, rows=numbers)
    if problems:
        raise InvalidCohort(recipe.name, problems)
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


Unread = list[tuple[str, str, str, np.ndarray[Any, Any]]]


def _map_field(field: Field, mapped: Mapped, rows: pd.DataFrame) -> tuple[pd.Series, Unread]:
    """Return the field's raw values and the rows of the source that could not be read."""
    if mapped.terms:
        return _sum(field, mapped, rows)
    if mapped.column is None:
        return pd.Series([mapped.constant] * len(rows), dtype=object), []
    source = rows[mapped.column].reset_index(drop=True)
    if mapped.codes is None:
        return (source if field.type == "category" else _parsed(source)), []
    codes = {code_text(code): target for code, target in mapped.codes.items()}
    texts = [None if missing else code_text(v) for v, missing in zip(source, source.isna(), strict=True)]
    unknown = np.array(
        [row for row, text in enumerate(texts) if text is not None and text not in codes], dtype=int
    )
    coded = pd.Series([None if text is None else codes.get(text) for text in texts], dtype=object)
    if not unknown.size:
        return coded, []
    return coded, [(mapped.column, UNKNOWN_CODE, _codes_remedy(mapped.codes), unknown)]


def _parsed(source: pd.Series) -> pd.Series:
    """Turn text that is a number, true or false into what it says; other text stays and is judged."""
    words = {"true": True, "false": False}

    def parse(cell: object) -> object:
        if not isinstance(cell, str):
            return cell
        try:
            return float(cell)
        except ValueError:
            return words.get(cell.lower(), cell)

    return source.map(parse, na_action="ignore").astype(object) if source.dtype != float else source


def _sum(field: Field, mapped: Mapped, rows: pd.DataFrame) -> tuple[pd.Series, Unread]:
    total = np.zeros(len(rows))
    unread: Unread = []
    for term in mapped.terms:
        source = rows[term.column].reset_index(drop=True)
        numbers = pd.to_numeric(source, errors="coerce")
        numbers = numbers.where(np.isfinite(numbers.astype(float)))
        if (wrong := np.flatnonzero(numbers.isna() & source.notna())).size:
            unread.append((term.column, "is not a number", "correct the value or leave it empty", wrong))
        factor = 1.0 if term.unit is None else DAYS_IN[term.unit] / DAYS_IN[field.unit or "days"]
        total = total + term.sign * factor * numbers.to_numpy(dtype=float, na_value=np.nan)
    return pd.Series(total), unread


def _codes_remedy(codes: Iterable[object]) -> str:
    return "the recipe knows " + ", ".join(str(code) for code in codes)


def _rows_problem(field: str, problem: str, remedy: str, rows: Any) -> Problem:
    return Problem(field, problem, remedy, len(rows), tuple(int(row) for row in rows[:5]))
