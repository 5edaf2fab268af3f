"""What every request gets: an id, headers, a line in the log, and a refusal when too many are answered."""

import asyncio
import logging
import re
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from serving.gateway import HUNG_UP, Gateway
from serving.metrics import Metrics
from tests.serving.client import MODEL, PREDICTIONS, ask, assert_problem, client_of

OWN_IDS = ["a", "0f-7.3_2:9", "x" * 100]
NOT_IDS = ["", "x" * 101, "a b", "a,b", "ä", 'x"y', "a/b", "${jndi}"]
ANSWERS = {
    "an answer": ("POST", PREDICTIONS),
    "a list": ("GET", "/v1/models"),
    "no such model": ("GET", "/v1/models/nope"),
    "no such route": ("GET", "/nope"),
    "no such method": ("DELETE", PREDICTIONS),
    "the description": ("GET", "/openapi.json"),
    "metrics": ("GET", "/metrics"),
    "health": ("GET", "/health/live"),
    "another protocol's refusal": ("POST", "/cds-services/nope"),
}


@pytest.mark.parametrize("given", OWN_IDS)
def test_a_requests_own_id_is_given_back_and_on_record(client, given):
    answered = client.post(PREDICTIONS, json={"patient": {"disease": "breast_cancer"}}, headers=named(given))
    assert answered.headers["x-request-id"] == given
    entry = client.get(f"/v1/audit/entries/{answered.json()['audit']['id']}").json()["entry"]
    assert entry["facts"]["request_id"] == given


@pytest.mark.parametrize("given", [*NOT_IDS, None])
def test_without_one_that_can_be_used_each_request_gets_an_id_of_its_own(shared, given):
    headers = {} if given is None else named(given)
    ids = [shared.get("/health/live", headers=headers).headers["x-request-id"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert ids[0] != ids[1]


def named(identifier: str) -> dict[str, bytes]:
    return {"X-Request-ID": identifier.encode("latin-1")}


@pytest.mark.parametrize(("method", "path"), ANSWERS.values(), ids=ANSWERS)
def test_every_answer_is_kept_by_nobody_and_says_that_access_is_off(shared, method, path):
    found = shared.request(method, path).headers
    listed = path == "/v1/models"
    assert found["cache-control"] == ("no-cache" if listed else "no-store"), "a list is asked for again"
    assert found["x-content-type-options"] == "nosniff"
    assert found["referrer-policy"] == "no-referrer"
    assert found["salvage-mode"] == "demo"
    assert "server" not in found


def test_pages_of_other_origins_may_not_ask_unless_they_are_named(home):
    with client_of(home, origins=("https://chart.example.org",)) as client:
        for origin, allowed in (("https://chart.example.org", True), ("https://elsewhere.example", False)):
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            before = client.options(PREDICTIONS, headers=asked)
            given = client.get("/v1/models", headers={"Origin": origin})
            assert before.is_success is allowed
            assert (given.headers.get("access-control-allow-origin") == origin) is allowed
            assert "access-control-allow-credentials" not in given.headers


def test_each_request_is_a_line_in_the_log_with_its_route_and_no_name_from_its_path(shared, caplog):
    with caplog.at_level(logging.INFO, "salvage.requests"):
        shared.get("/v1/models/secret-193719371937", headers=named("known"))
        ask(shared, {"disease": "breast_cancer", "age": 193719371937})
        shared.get("/nowhere-193719371937?q=193719371937")
    said = [one.__dict__ for one in caplog.records if one.name == "salvage.requests"]
    assert [(one["method"], one["route"], one["status"]) for one in said] == [
        ("GET", "/v1/models/{name}", 404),
        ("POST", PREDICTIONS, 422),
        ("GET", "unknown", 404),
    ]
    assert said[0]["request_id"] == "known"
    assert said[0]["client"] == "demo:demo"
    assert all(one["ms"] > 0 for one in said)
    assert "193719371937" not in str(said)  # no time or thread number has so many digits


class Counted(Metrics):
    """Metrics whose counts of statuses can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []

    def request(self, route: str, status: int, seconds: float) -> None:
        self.statuses.append(status)


async def asked(gateway: Gateway, path: str = "/") -> list[dict[str, Any]]:
    """Ask a gateway, and return what it sends."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    await gateway(scope, receive, send)
    return sent


def test_those_beyond_the_most_are_refused_at_once_and_the_others_answered(caplog):
    caplog.set_level(logging.WARNING)
    release, metrics = asyncio.Event(), Counted()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    gateway = Gateway(slow, metrics=metrics, most=3, headers={})

    async def scenario() -> list[int]:
        tasks = [asyncio.create_task(asked(gateway)) for _ in range(5)]
        late = asyncio.create_task(asked(gateway, "/health/live"))
        await asyncio.sleep(0)
        done, _ = await asyncio.wait(tasks, timeout=1.0)
        assert len(done) == 2
        release.set()
        found = [*(await asyncio.gather(*tasks, late)), await asked(gateway)]
        return [messages[0]["status"] for messages in found]

    assert sorted(asyncio.run(scenario())) == [200] * 5 + [503] * 2
    assert sorted(metrics.statuses) == [200] * 5 + [503] * 2


def test_a_refusal_for_too_many_says_when_to_come_again(home):
    with client_of(home, most_requests=0) as client:
        refused = ask(client)
        assert_problem(refused, 503, "too-busy")
        assert int(refused.headers["retry-after"]) > 0
        assert client.get("/health/ready").json() == {"status": "ready", "models": [MODEL]}
        assert client.get("/metrics").status_code == 200


def test_a_client_that_hangs_up_is_no_error_of_the_server():
    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    metrics = Counted()
    gateway = Gateway(waiting, metrics=metrics, most=1, headers={})
    assert asyncio.run(asked(gateway)) == []
    assert asyncio.run(asked(gateway)) == []
    assert metrics.statuses == [HUNG_UP] * 2
