"""The store on SQLite: one file, a write-ahead log, every commit synced to disk before it returns."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from features.errors import RecordNotWritten
from serving.audit.batch import Row
from serving.audit.sql_store import SqlStore, Statements
from serving.write_ahead import write_ahead

VERSION = 2
SCHEMA = """
CREATE TABLE entries (
  seq       INTEGER PRIMARY KEY,
  id        TEXT NOT NULL UNIQUE,
  at        TEXT NOT NULL,
  kind      TEXT NOT NULL,
  body      BLOB NOT NULL,
  leaf_hash TEXT NOT NULL,
  subject   TEXT
) STRICT;
CREATE INDEX entries_kind ON entries (kind, seq);
CREATE INDEX entries_subject ON entries (subject, seq) WHERE subject IS NOT NULL;
CREATE TABLE contents (
  seq     INTEGER PRIMARY KEY,
  salt    BLOB NOT NULL,
  content BLOB NOT NULL
) STRICT;
CREATE TABLE repeats (
  client      TEXT NOT NULL,
  key         TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  seq         INTEGER NOT NULL,
  lapses      INTEGER NOT NULL,
  row_hash    TEXT NOT NULL,
  PRIMARY KEY (client, key)
) STRICT;
CREATE INDEX repeats_lapse ON repeats (lapses);
CREATE INDEX repeats_entry ON repeats (seq);
CREATE TABLE head (
  one   INTEGER PRIMARY KEY CHECK (one = 1),
  size  INTEGER NOT NULL,
  peaks BLOB NOT NULL
) STRICT;
INSERT INTO head VALUES (1, 0, x'');
CREATE TABLE probe (filler BLOB NOT NULL) STRICT;
CREATE TRIGGER entries_new BEFORE INSERT ON entries
  WHEN EXISTS (SELECT 1 FROM entries WHERE seq = NEW.seq OR id = NEW.id)
  BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
  BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER entries_remain BEFORE DELETE ON entries
  BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER contents_new BEFORE INSERT ON contents
  WHEN EXISTS (SELECT 1 FROM contents WHERE seq = NEW.seq)
  BEGIN SELECT RAISE(ABORT, 'a content is erased or stays'); END;
CREATE TRIGGER contents_stay BEFORE UPDATE ON contents
  BEGIN SELECT RAISE(ABORT, 'a content is erased or stays'); END;
CREATE TRIGGER head_grows BEFORE UPDATE ON head WHEN NEW.size <= OLD.size
  BEGIN SELECT RAISE(ABORT, 'the record only grows'); END;
CREATE TRIGGER head_new BEFORE INSERT ON head
  BEGIN SELECT RAISE(ABORT, 'the record only grows'); END;
CREATE TRIGGER head_remains BEFORE DELETE ON head
  BEGIN SELECT RAISE(ABORT, 'the record only grows'); END;
