"""Which model answers: the champion that the shelf names now, with the files that were promoted."""

import shutil
import time
from pathlib import Path

import pytest

from models.bundle.shelf import Shelf
from tests.serving.client import (
    FITTED_MODEL,
    MODEL,
    answer,
    ask,
    assert_problem,
    client_of,
    facts_of,
    in_store,
    named,
    other_bundle,
    publish_next,
    rows,
    served_folder,
    settled,
    survival_of,
)

FILES = [
    "protocol.json",
    "dictionary.json",
    "encoder.json",
    "provenance.json",
    "completion.json",
    "applicability.json",
    "likeness.json",
    "plans.json",
    "card.json",
    FITTED_MODEL,
    "overall_survival.endpoint.json",
    "overall_survival.booster-0.json",
    "overall_survival.trees.npz",
    "overall_survival.intervals.json",
    "overall_survival.background.npz",
    "overall_survival.bounds.json",
]
SECOND = "salvage-second"


@pytest.fixture
def two_models(home: Path) -> Path:
    """A home in which two models have a champion."""
    shelf = Shelf(home / "shelf")
    shelf.publish(SECOND, "5", served_folder(home))
    shelf.promote(SECOND, "5")
    return home


def test_a_champion_promoted_while_the_server_runs_answers_next(client, home, bundle):
    before = answer(client)
    published = publish_next(home, other_bundle(bundle))
    assert answer(client)["model"] == before["model"], "published is not promoted"
    Shelf(home / "shelf").promote(MODEL, "2")
    after = settled(lambda: answer(client), "2")
    assert (after["model"]["version"], after["model"]["bundle"]) == ("2", published)
    assert after["model"]["bundle"] != before["model"]["bundle"]
    assert survival_of(after)["probabilities"] != survival_of(before)["probabilities"]


def test_going_back_to_the_former_champion_gives_its_answers_again(client, home, bundle):
    before = answer(client)
    publish_next(home, other_bundle(bundle))
    for version in ("2", "1"):
        Shelf(home / "shelf").promote(MODEL, version)
        last = settled(lambda: answer(client), version)
    assert last["model"] == before["model"]
    assert last["prediction"] == before["prediction"]


def test_an_old_prediction_is_read_with_the_model_that_gave_it(client, home, bundle):
    before = answer(client)
    publish_next(home, other_bundle(bundle))
    Shelf(home / "shelf").promote(MODEL, "2")
    answer(client)
    assert client.get(f"/v1/predictions/{before['audit']['id']}").json()["model"] == before["model"]


def test_the_first_champion_is_picked_up_without_a_restart(home, tmp_path):
    waiting = tmp_path / "waiting"
    with client_of(waiting) as client:
        assert_problem(ask(client), 503, "no-champion")
        shelf = Shelf(waiting / "shelf")
        shelf.publish(MODEL, "1", served_folder(home))
        assert_problem(ask(client), 503, "no-champion")
        shelf.promote(MODEL, "1")
        assert answer(client)["audit"]["seq"] == 2
        assert client.get("/health/ready").json() == {"status": "ready", "models": [MODEL]}


def changed(file: Path) -> str:
    file.write_bytes(file.read_bytes() + b" ")
    return f"{file.name} was changed"


def missing(file: Path) -> str:
    file.unlink()
    return f"{file.name} is missing"


def added(file: Path) -> str:
    shutil.copy(file, file.with_name(f"copy of {file.name}"))
    return f"copy of {file.name} does not belong to it"


@pytest.mark.parametrize("tamper", [changed, missing, added])
def test_a_bundle_whose_files_differ_answers_nothing_and_the_file_is_named(home, tamper):
    folder, whole = served_folder(home), home.parent / "whole"
    folder.rename(whole)
    with client_of(home) as client:
        for name in sorted(file.name for file in whole.iterdir() if file.name != "manifest.json"):
            shutil.copytree(whole, folder)
            said = tamper(folder / name)
            for response in (ask(client), client.get("/health/ready"), client.get(f"/v1/models/{MODEL}")):
                detail = assert_problem(response, 503, "bundle-refused")["detail"]
                assert said in detail
                assert str(home) not in detail
            shutil.rmtree(folder)
        assert rows(home) == []
        whole.rename(folder)
        assert answer(client)["audit"]["seq"] == 2


def test_every_file_of_a_bundle_is_in_the_table_above(home):
    assert {file.name for file in served_folder(home).iterdir()} == {*FILES, "manifest.json"}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"not JSON", b'{"format":1,"files":{}}'])
def test_a_manifest_that_is_not_the_promoted_one_is_named(home, content):
    (served_folder(home) / "manifest.json").write_bytes(content)
    with client_of(home) as client:
        for response in (ask(client), client.get("/health/ready")):
            assert "manifest.json" in assert_problem(response, 503, "bundle-refused")["detail"]


def test_files_and_manifest_changed_together_are_refused(home, tmp_path, bundle):
    other = tmp_path / "other"
    other_bundle(bundle).write(other)
    shutil.rmtree(served_folder(home))
    shutil.copytree(other, served_folder(home))
    with client_of(home) as client:
        detail = assert_problem(ask(client), 503, "bundle-refused")["detail"]
    assert "not the one that was registered" in detail


