"""The server as it is deployed: its own process, asked over the network, killed, and audited by command."""

import json
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from models.bundle.shelf import Shelf
from serving.audit.record import packed, unpacked
from tests.lib.patients import BREAST
from tests.serving.client import (
    COLORECTAL,
    FITTED_MODEL,
    MODEL,
    answer,
    assert_problem,
    client_of,
    facts_of,
    other_bundle,
    prediction_bytes,
    publish_next,
    rows,
    settled,
)
from tests.serving.processes import Server, salvage, serving

STARTED = ["configuration", "model_loaded"]
FIRST = len(STARTED) + 1
resource = pytest.importorskip("resource")


def limit_files(server: Server, size: int) -> None:
    """Let the server's files grow to this size only, as a full disk does."""
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_prediction_is_served_over_the_network_and_read_again(home):
    with serving(home) as server:
        assert server.client.get("/health/ready").json() == {"status": "ready", "models": [MODEL]}
        given = server.ask(horizon=36)
        assert given.status_code == 200
        assert given.headers["content-type"] == "application/json"
        assert given.json()["model"]["evidence"] == "synthetic"
        again = server.client.get(f"/v1/predictions/{given.json()['audit']['id']}")
        assert prediction_bytes(again.content) == prediction_bytes(given.content)
        assert again.json()["request"] == {"patient": BREAST, "horizon": 36}


def test_bad_requests_over_the_network_are_problem_documents_and_leave_no_record(home):
    with serving(home) as server:
        assert_problem(server.ask(patient=BREAST | {"age": 430}), 422, "invalid-request")
        assert_problem(server.ask(model="nope"), 404, "not-found")
        deep = server.client.post("/v1/predictions", content=b"[" * 50_000)
        assert_problem(deep, 422, "invalid-request")
        pieces = (b"x" * 10_000 for _ in range(20))
        assert_problem(server.client.post("/v1/predictions", content=pieces), 413, "body-too-large")
        for strange in ("..%2f..", "%00", "%FF", "a" * 9_000):
            assert_problem(server.client.get(f"/v1/predictions/{strange}"), 404, "not-found")
            assert_problem(server.client.get(f"/v1/models/{strange}"), 404, "not-found")
        assert_problem(server.client.delete("/v1/predictions"), 405, "method-not-allowed")
        assert server.ask().json()["audit"]["seq"] == FIRST


def test_a_server_killed_after_its_answer_has_it_on_record(home):
    with serving(home) as server:
        given = [server.ask(patient=patient) for patient in (BREAST, COLORECTAL)]
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(20)
    assert [row[1] for row in rows(home)] == [response.json()["audit"]["id"] for response in given]
    with serving(home) as restarted:
        for response in given:
            again = restarted.client.get(f"/v1/predictions/{response.json()['audit']['id']}")
            assert prediction_bytes(again.content) == prediction_bytes(response.content)
        last = restarted.ask().json()["audit"]["seq"]
    kinds = [*STARTED, *["prediction"] * 2, *STARTED, *["read"] * 2, "prediction"]
    assert last == len(kinds)
    assert [kind for kind, _ in facts_of(home)] == kinds


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="file sizes can be limited on Linux only")
def test_a_full_disk_answers_nothing_until_there_is_space_again(home):
    with serving(home) as server:
        assert server.ask().json()["audit"]["seq"] == FIRST
        limit_files(server, 4096)
        for _ in range(3):
            response = server.ask()
            assert_problem(response, 503, "record-not-written")
            assert "survival" not in response.text
        assert server.client.get("/health/live").status_code == 200
        limit_files(server, resource.RLIM_INFINITY)
        assert server.ask().json()["audit"]["seq"] == FIRST + 1
    assert [row[0] for row in rows(home)] == [FIRST, FIRST + 1]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="file sizes can be limited on Linux only")
def test_a_server_with_a_full_disk_is_not_ready(home):
    with serving(home) as server:
        assert server.ask().status_code == 200
        limit_files(server, 4096)
        response = server.client.get("/health/ready")
        limit_files(server, resource.RLIM_INFINITY)
        assert_problem(response, 503, "record-not-written")


def test_two_servers_on_one_home_keep_one_sequence_without_a_gap(home):
    with serving(home) as one, serving(home) as other, ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda n: (one, other)[n % 2].ask(), range(80)))
    assert {response.status_code for response in responses} == {200}
    assert len({prediction_bytes(response.content) for response in responses}) == 1
    assert sorted(r.json()["audit"]["seq"] for r in responses) == list(range(2 * FIRST - 1, 2 * FIRST + 79))
    assert sorted(kind for kind, _ in facts_of(home)) == sorted([*STARTED * 2, *["prediction"] * 80])


