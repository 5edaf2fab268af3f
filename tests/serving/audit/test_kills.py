"""Nothing lost: processes are killed at random, and every acknowledged entry is where it was said to be."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.audit.checkpoint import CheckpointFile
from serving.audit.merkle import Frontier
from serving.audit.note import load_key
from serving.audit.store import make_store
from serving.audit.verify import verify
from tests.serving.audit.test_store import address, schema
from tests.serving.processes import alive, children

__all__ = ["address", "schema"]

ROOT = Path(__file__).parents[3]
KILLS = 10


def acknowledged(folder: Path) -> list[tuple[str, int, str, int, str]]:
    """Return every whole line that the workers wrote down."""
    lines = [
        line.split()
        for path in sorted(folder.glob("acknowledged-*"))
        for line in path.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]
    return [(entry_id, int(seq), leaf, int(size), root) for entry_id, seq, leaf, size, root in lines]


def written(folder: Path) -> int:
    """Return how many bytes the workers wrote down."""
    return sum(path.stat().st_size for path in folder.glob("acknowledged-*"))


def run_and_kill(address: str, folder: Path, chance: random.Random) -> None:
    """Let a group write, kill its parent or all of it at a random moment, and wait until it is gone."""
    before = written(folder)
    group = subprocess.Popen(
        [sys.executable, "-m", "tests.serving.audit.writing", address, str(folder)],
        cwd=ROOT,
        start_new_session=True,
    )
    until = time.monotonic() + 30
    while written(folder) == before and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(chance.uniform(0.0, 0.4))
    workers = children(group.pid)
    if chance.random() < 0.5:
        group.kill()
        time.sleep(0.05)
    os.killpg(group.pid, signal.SIGKILL)
    group.wait()
    while _left_over(group.pid, workers):
        time.sleep(0.01)


def _left_over(group: int, workers: list[int]) -> bool:
    """Tell whether a killed process still runs; one that nobody has waited for yet does not."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return any(map(alive, workers)) if workers else True


@pytest.mark.slow
def test_every_acknowledged_entry_survives_kills(address, tmp_path):
    chance = random.Random(7)
    for _ in range(KILLS):
        run_and_kill(address, tmp_path, chance)
    told = acknowledged(tmp_path)
    store = make_store(address)
    kept = {entry.id: entry for entry in store.entries()}
    assert len(told) >= KILLS
    assert [entry.seq for entry in kept.values()] == list(range(1, len(kept) + 1))
    for entry_id, seq, leaf, _, _ in told:
        assert (kept[entry_id].seq, kept[entry_id].leaf_hash) == (seq, leaf)
    roots, tree = {}, Frontier()
    for entry in kept.values():
        tree = tree.grown([bytes.fromhex(entry.leaf_hash)])
        roots[tree.size] = tree.root.hex()
    assert all(roots[size] == root for _, _, _, size, root in told)
    file, key = CheckpointFile(tmp_path / "checkpoints"), load_key(tmp_path / "key").public
    found = verify(address, checkpoints=file, key=key)
    assert found.findings == ()
    assert found.checkpoints >= KILLS // 2
    store.close()
