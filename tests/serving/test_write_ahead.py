"""The write-ahead log: for whoever meets at a new file, and refused where there is none."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from serving.write_ahead import write_ahead

TOGETHER = 4


def test_all_who_meet_at_a_new_file_open_it(tmp_path):
    start = Barrier(TOGETHER)

    def meet(path: Path) -> str:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            start.wait()
            write_ahead(connection, 30.0)
            return str(connection.execute("PRAGMA journal_mode").fetchone()[0])

    with ThreadPoolExecutor(TOGETHER) as pool:
        for number in range(100):
            assert set(pool.map(meet, [tmp_path / f"{number}.db"] * TOGETHER)) == {"wal"}


def test_a_file_that_stays_busy_is_not_waited_for_without_end(tmp_path):
    path = tmp_path / "busy.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with (
            closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            write_ahead(connection, 0.05)


def test_where_there_is_no_such_log_it_is_said():
    with (
        closing(sqlite3.connect(":memory:")) as memory,
        pytest.raises(sqlite3.OperationalError, match="memory"),
    ):
        write_ahead(memory, 1.0)
