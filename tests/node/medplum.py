"""The npm package @medplum/core: an independent judge of FHIR R4, and a client of CDS Hooks."""

import fcntl
import json
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
INSTALL_SECONDS, RUN_SECONDS = 240, 120


@cache
def why_not() -> str | None:
    """Install what package.json names, once; return why that cannot be done here."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not installed"
    with (HERE / "package.json").open() as listed:
        fcntl.flock(listed, fcntl.LOCK_EX)  # another process of the tests may be installing
        return _installed()


def _installed() -> str | None:
    if (HERE / "node_modules" / "@medplum" / "definitions").is_dir():
        return None
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    try:
        subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (subprocess.SubprocessError, OSError) as error:
        return f"npm could not install @medplum/core ({type(error).__name__})"
    return None


def require() -> None:
    """Skip the test where the packages cannot be had."""
    if reason := why_not():
        pytest.skip(reason)


def run(script: str, *arguments: str, given: Any = None) -> Any:
    """Run one of the scripts here and return what it says, as JSON."""
    require()
    ran = subprocess.run(
        ["node", script, *arguments],
        cwd=HERE,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout)


def faults(resources: Sequence[Any]) -> list[list[str]]:
    """Return, for each resource, what R4 finds wrong with it."""
    found: list[list[str]] = run("validate.mjs", given=list(resources))
    return found
