"""Write-ahead logging of SQLite, for the audit store and the access store."""

import sqlite3
import time

PAUSE_SECONDS = 0.005


def write_ahead(connection: sqlite3.Connection, patience_seconds: float) -> None:
    """Put a file into write-ahead mode, which lets several processes read and write it.

    SQLite does not wait for another process that is changing a new file's mode: this retries until the
    patience is over.

    Raises:
        sqlite3.OperationalError: when the file is busy for longer, or its file system has no such mode.

    """
    late = time.monotonic() + patience_seconds
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = wal").fetchone()
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > late:
                raise
        time.sleep(PAUSE_SECONDS)
    if mode != "wal":
        raise sqlite3.OperationalError(f"journal_mode is {mode} here, and has to be wal")
