"""A running application that a file's tests share."""

from collections.abc import Iterator

import pytest

from models.bundle import ModelBundle
from tests.serving.client import TestClient, client_of, deploy


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle) -> Iterator[TestClient]:
    """The application over a home that no test changes."""
    with client_of(deploy(tmp_path_factory.mktemp("shared"), bundle)) as running:
        yield running
