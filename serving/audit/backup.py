"""Backup: one consistent copy of a live record as a single file, with its SHA-256 beside it."""

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from features.errors import InvalidInput, Problem, RecordNotWritten
from serving.audit.sql_store import Statements
from serving.audit.sqlite import SCHEMA, VERSION, digest_file
from serving.audit.store import LogStore
from serving.audit.verify import digest_line

TABLES = {
    "entries": ("seq", "id", "at", "kind", "body", "leaf_hash", "subject"),
    "contents": ("seq", "salt", "content"),
    "repeats": ("client", "key", "fingerprint", "seq", "lapses", "row_hash"),
}


def back_up(store: LogStore, destination: Path) -> str:
    """Copy a record, SQLite's or PostgreSQL's, into a new SQLite file; return its SHA-256.

    The copy is compact: nothing that was erased is in it. ``salvage audit verify`` finds every changed byte
    of it, and `sha256sum --check` does too.

    Raises:
        InvalidInput: when the destination exists already.
        RecordNotWritten: when the store cannot be read or the copy not written.

    """
    if destination.exists() or digest_file(destination).exists():
        problem = Problem(destination.name, "exists already", "name a new file")
        raise InvalidInput("backup", [problem])
    try:
        with store.snapshot() as run:
            _copy(run, destination)
        digest = _sync(destination)
        beside = digest_file(destination)
        beside.write_text(digest_line(destination, digest), encoding="utf-8")
        _sync(beside)
    except store.failures as error:
        raise RecordNotWritten(f"the backup cannot be written: {error}") from error
    return digest


def _copy(run: Statements, destination: Path) -> None:
    """Write every row, in order, into the tables of a new file."""
    with closing(sqlite3.connect(destination, isolation_level=None)) as copy:
        copy.executescript(f"PRAGMA synchronous = FULL; BEGIN; {SCHEMA} PRAGMA user_version = {VERSION};")
        for table, columns in TABLES.items():
            marks = ", ".join("?" * len(columns))
            rows = run.stream(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {columns[0]}, {columns[1]}")
            copy.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
        ((size, peaks),) = run("SELECT size, peaks FROM head")
        if size:
            copy.execute("UPDATE head SET size = ?, peaks = ?", (size, peaks))
        copy.execute("COMMIT")
        copy.execute("VACUUM")
    destination.chmod(0o600)


def _sync(path: Path) -> str:
    """Make a file durable and return its SHA-256."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
