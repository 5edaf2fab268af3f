"""The wire: a request's head has an end in bytes and in time, its body may not stop."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from itertools import repeat

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from serving.connection import LARGEST_HEAD, BoundedConnection
from tests.serving.raw import exchange, head, post, status_of


class Hurried(BoundedConnection):
    """The same with less patience."""

    head_seconds = 0.4
    body_seconds = 0.4
    look_seconds = 0.05


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer after the whole body, at once at /at-once, and late at /late."""
    message = {"more_body": scope["path"] != "/at-once"}
    while message.get("more_body"):
        message = await receive()  # type: ignore[assignment]
    if scope["path"] == "/late":
        await asyncio.sleep(1.0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=Hurried, lifespan="off", log_level="error", timeout_keep_alive=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    yield int(listening.getsockname()[1])
    server.should_exit = True
    thread.join(20)
    listening.close()


ENDLESS = {
    "one header": [b"GET / HTTP/1.1\r\nA: ", *repeat(b"x" * 4096, 1000)],
    "headers": [b"GET / HTTP/1.1\r\n", *repeat(b"A: x\r\n" * 500, 1000)],
    "a target": [b"GET /", *repeat(b"x" * 4096, 1000)],
    "a method": [*repeat(b"G" * 4096, 1000)],
    "a chunk's extension": [head("/", "Transfer-Encoding: chunked") + b"5;", *repeat(b"x" * 4096, 1000)],
    "a trailer": [head("/", "Transfer-Encoding: chunked") + b"0\r\nA: ", *repeat(b"x" * 4096, 1000)],
    "trailers": [head("/", "Transfer-Encoding: chunked") + b"0\r\n", *repeat(b"A: x\r\n" * 500, 1000)],
}


@pytest.mark.parametrize("pieces", ENDLESS.values(), ids=ENDLESS)
def test_what_has_no_end_is_refused(port, pieces):
    assert status_of(exchange(port, pieces)) in (400, None)


def test_a_head_that_is_too_large_in_one_piece_is_a_problem_document(port):
    came = exchange(port, [head("/", "A: " + "x" * LARGEST_HEAD)])
    assert status_of(came) == 400
    assert b"content-type: application/problem+json" in came
    assert b"urn:salvage:problem:not-http" in came


def test_a_large_head_that_is_not_too_large_and_a_large_body_are_read(port):
    whole = post("/", b"x" * 1_000_000, "A: " + "x" * (LARGEST_HEAD - 200))
    assert status_of(exchange(port, [whole])) == 200


def test_several_requests_on_one_connection_are_each_counted_anew(port):
    one = head("/", "Content-Length: 5", "A: " + "x" * 30_000) + b"12345"
    last = post("/", b"12345", "A: " + "x" * 30_000)
    came = exchange(port, [one, one, one + one, last])
    assert came.count(b"HTTP/1.1 200") == 5


STOPPED = {
    "before anything": [b""],
    "in the head": [b"GET / HTTP/1.1\r\nHo"],
    "in the body": [head("/", "Content-Length: 10") + b"12345"],
    "in a chunk": [head("/", "Transfer-Encoding: chunked") + b"5\r\n123"],
    "in the body, after the answer": [head("/at-once", "Content-Length: 10") + b"12345"],
}


@pytest.mark.parametrize("pieces", STOPPED.values(), ids=STOPPED)
def test_a_client_that_stops_is_hung_up_on(port, pieces):
    started = time.monotonic()
    came = exchange(port, pieces)
    assert status_of(came) in (200, None)
    assert time.monotonic() - started < 5.0


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(port):
    pieces = [bytes([one]) for one in head("/", *["A: x"] * 20)]
    assert exchange(port, pieces, pause=0.05) == b""


def test_a_body_that_comes_slowly_is_waited_for(port):
    pieces = [head("/", "Content-Length: 10", "Connection: close"), *[b"x"] * 10]
    assert status_of(exchange(port, pieces, pause=0.1)) == 200


def test_an_answer_that_comes_late_is_given(port):
    assert status_of(exchange(port, [post("/late", b"x")])) == 200


def test_a_body_that_nobody_reads_any_more_is_hung_up_on(port):
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield head("/at-once", "Transfer-Encoding: chunked")
        while True:
            sent += 65536
            yield b"10000\r\n" + b"x" * 65536 + b"\r\n"

    exchange(port, endless())
    assert sent < 100_000_000
