"""Compiling: where machine code cannot be kept, and where two processes keep it at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models import compiled as compiled_module
from models.compiled import LOCK, compiled

fcntl = pytest.importorskip("fcntl", reason="files are not locked here")
ROOT = Path(__file__).parents[2]
COMPILE_ONE = """
import numpy as np
from models.estimators.links import LINKS
LINKS["log_odds"].value(np.array([0.5]))
"""


def test_without_a_place_for_the_machine_code_it_is_compiled_each_time(monkeypatch):
    def refuse(function):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(compiled_module, "PackageCache", refuse)
    assert compiled(lambda x: x + 1)(2) == 3


def test_code_is_stored_by_one_process_at_a_time(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COMPILE_ONE]
    subprocess.run(command, env=environment, check=True)
    (lock,) = tmp_path.rglob(LOCK)
    for code in (*tmp_path.rglob("*.nbi"), *tmp_path.rglob("*.nbc")):
        code.unlink()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = subprocess.Popen(command, env=environment)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=8)
        assert not [*tmp_path.rglob("*.nbi")]
        fcntl.flock(held, fcntl.LOCK_UN)
    assert waiting.wait(timeout=120) == 0
    assert [*tmp_path.rglob("*.nbi")]
