"""Idempotency keys: sent again, the first answer is given again; another request with the key is refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from serving.access.keys import new_key
from serving.access.principal import EVERY_SCOPE
from serving.access.store import AccessStore
from tests.lib.patients import BREAST
from tests.serving.client import COLORECTAL, PREDICTIONS, TestClient, assert_problem, client_of, named, rows

ROUTES = {"/v1/predictions": {}, "/v1/explanations": {"horizons": [24]}}
each_route = pytest.mark.parametrize(("route", "more"), ROUTES.items())


def ask(client: TestClient, key: str, patient: Any = BREAST, route: str = PREDICTIONS, **more: Any) -> Any:
    headers = {"Idempotency-Key": key}
    return client.post(route, json={"patient": patient} | more, headers=headers)


def given_by(response: Any) -> tuple[bytes, dict[str, Any]]:
    """Return what was said, and where it stands; the tree may have grown since."""
    assert response.status_code == 200, response.text
    said, _, rest = response.content.partition(b',"audit":')
    receipt = json.loads(b'{"audit":' + rest)["audit"]
    return said, {name: receipt[name] for name in ("id", "seq", "recorded_at", "leaf_hash")}


@each_route
def test_the_same_request_again_is_the_same_answer_and_one_record(client, home, route, more):
    first, again = (given_by(ask(client, "k", route=route, **more)) for _ in range(2))
    assert first == again
    assert len(rows(home)) == 1


def test_without_a_key_and_with_another_each_request_is_a_record(client, home):
    ids = {given_by(ask(client, key))[1]["id"] for key in ("a", "b", "c")}
    client.post(PREDICTIONS, json={"patient": BREAST})
    assert len(ids) == 3
    assert len(rows(home)) == 4


@pytest.mark.parametrize("changed", [{"patient": COLORECTAL}, {"horizon": 12}, {"route": "/v1/explanations"}])
def test_another_request_with_the_key_is_refused_and_not_answered(client, home, changed):
    given_by(ask(client, "k"))
    assert_problem(ask(client, "k", **changed), 422, "idempotency-key-reused")
    assert len(rows(home)) == 1


def test_a_refused_request_does_not_use_up_its_key(client):
    assert_problem(ask(client, "k", BREAST | {"age": 430}), 422, "invalid-request")
    given_by(ask(client, "k"))


def test_at_once_from_many_threads_it_is_one_answer(client, home):
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: given_by(ask(client, "k")), range(24)))
    assert all(one == given[0] for one in given)
    assert len(rows(home)) == 1


def test_a_key_lasts_beyond_a_restart(home):
    given = []
    for _ in range(2):
        with client_of(home) as client:
            given.append(given_by(ask(client, "k")))
    assert given[0] == given[1]
    assert len(rows(home)) == 1


@pytest.mark.parametrize("key", ["", "x" * 201, "\x7f", "ä", "tab\there"])
def test_a_key_that_cannot_be_used_is_refused(shared, key):
    refused = shared.post(
        PREDICTIONS, json={"patient": BREAST}, headers={"Idempotency-Key": key.encode("latin-1")}
    )
    assert set(named(assert_problem(refused, 422, "invalid-request"))) == {"Idempotency-Key"}


def test_each_client_has_keys_of_its_own(home):
    shown = {}
    with closing(AccessStore(f"sqlite:///{home / 'access.db'}")) as store:
        for name in ("ward 1", "ward 2"):
            key, shown[name] = new_key(name, EVERY_SCOPE, now=1_700_000_000.0)
            store.add(key)
    with client_of(home, access=None) as client:
        ids = set()
        for name in shown:
            client.headers["Authorization"] = f"Bearer {shown[name]}"
            ids.add(given_by(ask(client, "k"))[1]["id"])
        assert_problem(ask(client, "k", COLORECTAL), 422, "idempotency-key-reused")
    assert len(ids) == 2
