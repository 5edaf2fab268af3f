"""Load held: ``python -m tests.benchmarks.steady [--minutes 30] [--share 0.8] [--workers 1] [--json]``.

A server's capacity is measured, then it is asked at a share of it for some minutes, at even distances in
time. No request may fail, and the memory of the processes may not grow by 5 % between the end of the first
tenth, when everything has been used once, and the end. Also told: how long a server takes to be ready.
"""

import argparse
import asyncio
import json
import math
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.kills import deployed
from tests.benchmarks.load import Connection, Seen, load, post
from tests.lib.patients import BREAST
from tests.serving.client import PREDICTIONS
from tests.serving.processes import HOST, Server, answers, memory_of, serving, settled

CONNECTIONS = 8
MEASURE_SECONDS = 10.0
SAMPLES = 60


class Kept(Connection):
    """One connection that asks when it is told to."""

    answered: asyncio.Future[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self) -> None:
        """Tell that an answer came, instead of asking again at once."""
        self.answered.set_result(None)

    async def once(self) -> None:
        self.answered = asyncio.get_running_loop().create_future()
        self.started = time.perf_counter()
        self.transport.write(self.request)  # type: ignore[attr-defined]
        await self.answered

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(error or ConnectionError("the server hung up"))


@dataclass
class Paced:
    """Requests at even distances in time over some connections; one that is late is sent when it can be."""

    port: int
    request: bytes
    rate: float
    seen: Seen = field(default_factory=Seen)
    sent: int = 0

    async def run(self, seconds: float) -> None:
        started = time.perf_counter()
        await asyncio.gather(*(self._connection(started, seconds) for _ in range(CONNECTIONS)))

    async def _connection(self, started: float, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        transport, kept = await loop.create_connection(self._kept, HOST, self.port)
        while (due := self.sent / self.rate) < seconds:
            self.sent += 1
            await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
            await kept.once()
        transport.close()

    def _kept(self) -> Kept:
        return Kept(self.request, self.seen, math.inf, asyncio.get_running_loop().create_future())


def memory(server: Server) -> int:
    """Return the bytes of the supervisor and its workers together."""
    return sum(map(memory_of, {server.process.pid, *server.workers()}))


async def held(server: Server, paced: Paced, seconds: float) -> list[int]:
    """Load a server, and return its memory at even distances in time."""
    running = asyncio.create_task(paced.run(seconds))
    found = []
    while not running.done():
        await asyncio.wait([running], timeout=seconds / SAMPLES)
        found.append(memory(server))
    await running
    return found


def measure(home: Path, *, minutes: float, share: float, workers: int) -> dict[str, Any]:
    """Return what a server did under load."""
    request = post(HOST, PREDICTIONS, json.dumps({"patient": BREAST}).encode())
    started = time.perf_counter()
    with serving(home, workers=workers) as server:
        settled(lambda: answers(server, "/health/ready"), "the server is not ready")
        ready = time.perf_counter() - started
        asyncio.run(load(HOST, server.port, request, connections=CONNECTIONS, seconds=MEASURE_SECONDS / 2))
        seen = asyncio.run(load(HOST, server.port, request, connections=CONNECTIONS, seconds=MEASURE_SECONDS))
        capacity = len(seen.seconds) / MEASURE_SECONDS
        paced = Paced(server.port, request, share * capacity)
        sizes = asyncio.run(held(server, paced, minutes * 60.0))
    settled_size = max(sizes[: max(1, len(sizes) // 10)])
    return {
        "ready_seconds": round(ready, 2),
        "capacity_per_second": round(capacity, 1),
        "asked_per_second": round(share * capacity, 1),
        "requests": len(paced.seen.seconds),
        "failed": paced.seen.failed,
        "p50_ms": round(1e3 * float(np.quantile(paced.seen.seconds, 0.5)), 2),
        "p99_ms": round(1e3 * float(np.quantile(paced.seen.seconds, 0.99)), 2),
        "memory_mb": round(sizes[-1] / 1e6, 1),
        "memory_growth": round(sizes[-1] / settled_size - 1.0, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask a server at a share of its capacity for a while.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--share", type=float, default=0.8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = deployed(Path(scratch))
        with serving(home):
            """A server that was started before is warm."""
        found = measure(home, minutes=given.minutes, share=given.share, workers=given.workers)
    lines = [json.dumps(found)] if given.json else [f"{name}: {value}" for name, value in found.items()]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
