"""Builds access control from its settings."""

from dataclasses import dataclass

from features.errors import InvalidInput
from serving.access.cds_clients import CdsClients, CdsVerifier, OpenCdsClients
from serving.access.gate import Gate, OpenGate
from serving.access.key_set import FetchedKeySet
from serving.access.keys import KeyRing
from serving.access.rate import RateLimiter
from serving.access.settings import AccessSettings
from serving.access.store import AccessStore
from serving.access.tokens import OidcVerifier


@dataclass(frozen=True)
class AccessControl:
    """The gate, the verifier of CDS clients, and their store, which the application closes."""

    gate: Gate
    cds_clients: CdsVerifier
    store: AccessStore


def open_access(settings: AccessSettings, *, host: str, workers: int = 1) -> AccessControl:
    """Build the access control of one worker of a server that listens on a host; nothing is read yet.

    Raises:
        InvalidInput: when these settings forbid to listen there.

    """
    problems = settings.problems(host=host)
    if problems:
        raise InvalidInput("settings", problems)
    store = AccessStore(settings.store)
    if settings.off:
        return AccessControl(OpenGate(), OpenCdsClients(), store)
    rate = RateLimiter(settings.rate, workers=workers)
    clients = CdsClients(
        settings.cds_clients,
        store=store,
        allowed=settings.allowed,
        rate=rate,
        public_url=settings.public_url,
    )
    return AccessControl(Gate(keys=KeyRing(store), tokens=_tokens(settings), rate=rate), clients, store)


def _tokens(settings: AccessSettings) -> OidcVerifier | None:
    if settings.oidc is None:
        return None
    allowed = settings.allowed.also([settings.oidc.jwks])
    return OidcVerifier(settings.oidc, FetchedKeySet(settings.oidc.jwks, allowed=allowed))
