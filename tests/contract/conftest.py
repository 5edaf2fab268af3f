"""A running application that a file's tests share."""

from collections.abc import Iterator

import pytest

from models.bundle.bundle import ModelBundle
from tests.serving.client import TestClient, client_of, deploy
from tests.serving.several import SEVERAL, TIMED, several_bundle, supporting


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle) -> Iterator[TestClient]:
    """The application over a home that no test changes."""
    with client_of(deploy(tmp_path_factory.mktemp("shared"), bundle)) as running:
        yield running


@pytest.fixture(scope="module", params=["every endpoint is answered", "one endpoint is not"])
def several(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The application over a model of several endpoints; one may not be followed long enough."""
    bundle = several_bundle()
    if request.param == "one endpoint is not":
        bundle = supporting(bundle, **{TIMED[0]: 30.0, TIMED[1]: 6.0})
    with client_of(deploy(tmp_path_factory.mktemp("several"), bundle, name=SEVERAL)) as running:
        yield running
