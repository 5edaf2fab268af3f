"""Building cohorts: from a recipe and a source to a validated cohort, with every exclusion counted."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.cohort import PATIENT, Cohort, Provenance, applicability_problems
from features.dictionary import Field, FloatArray, load_dictionary
from features.eligibility import NO_FOLLOW_UP, has_follow_up
from features.errors import InvalidCohort, Problem
from features.sources.codes import ROW, member, rows_problem
from features.sources.door import SourceRecipe, SourceTables
from features.sources.doors import read_source
from features.sources.inclusion import include
from features.sources.mapping import DISEASE, read_field
from features.sources.recipe import Recipe
from features.sources.related import RelatedRecords, in_window
from features.sources.reshape import side_by_side

ADD_COLUMN = "add the column or correct its name in the recipe"


def build_cohort(recipe: SourceRecipe, source: Path | str | None = None) -> Cohort:
    """Return the cohort that a recipe makes of a path or an address, or of its own public source.

    Raises:
        InvalidCohort: naming everything wrong with the source, or with its tables at one stage.
        MissingExtra: when the source needs a package that is not installed.

    """
    read = read_source(recipe, source)
    return read if isinstance(read, Cohort) else follow(read)


def follow(tables: SourceTables) -> Cohort:
    """Turn tables into their recipe's cohort: reshape, include, map, validate.

    Raises:
        InvalidCohort: naming every missing column, repeated patient, unknown code and impossible value, stage
            by stage.

    """
    recipe = tables.recipe
    _require_columns(tables)
    rows = _blanked(recipe, _numbered(tables.patients, _wanted(recipe)), spared=recipe.patient)
    if recipe.reshape:
        rows = side_by_side(
            recipe.reshape, rows, patient=recipe.patient, used=recipe.columns, subject=recipe.name
        )
    _require_patients(recipe, rows)
    kept, attrition = include(recipe.include, recipe.duplicates, rows, subject=recipe.name)
    kept = kept.reset_index(drop=True)
    records, problems = _records(tables, kept, everyone=rows[recipe.patient])
    frame = _map_fields(recipe, kept, records, problems)
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
    frame = frame.reset_index(drop=True)
    return Cohort.from_frame(frame, dictionary=dictionary, provenance=(provenance,), units_stated=True)


def _require_columns(tables: SourceTables) -> None:
    recipe = tables.recipe
    needed = _wanted(recipe) - set(recipe.reshape.made if recipe.reshape else ())
    missing = sorted(needed - set(tables.patients.columns))
    for name, table in tables.related.items():
        wanted = set(recipe.related_columns(name)) - set(table.columns)
        missing += [f"{name}.{column}" for column in sorted(wanted)]
    problems = [Problem(name, "column is missing", ADD_COLUMN) for name in missing]
    problems += [
        Problem(name, "table is missing", f"add --input FOLDER with the file {related.file} in it")
        for name, related in recipe.related.items()
        if name not in tables.related
    ]
    if problems:
        raise InvalidCohort(recipe.name, problems)


def _wanted(recipe: Recipe) -> set[str]:
    """Return the columns that the recipe reads before or after reshaping."""
    shape = recipe.reshape
    return {*recipe.columns, *((shape.by, *shape.columns) if shape else ())}


def _numbered(table: pd.DataFrame, wanted: Collection[str]) -> pd.DataFrame:
    """Keep the wanted columns, and add each row's number in the source, from 1."""
    kept = table[[name for name in table.columns if name in wanted]]
    return kept.reset_index(drop=True).assign(**{ROW: np.arange(1, len(table) + 1)})


def _blanked(recipe: Recipe, table: pd.DataFrame, *, spared: str) -> pd.DataFrame:
    """Empty the cells that hold a code for missing, except in the ``spared`` column."""
    if recipe.missing is None:
        return table
    kept = {spared, ROW, *recipe.missing.excepted}
    blank = {name: member(table[name], recipe.missing.codes) for name in table.columns if name not in kept}
    return table.assign(**{name: table[name].mask(cells) for name, cells in blank.items() if cells.any()})


def _require_patients(recipe: Recipe, rows: pd.DataFrame) -> None:
    patients = rows[recipe.patient]
    problems = []
    if (blank := np.flatnonzero(patients.isna())).size:
        remedy = "give every row an identifier"
        problems.append(rows_problem(recipe.patient, "is missing", remedy, rows, blank))
    if (again := np.flatnonzero(patients.duplicated(keep=False) & patients.notna())).size:
        remedy = "keep one row a patient"
        problems.append(rows_problem(recipe.patient, "stands in several rows", remedy, rows, again))
    if problems:
        raise InvalidCohort(recipe.name, problems)


def _records(
    tables: SourceTables, rows: pd.DataFrame, *, everyone: pd.Series
) -> tuple[dict[str, RelatedRecords], list[Problem]]:
    """Return the related records of the patients in ``rows``, within their windows, and what is wrong."""
    recipe = tables.recipe
    records: dict[str, RelatedRecords] = {}
    problems: list[Problem] = []
    for name, declared in recipe.related.items():
        numbered = _numbered(tables.related[name], recipe.related_columns(name))
        table = _blanked(recipe, numbered, spared=declared.key)
        records[name], wrong = in_window(
            name, declared, table, rows=rows, patient=recipe.patient, everyone=everyone
        )
        problems += wrong
    return records, problems


def _map_fields(
    recipe: Recipe, rows: pd.DataFrame, records: Mapping[str, RelatedRecords], problems: list[Problem]
) -> pd.DataFrame:
    """Map and check every field while the source's row numbers are known, the disease first."""
    dictionary = load_dictionary()
    numbers: dict[str, FloatArray] = {}
    for name in sorted(recipe.fields, key=lambda name: name != "disease"):
        mapped = read_field(dictionary[name], recipe.fields[name], rows, records)
        problems += mapped.problems
        numbers[name] = mapped.numbers
        if name == "disease":
            diseases = np.array([*dictionary[name].category_names, None], dtype=object)
            codes = np.where(np.isnan(mapped.numbers), -1, mapped.numbers).astype(int)
            rows = rows.assign(**{DISEASE: diseases[codes]})
    problems += applicability_problems(dictionary.slice(numbers), numbers, rows=rows[ROW].to_numpy())
    if problems:
        raise InvalidCohort(recipe.name, dict.fromkeys(problems))
    columns: dict[str, Any] = {PATIENT: rows[recipe.patient].astype(str).to_numpy()}
    return pd.DataFrame(columns | {n: _readable(dictionary[n], v) for n, v in numbers.items()})


def _readable(field: Field, numbers: FloatArray) -> Any:
    """Return a column of values from the numbers that encode them."""
    missing = np.isnan(numbers)
    if field.type == "category":
        codes = np.where(missing, -1, numbers).astype(np.int64)
        return pd.Categorical.from_codes(codes, pd.Index(field.category_names))
    if field.type == "flag":
        return pd.array(np.where(missing, None, numbers == 1.0), dtype="boolean")  # type: ignore[call-overload]
    return numbers
