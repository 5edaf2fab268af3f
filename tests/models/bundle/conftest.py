"""The small bundle as files: written once, copied for each test that changes it."""

import shutil
from pathlib import Path

import pytest

from models.bundle.bundle import ModelBundle


@pytest.fixture(scope="session")
def whole(bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as it was written."""
    folder = tmp_path_factory.mktemp("whole") / "bundle"
    bundle.write(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to be changed."""
    return Path(shutil.copytree(whole, tmp_path / "bundle"))
