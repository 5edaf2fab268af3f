"""Following a recipe: from a source's table to a validated cohort, every exclusion counted."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.cohort import PATIENT, Cohort, Provenance
from features.dictionary import Field, load_dictionary
from features.eligibility import Attrition, has_follow_up
from features.errors import InvalidCohort, Problem
from features.sources.public import read_public
from features.sources.recipe import DAYS_IN, Mapped, Recipe, Reshape
from features.sources.table import read_table

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
    dictionary = load_dictionary().slice(load_dictionary().ordered(recipe.fields))
    return Cohort.from_frame(frame.reset_index(drop=True), dictionary=dictionary, provenance=(provenance,))


_ROW = "__row__"


def _require_columns(recipe: Recipe, table: pd.DataFrame) -> None:
    needed = set(recipe.columns)
    if recipe.reshape:
        made = {
            f"{name}_{column}" for name in recipe.reshape.codes.values() for column in recipe.reshape.columns
        }
        needed = (needed - made) | {recipe.reshape.by, *recipe.reshape.columns}
    missing = sorted(needed - set(table.columns))
    if missing:
        remedy = "add the column or correct its name in the recipe"
        raise InvalidCohort(recipe.name, [Problem(name, "column is missing", remedy) for name in missing])


def _reshape(recipe: Recipe, table: pd.DataFrame) -> pd.DataFrame:
    """Bring each patient's rows side by side; columns not named keep the patient's first row."""
    shape: Reshape = recipe.reshape  # type: ignore[assignment]
    numbered = table.assign(**{_ROW: np.arange(1, len(table) + 1)})
    unknown = np.flatnonzero(~table[shape.by].isin(list(shape.codes)))
    repeated = np.flatnonzero(table.duplicated([recipe.patient, shape.by], keep=False))
    problems = []
    if unknown.size:
        problems.append(_rows_problem(shape.by, UNKNOWN_CODE, _codes_remedy(shape.codes), unknown + 1))
    if repeated.size:
        problems.append(
            _rows_problem(
                recipe.patient, "stands twice with the same " + shape.by, "keep one row of each", repeated + 1
            )
        )
    if problems:
        raise InvalidCohort(recipe.name, problems)
    wide = numbered.drop_duplicates(recipe.patient).drop(columns=[shape.by, *shape.columns])
    for code, name in shape.codes.items():
        part = numbered.loc[numbered[shape.by] == code, [recipe.patient, *shape.columns]]
        wide = wide.merge(
            part.rename(columns={c: f"{name}_{c}" for c in shape.columns}), on=recipe.patient, how="left"
        )
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
        kept = rows[rule.column].isin(list(rule.keep)).to_numpy(dtype=bool)
        attrition = attrition.then(rule.reason, int((~kept).sum()))
        rows = rows[kept]
    return rows, attrition


def _require_inclusion_codes(recipe: Recipe, rows: pd.DataFrame) -> None:
    problems = []
    for rule in recipe.include:
        known = (*rule.keep, *rule.leave_out)
        if (unknown := np.flatnonzero(~rows[rule.column].isin(list(known)))).size:
            numbers = rows[_ROW].to_numpy()[unknown]
            problems.append(_rows_problem(rule.column, UNKNOWN_CODE, _codes_remedy(known), numbers))
    if problems:
        raise InvalidCohort(recipe.name, problems)


def _map_fields(recipe: Recipe, rows: pd.DataFrame) -> pd.DataFrame:
    """Map every field, and judge the values here, where the source's row numbers are still known."""
    dictionary = load_dictionary()
    numbers = rows[_ROW].to_numpy()
    columns: dict[str, Any] = {PATIENT: rows[recipe.patient].astype(str).to_numpy(), _ROW: numbers}
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
        columns[name] = [field.value(value) for value in read.numbers.tolist()]
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
        return source, []
    unknown = np.flatnonzero(source.notna() & ~source.isin(list(mapped.codes)))
    coded = pd.Series([mapped.codes.get(value) for value in source], dtype=object)
    if not unknown.size:
        return coded, []
    return coded, [(mapped.column, UNKNOWN_CODE, _codes_remedy(mapped.codes), unknown)]


def _sum(field: Field, mapped: Mapped, rows: pd.DataFrame) -> tuple[pd.Series, Unread]:
    total = np.zeros(len(rows))
    unread: Unread = []
    for term in mapped.terms:
        source = rows[term.column].reset_index(drop=True)
        numbers = pd.to_numeric(source, errors="coerce")
        if (wrong := np.flatnonzero(numbers.isna() & source.notna())).size:
            unread.append((term.column, "is not a number", "correct the value or leave it empty", wrong))
        factor = 1.0 if term.unit is None else DAYS_IN[term.unit] / DAYS_IN[field.unit or "days"]
        total = total + term.sign * factor * numbers.to_numpy(dtype=float, na_value=np.nan)
    return pd.Series(total), unread


def _codes_remedy(codes: Iterable[object]) -> str:
    return "the recipe knows " + ", ".join(str(code) for code in codes)


def _rows_problem(field: str, problem: str, remedy: str, rows: Any) -> Problem:
    return Problem(field, problem, remedy, len(rows), tuple(int(row) for row in rows[:5]))
