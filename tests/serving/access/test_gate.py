"""Nobody in: a table of every way to show no valid credentials, on every route, all refused alike."""

import asyncio
import time
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from serving.access.addresses import AllowedAddresses
from serving.access.bearer import REFUSAL_SECONDS
from serving.access.errors import CHALLENGE, AccessUnavailable, Forbidden, TooManyRequests, Unauthenticated
from serving.access.gate import Gate, OpenGate
from serving.access.key_set import FetchedKeySet
from serving.access.keys import KeyRing, new_key
from serving.access.principal import DEMO, EVERY_SCOPE, AccessScope, CredentialKind, Principal
from serving.access.rate import RateLimiter
from serving.access.store import AccessStore
from serving.access.tokens import IdentityProvider, OidcVerifier
from tests.serving.access.issuer import (
    AUDIENCE,
    DROPPED,
    ISSUER,
    LOOPBACK,
    Signer,
    claims,
    encoded_none,
    forged,
    served,
    symmetric,
)

ROUTES = {
    "/predictions": AccessScope.PREDICT,
    "/explanations": AccessScope.EXPLAIN,
    "/audit": AccessScope.AUDIT_READ,
}
STATUSES = {Unauthenticated: 401, Forbidden: 403, TooManyRequests: 429, AccessUnavailable: 503}
Header = list[tuple[bytes, bytes]]


def app_of(gate: Gate) -> FastAPI:
    """Return a tiny application with a route for each scope."""
    app = FastAPI()

    def add(path: str, scope: AccessScope) -> None:
        @app.get(path)
        async def route(caller: Annotated[Principal, Depends(gate.needs(scope))], request: Request) -> Any:
            assert request.scope["principal"] == caller
            return {"client": caller.client}

    for path, scope in ROUTES.items():
        add(path, scope)

    async def refused(request: Request, error: Exception) -> JSONResponse:
        headers = dict(CHALLENGE) if isinstance(error, Unauthenticated) else {}
        if isinstance(error, TooManyRequests):
            headers["Retry-After"] = str(error.retry_after)
        return JSONResponse({"detail": str(error)}, STATUSES[type(error)], headers)

    for kind in STATUSES:
        app.add_exception_handler(kind, refused)
    return app


def ask(
    app: FastAPI, headers: Header, path: str = "/predictions", *, called: str = "http://salvage"
) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=called) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(asked())


def bearer(credentials: str | bytes) -> Header:
    said = credentials.encode() if isinstance(credentials, str) else credentials
    return [(b"Authorization", b"Bearer " + said)]


@pytest.fixture(scope="module")
def house(tmp_path_factory, rsa_signer, ec_signer):
    """A gate with keys and tokens, its identity provider running."""
    store = AccessStore(f"sqlite:///{tmp_path_factory.mktemp('gate') / 'access.db'}")
    with served(rsa_signer, ec_signer) as provider:
        allowed = AllowedAddresses.read(f"{provider.url} {LOOPBACK}")
        tokens = OidcVerifier(
            IdentityProvider(ISSUER, AUDIENCE, provider.url), FetchedKeySet(provider.url, allowed=allowed)
        )
        gate = Gate(keys=KeyRing(store), tokens=tokens, rate=RateLimiter(0))
        yield app_of(gate), store
    store.close()


def stored(store: AccessStore, scopes=EVERY_SCOPE, **options: Any) -> str:
    key, shown = new_key("ward", scopes, now=time.time() - options.pop("ago", 0.0), **options)
    store.add(key)
    return shown


def expired(store: AccessStore) -> str:
    return stored(store, ago=2 * 86400.0, days=1)


def revoked(store: AccessStore) -> str:
    shown = stored(store)
    store.revoke(shown.split("_")[1], at=int(time.time()))
    return shown


def other_secret(store: AccessStore) -> str:
    one, other = stored(store), stored(store)
    return "_".join([*one.split("_", 2)[:2], other.split("_", 2)[2]])


def other_id(store: AccessStore) -> str:
    return f"salvage_{'0' * 12}_{stored(store).split('_', 2)[2]}"


NOW = int(time.time())
CLAIMS = {
    "wrong aud": {"aud": "another-service"},
    "wrong aud in a list": {"aud": ["another-service", "salvag"]},
    "aud that is a number": {"aud": 7},
    "foreign issuer": {"iss": "https://login.elsewhere.example"},
    "issuer with a slash more": {"iss": f"{ISSUER}/"},
    "issuer in a list": {"iss": [ISSUER]},
    "token expired": {"exp": NOW - 3600},
    "iat in the future": {"iat": NOW + 3600, "exp": NOW + 7200},
    "nbf in the future": {"nbf": NOW + 3600},
    "exp in words": {"exp": str(NOW + 3600)},
    "exp true": {"exp": True},
    "exp not a number": {"exp": float("nan")},
    "exp infinite": {"exp": float("inf")},
    "iat in words": {"iat": "now"},
    "iat null": {"iat": None},
    "subject is a number": {"sub": 7},
    "subject of two lines": {"sub": "a\nb"},
    "subject without end": {"sub": "a" * 2000},
    "nobody's": {"sub": DROPPED},
    **{f"no {name}": {name: DROPPED} for name in ("exp", "iat", "iss", "aud")},
}
HEADERS = {
    "unknown kid": {"kid": "k9"},
    "kid is a number": {"kid": 7},
    "kid is a path": {"kid": "../../../../dev/null"},
    "no kid, and several keys would do": {"kid": DROPPED, "alg": "RS512"},
    "typ of another kind": {"typ": "dpop+jwt"},
    "typ a list": {"typ": ["JWT"]},
    "critical extension": {"crit": ["exp"]},
    "unencoded payload": {"b64": False, "crit": ["b64"]},
    "no alg": {"alg": DROPPED},
    "alg null": {"alg": None},
    "alg a list": {"alg": ["RS256"]},
    "alg of the other key": {"alg": "ES384"},
    "kid of the other key": {"kid": "ec"},
}


