"""Open Inference routes over a model of one endpoint, and of several."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.bundle.bundle import ModelBundle
from serving.routes.inference import inference_router
from tests.serving.client import TestClient
from tests.serving.fhir.running import running
from tests.serving.fhir.service import Service, app_of, client, service
from tests.serving.several import several_bundle

MOST_ROWS = 20


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("inference"), bundle) as made:
        yield made


def router(made: Service):
    return inference_router(made.predictor, made.log, made.gate, largest_body=200_000, most_rows=MOST_ROWS)


@pytest.fixture(scope="module")
def v2(served: Service) -> Iterator[TestClient]:
    with client(router(served)) as made:
        yield made


@pytest.fixture(scope="module")
def address(served: Service) -> Iterator[str]:
    with running(app_of(router(served))) as url:
        yield url


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, TestClient]]:
    folder: Path = tmp_path_factory.mktemp("several")
    with service(folder, several_bundle()) as made, client(router(made)) as asking:
        yield made, asking