def test_a_server_without_a_model_runs_and_says_what_to_do(tmp_path):
    with serving(tmp_path / "home") as server:
        detail = assert_problem(server.client.get("/health/ready"), 503, "no-champion")["detail"]
        assert "salvage fit --protocol relapse-survival" in detail
        assert_problem(server.ask(), 503, "no-champion")


def test_a_model_promoted_while_the_server_runs_answers_next_and_the_old_record_replays(home, bundle):
    with serving(home) as server:
        old = server.ask().json()
        publish_next(home, other_bundle(bundle))
        Shelf(home / "shelf").promote(MODEL, "2")
        new = settled(lambda: server.ask().json(), "2")
        # the record is read and replayed beside the running server
        for given in (old, new):
            done = salvage("audit", "replay", given["audit"]["id"], home=home)
            said = f"record {given['audit']['seq']} reproduced bit for bit\n"
            assert (done.returncode, done.stdout) == (0, said.encode())
    kinds = [kind for kind, _ in facts_of(home) if kind != "prediction"]
    assert kinds == [*STARTED, "model_promoted"]


def test_a_server_told_to_end_ends_at_once(home):
    with serving(home) as server:
        assert server.ask().status_code == 200
        server.process.terminate()
        assert server.process.wait(10) in (0, -signal.SIGTERM)
        assert [row[0] for row in rows(home)] == [FIRST]


@pytest.fixture
def recorded(home: Path) -> str:
    """The id of one prediction in the home's record."""
    with client_of(home) as client:
        return str(answer(client)["audit"]["id"])


def in_database(home: Path, sql: str, *values: object) -> tuple[object, ...] | None:
    with closing(sqlite3.connect(home / "audit.db")) as other, other:
        return other.execute(sql, values).fetchone()


def change_record(home: Path, before: bytes, after: bytes) -> None:
    with closing(sqlite3.connect(home / "audit.db")) as other:
        triggers = other.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            other.execute(f"DROP TRIGGER {name}")
        (stored,) = other.execute("SELECT content FROM contents").fetchone()
        content = unpacked(stored)
        assert before in content
        other.execute("UPDATE contents SET content = ?", (packed(content.replace(before, after, 1)),))
        other.commit()


def test_the_record_is_shown_replayed_and_its_tampering_reported_by_command(home, recorded):
    shown = salvage("audit", "show", recorded, "--content", home=home)
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert shown.stdout == rows(home)[0][4] + b"\n"
    assert facts_of(home)[-1][0] == "read"
    assert json.loads(shown.stdout)["request"]["patient"] == BREAST

    replayed = salvage("audit", "replay", recorded, home=home)
    assert (replayed.returncode, replayed.stderr) == (0, b"")
    assert replayed.stdout == b"record 2 reproduced bit for bit\n"

    change_record(home, b'"probability":0.', b'"probability":0.9')
    tampered = salvage("audit", "replay", recorded, home=home)
    assert tampered.returncode == 1
    assert tampered.stdout == b"record 2 was changed after it was written\n"


@pytest.mark.parametrize("command", [("show", "--content"), ("replay",)])
def test_a_content_of_which_a_byte_was_changed_is_not_read(home, recorded, command):
    (stored,) = in_database(home, "SELECT content FROM contents")
    in_database(home, "DROP TRIGGER contents_stay")
    in_database(
        home, "UPDATE contents SET content = ?", stored[:100] + bytes([stored[100] ^ 1]) + stored[101:]
    )
    done = salvage("audit", command[0], recorded, *command[1:], home=home)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"entry 2 cannot be read: the content is not the one that was stored" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["show", "replay"])
def test_an_unknown_record_is_exit_code_2_and_one_line(home, verb):
    done = salvage("audit", verb, "nope", home=home)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.count(b"\n") == 1
    assert b"id" in done.stderr


def test_a_replay_whose_model_was_changed_is_exit_code_1_and_names_the_file(home, recorded):
    (home / "shelf" / MODEL / "1" / FITTED_MODEL).write_bytes(b"{}")
    done = salvage("audit", "replay", recorded, home=home)
    assert done.returncode == 1
    assert f"{FITTED_MODEL} was changed".encode() in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["show", "replay"])
def test_a_record_that_cannot_be_opened_is_exit_code_1(home, verb):
    (home / "audit.db").mkdir()
    done = salvage("audit", verb, "any", home=home)
    assert done.returncode == 1
    assert b"the audit store cannot be read" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_record_changed_beyond_recomputing_is_reported_by_command(home, recorded):
    change_record(home, b'"age":57.0', b'"age":430')
    done = salvage("audit", "replay", recorded, home=home)
    assert done.returncode == 1
    assert b"record 2 was changed after it was written" in done.stdout


@pytest.mark.parametrize("verb", ["show", "replay"])
def test_looking_into_a_home_that_is_not_there_does_not_make_one(tmp_path, verb):
    salvage("audit", verb, "any", home=tmp_path / "mistyped")
    assert not (tmp_path / "mistyped").exists()
