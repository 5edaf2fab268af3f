"""A CDS client over a deployed model and a real log."""

from collections.abc import Iterator

import pytest

from models.bundle.bundle import ModelBundle
from serving.access.principal import DEMO, Principal
from serving.routes.cds_hooks import CdsHooks, cds_hooks_router
from tests.serving.cds.calls import FakeServer
from tests.serving.client import TestClient
from tests.serving.fhir.service import PUBLIC, TODAY, Service, client, service


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("cds"), bundle) as running:
        yield running


@pytest.fixture(scope="module")
def ehr() -> FakeServer:
    return FakeServer()


@pytest.fixture(scope="module")
def cds(served: Service, ehr: FakeServer) -> Iterator[TestClient]:
    async def verify(authorization: str | None, url: str) -> Principal:
        assert "/cds-services" in url
        return DEMO

    hooks = CdsHooks(served.predictor, fetch=ehr.fetch, today=lambda: TODAY, public_url=PUBLIC)
    router = cds_hooks_router(hooks, served.recorder, verify, largest_body=1_000_000)
    with client(router) as running:
        yield running
