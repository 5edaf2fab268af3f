"""Reading an OMOP CDM: its tables checked and qualified by schema, its dates parsed."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy.typing as npt
import pandas as pd

from features.errors import InvalidCohort, Problem
from features.sources.database import OpenDatabase, open_database

NEEDED = {
    "person": ("person_id", "gender_concept_id", "year_of_birth", "month_of_birth", "day_of_birth"),
    "observation_period": (
        "observation_period_id", "person_id",
        "observation_period_start_date", "observation_period_end_date",
    ),
    "death": ("person_id", "death_date"),
    "episode": (
        "episode_id", "person_id", "episode_concept_id", "episode_start_date", "episode_parent_id",
        "episode_number", "episode_object_concept_id",
    ),
    "episode_event": ("episode_id", "event_id", "episode_event_field_concept_id"),
    "condition_occurrence": (
        "condition_occurrence_id", "person_id", "condition_concept_id", "condition_start_date",
        "condition_source_concept_id",
    ),
    "measurement": (
        "measurement_id", "person_id", "measurement_concept_id", "measurement_date", "value_as_number",
        "unit_concept_id", "unit_source_value",
    ),
    "concept": ("concept_id", "vocabulary_id", "concept_code"),
}  # fmt: skip
ANCESTORS = "concept_ancestor"
SCHEMA = re.compile(r"[A-Za-z_]\w*")

Records: TypeAlias = "pd.Series[Any] | pd.Index[Any] | npt.NDArray[Any]"


@dataclass(frozen=True)
class Cdm:
    """An open CDM; ``problems`` collects those of its records."""

    database: OpenDatabase
    schema: str | None
    has_ancestors: bool
    problems: list[Problem] = field(default_factory=list)

    def table(self, name: str) -> str:
        """Return a table's name, qualified by the schema."""
        return f"{self.schema}.{name}" if self.schema else name

    def read(self, query: str) -> pd.DataFrame:
        """Return a query's answer with column names in lower case."""
        frame = self.database.read(query)
        return frame.rename(columns={name: str(name).lower() for name in frame.columns})

    def blame(self, where: str, problem: str, remedy: str, records: "Records") -> None:
        """Add a problem of records, given by their ids; none where there are no records."""
        named = [int(record) for record in records]
        if named:
            self.problems.append(Problem.in_rows(where, problem, remedy, sorted(named)))

    def dates(self, frame: pd.DataFrame, table: str, column: str, *, key: str) -> "pd.Series[Any]":
        """Return a column as days; missing and unreadable ones are problems of the records by ``key``.

        SQLite has no date type: text is read as ISO 8601, numbers as seconds since 1970, as OHDSI's tools
        write them.
        """
        raw = frame[column]
        if pd.api.types.is_numeric_dtype(raw.dtype):
            days = pd.to_datetime(raw, unit="s", errors="coerce")
        else:
            days = pd.to_datetime(raw, errors="coerce", format="ISO8601")
        days = days.dt.tz_localize(None).dt.normalize()
        remedy = f"write it as YYYY-MM-DD; records are named by {key}"
        self.blame(f"{table}.{column}", "is not a date", remedy, frame.loc[days.isna(), key])
        return days

    def raise_problems(self) -> None:
        """Refuse the CDM where problems were added.

        Raises:
            InvalidCohort: naming all of them.

        """
        if self.problems:
            raise InvalidCohort(self.database.name, self.problems)


@contextmanager
def open_cdm(url: str, *, schema: str | None) -> Iterator[Cdm]:
    """Open a CDM for reading.

    Raises:
        InvalidCohort: when it cannot be reached, and naming every table and column that it lacks.
        MissingExtra: when the database's driver is not installed.

    """
    if schema is not None and not SCHEMA.fullmatch(schema):
        raise InvalidCohort("OMOP CDM", [Problem("schema", "is not a plain name", "give the schema's name")])
    with open_database(url) as database:
        prefix = f"{schema}." if schema else ""
        problems = []
        for table, needed in NEEDED.items():
            columns = database.columns(prefix + table)
            if columns is None:
                remedy = "create it (CDM 5.4), or name the schema it is in"
                problems.append(Problem(table, "table is missing", remedy))
                continue
            lacking = sorted(set(needed) - {name.lower() for name in columns})
            problems += [
                Problem(f"{table}.{name}", "column is missing", "bring the CDM to 5.4") for name in lacking
            ]
        if problems:
            raise InvalidCohort(database.name, problems)
        yield Cdm(database, schema, database.columns(prefix + ANCESTORS) is not None)


def listed(numbers: Sequence[int] | Any) -> str:
    """Return ids as the list of an SQL ``IN``, sorted; NULL, which matches nothing, for none.

    >>> listed([3, 1]), listed([])
    ('1, 3', 'NULL')
    """
    return ", ".join(str(number) for number in sorted({int(n) for n in numbers})) or "NULL"


def days_between(start: "pd.Series[Any]", end: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return days from start to end, NaN where either is missing."""
    days: pd.Series[Any] = (end - start).dt.total_seconds() / 86_400
    return days
