"""Nobody in, on the service itself: every route it describes × every way to show no valid credentials."""

import re
import time
import uuid
from contextlib import closing
from typing import Any

import pytest

from serving.access.addresses import AllowedAddresses
from serving.access.cds_clients import CdsClient
from serving.access.keys import new_key
from serving.access.principal import EVERY_SCOPE, AccessScope
from serving.access.settings import AccessSettings
from serving.access.store import AccessStore
from serving.access.tokens import IdentityProvider
from serving.app import create_app
from serving.server import open_log
from serving.settings import ServingSettings
from tests.serving.access.issuer import (
    AUDIENCE,
    DROPPED,
    ISSUER,
    LOOPBACK,
    Signer,
    claims,
    encoded_none,
    served,
    symmetric,
)
from tests.serving.client import TestClient

EHR, PUBLIC = "https://ehr.hospital.example", "https://salvage.hospital.example"
OPEN = {"/v2", "/v2/health/live", "/v2/health/ready", "/health/live", "/health/ready", "/metrics"}
CDS = "/cds-services"
STREAMED = "/v1/batches"


@pytest.fixture(scope="module")
def house(tmp_path_factory, rsa_signer, ec_signer):
    """The service with keys, tokens and a CDS client, as a hospital runs it; no model is promoted."""
    home = tmp_path_factory.mktemp("routes") / "home"
    with served(rsa_signer) as provider:
        access = AccessSettings(
            home,
            f"sqlite:///{home / 'access.db'}",
            rate=0,
            oidc=IdentityProvider(ISSUER, AUDIENCE, provider.url),
            cds_clients=(CdsClient(EHR, keys={"keys": [ec_signer.jwk]}),),
            public_url=PUBLIC,
            allowed=AllowedAddresses.read(LOOPBACK),
        )
        settings = ServingSettings(home=home, host="0.0.0.0", access=access)
        with closing(open_log(settings)) as log:
            app = create_app(settings, log)
            with TestClient(app, base_url=PUBLIC, raise_server_exceptions=False) as client:
                yield client, AccessStore(access.store), routes_of(app)


def routes_of(app: Any) -> list[tuple[str, str, str]]:
    """Return method, path as described and path as asked of everything that needs credentials."""
    return [
        (method, path, re.sub(r"\{\w+\}", "1", path))
        for path, operations in app.openapi()["paths"].items()
        for method in operations
        if path not in OPEN
    ]


def ask(client: TestClient, route: tuple[str, str, str], token: str | None) -> Any:
    method, _, path = route
    sent = {"X-Request-ID": "same"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    return client.request(method, path, headers=sent, content=b"{}" if method == "post" else None)


def as_sent(response: Any) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    return response.status_code, response.headers.raw, response.content


def stored(store: AccessStore, scopes: Any, **options: Any) -> tuple[str, str]:
    key, shown = new_key("ward", scopes, now=time.time() - options.pop("ago", 0.0), **options)
    store.add(key)
    return key.id, shown


def failures(store: AccessStore, signer: Signer, path: str) -> dict[str, str | None]:
    """Return credentials that are none, of a kind that the route takes."""
    revoked, revoked_key = stored(store, EVERY_SCOPE)
    store.revoke(revoked, at=int(time.time()))
    said = good_call(path) if path.startswith(CDS) else claims(scope=" ".join(EVERY_SCOPE))
    now = said["iat"]
    changed = {
        "wrong aud": {"aud": "https://elsewhere.example"},
        "foreign issuer": {"iss": "https://login.elsewhere.example"},
        "expired": {"exp": now - 3600, "iat": now - 3700},
        "from the future": {"iat": now + 3600, "exp": now + 3900},
        "no exp": {"exp": DROPPED},
        "no iss": {"iss": DROPPED},
        "no aud": {"aud": DROPPED},
    }
    other = Signer.make("ES384", signer.kid)
    return {
        "nothing": None,
        "empty": "",
        "garbage": "x.y.z",
        "very long": "a" * 50_000,
        "unknown key": f"salvage_{'0' * 12}_{'A' * 43}",
        "expired key": stored(store, EVERY_SCOPE, ago=10_000_000.0, days=1)[1],
        "revoked key": revoked_key,
        "HS256 with the public key": symmetric(signer.pem, said, kid=signer.kid),
        "a stranger's": other.token(said),
        **{f"none {at}": none for at, none in enumerate(encoded_none(said, kid=signer.kid))},
        **{name: signer.token(without(said | change)) for name, change in changed.items()},
    }


def without(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not DROPPED}


def good_call(path: str) -> dict[str, Any]:
    return without(claims(iss=EHR, aud=f"{PUBLIC}{path}", jti=uuid.uuid4().hex, scope=DROPPED))


def test_every_route_refuses_every_failure_alike(house, rsa_signer, ec_signer):
    client, store, routes = house
    assert len(routes) > 20
    told_apart, let_in = [], []
    bearers = failures(store, rsa_signer, "")
    for route in routes:
        shown = failures(store, ec_signer, route[2]) if route[2].startswith(CDS) else bearers
        seen = {name: as_sent(ask(client, route, token)) for name, token in shown.items()}
        let_in += [(route, name) for name, (status, *_) in seen.items() if status != 401]
        if len({(status, tuple(headers), body) for status, headers, body in seen.values()}) > 1:
            told_apart.append(route)
    assert let_in == []
    assert told_apart == []


def test_a_used_token_is_refused_on_every_cds_route_as_if_it_were_forged(house, ec_signer):
    client, _, routes = house
    for route in (route for route in routes if route[2].startswith(CDS)):
        token = ec_signer.token(good_call(route[2]))
        assert ask(client, route, token).status_code != 401
        assert as_sent(ask(client, route, token)) == as_sent(ask(client, route, "forged"))


def test_every_route_lets_in_one_scope_and_refuses_keys_and_tokens_of_the_others_alike(house, rsa_signer):
    client, store, routes = house
    keys = {scope: stored(store, [scope])[1] for scope in AccessScope}
    tokens = {scope: rsa_signer.token(claims(scope=scope.value)) for scope in AccessScope}
    time.sleep(1.05)
    asked = [route for route in routes if not route[2].startswith(CDS) and route[2] != STREAMED]
    assert len(asked) > 15
    for route in asked:
        seen = [
            (scope, as_sent(ask(client, route, by[scope]))) for by in (keys, tokens) for scope in AccessScope
        ]
        passed = [scope for scope, (status, *_) in seen if status not in (401, 403)]
        refused = {(status, tuple(headers), body) for _, (status, headers, body) in seen if status == 403}
        assert len(passed) >= 2, route
        assert set(passed[: len(passed) // 2]) == set(passed[len(passed) // 2 :]), route
        assert len(passed) + sum(status == 403 for _, (status, *_) in seen) == len(seen), route
        assert len(refused) == 1, route


def test_what_is_open_tells_nothing_of_models_or_records(house):
    client, *_ = house
    for path in OPEN:
        found = client.get(path)
        assert found.status_code in (200, 503)
        assert b"sha" not in found.content
        assert b"patient" not in found.content.replace(b"no_patient", b"")
