"""Laboratory values and performance status at the index date, by LOINC code, in the fields' units."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.dictionary import Dictionary, Field
from features.sources.omop.cdm import Cdm, days_between, listed

KEY = "measurement_id"
COUNTED = ("%", "nodes", "points", None)  # units of scores and counts, which records seldom write
NO_UNIT = ("", "1", "%")


@dataclass(frozen=True)
class LaboratoryValues:
    """By field, each person's latest value by the index date; ``left_out`` counts values in unknown units."""

    values: Mapping[str, "pd.Series[Any]"]
    left_out: int


def loinc_fields(dictionary: Dictionary) -> dict[str, Field]:
    """Return the fields that are read from a measurement's number, by LOINC code.

    >>> from features.dictionary import load_dictionary
    >>> loinc_fields(load_dictionary())["718-7"].name
    'haemoglobin'
    """
    numbers = [f for f in dictionary.fields if f.type in ("number", "integer") or f.name == "ecog"]
    known = [f for f in numbers if "loinc" in f.codes and f.known != "after" and f.name != "age"]
    return {f.codes["loinc"]: f for f in known}


def read_laboratory(
    cdm: Cdm, index: "pd.Series[Any]", *, index_query: str, fields: Mapping[str, Field], days: int,
    unknown_units: str,
) -> LaboratoryValues:  # fmt: skip
    """Read each field's latest measurement in the ``days`` up to and including the index date.

    Fields known at diagnosis have no such limit. ``index`` holds the index dates by person, ``index_query``
    selects the same from the database. With ``unknown_units="missing"`` a value in a unit that the dictionary
    cannot convert is left out and counted; else it is a problem.
    """
    codes = ", ".join(f"'{code}'" for code in sorted(fields))
    concepts = cdm.read(
        f"SELECT concept_id, concept_code FROM {cdm.table('concept')} "
        f"WHERE vocabulary_id = 'LOINC' AND concept_code IN ({codes})"
    )
    by_concept = {int(c): fields[code] for c, code in concepts.itertuples(index=False)}
    measured = _measurements(cdm, index_query, by_concept)
    measured["day"] = cdm.dates(measured, "measurement", "measurement_date", key=KEY)
    measured["field"] = measured["measurement_concept_id"].map({c: f.name for c, f in by_concept.items()})
    named = {f.name: f for f in by_concept.values()}
    measured = _in_window(measured, index, named, days)
    measured["factor"] = _factors(measured, named)
    unknown = measured["factor"].isna()
    if unknown_units == "missing":
        measured = measured[~unknown]
    latest = measured.sort_values(["day", KEY]).drop_duplicates(["person_id", "field"], keep="last")
    values = {name: _field_values(cdm, latest, field) for name, field in named.items()}
    return LaboratoryValues(
        {name: numbers for name, numbers in values.items() if len(numbers)},
        int(unknown.sum()) if unknown_units == "missing" else 0,
    )


def _measurements(cdm: Cdm, index_query: str, by_concept: Mapping[int, Field]) -> pd.DataFrame:
    # SQLite would compare days as text, and a day with a time is not the same text as the day.
    until = "" if cdm.database.kind == "sqlite" else " AND m.measurement_date <= i.index_date"
    return cdm.read(
        "SELECT m.measurement_id, m.person_id, m.measurement_concept_id, m.measurement_date, "
        "m.value_as_number, u.concept_code AS unit_code, m.unit_source_value "
        f"FROM {cdm.table('measurement')} m JOIN ({index_query}) i ON i.person_id = m.person_id "
        f"LEFT JOIN {cdm.table('concept')} u "
        "ON u.concept_id = m.unit_concept_id AND u.vocabulary_id = 'UCUM' "
        f"WHERE m.measurement_concept_id IN ({listed(by_concept)}) AND m.value_as_number IS NOT NULL" + until
    )


def _in_window(
    measured: pd.DataFrame, index: "pd.Series[Any]", named: Mapping[str, Field], days: int
) -> pd.DataFrame:
    before = days_between(measured["day"], measured["person_id"].map(index))
    early = {name for name, field in named.items() if field.known == "diagnosis"}
    within = (before >= 0) & ((before <= days) | measured["field"].isin(list(early)))
    kept: pd.DataFrame = measured[within].copy()
    return kept


def _factors(measured: pd.DataFrame, named: Mapping[str, Field]) -> "pd.Series[Any]":
    """Return each value's conversion factor to its field's unit, NaN where its unit is unknown."""
    units = measured["unit_code"].where(measured["unit_code"].notna(), measured["unit_source_value"])
    units = units.where(units.notna(), "").astype(str).str.strip()
    pairs = [factor_of(named[name], unit) for name, unit in zip(measured["field"], units, strict=True)]
    return pd.Series(pairs, index=measured.index, dtype=float)


def factor_of(field: Field, unit: str) -> float:
    """Return the factor from a UCUM unit to the field's, NaN where the dictionary declares none.

    >>> from features.dictionary import load_dictionary
    >>> factor_of(load_dictionary()["haemoglobin"], "g/L")
    0.1
    """
    if unit == field.unit:
        return 1.0
    if unit in field.conversions:
        return field.conversions[unit]
    unwritten = unit in NO_UNIT or unit.startswith("{")
    return 1.0 if field.unit in COUNTED and unwritten else np.nan


def _field_values(cdm: Cdm, latest: pd.DataFrame, field: Field) -> "pd.Series[Any]":
    """Return one field's values by person; values out of range or in unknown units are problems."""
    rows = latest[latest["field"] == field.name]
    where = f"measurement: {field.name}"
    known = ", ".join(filter(None, (field.unit, *field.conversions)))
    remedy = f"write it in one of {known}, or leave out unknown units; records are named by {KEY}"
    cdm.blame(where, "has an unknown unit", remedy, rows.loc[rows["factor"].isna(), KEY])
    rows = rows[rows["factor"].notna()]
    numbers = rows["value_as_number"].astype(float) * rows["factor"]
    values = numbers.map(_grade) if field.name == "ecog" else numbers
    for fault, at in field.read_series(values.reset_index(drop=True)).faults.items():
        records = rows[KEY].to_numpy()[list(at)]
        cdm.blame(where, fault, f"expected {field.expected}; records are named by {KEY}", records)
    return pd.Series(values.to_numpy(), index=rows["person_id"].to_numpy())


def _grade(number: float) -> str:
    return f"ecog_{number:g}"
