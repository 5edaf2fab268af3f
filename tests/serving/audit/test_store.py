"""What every store promises, on SQLite and on a real PostgreSQL: gapless, durable, append-only, one tree."""

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from features.errors import KeyReused, NotFound, RecordNotWritten
from serving.audit import sqlite
from serving.audit.batch import DAY_SECONDS, salted
from serving.audit.merkle import leaf_hash, root_of
from serving.audit.record import packed
from serving.audit.sqlite import SqliteStore
from serving.audit.store import LogStore, make_store
from serving.audit.verify import verify
from tests.serving.audit.drafts import AT_SECONDS, draft, same_request

SERVER = os.environ.get("SALVAGE_TEST_POSTGRES", "").replace("+psycopg", "")
NO_SERVER = pytest.mark.skipif(not SERVER, reason="SALVAGE_TEST_POSTGRES names no PostgreSQL server")


@pytest.fixture
def schema() -> Iterator[str]:
    """The address of a PostgreSQL schema of the test's own."""
    name = f"audit_{uuid.uuid4().hex}"
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        yield f"{SERVER}?options={quote(f'-csearch_path={name}')}"
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=NO_SERVER)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store is."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("schema"))
    return str(tmp_path / "deep" / "home" / "audit.db")


@pytest.fixture
def store(address: str) -> Iterator[LogStore]:
    opened = make_store(address)
    opened._now = lambda: float(AT_SECONDS)  # type: ignore[attr-defined]
    yield opened
    opened.close()


def write(store: LogStore, *drafts: Any) -> Any:
    """Write each draft as a group of its own and return the outcomes, receipts unwrapped."""
    outcomes = store.write([salted([one], lambda: os.urandom(16)) for one in drafts])
    return [outcome if isinstance(outcome, Exception) else outcome[0] for outcome in outcomes]


def outside(address: str, sql: str) -> list[Any]:
    """Run SQL with a connection of our own."""
    connect: Callable[[str], Any] = psycopg.connect if address.startswith("postgresql") else sqlite3.connect
    with closing(connect(address)) as other:
        cursor = other.execute(sql)
        rows = cursor.fetchall() if cursor.description else []
        other.commit()
        return rows


def test_what_is_written_is_read_back_and_seen_from_outside(store, address):
    for n in range(1, 6):
        (receipt,) = write(store, draft(f"id {n}", facts={"n": n}, content=b"\x00\xff", subject="s"))
        entry = store.get(f"id {n}")
        assert (entry.seq, entry.facts, entry.content) == (n, {"n": n}, b"\x00\xff")
        assert receipt.leaf_hash == entry.leaf_hash == leaf_hash(entry.body).hex()
        assert outside(address, "SELECT COUNT(*) FROM entries") == [(n,)]
    assert store.head().size == 5
    assert store.head().root_hash == receipt.root_hash == root_of(store.leaves(0, 5)).hex()
    assert verify(address).findings == ()


def test_an_empty_store_reads_as_empty(store):
    assert list(store.entries()) == []
    assert store.head().size == 0
    assert store.find("c", "k") is None
    assert store.leaves(0, 10) == []
    with pytest.raises(NotFound):
        store.get("a")


def test_entries_are_read_in_order_and_by_what_they_are(store):
    write(store, draft("b", kind="x"), draft("a", subject="s"), draft("c", kind="x", subject="s"))
    assert [entry.id for entry in store.entries()] == ["b", "a", "c"]
    assert [entry.id for entry in store.entries(after=1)] == ["a", "c"]
    assert [entry.id for entry in store.entries(limit=2)] == ["b", "a"]
    assert [entry.id for entry in store.entries(kind="x")] == ["b", "c"]
    assert [entry.id for entry in store.entries(subject="s")] == ["a", "c"]
    assert [entry.id for entry in store.entries(kind="x", subject="s")] == ["c"]
    assert list(store.entries(kind="nothing\x00")) == []


def test_a_record_longer_than_a_page_is_read_whole(store):
    store.write([salted([draft(f"{n}") for n in range(1201)], lambda: bytes(16))])
    assert [entry.id for entry in store.entries()] == [str(n) for n in range(1201)]
    assert [entry.id for entry in store.entries(limit=601)] == [str(n) for n in range(601)]


@pytest.mark.parametrize("strange", ["b", "", "A", "%", "a\x00", "' OR 1=1 --", "ä"])
def test_an_unknown_id_is_not_found(store, strange):
    write(store, draft("a"))
    with pytest.raises(NotFound, match="nothing is on record with this id"):
        store.get(strange)