def test_a_restored_bundle_answers_without_a_restart(home):
    file = served_folder(home) / FITTED_MODEL
    content = file.read_bytes()
    file.write_bytes(b"{}")
    with client_of(home) as client:
        assert_problem(ask(client), 503, "bundle-refused")
        file.write_bytes(content)
        assert answer(client)["audit"]["seq"] == 2
        assert client.get("/health/ready").status_code == 200


def test_a_model_that_was_verified_goes_on_answering_when_its_folder_is_lost(client, home):
    before = answer(client)
    shutil.rmtree(served_folder(home))
    assert answer(client)["prediction"] == before["prediction"]


def test_a_champion_whose_folder_is_gone_answers_nothing(home):
    shutil.rmtree(served_folder(home))
    with client_of(home) as client:
        assert_problem(ask(client), 503, "bundle-refused")
        assert_problem(client.get("/health/ready"), 503, "bundle-refused")


def test_a_promoted_bundle_that_was_refused_is_taken_up_once_it_is_restored(
    client, home, bundle, monkeypatch
):
    monkeypatch.setattr("serving.champions.AGAIN_SECONDS", 0.1)
    before = answer(client)
    publish_next(home, other_bundle(bundle))
    file = home / "shelf" / MODEL / "2" / FITTED_MODEL
    content = file.read_bytes()
    file.write_bytes(b"{}")
    Shelf(home / "shelf").promote(MODEL, "2")
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert answer(client)["model"] == before["model"], "the former one goes on answering"
    file.write_bytes(content)
    settled(lambda: answer(client), "2")


def test_a_promotion_that_could_not_be_recorded_is_taken_up_once_it_can(client, home, bundle, monkeypatch):
    monkeypatch.setattr("serving.champions.AGAIN_SECONDS", 0.1)
    answer(client)
    publish_next(home, other_bundle(bundle))
    refuse = "SELECT RAISE(FAIL, 'refused')"
    in_store(home, f"CREATE TRIGGER refuse BEFORE INSERT ON entries BEGIN {refuse}; END")
    Shelf(home / "shelf").promote(MODEL, "2")
    for _ in range(3):
        assert_problem(ask(client), 503, "record-not-written")
    time.sleep(0.5)
    in_store(home, "DROP TRIGGER refuse")
    settled(lambda: answer(client), "2")
    assert [kind for kind, _ in facts_of(home)].count("model_promoted") == 1


def test_an_unknown_model_is_404(client):
    document = assert_problem(ask(client, model="salvage-nobody"), 404, "not-found")
    assert document["detail"] == "no model salvage-nobody"
    assert_problem(client.get("/v1/models/salvage-nobody"), 404, "not-found")


def test_with_two_models_and_none_named_both_are_named(two_models):
    with client_of(two_models) as client:
        document = assert_problem(ask(client), 422, "invalid-request")
    assert named(document) == {"model": "is needed, as several are served"}
    assert document["problems"][0]["remedy"] == f"expected one of {MODEL}, {SECOND}"


def test_with_two_models_the_named_one_answers(two_models):
    with client_of(two_models) as client:
        for name, version in ((MODEL, "1"), (SECOND, "5")):
            stamp = answer(client, model=name)["model"]
            assert (stamp["name"], stamp["version"]) == (name, version)


def test_two_models_keep_one_sequence_of_records(two_models):
    with client_of(two_models) as client:
        seqs = [answer(client, model=name)["audit"]["seq"] for name in (MODEL, SECOND, MODEL)]
    assert seqs == [3, 4, 5], "after the two models that were taken up"


def test_one_broken_model_leaves_the_other_answering_and_the_server_not_ready(two_models):
    (served_folder(two_models) / FITTED_MODEL).write_bytes(b"{}")
    with client_of(two_models) as client:
        assert answer(client, model=SECOND)["model"]["name"] == SECOND
        assert_problem(ask(client, model=MODEL), 503, "bundle-refused")
        assert_problem(client.get("/health/ready"), 503, "bundle-refused")


@pytest.mark.parametrize(
    ("member", "value", "problem"),
    [("model", 5, "wrong type"), ("plan", 1, "unknown field"), ("horizon", "24", "wrong type")],
)
def test_with_two_models_and_none_named_the_other_problems_are_named_too(two_models, member, value, problem):
    with client_of(two_models) as client:
        said = assert_problem(ask(client, **{member: value}), 422)["problems"]
    assert (member, problem) in {(p["field"], p["problem"]) for p in said}


@pytest.mark.parametrize("pointer", [b"", b"not JSON", b"[]", b"{}", b'{"version":1,"bundle":"x"}'])
def test_an_unreadable_champion_file_is_503(home, pointer):
    (home / "shelf" / MODEL / "champion.json").write_bytes(pointer)
    with client_of(home) as client:
        assert_problem(ask(client), 503)
        assert_problem(client.get("/health/ready"), 503)


def test_a_folder_in_the_place_of_a_bundles_file_is_503(home):
    file = served_folder(home) / FITTED_MODEL
    file.unlink()
    file.mkdir()
    with client_of(home) as client:
        assert_problem(ask(client), 503, "bundle-refused")
