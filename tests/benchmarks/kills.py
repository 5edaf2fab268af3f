"""Nothing lost: a server under load is killed again and again.

``python -m tests.benchmarks.kills --kills 200 --store sqlite|postgresql [--json]``

`salvage serve --workers 2` answers four clients, who keep what each whole answer said of its record. A
random worker, or the supervisor and all workers at once, gets SIGKILL; what was killed comes back and is
killed again. After every start and at the end each answered prediction has to be in the record under its
number with its leaf hash, the numbers without a gap, and every root and checkpoint that was ever told has to
be of that record. PostgreSQL is the one at SALVAGE_TEST_POSTGRES; a schema of its own is made there, and
dropped at the end.
"""

import argparse
import http.client
import json
import os
import random
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from serving.audit.checkpoint import CheckpointFile
from serving.audit.merkle import Frontier, leaf_hash
from serving.audit.note import load_key
from serving.audit.store import LogStore, make_store
from serving.audit.verify import verify
from tests.lib.patients import BREAST
from tests.serving.client import MODEL, PREDICTIONS
from tests.serving.processes import DEMO, HOST, Server, alive, answers, end, free_port, settled, start

WORKERS, CLIENTS = 2, 4
WHOLE_GROUP = 0.25
BODY = json.dumps({"patient": BREAST}).encode()
HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Told:
    """What an answer said of its record, and of the tree at that moment."""

    id: str
    seq: int
    leaf: str
    size: int
    root: str


@dataclass
class Load:
    """Clients that ask without a pause, and keep what whole answers told them."""

    port: int
    told: list[Told] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(30)

    def _ask(self) -> None:
        while not self.stop.is_set():
            connection = http.client.HTTPConnection(HOST, self.port, timeout=20)
            try:
                while not self.stop.is_set():
                    self._once(connection)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
            finally:
                connection.close()

    def _once(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", PREDICTIONS, BODY, HEADERS)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            time.sleep(0.02)
            return
        said = json.loads(content[content.rindex(b'"audit":') + 8 : content.rindex(b',"mode":')])
        at = Told(said["id"], said["seq"], said["leaf_hash"], said["tree_size"], said["root_hash"])
        self.told.append(at)


@dataclass
class Record:
    """The record, followed as it grows and held against what was told."""

    store: LogStore
    kept: dict[str, tuple[int, str]] = field(default_factory=dict)
    roots: dict[int, str] = field(default_factory=dict)
    tree: Frontier = field(default_factory=Frontier)
    gaps: int = 0
    checked: int = 0
    lost: int = 0
    misled: int = 0

    def hold_against(self, told: list[Told]) -> None:
        """Read what is new in the record, and check what was told since the last time."""
        count = len(told)
        for entry in self.store.entries(after=self.tree.size):
            self.gaps += entry.seq != self.tree.size + 1
            self.tree = self.tree.grown([leaf_hash(entry.body)])
            self.roots[self.tree.size] = self.tree.root.hex()
            self.kept[entry.id] = entry.seq, leaf_hash(entry.body).hex()
        for one in told[self.checked : count]:
            self.lost += self.kept.get(one.id) != (one.seq, one.leaf)
            self.misled += self.roots.get(one.size) != one.root
        self.checked = count


@dataclass
class Deployment:
    """A home, its store, and the server that runs over them."""

    home: Path
    address: str
    port: int = field(default_factory=free_port)

    def start(self) -> Server:
        import httpx  # noqa: PLC0415

        log = self.home.parent / "server.log"
        settings = DEMO | {"SALVAGE_STORE": self.address}
        process = start(self.home, log, port=self.port, workers=WORKERS, **settings)
        client = httpx.Client(base_url=f"http://{HOST}:{self.port}", timeout=20, trust_env=False)
        server = Server(process, client, self.port, log)
        settled(lambda: answers(server), "the server does not come up")
        return server


def _end(log: Path) -> str:
    return log.read_text()[-2000:]


def kill_one(server: Server, chance: random.Random) -> bool:
    """Kill a random worker, if there is one."""
    workers = server.workers()
    if not workers:
        return False
    victim = chance.choice(workers)
    os.kill(victim, 9)
    settled(lambda: not alive(victim), "a killed worker lives")
    return True


def measure(deployment: Deployment, *, kills: int, seed: int) -> dict[str, Any]:
    """Kill a server, and return what became of what it answered."""
    chance, killed, groups = random.Random(seed), 0, 0
    server, load = deployment.start(), Load(deployment.port)
    record = Record(make_store(deployment.address))
    try:
        with load.running():
            while killed < kills:
                before = len(load.told)
                settled(lambda n=before: len(load.told) > n, f"nothing is answered: {_end(server.log)}")  # type: ignore[misc]
                time.sleep(chance.uniform(0.0, 0.5))
                if chance.random() < WHOLE_GROUP:
                    server.kill_all()
                    server.client.close()
                    server, groups = deployment.start(), groups + 1
                    record.hold_against(load.told)
                    killed += 1
                else:
                    killed += kill_one(server, chance)
    finally:
        end(server.process)
        server.client.close()
    record.hold_against(load.told)
    found = judged(deployment, record)
    record.store.close()
    return {"kills": killed, "whole_group": groups, "answered": len(load.told)} | found


def judged(deployment: Deployment, record: Record) -> dict[str, Any]:
    """Verify the whole record at the end, with every checkpoint."""
    file, key = (
        CheckpointFile(deployment.home / "checkpoints"),
        load_key(deployment.home / "audit.key").public,
    )
    notes = list(file.all())
    wrong = sum(
        note is None or not note.signed_by(key) or record.roots.get(note.size) != note.root.hex()
        for note in notes
    )
    found = verify(deployment.address, checkpoints=file, key=key)
    return {
        "records": record.tree.size,
        "lost": record.lost,
        "gaps": record.gaps,
        "checkpoints": len(notes),
        "inconsistent_checkpoints": wrong + record.misled,
        "findings": len(found.findings),
    }


@contextmanager
def address_of(store: str, folder: Path) -> Iterator[str]:
    """Yield the address of an empty store."""
    if store == "sqlite":
        yield str(folder / "audit.db")
        return
    import psycopg  # noqa: PLC0415

    server = os.environ["SALVAGE_TEST_POSTGRES"].replace("postgresql+psycopg://", "postgresql://")
    name = f"kills_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        try:
            yield f"{server}?options={quote(f'-csearch_path={name}')}"
        finally:
            connection.execute(f"DROP SCHEMA {name} CASCADE")


def deployed(folder: Path) -> Path:
    """Make a home with a small model as champion."""
    from tests.lib.fitting import small_bundle  # noqa: PLC0415
    from tests.lib.patients import simulated_cohort  # noqa: PLC0415
    from tests.serving.client import deploy  # noqa: PLC0415

    return deploy(folder, small_bundle(simulated_cohort()), name=MODEL)


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a server under load, and look for what was lost.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with address_of(given.store, folder) as address:
            found = measure(Deployment(deployed(folder), address), kills=given.kills, seed=given.seed)
    found = {"store": given.store} | found
    lines = [json.dumps(found)] if given.json else [f"{name}: {value}" for name, value in found.items()]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
