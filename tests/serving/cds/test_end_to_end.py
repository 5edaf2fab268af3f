"""A record system of another maker, @medplum/core in Node, against running servers."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm

from models.bundle.bundle import ModelBundle
from serving.access.addresses import AllowedAddresses, fetch_json
from serving.access.cds_clients import CdsClient, CdsClients
from serving.access.principal import DEMO, Principal
from serving.access.rate import RateLimiter
from serving.access.store import AccessStore
from serving.cds.services import SERVICES
from serving.routes.cds_hooks import CdsHooks, cds_hooks_router
from tests.node import medplum
from tests.serving.cds.calls import AUTHORIZED, TOKEN, VIEW, call
from tests.serving.cds.fhir_server import BASE, fhir_server
from tests.serving.fhir.charts import order, relapsed
from tests.serving.fhir.running import running
from tests.serving.fhir.service import Service, app_of, service

EHR, KID = "https://ehr.example.org", "k1"
PUBLIC = "http://127.0.0.1"
LARGEST = 1_000_000
TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("end-to-end"), bundle) as made:
        yield made


@pytest.fixture
def chart() -> list[dict[str, Any]]:
    return relapsed(TODAY - timedelta(days=30))


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def ehr(chart, asked) -> Iterator[str]:
    with running(app_of(fhir_server(chart, asked))) as url:
        yield url


def test_another_makers_client_discovers_calls_keeps_and_reports(ehr, chart, served: Service, tmp_path: Path):
    medplum.require()
    key = ec.generate_private_key(ec.SECP384R1())
    jwk = orjson.loads(ECAlgorithm.to_jwk(key.public_key())) | {"kid": KID}
    store = AccessStore(f"sqlite:///{tmp_path / 'access.db'}")
    clients = CdsClients(
        (CdsClient(EHR, keys={"keys": [jwk]}),), store=store, allowed=AllowedAddresses(), rate=RateLimiter(0)
    )
    hooks = CdsHooks(served.predictor, fetch=None, today=lambda: TODAY, public_url=PUBLIC)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with running(_app(hooks, served, clients.verify)) as url:
        given = {"key": pem, "kid": KID, "issuer": EHR, "orders": [order()]}
        said = medplum.run("cds_client.mjs", f"{url}/cds-services", f"{ehr}/", given=given)
    store.close()
    assert said["services"] == list(SERVICES)
    assert [one["service"] for one in said["shown"]] == list(SERVICES)
    assert {one["told"] for one in said["shown"]} == {200}
    assert said["unsigned"] == 401
    kept = [r for r in chart if r["resourceType"] == "RiskAssessment"]
    assert [r["id"] for r in kept] == [one["kept"] for one in said["shown"]]
    on_record = {entry.id: entry for entry in served.log.entries(kind="prediction")}
    assert {one["card"] for one in said["shown"]} <= set(on_record)
    assert {on_record[one["card"]].facts["client"] for one in said["shown"]} == {f"cds-client:{EHR}"}
    reports = list(served.log.entries(kind="feedback"))
    assert [e.facts["card"] for e in reports] == [one["card"] for one in said["shown"]]
    assert all(e.facts["known"] for e in reports)


def test_what_is_not_sent_is_fetched_through_the_guard(ehr, asked, served: Service):
    allowed = AllowedAddresses.read(f"{ehr}{BASE} 127.0.0.0/8")

    async def fetch(url, headers):
        return await fetch_json(url, allowed=allowed, headers=headers)

    hooks = CdsHooks(served.predictor, fetch=fetch, today=lambda: TODAY, public_url=PUBLIC)
    asking = call(prefetch=..., **AUTHORIZED | {"fhirServer": f"{ehr}{BASE}"})
    elsewhere = call(prefetch=..., **AUTHORIZED | {"fhirServer": f"{ehr}/other"})
    with running(_app(hooks, served, _anyone)) as url:
        answered = httpx.post(f"{url}/cds-services/{VIEW}", json=asking)
        refused = httpx.post(f"{url}/cds-services/{VIEW}", json=elsewhere)
    assert len(answered.json()["cards"]) == 1, answered.text
    assert {one["authorization"] for one in asked} == {f"Bearer {TOKEN}"}
    assert all(one["url"].startswith(f"{ehr}{BASE}/") for one in asked)
    assert refused.status_code == 412


def _app(hooks: CdsHooks, served: Service, verify):
    return app_of(cds_hooks_router(hooks, served.recorder, verify, largest_body=LARGEST))


async def _anyone(authorization: str | None, url: str) -> Principal:
    return DEMO
