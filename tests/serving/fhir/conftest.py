"""A FHIR client over a deployed model and a real log."""

from collections.abc import Iterator

import pytest

from models.bundle.bundle import ModelBundle
from serving.routes.fhir import fhir_router
from tests.serving.client import TestClient
from tests.serving.fhir.service import PUBLIC, TODAY, Service, client, service


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("fhir"), bundle) as running:
        yield running


@pytest.fixture(scope="module")
def fhir(served: Service) -> Iterator[TestClient]:
    router = fhir_router(
        served.predictor,
        served.log,
        served.gate,
        today=lambda: TODAY,
        public_url=PUBLIC,
        largest_body=1_000_000,
    )
    with client(router) as running:
        yield running