def test_what_was_refused_leaves_nothing_and_no_gap(store):
    write(store, draft("a", idempotency_key=same_request("k")))
    again, reused, odd, good = write(
        store,
        draft("a"),
        draft("b", idempotency_key=same_request("k", "other")),
        draft("c\x00"),
        draft("d"),
    )
    assert isinstance(again, RecordNotWritten)
    assert isinstance(reused, KeyReused)
    assert isinstance(odd, RecordNotWritten)
    assert good.seq == 2
    assert [entry.id for entry in store.entries()] == ["a", "d"]


@pytest.mark.parametrize(
    "odd",
    [
        {"entry_id": "a\x00"},
        {"entry_id": "\ud800"},
        {"entry_id": 7},
        {"subject": "\udfff"},
        {"subject": 7},
        {"kind": None},
        {"facts": {"x": b"bytes"}},
        {"facts": {"x": 2**80}},
        {"facts": 7},
        {"content": "no bytes"},
        {"at": "no time", "idempotency_key": same_request("k")},
        {"idempotency_key": same_request("\x00")},
        {"idempotency_key": same_request("\ud800")},
        {"idempotency_key": same_request("k", fingerprint=7)},
        {"kind": "erased", "facts": {}},
        {"kind": "erased", "facts": {"ids": 7}},
        {"kind": "erased", "facts": {"ids": [7]}},
        {"kind": "erased", "facts": {"ids": ["\x00"]}},
    ],
    ids=str,
)
def test_an_odd_draft_fails_alone(store, address, odd):
    before, refused, after = write(store, draft("before"), draft(**odd), draft("after"))
    assert isinstance(refused, RecordNotWritten)
    assert (before.seq, after.seq, store.head().size) == (1, 2, 2)
    assert verify(address).findings == ()


def test_a_key_stands_for_a_day(store, address):
    def at(hours: int) -> str:
        return f"2025-01-0{1 + hours // 24}T{hours % 24:02}:00:00+00:00"

    (first,) = write(store, draft("a", idempotency_key=same_request("k")))
    (again,) = write(store, draft("b", at=at(23), idempotency_key=same_request("k")))
    assert (again.id, again.seq, again.repeated, again.leaf_hash) == ("a", 1, True, first.leaf_hash)
    assert store.find("c", "k").id == "a"
    (other,) = write(store, draft("c", idempotency_key=same_request("k", client="another")))
    assert (other.id, other.repeated) == ("c", False)
    (later,) = write(store, draft("d", at=at(25), idempotency_key=same_request("k", "other")))
    assert (later.id, later.repeated) == ("d", False)
    store._now = lambda: float(AT_SECONDS + 3 * DAY_SECONDS)
    assert store.find("c", "k") is None
    write(store, draft("e", at=at(72), idempotency_key=same_request("new")))
    assert outside(address, "SELECT COUNT(*) FROM repeats") == [(1,)]
    assert verify(address).findings == ()


def test_an_erasure_takes_contents_and_keys_and_nothing_else(store, address):
    write(store, *(draft(n, content=b"kept private", idempotency_key=same_request(n)) for n in "abc"))
    before = {entry.id: entry.body for entry in store.entries()}
    write(store, draft("e", kind="erased", facts={"ids": ["a", "c", "nobody"]}, content=None))
    held = {entry.id: entry.content for entry in store.entries()}
    assert held == {"a": None, "b": b"kept private", "c": None, "e": None}
    assert {entry.id: entry.body for entry in store.entries(limit=3)} == before
    assert store.find("c", "a") is None
    assert store.find("c", "b").id == "b"
    assert store.held_before("2026-01-01") == ["b"]


