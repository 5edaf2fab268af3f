"""The audit store: what was answered, durable before the answer leaves, never changed afterwards."""

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from features.errors import NotFound, RecordNotWritten

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
  seq       INTEGER PRIMARY KEY,
  id        TEXT NOT NULL UNIQUE,
  at        TEXT NOT NULL,
  kind      TEXT NOT NULL,
  body      BLOB NOT NULL,
  leaf_hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE UPDATE ON entries
  BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_remain BEFORE DELETE ON entries
  BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
"""
FULL = 2
PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Entry:
    """One record: ``body`` is the exact bytes that were hashed."""

    seq: int
    id: str
    at: str
    kind: str
    body: bytes
    leaf_hash: str


class AuditStore(Protocol):
    """Anything that keeps records in one gapless sequence."""

    def append(self, *, entry_id: str, at: str, kind: str, body: bytes) -> Entry:
        """Make a record durable and return it, or raise RecordNotWritten having kept nothing."""
        ...

    def get(self, entry_id: str) -> Entry:
        """Return a record, or raise NotFound."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Yield every record in order."""
        ...

    def check(self) -> None:
        """Raise RecordNotWritten when the store cannot be written now."""
        ...


def leaf_hash(body: bytes) -> str:
    """Return the RFC 6962 leaf hash of a record's bytes.

    >>> leaf_hash(b"")
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'
    """
    return hashlib.sha256(b"\x00" + body).hexdigest()


class SqliteAuditStore:
    """The store on SQLite: write-ahead log, every commit synced to disk before it returns.

    Several threads share one connection behind a lock; several processes share the file. A connection that
    failed is opened anew at the next call, so the store recovers when its disk does.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def append(self, *, entry_id: str, at: str, kind: str, body: bytes) -> Entry:
        """Make a record durable and return it.

        Raises:
            RecordNotWritten: when it could not be committed; nothing of it is kept then.

        """
        digest = leaf_hash(body)

        def write(connection: sqlite3.Connection) -> Entry:
            seq = int(connection.execute("SELECT COALESCE(MAX(seq), 0) + 1 FROM entries").fetchone()[0])
            row = (seq, entry_id, at, kind, body, digest)
            connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", row)
            return Entry(*row)

        return self._transact(write)

    def get(self, entry_id: str) -> Entry:
        """Return a record.

        Raises:
            NotFound: when no record has this id.
            RecordNotWritten: when the store cannot be read.

        """
        with self._opened() as connection:
            row = connection.execute("SELECT * FROM entries WHERE id = ?", (entry_id,)).fetchone()
        if row is None:
            raise NotFound("no prediction with this id")
        return Entry(*row)

    def entries(self) -> Iterator[Entry]:
        """Yield every record in order."""
        with self._opened() as connection:
            rows = connection.execute("SELECT * FROM entries ORDER BY seq").fetchall()
        yield from (Entry(*row) for row in rows)

    def check(self) -> None:
        """Raise RecordNotWritten when the store cannot be written now."""
        # the write is real and then undone: only that shows a full or read-only disk
        with self._opened() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("CREATE TABLE write_test (x)")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _transact(self, write: Callable[[sqlite3.Connection], Entry]) -> Entry:
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                entry = write(connection)
                connection.execute("COMMIT")
            except sqlite3.Error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return entry

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _open(self._path)
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                self._drop()
                raise RecordNotWritten(f"the audit store cannot be used: {error}") from error

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(
        path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        journal = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        connection.execute(f"PRAGMA synchronous = {FULL}")
        synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
        if journal != "wal" or synchronous != FULL:
            raise sqlite3.OperationalError("write-ahead log with full synchronisation is not to be had here")
        connection.executescript(SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
