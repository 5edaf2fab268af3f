"""A table or a query of a database as a source, and the one string that names any source."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pandas as pd

from features.errors import InvalidCohort, Problem
from features.sources.cbioportal import is_study, read_cbioportal, read_cbioportal_timelines
from features.sources.database import reading
from features.sources.table import header_problems, read_table

IS_QUERY = re.compile(r"\s*(select|with)[\s(]", re.IGNORECASE)


def read_source(source: str) -> pd.DataFrame:
    """Return the table that one string names.

    A path is a file (``cohort.csv``, ``book.xlsx#Sheet``) or a cBioPortal study's folder (``study``, or
    ``study#treatment`` for a timeline). An address is a database with a table or a query:
    ``postgresql://user@host/db?table=schema.patients``, ``sqlite:///file.db#SELECT ...``.

    Raises:
        InvalidCohort: naming what cannot be read and why.
        MissingExtra: when the database's driver is not installed.

    """
    if "://" in source.partition("#")[0]:
        return read_sql(*_address(source))
    folder, _, timeline = source.partition("#")
    if not is_study(Path(folder)):
        return read_table(source)
    if not timeline:
        return read_cbioportal(Path(folder))
    timelines = read_cbioportal_timelines(Path(folder))
    if timeline not in timelines:
        remedy = "use one of " + ", ".join(timelines) if timelines else "the study has no timeline files"
        raise InvalidCohort(folder, [Problem(timeline, "is no timeline of the study", remedy)])
    return timelines[timeline]


def read_sql(url: str, query_or_table: str) -> pd.DataFrame:
    """Return a table, named as ``[schema.]table``, or the answer to one SELECT, as a recipe reads it.

    The transaction is read only, see :func:`features.sources.database.reading`. Decimal numbers become
    floats, dates become timestamps.

    Raises:
        InvalidCohort: when the database cannot be reached, or the table or query cannot be read.
        MissingExtra: when SQLAlchemy, DuckDB or the database's driver is not installed.

    """
    with reading(url) as database:
        query = query_or_table.strip().removesuffix(";")
        if not IS_QUERY.match(query):
            if database.columns(query) is None:
                remedy = "check its name and schema: [schema.]table"
                raise InvalidCohort(database.name, [Problem(query, "is no table there", remedy)])
            query = f"SELECT * FROM {database.quoted(query)}"
        elif ";" in query:
            remedy = "give one SELECT without a semicolon"
            raise InvalidCohort(database.name, [Problem("query", "is not a single statement", remedy)])
        frame = database.read(query)
    if problems := header_problems(list(frame.columns)):
        raise InvalidCohort(database.name, problems)
    return frame


def _address(source: str) -> tuple[str, str]:
    """Return a source's database address, and its table or query."""
    url, _, asked = source.partition("#")
    if "@" not in url and re.match(r"[^\s@]*@[^\s@]+/", asked):
        remedy = "write # as %23 in a user name or password"
        raise InvalidCohort("database", [Problem("address", "has a # before its host", remedy)])
    url, _, options = url.partition("?")
    pairs = parse_qsl(options, keep_blank_values=True)
    named = [value for key, value in pairs if key in ("table", "query")] + [asked] * bool(asked)
    if len(named) != 1 or not named[0].strip():
        remedy = "add one of ?table=schema.name, #schema.name or #SELECT ..."
        raise InvalidCohort("database", [Problem("address", "names no single table or query", remedy)])
    rest = urlencode([(key, value) for key, value in pairs if key not in ("table", "query")])
    return url + (f"?{rest}" if rest else ""), named[0]
