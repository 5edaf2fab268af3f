"""Tokens of an identity provider, and the keys that it changes."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from serving.access.addresses import AllowedAddresses
from serving.access.errors import AccessUnavailable, Unauthenticated
from serving.access.key_set import BETWEEN_SECONDS, KEEP_SECONDS, RENEW_SECONDS, FetchedKeySet, KeySet
from serving.access.principal import EVERY_SCOPE, AccessScope
from serving.access.tokens import IdentityProvider, OidcVerifier
from tests.serving.access.issuer import AUDIENCE, DROPPED, ISSUER, LOOPBACK, Signer, claims, send, served


class Clock:
    """Time that passes when told to."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def tokens_of(*signers, **members):
    keys = [{name: v for name, v in {**s.jwk, **members}.items() if v is not DROPPED} for s in signers]
    return OidcVerifier(IdentityProvider(ISSUER, AUDIENCE, ""), KeySet({"keys": keys}))


def verify(tokens, token):
    return asyncio.run(tokens.verify(token.encode()))


def fetched(provider, clock):
    allowed = AllowedAddresses.read(f"{provider.url} {LOOPBACK}")
    return OidcVerifier(
        IdentityProvider(ISSUER, AUDIENCE, provider.url),
        FetchedKeySet(provider.url, allowed=allowed, clock=clock),
    )


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "ES256", "ES384", "EdDSA"])
def test_each_algorithm_is_accepted(algorithm):
    signer = Signer.make(algorithm)
    assert verify(tokens_of(signer), signer.token(claims())).name == "clinician-7"
    assert verify(tokens_of(signer, alg=DROPPED, use=DROPPED), signer.token(claims())).name == "clinician-7"


@pytest.mark.parametrize(
    ("said", "scopes"),
    [
        ({"scope": "predict"}, {AccessScope.PREDICT}),
        ({"scope": "openid  predict profile audit:read"}, {AccessScope.PREDICT, AccessScope.AUDIT_READ}),
        ({"scope": DROPPED, "scp": "predict explain"}, {AccessScope.PREDICT, AccessScope.EXPLAIN}),
        (
            {"scope": DROPPED, "scp": ["predict", "audit:read", 7, None]},
            {AccessScope.PREDICT, AccessScope.AUDIT_READ},
        ),
        ({"scope": " ".join(EVERY_SCOPE)}, EVERY_SCOPE),
        ({"scope": "PREDICT predicts pre dict"}, set()),
        ({"scope": ""}, set()),
        ({"scope": 7}, set()),
        ({"scope": {"predict": True}}, set()),
        ({"scope": DROPPED}, set()),
    ],
)
def test_a_tokens_scopes_are_those_of_ours(ec_signer, said, scopes):
    assert verify(tokens_of(ec_signer), ec_signer.token(claims(**said))).scopes == scopes


def test_a_token_is_its_clients_or_else_its_subjects(ec_signer):
    tokens = tokens_of(ec_signer)
    assert verify(tokens, ec_signer.token(claims(client_id="app", azp="x"))).name == "app"
    assert verify(tokens, ec_signer.token(claims(azp="app"))).name == "app"
    assert verify(tokens, ec_signer.token(claims())).name == "clinician-7"


def test_nbf_may_be_missing_and_clocks_may_differ_a_little(ec_signer):
    tokens, now = tokens_of(ec_signer), claims()["iat"]
    assert verify(tokens, ec_signer.token(claims(nbf=DROPPED))).name
    assert verify(tokens, ec_signer.token(claims(iat=now + 20, nbf=now + 20))).name
    assert verify(tokens, ec_signer.token(claims(exp=now - 20))).name


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": "verify"}, {"alg": "ES256"}, {"alg": "ECDH-ES"},
        {"kty": "oct", "k": "AAAA"}, {"crv": "P-256"}, {"x": "AAAA"}, {"x": 7}, {"y": DROPPED}, {"kid": "k9"},
    ],
)  # fmt: skip
def test_a_key_that_is_for_something_else_or_none_is_not_used(ec_signer, members):
    with pytest.raises(Unauthenticated):
        verify(tokens_of(ec_signer, **members), ec_signer.token(claims()))


