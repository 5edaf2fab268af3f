"""Disks that fill, files and servers that go away: refused then, and well again without a restart."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from features.errors import RecordNotWritten
from serving.audit.sequencer import Sequencer
from serving.audit.sqlite import SqliteStore
from serving.audit.store import make_store
from serving.audit.verify import verify
from tests.serving.audit.drafts import draft
from tests.serving.audit.test_store import NO_SERVER, SERVER, schema

__all__ = ["schema"]

ROOT = Path(__file__).parents[3]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
def log(file: Path) -> Iterator[Sequencer]:
    opened = Sequencer(SqliteStore(file))
    opened.append_now(draft("first"))
    yield opened
    opened.close()


def refused(log: Sequencer) -> str:
    """Return why nothing can be put on record now."""
    with pytest.raises(RecordNotWritten):
        log.check()
    with pytest.raises(RecordNotWritten) as refusal:
        log.append_now(draft())
    return str(refusal.value)


def test_a_file_that_was_taken_away_is_waited_for_and_never_made_anew(log, file, tmp_path):
    beside = [Path(f"{file}{end}") for end in ("", "-wal", "-shm")]
    for one in beside:
        one.rename(tmp_path / f"away{one.name}")
    assert "was removed; restore it" in refused(log)
    assert not file.exists()
    with pytest.raises(RecordNotWritten, match="cannot be read"):
        log.get("first")
    for one in beside:
        (tmp_path / f"away{one.name}").rename(one)
    assert log.append_now(draft()).seq == 2
    assert verify(file).sound


def test_a_file_that_was_put_in_its_place_is_taken_up_only_if_it_is_no_shorter(log, file, tmp_path):
    log.append_now(draft("second"))
    other = Sequencer(SqliteStore(tmp_path / "other.db"))
    other.append_now(draft("x"))
    other.close()
    log._store.close()
    kept = shutil.copy(file, tmp_path / "kept.db")
    (tmp_path / "other.db").replace(file)
    assert "shorter than it was" in refused_append(log)
    Path(kept).replace(file)
    assert log.append_now(draft()).seq == 3


def refused_append(log: Sequencer) -> str:
    with pytest.raises(RecordNotWritten) as refusal:
        log.append_now(draft())
    return str(refusal.value)


def test_a_place_that_is_no_file_is_refused_until_it_is(tmp_path):
    path = tmp_path / "audit.db"
    path.mkdir()
    log = Sequencer(SqliteStore(path))
    assert "cannot be written" in refused(log)
    path.rmdir()
    assert log.append_now(draft()).seq == 1
    log.close()


def test_a_record_of_an_earlier_version_is_left_alone(tmp_path):
    path = tmp_path / "audit.db"
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE entries (x)')",
            path,
        ],
        check=True,
    )
    before = path.read_bytes()
    log = Sequencer(SqliteStore(path))
    assert "of version 0" in refused(log)
    log.close()
    assert path.read_bytes()[100:] == before[100:]


# what a child process does to a log of its own, and says of it; the child cannot harm this process's limits
FULL = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
acknowledged = [log.append_now(draft(f"{n}", content=bytes(20_000))).seq for n in range(2)]
refusals = []
for n in range(2, 60):
    try:
        acknowledged.append(log.append_now(draft(f"{n}", content=bytes(20_000))).seq)
    except RecordNotWritten as error:
        refusals.append(str(error))
say(acknowledged=acknowledged, refusals=len(refusals), checked=checked())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
say(after=log.append_now(draft("after", content=bytes(20_000))).seq, checked=checked())
"""
READ_ONLY = """
log.append_now(draft("0"))
store.close()
for path in (file, *file.parent.glob("audit.db-*"), file.parent):
    path.chmod(0o555 if path.is_dir() else 0o444)
say(refused=checked(), appended=appended("1"))
for path in (file.parent, file, *file.parent.glob("audit.db-*")):
    path.chmod(0o755 if path.is_dir() else 0o644)
say(refused=checked(), appended=appended("2"))
"""
CHILD = """
import json, os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from features.errors import RecordNotWritten
from serving.audit.sequencer import Sequencer
from serving.audit.sqlite import SqliteStore
from tests.serving.audit.drafts import draft
file = Path({file!r})
if os.geteuid() == 0:
    os.chown(file.parent, 65534, 65534)
    os.setegid(65534)
    os.seteuid(65534)
store = SqliteStore(file)
log = Sequencer(store)
def say(**said): print(json.dumps(said), flush=True)
def checked():
    try: log.check()
    except RecordNotWritten as error: return str(error)
def appended(entry_id):
    try: return log.append_now(draft(entry_id)).seq
    except RecordNotWritten as error: return str(error)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach; pytest's own cannot be."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def said_by_child(folder: Path, script: str) -> list[dict]:
    """Run a script as a user who may not write everywhere, and return what it said."""
    source = CHILD.format(root=str(ROOT), file=str(folder / "audit.db")) + script + "\nlog.close()\n"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_full_disk_refuses_and_room_made_lets_in(open_folder):
    full, after = said_by_child(open_folder, FULL)
    count = len(full["acknowledged"])
    assert 2 <= count < 60
    assert full["refusals"] == 60 - count
    assert full["acknowledged"] == list(range(1, count + 1))
    assert after == {"after": count + 1, "checked": None}
    found = verify(open_folder / "audit.db")
    assert (found.findings, found.size) == ((), count + 1)


def test_a_read_only_disk_refuses_and_a_writable_one_lets_in(open_folder):
    closed, opened = said_by_child(open_folder, READ_ONLY)
    assert "cannot be written" in closed["refused"]
    assert "cannot be written" in closed["appended"]
    assert opened == {"refused": None, "appended": 2}
    assert verify(open_folder / "audit.db").sound


class Road:
    """A road to a server, which can be closed: what is on it is lost, and nobody gets on."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._pairs: list[socket.socket] = []
        self._entrance = socket.create_server(("127.0.0.1", 0))
        self.port = self._entrance.getsockname()[1]
        self.closed = False
        threading.Thread(target=self._admit, daemon=True).start()

    def close(self) -> None:
        """Lose everything on the road."""
        self.closed = True
        for one in self._pairs:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._pairs.clear()

    def end(self) -> None:
        self.close()
        with suppress(OSError):
            self._entrance.shutdown(socket.SHUT_RDWR)
        self._entrance.close()

    def _admit(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._entrance.accept()
                if self.closed:
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                self._pairs += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_carry, args=(one, other), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@NO_SERVER
def test_a_database_that_was_gone_is_written_to_again(schema):
    server = urlsplit(SERVER)
    road = Road((server.hostname or "127.0.0.1", server.port or 5432))
    log = Sequencer(make_store(schema.replace(f":{server.port}/", f":{road.port}/")))
    assert log.append_now(draft("a")).seq == 1
    road.close()
    for _ in range(3):
        began = time.monotonic()
        assert "cannot be written" in refused(log)
        assert time.monotonic() - began < 10
    with pytest.raises(RecordNotWritten, match="cannot be read"):
        log.get("a")
    road.closed = False
    assert log.append_now(draft("b")).seq == 2
    assert log.get("a").seq == 1
    log.check()
    log.close()
    road.end()
    assert verify(schema).findings == ()
