"""Databases as sources: a table, or the answer to a query."""

import re
from urllib.parse import parse_qsl, urlencode

import pandas as pd

from features.errors import InvalidCohort, Problem
from features.sources.database import open_database
from features.sources.door import SourceTables
from features.sources.recipe import Recipe
from features.sources.table import header_problems

IS_QUERY = re.compile(r"\s*(select|with)[\s(]", re.IGNORECASE)


class DatabaseDoor:
    """A table of a database, or the answer to one query."""

    name = "database"
    inputs = "a database's address (KIND://HOST/NAME?table=SCHEMA.TABLE, KIND:///FILE#SELECT ...)"
    follows = Recipe

    def recognises(self, source: str) -> bool:
        """Return whether there is ``://`` before any table or query."""
        return "://" in source.partition("#")[0]

    def read(self, recipe: Recipe, source: str) -> SourceTables:
        """Return the table or answer.

        Raises:
            InvalidCohort: when the database cannot be reached, or the table or query cannot be read.
            MissingExtra: when SQLAlchemy, DuckDB or the database's driver is not installed.

        """
        return SourceTables(recipe, read_sql(*_address(source)))


def read_sql(url: str, query_or_table: str) -> pd.DataFrame:
    """Return a table, named as ``[schema.]table``, or the answer to one SELECT.

    The transaction is read only, see :func:`features.sources.database.open_database`. Decimal numbers become
    floats, dates become timestamps.

    Raises:
        InvalidCohort: when the database cannot be reached, or the table or query cannot be read.
        MissingExtra: when SQLAlchemy, DuckDB or the database's driver is not installed.

    """
    with open_database(url) as database:
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
    url, _, fragment = source.partition("#")
    if "@" not in url and re.match(r"[^\s@]*@[^\s@]+/", fragment):
        remedy = "write # as %23 in a user name or password"
        raise InvalidCohort("database", [Problem("address", "has a # before its host", remedy)])
    url, _, options = url.partition("?")
    pairs = parse_qsl(options, keep_blank_values=True)
    named = [value for key, value in pairs if key in ("table", "query")] + [fragment] * bool(fragment)
    if len(named) != 1 or not named[0].strip():
        remedy = "add one of ?table=schema.name, #schema.name or #SELECT ..."
        raise InvalidCohort("database", [Problem("address", "names no single table or query", remedy)])
    rest = urlencode([(key, value) for key, value in pairs if key not in ("table", "query")])
    return url + (f"?{rest}" if rest else ""), named[0]
