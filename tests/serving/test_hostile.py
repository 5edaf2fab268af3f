"""Hostile input to a real server: refused or hung up on, its memory steady, and it answers afterwards."""

import gzip
import json
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import pytest

from models.bundle.bundle import ModelBundle
from tests.lib.patients import BREAST
from tests.serving.client import MODEL, PREDICTIONS, deploy
from tests.serving.processes import Server, memory_of, serving
from tests.serving.raw import exchange, head, post, status_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is looked at in /proc"),
]
MEGABYTE = 1 << 20
GROWTH = 24 * MEGABYTE
SAFE = range(400, 500)
ROUTES = {
    "predictions": PREDICTIONS,
    "explanations": "/v1/explanations",
    "comparisons": "/v1/comparisons",
    "FHIR": "/v1/fhir/predictions",
    "CDS Hooks": "/cds-services/salvage-patient-view",
    "feedback": "/cds-services/salvage-patient-view/feedback",
    "inference": f"/v2/models/{MODEL}.overall_survival/infer",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle) -> Iterator[Server]:
    with serving(deploy(tmp_path_factory.mktemp("hostile"), bundle)) as running:
        for _ in range(50):
            running.ask().raise_for_status()
        yield running


@pytest.fixture(autouse=True)
def _unharmed(server: Server) -> Iterator[None]:
    """Whatever was sent, memory has not grown by it and the server answers as before."""
    before = memory_of(server.process.pid)
    yield
    assert server.ask().status_code == 200
    assert server.client.get("/health/ready").status_code == 200
    assert memory_of(server.process.pid) - before < GROWTH


BAD_JSON = {
    "NaN for a patient": b'{"patient": NaN}',
    "Infinity in an array": b'{"patient": {"disease": "breast_cancer", "age": [Infinity]}}',
    "a name twice": b'{"patient": {"disease": "breast_cancer", "disease": "colorectal_cancer"}}',
    "the patient twice": b'{"patient": {}, "patient": {}}',
    "an open list 10^6 deep": b"[" * 1_000_000,
    "lists 10^6 deep": b"[" * 1_000_000 + b"]" * 1_000_000,
    "objects 10^6 deep": b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000,
    "a string of 10 MB": b'{"patient": "' + b"x" * 10_000_000 + b'"}',
    "a name of 10 MB": b'{"' + b"x" * 10_000_000 + b'": 1}',
    "a number of 10^6 digits": b'{"patient": {"age": ' + b"7" * 1_000_000 + b"}}",
    "a million names": b"{" + b",".join(b'"%d":1' % at for at in range(1_000_000)) + b"}",
    "half a surrogate pair": b'{"patient": {"disease": "\\ud800"}}',
    "another encoding": json.dumps({"patient": BREAST}).encode("utf-16"),
    "nothing": b"",
    "a zip bomb": gzip.compress(b"0" * 50_000_000),
}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
def test_a_body_that_is_none_is_refused(server, route, body):
    status = status_of(exchange(server.port, [post(route, body, "Content-Type: application/json")]))
    assert status in SAFE


def test_a_compressed_body_is_not_decoded(server):
    body = gzip.compress(json.dumps({"patient": BREAST}).encode())
    headers = ("Content-Type: application/json", "Content-Encoding: gzip")
    for route in ROUTES.values():
        assert status_of(exchange(server.port, [post(route, body, *headers)])) in SAFE


def test_bad_lines_of_a_batch_are_problems_in_their_places(server):
    bad = [
        body.replace(b"\n", b" ") for name, body in BAD_JSON.items() if name not in ("nothing", "a zip bomb")
    ]
    sent = post("/v1/batches", b"\n".join(bad), "Content-Type: application/jsonl")
    came = exchange(server.port, [sent])
    assert status_of(came) == 200
    assert came.count(b'"problem":') >= len(bad)
    assert b'"answer"' not in came


