"""The store that all workers share, on SQLite and on PostgreSQL."""

import multiprocessing
import os
import sqlite3
import threading
import time
import uuid
from contextlib import closing

import pytest
import sqlalchemy

from serving.access.errors import AccessUnavailable
from serving.access.keys import new_key
from serving.access.principal import EVERY_SCOPE, AccessScope
from serving.access.store import AccessStore

POSTGRES = os.environ.get("SALVAGE_TEST_POSTGRES")


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path):
    """The address of an empty database; on PostgreSQL, a schema of its own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'access.db'}"
        return
    if not POSTGRES:
        pytest.skip("SALVAGE_TEST_POSTGRES names no PostgreSQL server")
    schema, engine = f"access_{uuid.uuid4().hex}", sqlalchemy.create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.schema.CreateSchema(schema))
    yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.execute(sqlalchemy.schema.DropSchema(schema, cascade=True))
    engine.dispose()


@pytest.fixture
def store(address):
    store = AccessStore(address)
    yield store
    store.close()


def test_a_key_is_read_as_it_was_stored(store):
    for days in (None, 3):
        key, _ = new_key("Ward 7 – Onkologie", EVERY_SCOPE, now=1_000, days=days)
        store.add(key)
        assert next(found for found in store.every_key() if found.id == key.id) == key


def test_nothing_stored_gives_a_key_away(tmp_path):
    store = AccessStore(f"sqlite:///{tmp_path / 'access.db'}")
    key, shown = new_key("ward", [AccessScope.PREDICT], now=1_000)
    store.add(key)
    store.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key.id.encode() in stored
    assert shown.encode() not in stored
    assert shown.split("_", 2)[2].encode() not in stored
    assert shown not in repr(key)


def test_a_key_is_revoked_once_and_for_good(store):
    key, _ = new_key("ward", EVERY_SCOPE, now=1_000)
    store.add(key)
    assert store.revoke(key.id, at=2_000)
    assert store.revoke(key.id, at=3_000)
    assert [found.revoked_at for found in store.every_key()] == [2_000]
    assert not store.revoke("nothing", at=2_000)


@pytest.mark.parametrize("scope", ["patients:delete", "models:write"], ids=["later", "former"])
def test_a_scope_of_another_version_means_nothing(address, store, scope):
    key, _ = new_key("ward", [AccessScope.PREDICT], now=1_000)
    store.add(key)
    engine = sqlalchemy.create_engine(address)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"UPDATE api_keys SET scopes = 'predict {scope}'"))
    engine.dispose()
    assert store.every_key() == [key]


def test_a_token_is_new_once_for_each_issuer(store):
    soon = int(time.time()) + 300
    assert store.first_use("a", "1", expires_at=soon)
    assert not store.first_use("a", "1", expires_at=soon)
    assert not store.first_use("a", "1", expires_at=soon + 1)
    assert store.first_use("b", "1", expires_at=soon)
    assert store.first_use("a", "2", expires_at=soon)


def test_expired_tokens_are_forgotten_and_others_are_not(address):
    now = int(time.time())
    earlier = AccessStore(address)
    for jti, expires_at in (("old", now - 300), ("just expired", now - 20), ("valid", now + 300)):
        assert earlier.first_use("a", jti, expires_at=expires_at)
    earlier.close()
    store = AccessStore(address)
    store.first_use("a", "another", expires_at=now + 300)
    engine = sqlalchemy.create_engine(address)
    with engine.connect() as connection:
        kept = set(connection.execute(sqlalchemy.text("SELECT jti FROM seen_tokens")).scalars())
    engine.dispose()
    store.close()
    assert kept == {"just expired", "valid", "another"}


def test_of_many_threads_one_sees_a_token_first(store):
    start, found = threading.Barrier(8), []

    def use():
        start.wait()
        found.append(store.first_use("a", "1", expires_at=int(time.time()) + 300))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 7 + [True]


def use_tokens(address, start, answers):
    """Wait with the others, make the tables with them, and use the same tokens."""
    store = AccessStore(address)
    start.wait()
    soon = int(time.time()) + 300
    answers.put([store.first_use("a", str(at), expires_at=soon) for at in range(20)])
    store.close()


def test_workers_that_start_at_once_make_the_tables_together_and_agree_on_every_token(address):
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(4), context.Queue()
    workers = [context.Process(target=use_tokens, args=(address, start, answers)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert [sum(column) for column in zip(*found, strict=True)] == [1] * 20


def test_sqlite_is_kept_in_a_log_that_readers_do_not_wait_for(tmp_path):
    store = AccessStore(f"sqlite:///{tmp_path / 'access.db'}")
    store.add(new_key("ward", EVERY_SCOPE, now=1_000)[0])
    with closing(sqlite3.connect(tmp_path / "access.db", isolation_level=None)) as writer:
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        writer.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert len(store.every_key()) == 1
        assert time.monotonic() - began < 1.0
    store.close()


@pytest.mark.parametrize(
    "address", ["sqlite:////nowhere/access.db", "postgresql+psycopg://nobody@127.0.0.1:9/nothing"]
)
def test_a_database_that_does_not_answer_is_said_in_time(address):
    store, began = AccessStore(address), time.monotonic()
    for ask in (store.every_key, lambda: store.first_use("a", "1", expires_at=0)):
        with pytest.raises(AccessUnavailable):
            ask()
    assert time.monotonic() - began < 5.0


def test_a_file_that_is_no_database_is_said(tmp_path):
    (tmp_path / "access.db").write_bytes(b"x" * 4096)
    with pytest.raises(AccessUnavailable):
        AccessStore(f"sqlite:///{tmp_path / 'access.db'}").every_key()
