"""The store on PostgreSQL: the same tables; writers take turns by locking the head's row."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from features.errors import RecordNotWritten
from serving.audit.batch import Row
from serving.audit.sql_store import SqlStore, Statements

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
  seq       bigint PRIMARY KEY,
  id        text NOT NULL UNIQUE,
  at        text NOT NULL,
  kind      text NOT NULL,
  body      bytea NOT NULL,
  leaf_hash text NOT NULL,
  subject   text
);
CREATE INDEX IF NOT EXISTS entries_kind ON entries (kind, seq);
CREATE INDEX IF NOT EXISTS entries_subject ON entries (subject, seq) WHERE subject IS NOT NULL;
CREATE TABLE IF NOT EXISTS contents (
  seq     bigint PRIMARY KEY,
  salt    bytea NOT NULL,
  content bytea NOT NULL
);
CREATE TABLE IF NOT EXISTS repeats (
  client      text NOT NULL,
  key         text NOT NULL,
  fingerprint text NOT NULL,
  seq         bigint NOT NULL,
  lapses      bigint NOT NULL,
  row_hash    text NOT NULL,
  PRIMARY KEY (client, key)
);
CREATE INDEX IF NOT EXISTS repeats_lapse ON repeats (lapses);
CREATE INDEX IF NOT EXISTS repeats_entry ON repeats (seq);
CREATE TABLE IF NOT EXISTS head (
  one   integer PRIMARY KEY CHECK (one = 1),
  size  bigint NOT NULL,
  peaks bytea NOT NULL
);
INSERT INTO head SELECT 1, 0, '' WHERE NOT EXISTS (SELECT FROM head) AND NOT EXISTS (SELECT FROM entries);
CREATE TABLE IF NOT EXISTS probe (filler bytea NOT NULL);
REVOKE ALL ON entries, contents, repeats, head, probe FROM PUBLIC;
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN RAISE EXCEPTION 'the record is append-only'; END $$;
CREATE OR REPLACE TRIGGER entries_stay BEFORE UPDATE OR DELETE ON entries
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER entries_remain BEFORE TRUNCATE ON entries
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER contents_stay BEFORE UPDATE ON contents
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER contents_remain BEFORE TRUNCATE ON contents
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER head_grows BEFORE UPDATE ON head
  FOR EACH ROW WHEN (NEW.size <= OLD.size) EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER head_remains BEFORE DELETE ON head
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER head_stays BEFORE TRUNCATE ON head
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""
SCHEMA_LOCK = 5_746_208_115
PATIENCE_SECONDS = 5
PROBE_BYTES = 65536
ROWS_AT_ONCE = 500
READING = ("SELECT", "SHOW")
DURABLE = ("synchronous_commit", "fsync", "full_page_writes")
CONNECTION: dict[str, str | int] = {
    "connect_timeout": PATIENCE_SECONDS,
    "keepalives_idle": PATIENCE_SECONDS,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 1000 * 2 * PATIENCE_SECONDS,
    "application_name": "salvage-audit",
}


class _PostgresqlStatements:
    """Statements on an open connection."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def __call__(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        cursor = self._connection.execute(_marked(sql), values)
        return cursor.fetchall() if sql.startswith(READING) else []

    def many(self, sql: str, rows: Sequence[Row]) -> None:
        """Run a statement once a row; an insert with all its rows at once."""
        head, values, marks = sql.partition(" VALUES ")
        if not values:
            self._connection.cursor().executemany(_marked(sql), rows)
            return
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            several = f"{head} VALUES {', '.join([_marked(marks)] * len(part))}"
            self._connection.execute(several, [value for row in part for value in row], prepare=False)

    def stream(self, sql: str) -> Iterator[Row]:
        with self._connection.cursor(name="stream") as cursor:
            yield from cursor.execute(_marked(sql))


@lru_cache(maxsize=256)
def _marked(sql: str) -> str:
    return sql.replace("?", "%s")


