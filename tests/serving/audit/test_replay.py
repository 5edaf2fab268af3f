"""Replay: what stands on record is computed again bit for bit, or the difference is said."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from features.errors import BundleRefused, NotFound
from models.shelf import Shelf
from serving.audit.replay import Replay, replay
from serving.audit.store import Entry, SqliteAuditStore, leaf_hash
from tests.lib.patients import BREAST
from tests.serving.client import (
    COLORECTAL,
    HAZARD,
    MODEL,
    answer,
    client_of,
    other_bundle,
    publish_next,
    served_folder,
)


@pytest.fixture
def recorded(home: Path) -> str:
    """The id of one recorded prediction."""
    with client_of(home) as client:
        return answer(client)["audit"]["id"]


def entry_of(file: Path, entry_id: str) -> Entry:
    store = SqliteAuditStore(file)
    try:
        return store.get(entry_id)
    finally:
        store.close()


def replayed(home: Path, entry_id: str) -> Replay:
    return replay(entry_of(home / "audit.db", entry_id), shelf=Shelf(home / "shelf"))


def tampered(home: Path, entry_id: str, change: Callable[[bytes], bytes]) -> Entry:
    """Change a stored body in a copy of the database, past its triggers."""
    copy = home / "tampered.db"
    with closing(sqlite3.connect(home / "audit.db")) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.executescript("DROP TRIGGER entries_stay; DROP TRIGGER entries_remain;")
        (before,) = target.execute("SELECT body FROM entries WHERE id = ?", (entry_id,)).fetchone()
        assert change(before) != before
        target.execute("UPDATE entries SET body = ? WHERE id = ?", (change(before), entry_id))
        target.commit()
    return entry_of(copy, entry_id)


@pytest.mark.parametrize("horizon", [None, 12, 36])
@pytest.mark.parametrize("patient", [BREAST, COLORECTAL, {"disease": "breast_cancer"}])
def test_a_prediction_replays_bit_for_bit(home, patient, horizon):
    with client_of(home) as client:
        audit = answer(client, patient, horizon=horizon)["audit"]
    assert replayed(home, audit["id"]) == Replay(audit["id"], audit["seq"], untouched=True, differences=())
    assert replayed(home, audit["id"]).same


def test_a_replay_changes_nothing_on_record(home, recorded):
    before = entry_of(home / "audit.db", recorded)
    replayed(home, recorded)
    assert entry_of(home / "audit.db", recorded) == before


def test_a_replay_after_a_newer_champion_uses_the_version_that_answered(home, bundle, recorded):
    publish_next(home, other_bundle(bundle))
    Shelf(home / "shelf").promote(MODEL, "2")
    with client_of(home) as client:
        newer = answer(client)
    assert newer["model"]["version"] == "2"
    assert replayed(home, recorded).same
    assert replayed(home, newer["audit"]["id"]).same


def test_a_replay_without_the_version_that_answered_says_it_is_gone(home, recorded):
    shutil.rmtree(served_folder(home))
    with pytest.raises(NotFound, match=f"no version 1 of model {MODEL}"):
        replayed(home, recorded)


def test_a_replay_with_changed_model_files_is_refused(home, recorded):
    (served_folder(home) / HAZARD).write_bytes(b"{}")
    with pytest.raises(BundleRefused, match=re.escape(f"{HAZARD} was changed")):
        replayed(home, recorded)


def test_a_replay_with_another_bundle_under_the_same_version_is_refused(home, bundle, recorded):
    shutil.rmtree(served_folder(home))
    other_bundle(bundle).write(served_folder(home))
    with pytest.raises(BundleRefused, match="not the one that was registered"):
        replayed(home, recorded)


# what was changed on record, and what then comes out differently
CHANGES = [
    ("a patient's age", b'"age":57.0', b'"age":58.0'),
    ("the survival that was said", b'"probability":0.', b'"probability":0.9'),
    ("the interval that was said", b'"low":0.', b'"low":0.0'),
    ("the words on who is alike", b"training patients with this disease", b"patients"),
    ("the notice", b"It is an association", b"It is an effect"),
    ("the evidence", b'"evidence":"synthetic"', b'"evidence":"real"'),
    ("a blank", b'"horizon":null', b'"horizon": null'),
]


@pytest.mark.parametrize(("before", "after"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_a_tampered_record_is_reported(home, recorded, before, after):
    entry = tampered(home, recorded, lambda body: body.replace(before, after, 1))
    found = replay(entry, shelf=Shelf(home / "shelf"))
    assert not found.untouched
    assert not found.same
    assert not found.differences


def test_a_record_tampered_with_its_hash_still_does_not_reproduce(home, recorded):
    entry = tampered(
        home, recorded, lambda body: body.replace(b'"probability":[1.0,0.', b'"probability":[1.0,0.0', 1)
    )
    found = replay(replace(entry, leaf_hash=leaf_hash(entry.body)), shelf=Shelf(home / "shelf"))
    assert found.untouched
    assert found.differences == ("endpoints",)
    assert not found.same


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body[:-1],
        lambda body: b"{}",
        lambda body: b"\xff" + body,
        lambda body: body.replace(b'"age":57.0', b'"age":430', 1),
        lambda body: body.replace(b'"horizon":null', b'"horizon":25', 1),
        lambda body: body.replace(b'"version":"1"', b'"version":"2"', 1),
    ],
    ids=["cut", "emptied", "not UTF-8", "age out of range", "unknown horizon", "unknown version"],
)
def test_a_record_tampered_beyond_recomputing_is_reported(home, recorded, change):
    found = replay(tampered(home, recorded, change), shelf=Shelf(home / "shelf"))
    assert not found.untouched
