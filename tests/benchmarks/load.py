"""A closed-loop HTTP load: each connection sends one request after the other and waits for each answer.

``python -m tests.benchmarks.load HOST PORT PATH BODY-FILE --connections 8 --seconds 5`` prints one JSON
object.
The client only counts and times: it writes bytes made beforehand, and reads an answer by its Content-Length.
"""

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import uvloop


@dataclass
class Seen:
    """What a load saw: seconds of each answer, and how many were not 200."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0


class Connection(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, request: bytes, seen: Seen, until: float, done: asyncio.Future[None]) -> None:
        self.request, self.seen, self.until, self.done = request, seen, until, done
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.started = time.perf_counter()
        self.transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lowered = bytes(self.buffer[:head]).lower()
        length = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self.buffer) < head + 4 + length:
            return
        now = time.perf_counter()
        self.seen.seconds.append(now - self.started)
        self.seen.failed += not lowered.startswith(b"http/1.1 200")
        self.buffer.clear()
        if now < self.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def load(host: str, port: int, request: bytes, *, connections: int, seconds: float) -> Seen:
    """Keep some connections busy for some seconds."""
    loop, seen = asyncio.get_running_loop(), Seen()
    until = time.perf_counter() + seconds
    waiting = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        waiting.append(done)
        await loop.create_connection(lambda d=done: Connection(request, seen, until, d), host, port)  # type: ignore[misc]
    await asyncio.gather(*waiting)
    return seen


def post(host: str, path: str, body: bytes, media_type: str = "application/json") -> bytes:
    """Return the bytes of a POST request."""
    lines = f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Type: {media_type}"
    head = "\r\n".join((*lines, f"Content-Length: {len(body)}", "", ""))
    return head.encode() + body


def main() -> None:
    parser = argparse.ArgumentParser(description="Load one route, and time its answers.")
    for name in ("host", "port", "path", "body"):
        parser.add_argument(name)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    request = post(given.host, given.path, Path(given.body).read_bytes())
    asked = load(given.host, int(given.port), request, connections=given.connections, seconds=given.seconds)
    seen = uvloop.run(asked)
    times = np.array(seen.seconds)
    p50, p99 = np.quantile(times, [0.5, 0.99])
    found = {
        "requests": len(times),
        "failed": seen.failed,
        "per_second": len(times) / given.seconds,
        "p50_ms": 1e3 * p50,
        "p99_ms": 1e3 * p99,
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
