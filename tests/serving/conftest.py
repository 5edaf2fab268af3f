"""A running application over the small deployment: one of a test's own, or one that a file's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.bundle.bundle import ModelBundle
from tests.serving.client import TestClient, client_of, deploy


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    """The application over a home with a champion."""
    with client_of(home) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle) -> Iterator[TestClient]:
    """The same for tests that neither change the home nor count its records."""
    with client_of(deploy(tmp_path_factory.mktemp("shared"), bundle)) as running:
        yield running
