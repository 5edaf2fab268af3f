"""The server as processes: one record for all workers, nothing lost when one dies, nobody left over."""

import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import orjson
import pytest

from models.bundle.bundle import ModelBundle
from models.bundle.shelf import Shelf
from serving.access.keys import new_key
from serving.access.principal import EVERY_SCOPE
from serving.access.store import AccessStore
from tests.lib.patients import BREAST
from tests.serving.client import (
    MODEL,
    PREDICTIONS,
    assert_problem,
    deploy,
    facts_of,
    other_bundle,
    publish_next,
    rows,
)
from tests.serving.processes import Server, alive, answers, serving, settled
from tests.serving.raw import HOST, head, status_of
from tests.serving.test_metrics import samples

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="processes are looked at in /proc"),
]
WORKERS = 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle) -> Path:
    return deploy(tmp_path_factory.mktemp("server"), bundle)


@pytest.fixture(scope="module")
def pair(place: Path) -> Iterator[Server]:
    """A server of two workers that these tests leave running."""
    with serving(place, workers=WORKERS) as server:
        yield server


def ask_anew(server: Server) -> httpx.Response:
    """Ask over a connection of its own, so that any worker may take it."""
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        return client.post(PREDICTIONS, json={"patient": BREAST})


COUNTED = ("salvage_predictions_total", f"{MODEL} 1"), ("salvage_requests_total", f"{PREDICTIONS} 200")


def counted_by(server: Server) -> dict[tuple[str, str], float]:
    """Return the metrics as any of the workers tells them."""
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        return samples(client.get("/metrics").text)


def deaths(server: Server) -> int:
    """Return how many workers' deaths stand in the log."""
    return [line["event"] for line in server.logged()].count("worker died")


def wait_for_all(server: Server) -> None:
    """Wait until as many workers answer as should."""
    settled(
        lambda: len(server.workers()) == WORKERS == server.started() - deaths(server), "a worker is missing"
    )


def test_all_workers_write_one_sequence_without_a_gap_and_count_together(pair, place):
    wait_for_all(pair)
    before = counted_by(pair)
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: ask_anew(pair), range(100)))
    assert {one.status_code for one in given} == {200}
    seqs = sorted(one.json()["audit"]["seq"] for one in given)
    assert seqs == list(range(seqs[0], seqs[0] + 100))
    assert {one.json()["audit"]["id"] for one in given} <= {row[1] for row in rows(place)}
    kinds = [kind for kind, _ in facts_of(place)[: seqs[0] - 1]]
    assert kinds.count("model_loaded") == pair.started() >= WORKERS
    for _ in range(6):
        after = counted_by(pair)
        assert [after[name] - before.get(name, 0) for name in COUNTED] == [100, 100]
        assert after["salvage_model_taken_up", f"{MODEL} 1"] == 1


def test_what_one_worker_answered_is_read_from_any(pair):
    given = pair.ask().json()
    for _ in range(6):
        with httpx.Client(base_url=pair.url, timeout=30, trust_env=False) as client:
            again = client.get(f"{PREDICTIONS}/{given['audit']['id']}")
        assert again.json()["prediction"] == given["prediction"]


def test_an_idempotency_key_is_known_to_every_worker(pair):
    headers = {"Idempotency-Key": "the same"}

    def ask(_: int) -> httpx.Response:
        with httpx.Client(base_url=pair.url, timeout=30, trust_env=False) as client:
            return client.post(PREDICTIONS, json={"patient": BREAST}, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(ask, range(16)))
    assert {one.status_code for one in given} == {200}
    assert len({one.json()["audit"]["id"] for one in given}) == 1
    assert len({one.content.partition(b',"audit":')[0] for one in given}) == 1


class Asking:
    """Clients that ask without a pause, and keep what they were told."""

    def __init__(self, server: Server, clients: int = 3) -> None:
        self._server = server
        self.told: list[tuple[int, dict]] = []
        self.broken = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Asking":
        for thread in self._threads:
            thread.start()
        settled(lambda: len(self.told) > 5, "nothing is answered")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                given = ask_anew(self._server)
                self.told.append((given.status_code, given.json()))
            except httpx.TransportError:
                self.broken += 1


