"""Databases opened for reading: through SQLAlchemy, or a DuckDB file.

A driver's message may hold a password or a patient's value. It is passed on only where it names a table or
column that does not exist, or a fault of the query itself; any other failure has a message of this module.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from features.errors import InvalidCohort, MissingExtra, Problem
from features.sources.table import MISSING_FILE

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from sqlalchemy import URL, Connection, Engine

CONNECT_SECONDS = 10
EXTRA = "databases need: pip install 'salvage-outcomes[sql]'"
DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}
NAMES_THE_FAULT = re.compile(r"no such (table|column|function)|syntax error|does not exist|permission denied")


@dataclass(frozen=True)
class OpenDatabase:
    """An open database.

    ``kind`` is its dialect, ``name`` what messages call it. ``columns`` returns a table's columns, None where
    there is no such table; ``quoted`` returns a table's name as a query writes it; ``read`` runs a query.
    """

    kind: str
    name: str
    columns: Callable[[str], tuple[str, ...] | None]
    quoted: Callable[[str], str]
    read: Callable[[str], pd.DataFrame]


@contextmanager
def open_database(url: str) -> Iterator[OpenDatabase]:
    """Open a database for reading only (PostgreSQL, SQLite, MySQL, MariaDB, DuckDB), and always close it.

    Of other databases the transaction is merely rolled back: give their user no right to write.

    Raises:
        InvalidCohort: when the address is no address, or the database cannot be reached.
        MissingExtra: when SQLAlchemy, DuckDB or the database's driver is not installed.

    """
    if "://" not in url:
        remedy = "write it as kind://user@host/database, or kind:///file"
        raise InvalidCohort("database", [Problem("address", "cannot be read", remedy)])
    with _duckdb(url) if url.startswith("duckdb:") else _sqlalchemy(url) as database:
        yield database


@contextmanager
def _sqlalchemy(url: str) -> Iterator[OpenDatabase]:
    engine, name = _engine(url)
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  optional

    try:
        try:
            connection = engine.connect()
            _make_read_only(connection)
        except (SQLAlchemyError, OSError, UnicodeError):
            raise _unreachable(name) from None
        with connection:
            yield OpenDatabase(
                engine.dialect.name,
                name,
                lambda table: _run(name, lambda: _columns(connection, table)),
                lambda table: _run(name, lambda: _quoted(connection, table)),
                lambda query: _run(name, lambda: _fetch(connection, query)),
            )
            connection.rollback()
    finally:
        engine.dispose()


def _engine(url: str) -> "tuple[Engine, str]":
    try:
        import sqlalchemy  # noqa: PLC0415  optional, and a third of a second
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra(EXTRA) from error
    try:
        address = sqlalchemy.make_url(url)
        address = address.set(drivername=DRIVERS.get(address.drivername, address.drivername))
        kind = address.get_backend_name()
        name = f"{kind} database {address.database}"
        if kind == "sqlite":
            return sqlalchemy.create_engine(_sqlite_read_only(address, name)), name
        if kind != "postgresql":
            return sqlalchemy.create_engine(address), name
        engine = sqlalchemy.create_engine(address, connect_args={"connect_timeout": CONNECT_SECONDS})
        return engine.execution_options(postgresql_readonly=True), name
    except NoSuchModuleError:
        remedy = (
            "use postgresql://, sqlite:///, duckdb:///, mysql+pymysql:// or another that SQLAlchemy knows"
        )
        raise InvalidCohort("database", [Problem("address", "is of an unknown kind", remedy)]) from None
    except (ArgumentError, ValueError, TypeError):
        remedy = "write it as kind://user:password@host:port/database, special signs as %XX"
        raise InvalidCohort("database", [Problem("address", "cannot be read", remedy)]) from None
    except ImportError as error:
        raise MissingExtra(f"the Python package {error.name} is not installed; {EXTRA}") from None


def _sqlite_read_only(address: "URL", name: str) -> "URL":
    file = Path(address.database or "")
    if not file.is_file():  # SQLite would make an empty one
        raise InvalidCohort(name, [MISSING_FILE])
    uri = "file:" + quote(str(file.resolve()))
    return address.set(database=uri, query={"mode": "ro", "uri": "true"})


def _make_read_only(connection: "Connection") -> None:
    if statement := READ_ONLY.get(connection.dialect.name):
        connection.exec_driver_sql(statement)
        connection.commit()


def _parts(connection: "Connection", table: str) -> tuple[str | None, str]:
    """Split ``schema.table``; a table whose name holds the dot takes precedence, without schema."""
    from sqlalchemy import inspect  # noqa: PLC0415  optional

    schema, dot, name = table.partition(".")
    return (None, table) if not dot or inspect(connection).has_table(table) else (schema, name)


def _columns(connection: "Connection", table: str) -> tuple[str, ...] | None:
    from sqlalchemy import inspect  # noqa: PLC0415  optional

    schema, name = _parts(connection, table)
    inspector = inspect(connection)
    if not inspector.has_table(name, schema=schema):
        return None
    return tuple(str(column["name"]) for column in inspector.get_columns(name, schema=schema))


def _quoted(connection: "Connection", table: str) -> str:
    write = connection.dialect.identifier_preparer.quote_identifier
    return ".".join(write(part) for part in _parts(connection, table) if part is not None)


def _fetch(connection: "Connection", query: str) -> pd.DataFrame:
    from sqlalchemy import text  # noqa: PLC0415  optional

    frame = pd.read_sql_query(text(query.replace(":", r"\:")), connection)  # a colon is no parameter here
    frame.columns = pd.Index([str(name) for name in frame.columns], dtype=object)
    return frame if frame.columns.has_duplicates else frame.apply(_dates)


def _dates(series: "pd.Series[Any]") -> "pd.Series[Any]":
    """Convert a column of calendar dates to timestamps, as Parquet files give them."""
    if series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) == "date":
        return pd.to_datetime(series)
    return series


def _run(name: str, ask: Callable[[], Any]) -> Any:
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError  # noqa: PLC0415  optional

    try:
        return ask()
    except DBAPIError as error:
        raise _unanswered(name, error.orig) from None  # what it quotes may hold patients' values
    except (SQLAlchemyError, OSError) as error:
        raise _unanswered(name, error) from None


def _unanswered(name: str, error: BaseException | None) -> InvalidCohort:
    message = next(iter(str(error).splitlines()), "")
    state = getattr(error, "sqlstate", None) or "42"  # 42: a fault of the query, never of a value
    remedy = (
        message
        if NAMES_THE_FAULT.search(message) and state.startswith("42")
        else "try it in a database client"
    )
    return InvalidCohort(name, [Problem("query", "cannot be answered", remedy)])


def _unreachable(name: str) -> InvalidCohort:
    remedy = "check host, port, name, user and password, and that it accepts connections from here"
    return InvalidCohort(name, [Problem("database", "cannot be reached", remedy)])


@contextmanager
def _duckdb(url: str) -> Iterator[OpenDatabase]:
    try:
        import duckdb  # noqa: PLC0415  optional
    except ImportError as error:
        raise MissingExtra(EXTRA) from error
    path = Path(url.removeprefix("duckdb:///"))
    name = f"duckdb database {path}"
    if not path.is_file():
        raise InvalidCohort(name, [MISSING_FILE])
    try:
        offline: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}
        connection = duckdb.connect(str(path), read_only=True, config=offline)
    except duckdb.Error:
        raise _unreachable(name) from None
    with connection:
        yield OpenDatabase(
            "duckdb",
            name,
            lambda table: _duckdb_columns(name, connection, table),
            lambda table: ".".join('"' + part.replace('"', '""') + '"' for part in table.split(".")),
            lambda query: _duckdb_fetch(name, connection, query),
        )


def _duckdb_fetch(
    name: str, connection: "DuckDBPyConnection", query: str, values: list[str] | None = None
) -> pd.DataFrame:
    import duckdb  # noqa: PLC0415  optional

    try:
        return connection.execute(query, values).df()
    except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException) as error:
        message = next(iter(str(error).splitlines()), "check the query")
        raise InvalidCohort(name, [Problem("query", "cannot be answered", message)]) from None
    except duckdb.Error:
        raise _unanswered(name, None) from None


def _duckdb_columns(name: str, connection: "DuckDBPyConnection", table: str) -> tuple[str, ...] | None:
    schema, dot, rest = table.rpartition(".")
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = ?"
    query += (" AND table_schema = ?" if dot else "") + " ORDER BY ordinal_position"
    columns = _duckdb_fetch(name, connection, query, [rest, schema] if dot else [rest])
    return tuple(columns["column_name"]) or None
