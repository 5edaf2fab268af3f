"""Alive is not ready."""

import shutil

import pytest

from tests.serving.client import MODEL, ask, assert_problem, client_of, rows, served_folder

ADVICE = "salvage fit --protocol relapse-survival"


def test_a_server_with_a_champion_is_live_and_ready(client):
    assert client.get("/health/live").json() == {"status": "live", "models": []}
    assert client.get("/health/ready").json() == {"status": "ready", "models": [MODEL]}


@pytest.mark.parametrize("shelf", ["absent", "empty"])
def test_without_a_champion_a_server_is_live_and_not_ready_and_says_what_to_run(tmp_path, shelf):
    if shelf == "empty":
        (tmp_path / "shelf").mkdir()
    with client_of(tmp_path) as client:
        assert client.get("/health/live").status_code == 200
        for response in (client.get("/health/ready"), ask(client)):
            assert ADVICE in assert_problem(response, 503, "no-champion")["detail"]
    assert rows(tmp_path) == []


def test_a_model_without_a_promoted_version_says_what_to_run(home):
    (home / "shelf" / MODEL / "champion.json").unlink()
    with client_of(home) as client:
        detail = assert_problem(ask(client, model=MODEL), 503, "no-champion")["detail"]
    assert f"salvage models promote {MODEL}" in detail


def test_a_server_is_live_whatever_is_broken(home):
    shutil.rmtree(served_folder(home))
    (home / "audit.db").mkdir()
    with client_of(home) as client:
        assert client.get("/health/live").status_code == 200
        assert_problem(client.get("/health/ready"), 503)


def test_readiness_writes_no_record(client, home):
    for _ in range(3):
        assert client.get("/health/ready").status_code == 200
    assert rows(home) == []
    assert ask(client).json()["audit"]["seq"] == 2


def test_things_that_are_not_models_on_the_shelf_are_not_served(home):
    (home / "shelf" / "README.txt").write_text("bundles live here")
    (home / "shelf" / ".arriving").mkdir()
    (home / "shelf" / "Upper").mkdir()
    (home / "shelf" / "Upper" / "champion.json").write_text("{}")
    with client_of(home) as client:
        assert client.get("/health/ready").json()["models"] == [MODEL]
