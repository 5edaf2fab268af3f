"""The record: gapless, durable before it is acknowledged, and never changed afterwards."""

import hashlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from features.errors import NotFound, RecordNotWritten
from serving.audit.store import SqliteAuditStore, leaf_hash

AT = "2025-01-01T00:00:00+00:00"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the store keeps its records."""
    return tmp_path / "deep" / "home" / "audit.db"


@pytest.fixture
def store(file: Path) -> Iterator[SqliteAuditStore]:
    """An empty store."""
    opened = SqliteAuditStore(file)
    yield opened
    opened.close()


def append(store, entry_id, body=b"{}"):
    return store.append(entry_id=entry_id, at=AT, kind="prediction", body=body)


def seen_from_outside(file: Path) -> list[tuple]:
    with closing(sqlite3.connect(file)) as other:
        return other.execute("SELECT * FROM entries ORDER BY seq").fetchall()


def on_the_stores_connection(store, sql):
    with store._opened() as connection:
        return next(iter(connection.execute(sql).fetchone() or ()), None)


def test_a_record_is_returned_as_it_was_kept(store):
    kept = append(store, "a", b'{"x": 1}')
    assert (kept.seq, kept.id, kept.at, kept.kind, kept.body) == (1, "a", AT, "prediction", b'{"x": 1}')
    assert store.get("a") == kept


@pytest.mark.parametrize("body", [b"", b"{}", b"\x00\xff\x80", "märz".encode(), b"x" * 1_000_000])
def test_bytes_are_kept_exactly_under_their_rfc_6962_leaf_hash(store, body):
    append(store, "a", body)
    kept = store.get("a")
    assert kept.body == body
    assert kept.leaf_hash == leaf_hash(body) == hashlib.sha256(b"\x00" + body).hexdigest()


def test_a_record_is_seen_by_another_connection_as_soon_as_it_is_acknowledged(store, file):
    for number in range(1, 6):
        kept = append(store, f"id {number}")
        assert seen_from_outside(file)[-1] == (number, kept.id, AT, "prediction", b"{}", kept.leaf_hash)


def test_records_come_in_order(store):
    ids = [f"id {number}" for number in (3, 1, 2)]
    for entry_id in ids:
        append(store, entry_id)
    assert [(entry.seq, entry.id) for entry in store.entries()] == list(enumerate(ids, start=1))


def test_an_unknown_id_is_not_found(store):
    append(store, "a")
    for strange in ("b", "", "A", "%", "a\x00", "' OR 1=1 --"):
        with pytest.raises(NotFound, match="no prediction with this id"):
            store.get(strange)


def test_the_log_is_written_ahead_and_every_commit_is_synced(store, file):
    append(store, "a")
    assert on_the_stores_connection(store, "PRAGMA journal_mode") == "wal"
    assert on_the_stores_connection(store, "PRAGMA synchronous") == 2
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_connection_opened_anew_syncs_every_commit_too(store):
    append(store, "a")
    store.close()
    append(store, "b")
    assert on_the_stores_connection(store, "PRAGMA synchronous") == 2


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE entries SET body = x'00'",
        "UPDATE entries SET at = '1999' WHERE seq = 1",
        "UPDATE OR REPLACE entries SET id = 'z' WHERE seq = 1",
        "UPDATE entries SET seq = 9 WHERE seq = 2",
        "DELETE FROM entries",
        "DELETE FROM entries WHERE seq = 2",
        "INSERT INTO entries SELECT * FROM entries WHERE true ON CONFLICT DO UPDATE SET body = x'00'",
    ],
)
def test_a_record_is_changed_or_deleted_by_nobody(store, file, sql):
    append(store, "a")
    append(store, "b")
    before = seen_from_outside(file)
    with closing(sqlite3.connect(file)) as other:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(sql)
        other.commit()
    assert seen_from_outside(file) == before


@pytest.mark.parametrize(
    "sql",
    [
        "REPLACE INTO entries SELECT seq, id, at, kind, x'00', leaf_hash FROM entries",
        "INSERT OR REPLACE INTO entries VALUES (7, 'a', '', '', x'00', '')",
    ],
    ids=["by seq", "by id"],
)
def test_a_record_is_replaced_by_nobody(store, file, sql):
    append(store, "a")
    before = seen_from_outside(file)
    with closing(sqlite3.connect(file)) as other:
        try:
            other.execute(sql)
            other.commit()
        except sqlite3.IntegrityError:
            other.rollback()
    assert seen_from_outside(file) == before


@pytest.mark.parametrize("stores", [1, 3])
def test_the_sequence_has_no_gap_under_8_threads(file, stores):
    opened = [SqliteAuditStore(file) for _ in range(stores)]
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda n: append(opened[n % stores], f"id {n}"), range(160)))
    for one in opened:
        one.close()
    assert sorted(entry.seq for entry in kept) == list(range(1, 161))
    assert {(entry.seq, entry.id) for entry in kept} == {row[:2] for row in seen_from_outside(file)}


def test_a_record_that_was_refused_leaves_nothing_and_no_gap(store, file):
    append(store, "a")
    with pytest.raises(RecordNotWritten):
        append(store, "a", b"another")
    assert append(store, "b").seq == 2
    assert [row[:2] for row in seen_from_outside(file)] == [(1, "a"), (2, "b")]


def test_a_full_disk_refuses_the_record_and_space_made_lets_it_in(store, file):
    append(store, "a")
    pages = on_the_stores_connection(store, "PRAGMA page_count")
    on_the_stores_connection(store, f"PRAGMA max_page_count = {pages}")
    with pytest.raises(RecordNotWritten, match="full"):
        append(store, "b", b"x" * 100_000)
    assert [row[1] for row in seen_from_outside(file)] == ["a"]
    assert append(store, "b", b"x" * 100_000).seq == 2


def test_a_check_finds_a_full_database(store):
    store.check()
    on_the_stores_connection(store, "VACUUM")
    pages = on_the_stores_connection(store, "PRAGMA page_count")
    on_the_stores_connection(store, f"PRAGMA max_page_count = {pages}")
    with pytest.raises(RecordNotWritten, match="full"):
        store.check()
    store.check()


def test_a_check_leaves_nothing_behind(store, file):
    append(store, "a")
    before = seen_from_outside(file)
    for _ in range(3):
        store.check()
    assert seen_from_outside(file) == before
    assert append(store, "b").seq == 2


@pytest.mark.parametrize("use", ["append", "get", "entries", "check"])
def test_what_is_not_a_database_cannot_be_used_and_is_left_as_it_was(file, store, use):
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not a database" * 500)
    uses = {
        "append": lambda: append(store, "a"),
        "get": lambda: store.get("a"),
        "entries": lambda: list(store.entries()),
        "check": store.check,
    }
    with pytest.raises(RecordNotWritten):
        uses[use]()
    assert file.read_bytes() == b"not a database" * 500


def test_a_store_recovers_when_its_place_does(file, store):
    file.mkdir(parents=True)
    with pytest.raises(RecordNotWritten):
        append(store, "a")
    file.rmdir()
    assert append(store, "a").seq == 1


def test_a_store_closed_twice_opens_again(store):
    append(store, "a")
    store.close()
    store.close()
    assert store.get("a").seq == 1


def test_a_lost_trigger_is_put_back_at_the_next_opening(store, file):
    append(store, "a")
    with closing(sqlite3.connect(file)) as other:
        other.executescript("DROP TRIGGER entries_stay; DROP TRIGGER entries_remain;")
    store.close()
    append(store, "b")
    with closing(sqlite3.connect(file)) as other, pytest.raises(sqlite3.IntegrityError):
        other.execute("DELETE FROM entries")
