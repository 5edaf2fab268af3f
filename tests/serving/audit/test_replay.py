"""Replay: what stands on record is computed again bit for bit, or the difference is said."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from features.errors import BundleRefused, NotFound
from models.bundle.bundle import ModelBundle
from models.bundle.shelf import Shelf
from serving.audit.merkle import leaf_hash
from serving.audit.record import LogEntry, commit, packed
from serving.audit.replay import RECOMPUTE, ReplayResult, replay
from serving.audit.sqlite import SqliteStore
from serving.predictor import ANSWERS
from tests.lib.patients import BREAST
from tests.serving.client import (
    COLORECTAL,
    FITTED_MODEL,
    MODEL,
    TestClient,
    answer,
    client_of,
    deploy,
    other_bundle,
    publish_next,
    served_folder,
)
from tests.serving.planned import CHEMOTHERAPY, PLANNED, RADIATION, planned_bundle


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle) -> tuple[Path, str]:
    """A deployment's home with one recorded prediction, and the prediction's id; copied, never changed."""
    home = deploy(tmp_path_factory.mktemp("answered"), bundle)
    with client_of(home) as client:
        return home, answer(client)["audit"]["id"]


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle
) -> Iterator[tuple[Path, TestClient]]:
    """A deployment's home, and the application over it."""
    home = deploy(tmp_path_factory.mktemp("running"), bundle)
    with client_of(home) as client:
        yield home, client


@pytest.fixture
def home(answered: tuple[Path, str], tmp_path: Path) -> Path:
    """A home of the test's own in which one prediction was recorded."""
    return Path(shutil.copytree(answered[0], tmp_path / "home"))


@pytest.fixture
def recorded(answered: tuple[Path, str]) -> str:
    """The id of the recorded prediction."""
    return answered[1]


def entry_of(home: Path, entry_id: str) -> LogEntry:
    store = SqliteStore(home / "audit.db")
    try:
        return store.get(entry_id)
    finally:
        store.close()


def replayed(home: Path, entry_id: str) -> ReplayResult:
    return replay(entry_of(home, entry_id), shelf=Shelf(home / "shelf"))


@pytest.mark.parametrize("horizon", [None, 12, 36])
@pytest.mark.parametrize("patient", [BREAST, COLORECTAL, {"disease": "breast_cancer"}])
def test_a_prediction_replays_bit_for_bit(running, patient, horizon):
    home, client = running
    audit = answer(client, patient, horizon=horizon)["audit"]
    assert replayed(home, audit["id"]) == ReplayResult(
        audit["id"], audit["seq"], untouched=True, differences=()
    )
    assert replayed(home, audit["id"]).same


def test_a_replay_changes_nothing_on_record(home, recorded):
    before = entry_of(home, recorded)
    replayed(home, recorded)
    assert entry_of(home, recorded) == before


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
    (served_folder(home) / FITTED_MODEL).write_bytes(b"{}")
    with pytest.raises(BundleRefused, match=re.escape(f"{FITTED_MODEL} was changed")):
        replayed(home, recorded)


def test_a_replay_with_another_bundle_under_the_same_version_is_refused(home, bundle, recorded):
    shutil.rmtree(served_folder(home))
    other_bundle(bundle).write(served_folder(home))
    with pytest.raises(BundleRefused, match="not the one that was registered"):
        replayed(home, recorded)


def test_explanations_replay_too(home):
    with client_of(home) as client:
        answered = client.post("/v1/explanations", json={"patient": BREAST, "horizons": [12, 36]})
    assert answered.status_code == 200, answered.text
    entry = entry_of(home, answered.json()["audit"]["id"])
    assert replay(entry, shelf=Shelf(home / "shelf")).same
    changed = replace(entry, stored=packed(entry.content.replace(b'"contribution":', b'"contribution":1', 1)))
    assert not replay(changed, shelf=Shelf(home / "shelf")).untouched


def test_comparisons_replay_too(tmp_path):
    home = deploy(tmp_path, planned_bundle(), name=PLANNED)
    with client_of(home) as client:
        body = {"patient": BREAST, "plans": [CHEMOTHERAPY, RADIATION]}
        answered = client.post("/v1/comparisons", json=body)
    assert answered.status_code == 200, answered.text
    assert replayed(home, answered.json()["audit"]["id"]).same


def test_every_kind_of_answer_can_be_replayed():
    assert set(RECOMPUTE) == set(ANSWERS)


# what was changed in a content
CHANGES = [
    ("a patient's age", b'"age":57.0', b'"age":58.0'),
    ("the survival that was said", b'"probability":0.', b'"probability":0.9'),
    ("the interval that was said", b'"low":0.', b'"low":0.0'),
    ("the words on who is alike", b"training patients with this disease", b"patients"),
    ("the notice", b"It is an association", b"It is an effect"),
    ("the evidence", b'"evidence":"synthetic"', b'"evidence":"real"'),
    ("a blank", b'"horizon":null', b'"horizon": null'),
    ("its end", b"}", b""),
]


@pytest.mark.parametrize(("before", "after"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_a_content_that_was_changed_is_reported_and_not_recomputed(home, recorded, before, after):
    entry = entry_of(home, recorded)
    changed = replace(entry, stored=packed(entry.content.replace(before, after, 1)))
    assert changed != entry
    found = replay(changed, shelf=Shelf(home / "shelf"))
    assert found == ReplayResult(entry.id, entry.seq, untouched=False, differences=())
    assert not found.same


@pytest.mark.parametrize(
    "change",
    [lambda body: body[:-1], lambda body: b"{}", lambda body: b"\xff" + body],
    ids=["cut", "emptied", "not UTF-8"],
)
def test_a_body_that_was_changed_is_reported(home, recorded, change):
    entry = entry_of(home, recorded)
    assert not replay(replace(entry, body=change(entry.body)), shelf=Shelf(home / "shelf")).untouched


def test_a_record_forged_with_its_hashes_still_does_not_reproduce(home, recorded):
    entry = entry_of(home, recorded)
    content = entry.content.replace(b'"probability":[1.0,0.', b'"probability":[1.0,0.0', 1)
    assert content != entry.content
    body = entry.body.replace(
        commit(entry.salt, entry.content).encode(), commit(entry.salt, content).encode()
    )
    forged = replace(entry, stored=packed(content), body=body, leaf_hash=leaf_hash(body).hex())
    found = replay(forged, shelf=Shelf(home / "shelf"))
    assert found.untouched
    assert found.differences == ("endpoints",)
    assert not found.same


def test_what_was_erased_cannot_be_replayed(home, recorded):
    entry = replace(entry_of(home, recorded), stored=None, salt=None)
    with pytest.raises(NotFound, match="has been erased"):
        replay(entry, shelf=Shelf(home / "shelf"))


def test_what_is_no_answer_cannot_be_replayed(home, recorded):
    entry = replace(entry_of(home, recorded), kind="model_loaded")
    with pytest.raises(NotFound, match="no answer"):
        replay(entry, shelf=Shelf(home / "shelf"))