def test_what_was_erased_is_in_no_file_and_where_a_reader_prevents_that_it_is_said(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(sqlite, "PATIENCE_SECONDS", 0.1)
    store, secret = SqliteStore(tmp_path / "audit.db"), packed(b"kept private")
    write(store, draft("a", content=b"kept private"), draft("b", content=b"kept private"))

    def lies() -> bool:
        return any(secret in path.read_bytes() for path in tmp_path.iterdir())

    with closing(sqlite3.connect(tmp_path / "audit.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM contents").fetchall()
        write(store, draft("e", kind="erased", facts={"ids": ["a", "b"]}, content=None))
        assert "lies in the write-ahead log" in caplog.text
        assert lies()
    caplog.clear()
    write(store, draft("f", kind="erased", facts={"ids": ["a"]}, content=None))
    assert caplog.text == ""
    assert not lies()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE entries SET at = '1999' WHERE seq = 1",
        "UPDATE entries SET seq = 9 WHERE seq = 2",
        "DELETE FROM entries",
        "DELETE FROM entries WHERE seq = 2",
        "UPDATE contents SET salt = content",
        "UPDATE head SET size = 1",
        "UPDATE head SET size = size",
        "DELETE FROM head",
        "INSERT INTO entries SELECT * FROM entries",
        "INSERT INTO contents SELECT * FROM contents",
        "INSERT INTO head SELECT * FROM head",
    ],
)
def test_the_record_is_changed_by_nobody(store, address, sql):
    write(store, draft("a"), draft("b"))
    before = [store.head(), *store.entries()]
    with pytest.raises((sqlite3.IntegrityError, psycopg.Error)):
        outside(address, sql)
    assert [store.head(), *store.entries()] == before


@NO_SERVER
@pytest.mark.parametrize("table", ["entries", "contents", "head"])
def test_nothing_is_truncated_on_postgresql(schema, table):
    store = make_store(schema)
    write(store, draft("a"))
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        outside(schema, f"TRUNCATE {table}")
    store.close()


def test_several_writers_make_one_tree(address):
    stores = [make_store(address) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: write(stores[n % 3], draft(f"id {n}"))[0], range(90)))
    assert sorted(receipt.seq for receipt in found) == list(range(1, 91))
    leaves = stores[0].leaves(0, 90)
    assert all(receipt.root_hash == root_of(leaves[: receipt.tree_size]).hex() for receipt in found)
    assert verify(address).findings == ()
    for one in stores:
        one.close()


def test_several_that_open_a_new_store_at_once_all_write(address):
    stores, start = [make_store(address) for _ in range(6)], Barrier(6)

    def first(one: LogStore) -> Any:
        start.wait()
        return write(one, draft())[0]

    with ThreadPoolExecutor(6) as pool:
        assert sorted(receipt.seq for receipt in pool.map(first, stores)) == [1, 2, 3, 4, 5, 6]
    for one in stores:
        one.close()


def test_a_check_leaves_nothing_behind(store, address):
    write(store, draft("a"))
    for _ in range(3):
        store.check()
    assert outside(address, "SELECT COUNT(*) FROM probe") == [(0,)]
    assert write(store, draft("b"))[0].seq == 2


def test_a_store_closed_twice_opens_again(store):
    write(store, draft("a"))
    store.close()
    store.close()
    assert write(store, draft("b"))[0].seq == 2


def test_a_shorter_record_is_not_added_to(store, address, tmp_path):
    write(store, draft("a"), draft("b"))
    store._seen = 3
    with pytest.raises(RecordNotWritten, match="shorter than it was"):
        write(store, draft("c"))


@NO_SERVER
def test_every_commit_is_durable_on_postgresql(schema):
    store = make_store(schema)
    with store._writing() as run:
        assert [run(f"SHOW {name}") for name in ("synchronous_commit", "fsync")] == [[("on",)], [("on",)]]
    store.close()


@NO_SERVER
def test_a_lost_guard_is_found_on_postgresql(schema):
    store = make_store(schema)
    write(store, draft("a"))
    store.close()
    outside(schema, "ALTER TABLE entries DISABLE TRIGGER entries_stay")
    outside(schema, "UPDATE entries SET at = '1999'")
    assert [one.problem for one in verify(schema).findings] == [
        "the trigger entries_stay is missing or switched off",
        "in entry 1, at is not what the body says",
    ]
    assert verify(schema).first_bad == 1


@NO_SERVER
def test_a_connection_that_was_cut_is_opened_again(schema):
    store = make_store(schema)
    write(store, draft("a"))
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'salvage-audit'"
    with store._writing() as run:
        ((pid,),) = run("SELECT pg_backend_pid()")
    outside(schema, f"{cut} AND pid = {pid}")
    with pytest.raises(RecordNotWritten, match="cannot be written"):
        write(store, draft("b"))
    assert write(store, draft("b"))[0].seq == 2
    store.close()


@NO_SERVER
def test_a_server_that_is_not_there_is_said():
    store = make_store("postgresql://nobody@127.0.0.1:1/none")
    for attempt in (store.check, store.head, lambda: write(store, draft("a"))):
        with pytest.raises(RecordNotWritten, match="cannot be"):
            attempt()
    assert "cannot be read" in verify("postgresql://nobody@127.0.0.1:1/none").findings[0].problem
