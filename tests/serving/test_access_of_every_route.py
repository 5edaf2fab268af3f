"""Nobody in, on a running server of several workers: no door beside those described, no spelling of one.

tests/serving/access/test_routes.py holds every described route against every kind of false credentials; here
are the routes that nobody describes, the methods that a route does not have, other spellings of its path, and
what has to hold across workers: a revoked key, a token that was used.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from models.bundle.bundle import ModelBundle
from serving.access.keys import new_key
from serving.access.principal import EVERY_SCOPE
from serving.access.store import AccessStore
from serving.app import create_app
from serving.server import open_log
from serving.settings import ServingSettings
from tests.contract.test_openapi import OPENAPI, OPERATIONS
from tests.serving.access.issuer import Signer
from tests.serving.client import MODEL, deploy
from tests.serving.processes import Server, serving, settled
from tests.serving.raw import exchange, head, status_of

EHR = "https://ehr.hospital.example"
OPEN = {"/v2", "/v2/health/live", "/v2/health/ready", "/health/live", "/health/ready", "/metrics"}
NEVER_DESCRIBED = {"/docs", "/openapi.json", "/docs/oauth2-redirect", "/static-offline-docs", "/v2/"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "LINK")
WORKERS = 2
TRIES = 8


@dataclass(frozen=True)
class House:
    """A secured server, the store of its keys, and the key that signs a CDS client's tokens."""

    server: Server
    store: AccessStore
    signer: Signer

    def asked(self, path: str, token: str | None, method: str = "GET") -> httpx.Response:
        """Ask over a connection of its own, so that any worker may take it."""
        headers = {"X-Request-ID": "same"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        with httpx.Client(base_url=self.server.url, timeout=30, trust_env=False) as client:
            return client.request(method, path, headers=headers)

    def key(self) -> tuple[str, str]:
        key, shown = new_key(uuid.uuid4().hex, EVERY_SCOPE, now=time.time())
        self.store.add(key)
        time.sleep(1.1)  # each worker reads new keys once a second
        return key.id, shown


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle, ec_signer: Signer
) -> Iterator[House]:
    home = deploy(tmp_path_factory.mktemp("access"), bundle)
    (home / "ehr.json").write_text(json.dumps({"keys": [ec_signer.jwk]}))
    clients = home / "clients.yaml"
    clients.write_text(f"- issuer: {EHR}\n  jwks: ehr.json\n")
    with (
        serving(home, workers=WORKERS, demo=False, SALVAGE_CDS_CLIENTS=clients) as server,
        closing(AccessStore(f"sqlite:///{home / 'access.db'}")) as store,
    ):
        settled(lambda: len(server.workers()) == WORKERS, "a worker is missing")
        yield House(server, store, ec_signer)


@pytest.fixture(scope="module")
def good_key(house: House) -> str:
    """A key that every worker lets in."""
    return house.key()[1]


@pytest.fixture(scope="module")
def ec_signer() -> Signer:
    return Signer.make("ES384", "ec")


def concrete(path: str) -> str:
    return re.sub(r"\{name\}", MODEL, path).replace("{version}", "1").replace("{service_id}", "x")


GUARDED = sorted({concrete(path) for path, _ in OPERATIONS if path not in OPEN})


def test_every_route_is_described_or_known_to_be_open(tmp_path: Path):
    settings = ServingSettings(home=tmp_path)
    with closing(open_log(settings)) as log:
        app = create_app(settings, log)
    found = {getattr(route, "path", None) for route in app.routes if hasattr(route, "path")}
    assert found - NEVER_DESCRIBED <= set(OPENAPI["paths"])


def test_no_method_of_a_guarded_path_is_answered_without_credentials(house):
    for path in GUARDED:
        for method in METHODS:
            came = exchange(
                house.server.port, [head(path, "Content-Length: 0", "Connection: close", method=method)]
            )
            assert status_of(came) in (400, 401, 404, 405), (method, path)


def spellings(path: str) -> list[str]:
    """Return a path as it might slip past a guard that compares texts."""
    parts = path.strip("/").split("/")
    return [
        f"/{path}", f"{path}/", f"{path}//", f"/.{path}", f"/x/..{path}", f"{path};a=b", f"{path}%00",
        f"{path}%20", f"{path}?", f"{path}#x", f"{path}.json", path.upper(), path.replace("/", "//"),
        path.replace("/", "/./"), path.replace("/", "%2f"), f"/%{ord(parts[0][0]):02x}{path[2:]}",
        f"http://salvage{path}", f"{path}?key=x&access_token=x", path.replace("v1", "v1/../v1"),
    ]  # fmt: skip


def test_no_spelling_of_a_guarded_path_is_answered_without_credentials(house):
    for path in GUARDED:
        for spelt in spellings(path):
            came = exchange(house.server.port, [head(spelt, "Connection: close", method="GET")])
            assert status_of(came) in (400, 401, 404, 405), spelt
            assert b"salvage-relapse" not in came.replace(path.encode(), b"")


@pytest.mark.parametrize(
    "sent",
    [
        {"X-API-Key": "KEY"},
        {"Cookie": "Authorization=Bearer KEY"},
        {"Authorization": "Basic KEY"},
        {"Authorization": "KEY"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer KEY KEY"},
        {"Authorization": "Bearer KEY, Bearer KEY"},
        {"Authorization": 'Bearer "KEY"'},
        {"Proxy-Authorization": "Bearer KEY"},
        {"X-Forwarded-User": "admin", "X-Original-URL": "/metrics", "X-Rewrite-URL": "/metrics"},
    ],
)
def test_a_good_key_in_another_place_is_no_key(house, good_key, sent):
    assert house.asked("/v1/models", good_key).status_code == 200
    headers = {name: value.replace("KEY", good_key) for name, value in sent.items()}
    assert house.server.client.get("/v1/models", headers=headers).status_code == 401
    assert house.server.client.get(f"/v1/models?access_token={good_key}&key={good_key}").status_code == 401


def test_a_revoked_key_is_refused_by_every_worker_as_one_that_never_was(house):
    identifier, key = house.key()
    assert {house.asked("/v1/models", key).status_code for _ in range(TRIES)} == {200}
    house.store.revoke(identifier, at=int(time.time()))
    time.sleep(1.1)
    unknown = f"salvage_{'0' * 12}_{'A' * 43}"
    refused = [house.asked("/v1/models", token) for token in [key, unknown, None] * TRIES]
    assert len({(one.status_code, one.content, tuple(one.headers.raw)) for one in refused}) == 1
    assert refused[0].status_code == 401


def test_a_token_is_good_once_whichever_worker_is_asked(house):
    now = int(time.time())
    for _ in range(3):
        said = {"iss": EHR, "aud": f"{house.server.url}/cds-services", "iat": now, "exp": now + 300}
        token = house.signer.token(said | {"jti": uuid.uuid4().hex})
        given = [house.asked("/cds-services", token).status_code for _ in range(TRIES)]
        assert given == [200] + [401] * (TRIES - 1)
