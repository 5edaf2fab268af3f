"""Calls of CDS clients: each token once, for the address called, from a client that is trusted."""

import asyncio
import time
import uuid

import pytest

from serving.access.addresses import AllowedAddresses
from serving.access.cds_clients import CdsClient, CdsClients, OpenCdsClients
from serving.access.errors import AccessUnavailable, TooManyRequests, Unauthenticated
from serving.access.principal import DEMO, AccessScope, CredentialKind
from serving.access.rate import RateLimiter
from serving.access.store import AccessStore
from tests.serving.access.issuer import (
    DROPPED,
    ISSUER,
    LOOPBACK,
    Signer,
    claims,
    encoded_none,
    served,
    symmetric,
)

PUBLIC = "https://salvage.hospital.example/api"
SERVICE = "/cds-services/salvage-patient-view"
CALLED = PUBLIC + SERVICE
EHR = "https://ehr.hospital.example"
OTHER_EHR = "https://other-ehr.example"


def call(**changed):
    """Return the claims of a good call, changed."""
    said = {"iss": EHR, "aud": CALLED, "jti": uuid.uuid4().hex, "sub": DROPPED, "scope": DROPPED} | changed
    return claims(**said)


def verify(clients, token, url=f"http://127.0.0.1:8000{SERVICE}"):
    return asyncio.run(clients.verify(token if token is None else f"Bearer {token}", url))


def clients_of(store, *clients, rate=0, public_url=PUBLIC, allowed=""):
    return CdsClients(
        clients,
        store=store,
        allowed=AllowedAddresses.read(allowed),
        rate=RateLimiter(rate),
        public_url=public_url,
    )


@pytest.fixture
def clients(store, ec_signer):
    return clients_of(store, CdsClient(EHR, keys={"keys": [ec_signer.jwk]}))


def test_a_trusted_client_may_predict_and_explain_and_no_more(clients, ec_signer):
    caller = verify(clients, ec_signer.token(call()))
    assert (caller.name, caller.credential) == (EHR, CredentialKind.CDS_CLIENT)
    assert caller.scopes == {AccessScope.PREDICT, AccessScope.EXPLAIN}


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_the_recommended_algorithms_are_accepted(store, algorithm):
    signer = Signer.make(algorithm)
    clients = clients_of(store, CdsClient(EHR, keys={"keys": [signer.jwk]}))
    assert verify(clients, signer.token(call())).name == EHR


def test_the_audience_may_be_a_list_that_holds_the_address_called(clients, ec_signer):
    assert verify(clients, ec_signer.token(call(aud=["https://elsewhere.example", CALLED]))).name == EHR


def test_feedback_is_another_address(clients, ec_signer):
    feedback = f"http://127.0.0.1:8000{SERVICE}/feedback"
    assert verify(clients, ec_signer.token(call(aud=f"{CALLED}/feedback")), feedback).name == EHR
    with pytest.raises(Unauthenticated):
        verify(clients, ec_signer.token(call()), feedback)


def test_without_a_public_address_the_one_called_counts_whatever_is_asked_of_it(store, ec_signer):
    clients = clients_of(store, CdsClient(EHR, keys={"keys": [ec_signer.jwk]}), public_url=None)
    said = call(aud="https://salvage.example/cds-services")
    assert verify(clients, ec_signer.token(said), "https://salvage.example/cds-services?x=1").name == EHR


NOW = int(time.time())
CLAIMS = {
    "foreign issuer": {"iss": OTHER_EHR},
    "no jti": {"jti": DROPPED},
    "empty jti": {"jti": ""},
    "jti a number": {"jti": 7},
    "endless jti": {"jti": "a" * 2000},
    "jti with a null": {"jti": "a\x00"},
    "wrong aud": {"aud": "https://elsewhere.example/cds-services"},
    "aud of another service": {"aud": f"{PUBLIC}/cds-services/another"},
    "aud of the parent": {"aud": f"{PUBLIC}/cds-services"},
    "aud of the whole server": {"aud": PUBLIC},
    "aud with a slash more": {"aud": f"{CALLED}/"},
    "aud inside": {"aud": f"http://127.0.0.1:8000{SERVICE}"},
    "no aud": {"aud": DROPPED},
    "no exp": {"exp": DROPPED},
    "no iat": {"iat": DROPPED},
    "expired": {"exp": NOW - 3600, "iat": NOW - 3700},
    "from the future": {"iat": NOW + 86_400, "exp": NOW + 86_700, "nbf": NOW},
    "lives for ever": {"exp": NOW + 10**9},
    "lives for longer than an hour": {"iat": NOW, "exp": NOW + 3600 + 120},
    "exp infinite": {"exp": float("inf")},
}
HEADERS = {
    "no typ": {"typ": DROPPED},
    "typ of an access token": {"typ": "at+jwt"},
    "no kid": {"kid": DROPPED},
    "unknown kid": {"kid": "k9"},
    "kid a list": {"kid": ["ec"]},
    "a jku of its own": {"jku": "http://127.0.0.1:9/jwks.json"},
    "jku null": {"jku": 7},
}


