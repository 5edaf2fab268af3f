"""The auditor's routes: answers are verified as an outsider would, and reading a content is recorded."""

import hashlib
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI

from serving import errors
from serving.access.gate import Gate, OpenGate
from serving.access.rate import RateLimiter
from serving.audit.checkpoint import CheckpointFile
from serving.audit.checkpointer import Checkpointer
from serving.audit.merkle import consistent, included
from serving.audit.note import load_key
from serving.audit.record import commit
from serving.audit.sequencer import Sequencer
from serving.audit.sqlite import SqliteStore
from serving.recorder import Recorder
from serving.routes.audit import audit_router
from tests.serving.audit.drafts import draft
from tests.serving.client import TestClient, assert_problem

COUNT = 7
ROUTES = (
    "/v1/audit/head",
    "/v1/audit/entries",
    "/v1/audit/entries/id-1",
    "/v1/audit/proofs/inclusion?id=id-1",
    "/v1/audit/proofs/consistency?first=1&second=2",
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Sequencer]:
    """Seven records under one checkpoint, and one more."""
    store, file = SqliteStore(tmp_path / "audit.db"), CheckpointFile(tmp_path / "checkpoints")
    witness = Checkpointer(store, load_key(tmp_path / "key"), file, every_seconds=600)
    log = Sequencer(store, witness=witness)
    for n in range(COUNT):
        log.append_now(draft(f"id-{n}", facts={"n": n}, content=f"content {n}".encode(), subject="s"))
    witness.write()
    log.append_now(draft("later", kind="model_loaded", content=None))
    yield log
    log.close()


def application(log: Sequencer, folder: Path, gate: Gate) -> FastAPI:
    app = FastAPI()
    recorder = Recorder(log, now=lambda: datetime.now(UTC), new_id=lambda: str(uuid.uuid4()))
    app.include_router(audit_router(recorder, CheckpointFile(folder / "checkpoints"), gate))
    errors.install(app)
    return app


@pytest.fixture
def client(log: Sequencer, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(
        application(log, tmp_path, OpenGate()), base_url="http://localhost", raise_server_exceptions=False
    ) as running:
        yield running


def get(client: TestClient, path: str):
    answered = client.get(path)
    assert answered.status_code == 200, answered.text
    return answered.json()


def test_the_head_comes_with_the_newest_checkpoint(client, log, tmp_path):
    last = CheckpointFile(tmp_path / "checkpoints").last()
    assert get(client, "/v1/audit/head") == {
        "size": COUNT + 1,
        "root_hash": log.head().root_hash,
        "checkpoint_size": COUNT,
        "checkpoint": last.note,
    }


def test_entries_are_read_page_by_page_without_contents(client):
    found, after = [], 0
    while after is not None:
        page = get(client, f"/v1/audit/entries?limit=3&after={after}")
        found += page["entries"]
        after = page["next_after"]
    assert [one["seq"] for one in found] == list(range(1, COUNT + 2))
    for one in found:
        assert hashlib.sha256(b"\x00" + one["body"].encode()).hexdigest() == one["leaf_hash"]
        assert json.loads(one["body"])["facts"] == one["facts"]
        assert "content " not in json.dumps(one)
    assert [one["has_content"] for one in found] == [True] * COUNT + [False]
    (only,) = get(client, "/v1/audit/entries?kind=model_loaded")["entries"]
    assert only["id"] == "later"


def test_reading_a_content_is_put_on_record(client, log):
    found = get(client, "/v1/audit/entries/id-2")
    assert found["content"] == "content 2"
    commitment = commit(bytes.fromhex(found["salt"]), found["content"].encode())
    assert json.loads(found["entry"]["body"])["commitment"] == commitment
    *_, reading = log.entries()
    assert (reading.kind, reading.facts) == ("read", {"client": "demo:demo", "entry": "id-2"})


def test_reading_what_has_no_content_is_not(client, log):
    found = get(client, "/v1/audit/entries/later")
    assert (found["content"], found["content_base64"], found["salt"]) == (None, None, None)
    assert log.head().size == COUNT + 1


def test_a_content_that_is_no_text_comes_in_base64(client, log):
    log.append_now(draft("odd", content=b"\xff\x00"))
    found = get(client, "/v1/audit/entries/odd")
    assert (found["content"], found["content_base64"]) == (None, "/wA=")


@pytest.mark.parametrize("size", [None, COUNT + 1, 3])
def test_inclusion_is_proven_against_the_checkpoint_or_a_size(client, log, size):
    asked = "" if size is None else f"&size={size}"
    answered = get(client, f"/v1/audit/proofs/inclusion?id=id-2{asked}")
    proof = answered["proof"]
    hashes = [bytes.fromhex(one) for one in proof["hashes"]]
    leaf, root = bytes.fromhex(log.get("id-2").leaf_hash), bytes.fromhex(proof["root_hash"])
    assert proof["tree_size"] == size or COUNT
    assert included(leaf, proof["leaf_index"], proof["tree_size"], root, hashes)
    assert (answered["checkpoint"] is not None) == (size is None)


def test_consistency_is_proven(client):
    proof = get(client, f"/v1/audit/proofs/consistency?first=3&second={COUNT}")
    roots = bytes.fromhex(proof["first_root"]), bytes.fromhex(proof["second_root"])
    assert consistent(3, COUNT, *roots, [bytes.fromhex(one) for one in proof["hashes"]])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/audit/entries/nobody", 404),
        ("/v1/audit/entries/a%00", 404),
        ("/v1/audit/proofs/inclusion?id=nobody", 404),
        ("/v1/audit/proofs/inclusion?id=id-5&size=3", 422),
        ("/v1/audit/proofs/inclusion?id=id-5&size=99", 422),
        ("/v1/audit/proofs/inclusion", 422),
        ("/v1/audit/proofs/consistency?first=5&second=3", 422),
        ("/v1/audit/proofs/consistency?first=0&second=3", 422),
        ("/v1/audit/proofs/consistency?first=1&second=99", 422),
        ("/v1/audit/entries?limit=0", 422),
        ("/v1/audit/entries?limit=501", 422),
        ("/v1/audit/entries?after=-1", 422),
        ("/v1/audit/entries?after=99999999999999999999999", 422),
    ],
)
def test_what_cannot_be_answered_is_refused(client, path, status):
    assert_problem(client.get(path), status)


@pytest.mark.parametrize("path", ROUTES)
def test_nobody_reads_without_credentials(log, tmp_path, path):
    gate = Gate(keys=None, tokens=None, rate=RateLimiter(1000))
    with TestClient(application(log, tmp_path, gate), raise_server_exceptions=False) as client:
        assert_problem(client.get(path), 401)
    assert log.head().size == COUNT + 1