TRAVERSALS = [
    "..", "../..", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2faudit.db", "..%5c..%5caudit.key", "%00",
    "%252e%252e%252faudit.db", "....//....//audit.key", "/etc/passwd", "%2fetc%2fpasswd", "..%c0%af..%c0%afx",
    "%ff%fe", "..;/audit.key", ".%00./audit.key", "%2e%2e/access.db", "champion.json", "~root",
    "a" * 20_000, f"{MODEL}%2f1%2fmanifest.json", f"{MODEL}/1/manifest.json",
    f"{MODEL}%2f..%2f..%2faudit.key", f"{MODEL}%00",
    f"{MODEL}.overall_survival%2f..", "con", "%0d%0aSet-Cookie:%20a=b", "%E2%80%AE", "*", "{name}",
]  # fmt: skip
NAMED = [
    "/v1/models/{}", "/v1/predictions/{}", "/v1/audit/entries/{}", "/v2/models/{}", "/v2/models/{}/ready",
    "/v2/models/{}/versions/1",
    f"/v2/models/{MODEL}.overall_survival/versions/{{}}", "/static-offline-docs/{}",
]  # fmt: skip


@pytest.mark.parametrize("route", NAMED)
def test_no_name_leads_out_of_its_place(server, route):
    for name in TRAVERSALS:
        came = exchange(server.port, [head(route.format(name), "Connection: close", method="GET")])
        assert status_of(came) in SAFE, name
        assert not any(told in came for told in (b"root:", b"PRIVATE", b"SQLite", b'"files"'))
        assert b"set-cookie" not in came.partition(b"\r\n\r\n")[0].lower()


@pytest.mark.parametrize("key", ["model", "name"])
def test_no_model_asked_for_in_a_body_leads_out_of_its_place(server, key):
    for name in ("../../etc", f"{MODEL}/1", "..", ".", "/", "\x00", "a" * 50_000, f"{MODEL}\x00", "\u202e"):
        status = server.client.post(PREDICTIONS, json={"patient": BREAST, key: name}).status_code
        assert status in SAFE, name


ENDLESS = {
    "a header": lambda: [b"GET /health/live HTTP/1.1\r\nA: ", *repeat(b"x" * 65536, 3000)],
    "headers": lambda: [b"GET /health/live HTTP/1.1\r\n", *repeat(b"A: x\r\n" * 10_000, 3000)],
    "a target": lambda: [b"GET /", *repeat(b"x" * 65536, 3000)],
    "a body": lambda: [head(PREDICTIONS, "Content-Length: 99999999999"), *repeat(b"x" * 65536, 3000)],
    "chunks": lambda: [
        head(PREDICTIONS, "Transfer-Encoding: chunked"),
        *repeat(b"10000\r\n" + b"x" * 65536 + b"\r\n", 3000),
    ],
    "a trailer": lambda: [
        head(PREDICTIONS, "Transfer-Encoding: chunked") + b"0\r\nA: ",
        *repeat(b"x" * 65536, 3000),
    ],
    "a line of a batch": lambda: [
        head("/v1/batches", "Transfer-Encoding: chunked", "Connection: close"),
        *repeat(b"10000\r\n" + b"x" * 65536 + b"\r\n", 1000),
        b"0\r\n\r\n",
    ],
    "empty lines of a batch": lambda: [
        head("/v1/batches", "Transfer-Encoding: chunked", "Connection: close"),
        *repeat(b"10000\r\n" + b"\n" * 65536 + b"\r\n", 200),
        b"0\r\n\r\n",
    ],
    "a chart": lambda: [head(ROUTES["FHIR"], "Content-Length: 999999999"), *repeat(b"x" * 65536, 3000)],
}


@pytest.mark.parametrize("pieces", ENDLESS.values(), ids=ENDLESS)
def test_what_has_no_end_is_refused_or_hung_up_on(server, pieces):
    status = status_of(exchange(server.port, pieces()))
    assert status is None or status in (*SAFE, 200)


def test_lengths_that_contradict_each_other_are_refused(server):
    for lines in (
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: -1",),
        ("Content-Length: 0x5",),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked, identity",),
        ("Content-Length: " + "9" * 100,),
    ):
        status = status_of(
            exchange(server.port, [head(PREDICTIONS, *lines, "Connection: close") + b"5\r\n{}"])
        )
        assert status is None or status in SAFE, lines


def test_many_clients_that_never_finish_do_not_keep_others_from_their_answers(server):
    import socket  # noqa: PLC0415

    waiting = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    try:
        for one in waiting:
            one.sendall(head(PREDICTIONS, "Content-Length: 100") + b"{")
        assert server.ask().status_code == 200
    finally:
        for one in waiting:
            one.close()