class PostgresqlStore(SqlStore):
    """The store in a PostgreSQL database, whose tables are created at the first use.

    One connection writes and one reads, each behind a lock; after a failure the next call reconnects. When a
    connection breaks during a commit, the caller is told that the outcome is unknown.
    """

    locking = " FOR UPDATE"
    failures: tuple[type[Exception], ...] = (psycopg.Error, OSError, ValueError)

    def __init__(self, address: str, *, now: Callable[[], float] = time.time) -> None:
        super().__init__(now)
        self._address = address
        self._writer = _HeldConnection(lambda: _open(address))
        self._reader = _HeldConnection(lambda: _open(address))

    def check(self) -> None:
        """Commit a real write beside the record.

        Raises:
            RecordNotWritten: when the store cannot be written now.

        """
        with self._writing() as run:
            run("INSERT INTO probe VALUES (?)", (bytes(PROBE_BYTES),))
            run("DELETE FROM probe")

    def close(self) -> None:
        """Close the connections."""
        self._writer.close()
        self._reader.close()

    @contextmanager
    def snapshot(self) -> Iterator[Statements]:
        """Return a consistent snapshot."""
        with psycopg.connect(self._address, connect_timeout=PATIENCE_SECONDS) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield _PostgresqlStatements(connection)

    def flaws(self, run: Statements) -> Iterator[str]:
        """Yield which triggers against changes are missing or disabled."""
        expected = set(re.findall(r"TRIGGER (\w+)", SCHEMA))
        enabled = {
            name
            for (name,) in run(
                "SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
                "WHERE t.tgenabled = 'O' AND pg_table_is_visible(c.oid)"
            )
        }
        for name in sorted(expected - enabled):
            yield f"the trigger {name} is missing or switched off"

    def _scrub(self) -> None:
        """Vacuum erased rows, so that new ones overwrite them."""
        with suppress(RecordNotWritten), self._writer.connection("written") as connection:
            connection.execute("VACUUM contents")

    @contextmanager
    def _reading(self) -> Iterator[Statements]:
        with self._reader.connection("read") as connection:
            yield _PostgresqlStatements(connection)

    @contextmanager
    def _writing(self) -> Iterator[Statements]:
        """Open a transaction in pipeline mode, which takes three round trips."""
        with (
            self._writer.connection("written") as connection,
            connection.pipeline(),
            connection.transaction(),
        ):
            yield _PostgresqlStatements(connection)


class _HeldConnection:
    """A connection behind a lock, reopened after a failure."""

    def __init__(self, opening: Callable[[], psycopg.Connection]) -> None:
        self._opening = opening
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None

    @contextmanager
    def connection(self, used: str) -> Iterator[psycopg.Connection]:
        """Lend the connection; drop it when its use fails."""
        if not self._lock.acquire(timeout=PATIENCE_SECONDS):
            raise RecordNotWritten("the audit store is busy")
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._opening()
            yield self._connection
        except BaseException as error:
            self._drop()
            if isinstance(error, (psycopg.Error, OSError, ValueError)):
                message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise RecordNotWritten(f"the audit store cannot be {used}: {message}") from error
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


def _open(address: str) -> psycopg.Connection:
    given = conninfo_to_dict(address)
    defaults = {name: value for name, value in CONNECTION.items() if name not in given}
    connection = psycopg.connect(make_conninfo(address, **defaults), autocommit=True)
    try:
        connection.execute("SET synchronous_commit = on")
        connection.execute(f"SET statement_timeout = '{PATIENCE_SECONDS}s'")
        connection.execute(f"SET idle_in_transaction_session_timeout = '{2 * PATIENCE_SECONDS}s'")
        _assert_durable(connection)
        _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _assert_durable(connection: psycopg.Connection) -> None:
    """Make sure that a commit is on disk before it returns."""
    for setting in DURABLE:
        value = connection.execute(f"SHOW {setting}").fetchone()
        if value != ("on",):
            raise psycopg.OperationalError(f"{setting} is off on this server, and has to be on")


def _make_tables(connection: psycopg.Connection) -> None:
    """Create missing tables; processes that start at once take turns."""
    if connection.execute("SELECT to_regclass('head')").fetchone() != (None,):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        connection.execute(SCHEMA)
