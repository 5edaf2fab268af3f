"""The audit store of version 0.1, until the server writes through the sequencer."""

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

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
CREATE TABLE IF NOT EXISTS probe (filler BLOB NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS entries_new BEFORE INSERT ON entries
  WHEN EXISTS (SELECT 1 FROM entries WHERE seq = NEW.seq OR id = NEW.id)
  BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE UPDATE ON entries
  BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_remain BEFORE DELETE ON entries
  BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
"""
FULL = 2
PATIENCE_SECONDS = 5.0
PROBE_BYTES = 65536

Written = TypeVar("Written")


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

    Several threads share one writing connection behind a lock; several processes share the file. A connection
    that failed, or whose file was replaced, is opened anew at the next call, so the store recovers when its
    disk does. A file that was removed while serving is not made again: the record would start afresh unseen.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

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
        rows = self._read("SELECT * FROM entries WHERE id = ?", entry_id)
        if not rows:
            raise NotFound("no prediction with this id")
        return Entry(*rows[0])

    def entries(self) -> Iterator[Entry]:
        """Yield every record in order."""
        yield from (Entry(*row) for row in self._read("SELECT * FROM entries ORDER BY seq"))

    def check(self) -> None:
        """Commit a real write beside the record: only that shows a full or read-only disk.

        Raises:
            RecordNotWritten: when the store cannot be written now.

        """

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO probe VALUES (zeroblob(?))", (PROBE_BYTES,))
            connection.execute("DELETE FROM probe")

        self._transact(write)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _read(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Read with a connection of its own, which waits for no writer and never makes a file."""
        if not self._path.exists():
            return []
        try:
            address = f"file:{quote(str(self._path))}?mode=ro"
            with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE_SECONDS)) as connection:
                return connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise RecordNotWritten(f"the audit store cannot be read: {error}") from error

    def _transact(self, write: Callable[[sqlite3.Connection], Written]) -> Written:
        if not self._lock.acquire(timeout=PATIENCE_SECONDS):
            raise RecordNotWritten("the audit store is busy")
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            written = write(connection)
            connection.execute("COMMIT")
            return written
        except (sqlite3.Error, OSError) as error:
            self._drop()  # closing rolls back what was not committed
            raise RecordNotWritten(f"the audit store cannot be written: {error}") from error
        finally:
            self._lock.release()

    def _opened(self) -> sqlite3.Connection:
        """Return the writing connection, making the store at the first use only."""
        if self._file is not None and self._file != _identity(self._path):
            self._drop()
        if self._connection is None:
            if self._file is not None and not self._path.exists():
                raise FileNotFoundError(f"{self._path.name} was removed; restore it")
            self._connection = _open(self._path)
            self._file = _identity(self._path)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file a path names now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


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