def test_everything_else_is_refused_alike(clients, ec_signer, rsa_signer):
    stranger = Signer.make("ES384", "ec")
    tokens = {
        "nothing": None,
        "empty": "",
        "garbage": "x",
        "letters beyond": "\u00ff.\u00ff.\u00ff",
        "very long": "a" * 100_000,
        "HS256 with the public key": symmetric(ec_signer.pem, call(), kid="ec"),
        "HS384 with the public key": symmetric(ec_signer.pem, call(), kid="ec", alg="HS384"),
        "a stranger's": stranger.token(call()),
        "brings its key": stranger.token(call(), jwk=stranger.jwk),
        "not among its algorithms": rsa_signer.token(call()),
        "a clinician's": ec_signer.token(claims()),
        **{name: ec_signer.token(call(**changed)) for name, changed in CLAIMS.items()},
        **{name: ec_signer.token(call(), **changed) for name, changed in HEADERS.items()},
        **{f"none {at}": none for at, none in enumerate(encoded_none(call(), kid="ec"))},
    }
    said = {}
    for name, token in tokens.items():
        with pytest.raises(Unauthenticated) as refused:
            verify(clients, token)
        said[name] = (str(refused.value), refused.value.__cause__)
    assert set(said.values()) == {(str(Unauthenticated()), None)}


def test_a_token_is_accepted_once_whichever_worker_gets_it(store, clients, ec_signer, tmp_path):
    other_worker = clients_of(
        AccessStore(f"sqlite:///{tmp_path / 'access.db'}"), CdsClient(EHR, keys={"keys": [ec_signer.jwk]})
    )
    token = ec_signer.token(call())
    verify(clients, token)
    for worker in (clients, other_worker):
        with pytest.raises(Unauthenticated):
            verify(worker, token)


def test_of_many_that_replay_a_token_at_once_one_is_let_in(clients, ec_signer):
    token = f"Bearer {ec_signer.token(call())}"

    async def every():
        calls = [clients.verify(token, CALLED) for _ in range(20)]
        return await asyncio.gather(*calls, return_exceptions=True)

    found = asyncio.run(every())
    assert sum(not isinstance(each, BaseException) for each in found) == 1
    assert sum(isinstance(each, Unauthenticated) for each in found) == 19


def test_a_refused_token_uses_up_no_jti(clients, ec_signer):
    said = call()
    with pytest.raises(Unauthenticated):
        verify(clients, ec_signer.token(said | {"aud": "elsewhere"}))
    assert verify(clients, ec_signer.token(said)).name == EHR


def test_two_issuers_may_use_the_same_jti(store, ec_signer):
    keys = {"keys": [ec_signer.jwk]}
    clients = clients_of(store, CdsClient(EHR, keys=keys), CdsClient(OTHER_EHR, keys=keys))
    for issuer in (EHR, OTHER_EHR):
        assert verify(clients, ec_signer.token(call(iss=issuer, jti="same"))).name == issuer


def test_one_clients_keys_do_not_sign_for_another(store, ec_signer):
    other = Signer.make("ES384", "ec")
    clients = clients_of(
        store,
        CdsClient(EHR, keys={"keys": [ec_signer.jwk]}),
        CdsClient(OTHER_EHR, keys={"keys": [other.jwk]}),
    )
    with pytest.raises(Unauthenticated):
        verify(clients, other.token(call()))


def test_only_the_listed_tenants_are_let_in(store, ec_signer):
    clients = clients_of(store, CdsClient(EHR, keys={"keys": [ec_signer.jwk]}, tenants=("oncology",)))
    assert verify(clients, ec_signer.token(call(tenant="oncology"))).name == EHR
    for tenant in ("cardiology", DROPPED, None, ["oncology"]):
        with pytest.raises(Unauthenticated):
            verify(clients, ec_signer.token(call(tenant=tenant)))


def test_keys_are_fetched_from_the_listed_address_and_from_no_other(store, ec_signer):
    with served(ec_signer) as ehr, served(ec_signer) as attacker:
        clients = clients_of(store, CdsClient(EHR, jku=ehr.url), allowed=LOOPBACK)
        assert verify(clients, ec_signer.token(call(), jku=ehr.url)).name == EHR
        assert verify(clients, ec_signer.token(call())).name == EHR
        for address in (attacker.url, f"{ehr.url}?x", "file:///etc/passwd", 7):
            with pytest.raises(Unauthenticated):
                verify(clients, ec_signer.token(call(), jku=address))
        assert (len(ehr.asked), attacker.asked) == (1, [])


def test_nobody_is_let_in_while_the_keys_cannot_be_fetched(store, ec_signer):
    with served(ec_signer) as ehr:
        url = ehr.url
    clients = clients_of(store, CdsClient(EHR, jku=url), allowed=LOOPBACK)
    with pytest.raises(AccessUnavailable):
        verify(clients, ec_signer.token(call()))


def test_nobody_is_let_in_while_the_store_does_not_answer(tmp_path, ec_signer):
    store = AccessStore(f"sqlite:///{tmp_path / 'nowhere' / 'access.db'}")
    clients = clients_of(store, CdsClient(EHR, keys={"keys": [ec_signer.jwk]}))
    with pytest.raises(AccessUnavailable):
        verify(clients, ec_signer.token(call()))


def test_a_client_that_calls_too_often_is_told_so(store, ec_signer):
    clients = clients_of(store, CdsClient(EHR, keys={"keys": [ec_signer.jwk]}), rate=6)
    verify(clients, ec_signer.token(call()))
    with pytest.raises(TooManyRequests):
        verify(clients, ec_signer.token(call()))


def test_without_clients_everyone_is_refused_and_in_the_demo_everyone_is_let_in(store, ec_signer):
    with pytest.raises(Unauthenticated):
        verify(clients_of(store), ec_signer.token(call()))
    with pytest.raises(Unauthenticated):
        verify(clients_of(store), ec_signer.token(call(iss="")))
    assert verify(OpenCdsClients(), None) == DEMO
    with pytest.raises(Unauthenticated):
        verify(OpenCdsClients(), None, f"http://rebound.example:8000{SERVICE}")


def test_an_identity_providers_token_opens_no_cds_service(clients, ec_signer):
    with pytest.raises(Unauthenticated):
        verify(clients, ec_signer.token(claims(iss=ISSUER, aud=CALLED, jti="x")))