@pytest.mark.parametrize(
    "document", [{}, [], None, "keys", {"keys": {}}, {"keys": [7, None, "x", {}, {"kty": []}]}]
)
def test_a_document_without_keys_holds_none(ec_signer, document):
    tokens = OidcVerifier(IdentityProvider(ISSUER, AUDIENCE, ""), KeySet(document))
    with pytest.raises(Unauthenticated):
        verify(tokens, ec_signer.token(claims()))


def test_a_short_rsa_key_is_refused():
    short = Signer("RS256", "short", rsa.generate_private_key(65537, 1024))
    with pytest.raises(Unauthenticated):
        verify(tokens_of(short), short.token(claims()))


def test_a_token_without_kid_is_checked_with_the_only_key_that_fits(ec_signer, rsa_signer, other_rsa):
    token = ec_signer.token(claims(), kid=DROPPED)
    assert verify(tokens_of(ec_signer, rsa_signer), token).name
    with pytest.raises(Unauthenticated):
        verify(tokens_of(rsa_signer, other_rsa), rsa_signer.token(claims(), kid=DROPPED))


def test_two_keys_of_one_id_are_not_told_apart_by_trying(rsa_signer, other_rsa):
    with pytest.raises(Unauthenticated):
        verify(tokens_of(rsa_signer, other_rsa), rsa_signer.token(claims()))


def test_changed_keys_are_fetched_when_their_first_token_comes_and_once_a_minute_at_most(ec_signer):
    clock, newer = Clock(), Signer.make("ES384", "newer")
    with served(ec_signer) as provider:
        tokens = fetched(provider, clock)
        for _ in range(5):
            assert verify(tokens, ec_signer.token(claims())).name
        assert len(provider.asked) == 1
        clock.now += BETWEEN_SECONDS + 1.0
        provider.signers = [newer]
        assert verify(tokens, newer.token(claims())).name
        with pytest.raises(Unauthenticated):
            verify(tokens, ec_signer.token(claims()))
        for at in range(30):
            with pytest.raises(Unauthenticated):
                verify(tokens, newer.token(claims(), kid=f"made up {at}"))
        assert len(provider.asked) == 2
        clock.now += BETWEEN_SECONDS + 1.0
        with pytest.raises(Unauthenticated):
            verify(tokens, newer.token(claims(), kid="made up"))
        assert len(provider.asked) == 3


def test_a_withdrawn_key_is_refused_after_ten_minutes_at_most(ec_signer, rsa_signer):
    clock = Clock()
    with served(ec_signer, rsa_signer) as provider:
        tokens = fetched(provider, clock)
        assert verify(tokens, ec_signer.token(claims())).name
        provider.signers = [rsa_signer]
        clock.now += RENEW_SECONDS + 1.0
        with pytest.raises(Unauthenticated):
            verify(tokens, ec_signer.token(claims()))


def test_while_the_provider_is_gone_its_keys_are_kept_for_an_hour(ec_signer):
    clock = Clock()
    with served(ec_signer) as provider:
        tokens = fetched(provider, clock)
        assert verify(tokens, ec_signer.token(claims())).name
        provider.answer = lambda handler: send(handler, 503, b"")
        clock.now += KEEP_SECONDS - 1.0
        assert verify(tokens, ec_signer.token(claims())).name
        clock.now += 2.0
        with pytest.raises(AccessUnavailable):
            verify(tokens, ec_signer.token(claims()))
        provider.answer = None
        clock.now += BETWEEN_SECONDS + 1.0
        assert verify(tokens, ec_signer.token(claims())).name


def test_many_tokens_that_come_first_have_the_keys_fetched_once(ec_signer):
    token = ec_signer.token(claims()).encode()

    async def every(tokens):
        return await asyncio.gather(*(tokens.verify(token) for _ in range(50)))

    with served(ec_signer) as provider:
        assert len(asyncio.run(every(fetched(provider, Clock())))) == 50
        assert len(provider.asked) == 1