def test_a_killed_worker_is_replaced_and_nothing_acknowledged_is_lost(pair, place):
    before = deaths(pair)
    with Asking(pair) as asking:
        for _ in range(2):
            wait_for_all(pair)
            victim = pair.workers()[0]
            os.kill(victim, signal.SIGKILL)
            settled(lambda: victim not in pair.workers(), "a killed worker is still there")  # noqa: B023
        settled(lambda: len(pair.workers()) == WORKERS, "no worker came in its place")
        count = len(asking.told)
        settled(lambda: len(asking.told) > count + 5, "nothing is answered any more")
    assert {status for status, _ in asking.told} == {200}
    recorded = {row[1]: (row[0], row[5]) for row in rows(place)}
    for _, given in asking.told:
        receipt = given["audit"]
        assert recorded[receipt["id"]] == (receipt["seq"], receipt["leaf_hash"])
    with closing(sqlite3.connect(place / "audit.db")) as reader:
        sequence = [seq for (seq,) in reader.execute("SELECT seq FROM entries ORDER BY seq")]
    assert sequence == list(range(1, len(sequence) + 1))
    assert deaths(pair) == before + 2


def test_workers_without_their_supervisor_stop(home):
    with serving(home, workers=WORKERS) as server:
        workers = server.workers()
        assert len(workers) == WORKERS
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(20)
        settled(lambda: not any(map(alive, workers)), "a worker is left over", seconds=30)
    with serving(home) as again:
        assert again.ask().status_code == 200


def lines(count: int) -> bytes:
    body = b'{"patient": {"disease": "breast_cancer"}}\n' * count
    return b"%x\r\n%b\r\n" % (len(body), body)


@pytest.mark.parametrize("workers", [1, WORKERS])
def test_a_server_told_to_end_lets_a_request_finish(home, workers):
    with serving(home, workers=workers, SALVAGE_DRAIN_SECONDS=20) as server:
        settled(lambda: workers == 1 or len(server.workers()) == workers, "a worker is missing")
        with closing(socket.create_connection(("127.0.0.1", server.port), 30)) as asking:
            chunked = ("Transfer-Encoding: chunked", "Content-Type: application/jsonl", "Connection: close")
            asking.sendall(head("/v1/batches", *chunked) + lines(64))
            came = asking.recv(65536)
            assert came.startswith(b"HTTP/1.1 200")
            server.process.terminate()
            time.sleep(1.0)
            assert server.process.poll() is None
            asking.sendall(lines(10) + b"0\r\n\r\n")
            while part := asking.recv(65536):
                came += part
        assert came.count(b'"answer"') == 74
        assert came.endswith(b"0\r\n\r\n")
        assert server.process.wait(20) in (0, -signal.SIGTERM)
    assert len(rows(home)) == 74


def test_a_request_that_does_not_finish_is_not_waited_for_longer_than_the_drain_time(home):
    with serving(home, workers=WORKERS, SALVAGE_DRAIN_SECONDS=2) as server:
        workers = server.workers()
        with closing(socket.create_connection(("127.0.0.1", server.port), 30)) as asking:
            asking.sendall(head("/v1/predictions", "Content-Length: 10") + b"{")
            time.sleep(0.2)
            started = time.monotonic()
            server.process.terminate()
            server.process.wait(20)
            assert time.monotonic() - started < 10
    assert not any(map(alive, workers))


def changes(home: Path) -> list[str]:
    """Return what the workers put on record when they took up another version."""
    return [kind for kind, _ in facts_of(home) if kind in {"model_promoted", "model_rolled_back"}]


def test_a_new_champion_is_taken_up_under_load_without_one_failure(pair, place, bundle):
    publish_next(place, other_bundle(bundle))
    shelf, before = Shelf(place / "shelf"), len(changes(place))
    wait_for_all(pair)
    with Asking(pair) as asking:
        for number, version in enumerate(("2", "1", "2", "1"), start=1):
            shelf.promote(MODEL, version)
            settled(lambda: len(changes(place)) == before + number * WORKERS, "not every worker took it up")  # noqa: B023
            settled(
                lambda: {given["model"]["version"] for _, given in asking.told[-12:]} == {version},  # noqa: B023
                f"version {version} does not answer",
            )
    assert {status for status, _ in asking.told} == {200}
    assert asking.broken == 0
    told = {(given["model"]["version"], str(given["prediction"]["endpoints"])) for _, given in asking.told}
    assert sorted(version for version, _ in told) == ["1", "2"], "an answer mixes two models"
    assert sorted(changes(place)[before:]) == sorted(["model_promoted", "model_rolled_back"] * 2 * WORKERS)