def table(store: AccessStore, signer: Signer, other: Signer) -> dict[str, Header]:
    """Return every way to show no valid credentials."""
    good, secret = signer.token(claims()), stored(store)
    head, body, signature = good.split(".")
    stolen = {"jwk": other.jwk, "jku": "http://127.0.0.1:9/jwks.json", "x5u": "http://127.0.0.1:9/"}
    every = {
        "unknown key": other_id(store),
        "another key's secret": other_secret(store),
        "expired key": expired(store),
        "revoked key": revoked(store),
        "key cut short": secret[:-1],
        "key with more": f"{secret}x",
        "key in capitals": secret.upper(),
        "prefix alone": "salvage_",
        "id alone": "_".join(secret.split("_", 2)[:2]) + "_",
        "only underscores": "salvage____",
        "the stored hash": f"salvage_{secret.split('_')[1]}_{next(k.hash for k in store.every_key())}",
        "empty": "",
        "garbage": "x",
        "three dots": "...",
        "two dots": "..",
        "nulls": b"\x00\x00",
        "no text": b"\xff\xfe\xfd",
        "very long": "a" * 100_000,
        "long key": "salvage_" + "a" * 8000,
        "long token": f"{head}.{body}.{'A' * 7000}",
        "HS256 with the public key": symmetric(signer.pem, claims(), kid=signer.kid),
        "HS256 with the public key, stripped": symmetric(signer.pem.strip(), claims(), kid=signer.kid),
        "HS256 with the modulus": symmetric(signer.jwk["n"].encode(), claims(), kid=signer.kid),
        "HS256 with nothing": symmetric(b"", claims(), kid=signer.kid),
        "signed by somebody else": other.token(claims()),
        "signed by the key it brings": other.token(claims(), **stolen),
        "signature cut short": good[:-2],
        "signature of another": f"{head}.{body}.{signer.token(claims(sub='x')).split('.')[2]}",
        "no signature": f"{head}.{body}.",
        "no signature nor dot": f"{head}.{body}",
        "payload changed": f"{head}.{signer.token(claims(scope='audit:read')).split('.')[1]}.{signature}",
        "payload no JSON": forged({"alg": "RS256", "kid": "rsa"}, b"{", lambda _: b"x" * 256),
        "payload a list": signer.token([]),
        "header no JSON": forged(b"{", claims(), lambda _: b""),
        "header a list": forged([], claims(), lambda _: b""),
        "header without bottom": forged(b"[" * 5000, claims(), lambda _: b""),
        **{name: signer.token(claims(**changed)) for name, changed in CLAIMS.items()},
        **{name: signer.token(claims(), **changed) for name, changed in HEADERS.items()},
        **{f"none {at}": none for at, none in enumerate(encoded_none(claims(), kid=signer.kid))},
    }
    valid = secret.encode()
    return {
        "no header": [],
        "basic": [(b"Authorization", b"Basic dXNlcjpwYXNz")],
        "key without scheme": [(b"Authorization", valid)],
        "key by another header": [(b"X-API-Key", valid)],
        "key in a cookie": [(b"Cookie", b"Authorization=Bearer " + valid)],
        "two headers": bearer(valid) + bearer(valid),
        "two keys": bearer(valid + b", Bearer " + valid),
        **{name: bearer(credentials) for name, credentials in every.items()},
    }


def as_sent(response: httpx.Response) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    return response.status_code, response.headers.raw, response.content


def test_every_failure_is_refused_on_every_route_and_none_can_be_told_from_another(
    house, rsa_signer, other_rsa
):
    app, store = house
    cases = table(store, rsa_signer, other_rsa)
    time.sleep(1.05)  # the gate's copy of the keys is older than these
    seen = {(name, path): as_sent(ask(app, sent, path)) for name, sent in cases.items() for path in ROUTES}
    wrong = [case for case, (status, *_) in seen.items() if status != 401]
    assert wrong == []
    assert len({(status, tuple(headers), body) for status, headers, body in seen.values()}) == 1
    ((_, headers, body),) = {(s, tuple(h), b) for s, h, b in seen.values()}
    assert dict(headers)[b"www-authenticate"] == b"Bearer"
    assert b"valid credentials are needed" in body
    assert len(cases) > 70