"""
TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
FULL = 2
ON = 1
PATIENCE_SECONDS = 5.0
PROBE_BYTES = 65536

logger = logging.getLogger(__name__)


class _SqliteStatements:
    """Statements on an open connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __call__(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def many(self, sql: str, rows: Sequence[Row]) -> None:
        self._connection.executemany(sql, rows)

    def stream(self, sql: str) -> Iterator[Row]:
        yield from self._connection.execute(sql)


class SqliteStore(SqlStore):
    """The store in one file.

    One writing connection is kept, behind a lock; several processes may share the file. A connection that
    failed, or whose file was replaced, is opened anew at the next call, so the store recovers when its disk
    does. A file that was removed while open is not made again: the record would start afresh unseen.
    """

    failures: tuple[type[Exception], ...] = (sqlite3.Error, OSError, ValueError, OverflowError, MemoryError)

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        super().__init__(now)
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def check(self) -> None:
        """Commit a real write beside the record: only that shows a full or read-only disk.

        Raises:
            RecordNotWritten: when the store cannot be written now.

        """
        with self._writing() as run:
            run("INSERT INTO probe VALUES (zeroblob(?))", (PROBE_BYTES,))
            run("DELETE FROM probe")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    @contextmanager
    def snapshot(self) -> Iterator[Statements]:
        """Return a consistent snapshot."""
        with closing(read_only(self._path)) as connection:
            connection.execute("BEGIN")
            yield _SqliteStatements(connection)

    def flaws(self, run: Statements) -> Iterator[str]:
        """Yield the faults of SQLite's integrity check, and differences from the schema."""
        for (fault,) in run("PRAGMA integrity_check(10)"):
            if fault != "ok":
                yield f"SQLite finds: {fault}"
        if run("PRAGMA user_version") != [(VERSION,)]:
            yield f"the file is not of version {VERSION}"
        if not self._whole(run):
            yield "the file is not as long as it says"
        with closing(self._empty()) as empty:
            expected = _SqliteStatements(empty)(TABLES)
        if run(TABLES) != expected:
            yield "the tables, indexes and triggers are not those that were made"

    def _whole(self, run: Statements) -> bool:
        """Tell whether the file has all its pages, or a write-ahead log that may hold the missing ones."""
        log = self._path.with_name(f"{self._path.name}-wal")
        if log.exists() and log.stat().st_size:
            return True
        ((pages,),), ((size,),) = run("PRAGMA page_count"), run("PRAGMA page_size")
        return bool(self._path.stat().st_size == pages * size)

    def _scrub(self) -> None:
        """Empty the write-ahead log, where erased pages would lie until it is overwritten."""
        with self._lock:
            try:
                ((busy, *_),) = self._opened().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except (sqlite3.Error, OSError):
                busy = True
        if busy:
            logger.warning("what was erased lies in the write-ahead log until that is next emptied")

    @contextmanager
    def _reading(self) -> Iterator[Statements]:
        """Read with a connection of its own, which waits for no writer and never makes a file."""
        try:
            with closing(self._reader()) as connection:
                yield _SqliteStatements(connection)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise RecordNotWritten(f"the audit store cannot be read: {error}") from error

    @contextmanager
    def _writing(self) -> Iterator[Statements]:
        if not self._lock.acquire(timeout=PATIENCE_SECONDS):
            raise RecordNotWritten("the audit store is busy")
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            yield _SqliteStatements(connection)
            connection.execute("COMMIT")
            if self._file != _identity(self._path):
                raise FileNotFoundError(f"{self._path.name} was taken away while it was written")
        except BaseException as error:
            self._drop()  # closing rolls back what was not committed
            if isinstance(error, (sqlite3.Error, OSError, ValueError)):
                raise RecordNotWritten(f"the audit store cannot be written: {error}") from error
            raise
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

    def _reader(self) -> sqlite3.Connection:
        """Return a connection that reads; before the first entry there is no file, and nothing to read."""
        if self._file is not None or self._path.exists():
            return read_only(self._path)
        return self._empty()

    def _empty(self) -> sqlite3.Connection:
        empty = sqlite3.connect(":memory:", isolation_level=None)
        empty.executescript(SCHEMA)
        return empty

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def read_only(path: Path) -> sqlite3.Connection:
    """Open a store's file for reading.

    Raises:
        sqlite3.Error: when it is not there or no store.

    """
    kept = "&immutable=1" if digest_file(path).exists() else ""  # a backup, which nobody writes
    address = f"file:{quote(str(path))}?mode=ro{kept}"
    return sqlite3.connect(address, uri=True, timeout=PATIENCE_SECONDS, isolation_level=None)


def digest_file(path: Path) -> Path:
    """Return where a backup's SHA-256 lies."""
    return path.with_name(f"{path.name}.sha256")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of the file at a path, None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(
        path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        write_ahead(connection, PATIENCE_SECONDS)
        _set(connection, "synchronous", FULL)
        _set(connection, "secure_delete", ON)
        _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _set(connection: sqlite3.Connection, pragma: str, value: int) -> None:
    """Set a pragma that durability or erasure depends on, and check that it took effect."""
    connection.execute(f"PRAGMA {pragma} = {value}")
    actual = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    if actual != value:
        raise sqlite3.OperationalError(f"{pragma} is {actual} here, and has to be {value}")


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make a new file's tables, in one transaction; refuse those of another version."""
    if _version(connection) == VERSION:
        return
    with suppress(sqlite3.OperationalError):
        connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    if (version := _version(connection)) != VERSION:
        raise sqlite3.OperationalError(
            f"it is of version {version}, and this program writes version {VERSION}; move it away and keep it"
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
