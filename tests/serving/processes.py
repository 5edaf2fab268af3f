"""Real servers: `salvage serve` in processes of its own, asked over the network, killed, looked into."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.lib.patients import BREAST
from tests.serving.client import PREDICTIONS

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
FIRST_PORT, PORTS, MOST_PROCESSES = 20_000, 1_000, 12
PATIENCE = 180.0  # the first server ever started compiles
CANCELLED = "CancelledError"  # what a server says of a request that it did not wait for any longer
BEGUN = "Application startup complete."
DEMO = {"SALVAGE_ACCESS": "off", "SALVAGE_DEMO": "1"}


@dataclass(frozen=True)
class Server:
    """A running `salvage serve`, a client of it, and its log."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def ask(self, patient: dict[str, Any] | None = None, **request: Any) -> httpx.Response:
        return self.client.post(PREDICTIONS, json={"patient": patient or BREAST} | request)

    def workers(self) -> list[int]:
        """Return the ids of the processes that answer, the newest last."""
        return [pid for pid in children(self.process.pid) if b"spawn_main" in command_of(pid)]

    def started(self) -> int:
        """Return how many workers have ever held their models and begun to answer."""
        return [line["event"] for line in self.logged()].count(BEGUN)

    def kill_all(self) -> None:
        """Kill the supervisor and all its workers at once, as the kernel or a power cut does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def logged(self) -> list[dict[str, Any]]:
        """Return every whole line of the log."""
        lines = self.log.read_bytes().splitlines(keepends=True)
        return [orjson.loads(line) for line in lines if line.endswith(b"\n")]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "salvage", *arguments]


def salvage(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command over a home to its end."""
    settings = os.environ | {"SALVAGE_HOME": str(home), "COLUMNS": "200"} | environment
    return subprocess.run(command(*arguments), capture_output=True, env=settings, cwd=ROOT, check=False)


def free_port() -> int:
    """Return a port that nobody listens on now, and that nobody but us will take meanwhile.

    It lies below those that the system gives away, and in a range of its own for each process of a test run.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + PORTS * (process % MOST_PROCESSES)
    while True:
        port = first + secrets.randbelow(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def start(home: Path, log: Path, *, port: int, workers: int, **environment: Any) -> subprocess.Popen[bytes]:
    """Start `salvage serve` in a process group of its own; what it says is added to the log."""
    settings = os.environ | {"SALVAGE_HOME": str(home)}
    settings |= {name: str(value) for name, value in environment.items()}
    with log.open("ab") as out:
        return subprocess.Popen(
            command("serve", "--port", str(port), "--workers", str(workers)),
            stdout=out,
            stderr=out,
            env=settings,
            cwd=ROOT,
            start_new_session=True,
        )


@contextmanager
def serving(
    home: Path, *, workers: int = 1, demo: bool = True, judged: bool = True, **environment: Any
) -> Iterator[Server]:
    """Run `salvage serve` until all its workers answer, and to the end of the block.

    Its log must hold no exception then; not ``judged``, whoever runs it looks for them.
    """
    port, log = free_port(), home.parent / f"server-{uuid.uuid4().hex}.log"
    process = start(home, log, port=port, workers=workers, **(DEMO if demo else {}) | environment)
    try:
        # trust_env: a proxy of the machine is not for the loopback
        with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=30, trust_env=False) as client:
            server = Server(process, client, port, log)
            settled(lambda: answers(server), "the server does not answer")
            settled(lambda: server.started() >= workers, "not every worker has started")
            yield server
    finally:
        end(process)
    failed = [line for line in server.logged() if line.get("error", CANCELLED) != CANCELLED]
    assert not (judged and failed), failed


def answers(server: Server, path: str = "/health/live") -> bool:
    """Tell whether the server answers; a server that ended never will."""
    assert server.process.poll() is None, server.log.read_text(errors="replace")
    try:
        return server.client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def settled(true: Callable[[], bool], otherwise: str, *, seconds: float = PATIENCE) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, otherwise
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def memory_of(pid: int) -> int:
    """Return the bytes that a process holds in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