def test_a_key_and_a_token_are_let_in_where_their_scopes_reach_and_refused_alike_elsewhere(
    house, rsa_signer, ec_signer
):
    app, store = house
    shown = stored(store, [AccessScope.PREDICT])
    time.sleep(1.05)
    credentials = [shown, rsa_signer.token(claims()), ec_signer.token(claims(aud=["x", AUDIENCE]))]
    clients = [ask(app, bearer(each)).json()["client"] for each in credentials]
    assert clients == ["key:ward", "token:clinician-7", "token:clinician-7"]
    refused = [
        as_sent(ask(app, bearer(each), path))
        for each in credentials
        for path in ROUTES
        if path != "/predictions"
    ]
    assert {status for status, *_ in refused} == {403}
    assert len({(tuple(headers), body) for _, headers, body in refused}) == 1


@pytest.mark.parametrize("scheme", [b"bearer ", b"BEARER ", b"Bearer   "])
def test_the_scheme_is_read_in_any_case(house, scheme, rsa_signer):
    app, _ = house
    sent = [(b"authorization", scheme + rsa_signer.token(claims()).encode())]
    assert ask(app, sent).status_code == 200


def test_every_refusal_takes_as_long(house, rsa_signer, other_rsa):
    app, store = house
    cases = [[], bearer("x"), bearer(other_id(store)), bearer(other_rsa.token(claims()))]
    for sent in cases:
        took = []
        for _ in range(3):
            began = time.monotonic()
            assert ask(app, sent).status_code == 401
            took.append(time.monotonic() - began)
        assert min(took) >= REFUSAL_SECONDS


def test_a_refusal_takes_no_reason_and_so_tells_none():
    with pytest.raises(TypeError):
        Unauthenticated("the key has expired")  # type: ignore[call-arg]


def test_who_asks_too_often_is_told_when_to_come_back_and_others_are_not_held_up(store):
    app = app_of(Gate(keys=KeyRing(store), tokens=None, rate=RateLimiter(6)))
    busy, shown = stored(store), new_key("other", EVERY_SCOPE, now=time.time())
    store.add(shown[0])
    assert ask(app, bearer(busy)).status_code == 200
    refused = ask(app, bearer(busy))
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 10
    assert ask(app, bearer(shown[1])).status_code == 200


def test_nobody_is_let_in_while_the_store_does_not_answer_and_everybody_afterwards(tmp_path):
    home = tmp_path / "home"
    store = AccessStore(f"sqlite:///{home / 'access.db'}")
    app = app_of(Gate(keys=KeyRing(store), tokens=None, rate=RateLimiter(0)))
    assert ask(app, bearer("salvage_x_y")).status_code == 503
    home.mkdir()
    shown = stored(store)
    assert ask(app, bearer(shown)).status_code == 200
    store.close()


def test_without_keys_and_tokens_everyone_is_refused(store, rsa_signer):
    app = app_of(Gate(keys=None, tokens=None, rate=RateLimiter(0)))
    for sent in (bearer(stored(store)), bearer(rsa_signer.token(claims()))):
        assert ask(app, sent).status_code == 401


@pytest.mark.parametrize("called", ["http://localhost:8000", "http://127.0.0.1", "http://[::1]:8000"])
def test_the_demo_lets_everyone_in_as_itself(called):
    app = app_of(OpenGate())
    for sent in ([], bearer("x")):
        assert {ask(app, sent, path, called=called).json()["client"] for path in ROUTES} == {DEMO.client}


@pytest.mark.parametrize(
    "host", [b"rebound.example", b"localhost.example:8000", b"10.0.0.1", b"[", b"", b"\xff"]
)
def test_the_demo_lets_no_page_in_whose_domain_was_made_to_lead_here(host):
    app = app_of(OpenGate())
    assert {ask(app, [(b"Host", host)], path).status_code for path in ROUTES} == {401}
    assert ask(app, [(b"Host", b"localhost"), (b"Host", host)]).status_code == 401


def test_the_document_says_which_routes_need_credentials(house):
    document = house[0].openapi()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path in ROUTES:
        assert document["paths"][path]["get"]["security"] == [{"bearer": []}]


def test_an_unknown_scope_is_no_scope_of_a_route():
    with pytest.raises(ValueError, match="predicts"):
        OpenGate().needs("predicts")


def test_a_known_key_is_let_in_within_twenty_microseconds(store):
    gate, shown = Gate(keys=KeyRing(store), tokens=None, rate=RateLimiter(10**9)), stored(store)
    sent = [(b"host", b"x"), (b"accept", b"*/*"), *[(b"x-%d" % at, b"") for at in range(8)]]
    sent += [(name.lower(), value) for name, value in bearer(shown)]

    async def fastest() -> float:
        assert (await gate.admit(sent, AccessScope.PREDICT)).credential is CredentialKind.KEY
        found = []
        for _ in range(20):
            began = time.perf_counter()
            for _ in range(200):
                await gate.admit(sent, AccessScope.PREDICT)
            found.append((time.perf_counter() - began) / 200)
        return min(found)

    assert asyncio.run(fastest()) < 20e-6