def ending(asking: socket.socket, rest: bytes) -> int | None:
    """Send the rest of a request, and return the status of its answer."""
    came = b""
    with suppress(ConnectionError):  # refused before, and hung up on
        asking.sendall(rest)
        came = asking.recv(65536)
    return status_of(came)


def test_too_many_at_once_are_told_to_come_again_and_the_others_answered(home):
    body = orjson.dumps({"patient": BREAST})
    with serving(home, SALVAGE_MOST_REQUESTS=2) as server, ExitStack() as stack:
        before = len(rows(home))
        held, given = list[socket.socket](), list[httpx.Response]()

        def full() -> bool:
            """Begin one request more that does not end, and ask beside it."""
            held.append(stack.enter_context(socket.create_connection((HOST, server.port), timeout=30)))
            held[-1].sendall(
                head(PREDICTIONS, f"Content-Length: {len(body)}", "Connection: close") + body[:1]
            )
            given.append(server.ask())
            return given[-1].status_code == 503

        settled(full, "nobody is refused")
        assert_problem(given[-1], 503, "too-busy")
        assert int(given[-1].headers["retry-after"]) > 0
        assert {one.status_code for one in given[:-1]} <= {200}
        assert answers(server, "/health/ready")
        ended = [ending(one, body[1:]) for one in held]
        assert ended.count(200) == 2
        settled(lambda: server.ask().status_code == 200, "nobody is let in again")
        with ThreadPoolExecutor(16) as pool:
            statuses = [one.status_code for one in pool.map(lambda _: ask_anew(server), range(64))]
        assert 200 in statuses
        assert set(statuses) <= {200, 503}
        alone = [one.status_code for one in given].count(200) + 1
        assert len(rows(home)) == before + alone + ended.count(200) + statuses.count(200)


def test_the_log_holds_no_value_of_a_patient_no_key_and_no_token(home):
    key, shown = new_key("ward 7", EVERY_SCOPE, now=time.time())
    with closing(AccessStore(f"sqlite:///{home / 'access.db'}")) as store:
        store.add(key)
    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJkci1zZWNyZXQifQ."
    secrets = ("57.1937", "mrn-1937", "grade_1937", "name-1937", token, shown, shown[-20:])
    spoiled = BREAST | {"tumour_grade": "grade_1937"}
    with serving(home, workers=WORKERS, demo=False) as server:
        asked = [
            ({"patient": BREAST | {"age": 57.1937}, "subject": "mrn-1937"}, shown),
            ({"patient": spoiled, "subject": "mrn-1937"}, shown),
            ({"patient": BREAST, "model": "name-1937"}, shown),
            ({"patient": BREAST | {"age": 57.1937}}, token),
            ({"patient": BREAST | {"age": 57.1937}}, shown[:-1] + "x"),
        ]
        for body, credentials in asked:
            for route in (
                "/v1/predictions",
                "/v1/explanations",
                "/v1/comparisons",
                "/cds-services/name-1937",
            ):
                headers = {"Authorization": f"Bearer {credentials}"}
                server.client.post(f"{route}?subject=mrn-1937", json=body, headers=headers)
                server.client.get(f"{route}/name-1937", headers=headers)
        server.client.post("/v1/predictions", content=b'{"age": 57.1937', headers={"Authorization": shown})
        os.kill(server.workers()[0], signal.SIGKILL)
        settled(lambda: "worker died" in server.log.read_text(), "a death is not logged")
    text = server.log.read_text()
    assert '"status":200' in text
    assert '"status":401' in text
    assert '"client":"key:ward 7"' in text
    assert [one for one in secrets if one in text] == []


def test_a_line_of_a_batch_is_answered_before_the_next_one_is_sent(pair):
    line = orjson.dumps({"patient": BREAST}) + b"\n"
    piece = b"%x\r\n%b\r\n" % (len(line), line)
    lines = "Content-Type: application/jsonl", "Transfer-Encoding: chunked"
    with socket.create_connection((HOST, pair.port), timeout=30) as asking:
        asking.sendall(head("/v1/batches", *lines))
        came = b""
        for number in (1, 2, 3):
            asking.sendall(piece)
            while b'{"line":%d,"answer":' % number not in came:
                came += asking.recv(65536)
            assert b'{"line":%d' % (number + 1) not in came
        asking.sendall(b"0\r\n\r\n")
        while not came.endswith(b"0\r\n\r\n"):
            came += asking.recv(65536)
