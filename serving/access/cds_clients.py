"""CDS clients: electronic health records that call CDS Hooks, authenticated by the JWT of each call.

Source: HL7 CDS Hooks 2.0, "Trusting CDS Clients"; the best practices' section on replay.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from serving.access.addresses import AllowedAddresses
from serving.access.bearer import credentials, hold_back
from serving.access.errors import Unauthenticated
from serving.access.key_set import FetchedKeySet, KeySet, KeySource
from serving.access.loopback import names_loopback
from serving.access.principal import DEMO, AccessScope, CredentialKind, Principal
from serving.access.rate import RateLimiter
from serving.access.signed_token import claims_of, header_of, issuer_of, name_in
from serving.access.store import AccessStore
from serving.access.timeout import in_time

ALGORITHMS = ("ES384", "RS384")
TYPES = frozenset({"JWT"})
LONGEST_LIFE_SECONDS = 3600
SCOPES = frozenset({AccessScope.PREDICT, AccessScope.EXPLAIN})


@dataclass(frozen=True)
class CdsClient:
    """A trusted client: its issuer, and its public keys or the URL of its key set (``jku``).

    ``algorithms`` are those it may sign with; with ``tenants``, only tokens of these are accepted.
    """

    issuer: str
    jku: str | None = None
    keys: Mapping[str, Any] | None = None
    algorithms: tuple[str, ...] = ALGORITHMS
    tenants: tuple[str, ...] = ()


class CdsVerifier(Protocol):
    """Authenticates the CDS client of a call."""

    async def verify(self, authorization: str | None, url: str) -> Principal:
        """Return which client calls a URL, from the request's Authorization header."""


class CdsClients:
    """Verifies tokens of the trusted clients; each ``jti`` is accepted once, over all workers.

    ``public_url`` is where clients reach this service; without it, the address that was called stands.
    """

    def __init__(
        self,
        clients: tuple[CdsClient, ...],
        *,
        store: AccessStore,
        allowed: AllowedAddresses,
        rate: RateLimiter,
        public_url: str | None = None,
    ) -> None:
        allowed = allowed.also(client.jku for client in clients if client.jku)
        self._clients = {client.issuer: (client, _keys_of(client, allowed)) for client in clients}
        self._store = store
        self._rate = rate
        self._public_url = public_url

    async def verify(self, authorization: str | None, url: str) -> Principal:
        """Return which client calls a URL, from the request's Authorization header.

        Raises:
            Unauthenticated: when anything is missing or wrong, or the token was used before.
            TooManyRequests: when this client calls too often.
            AccessUnavailable: when the token cannot be checked.

        """
        began = time.monotonic()
        try:
            token = credentials((authorization or "").encode())
            principal = await self._verified(token, self._called(url))
        except Unauthenticated:
            await hold_back(began)
            raise
        self._rate.take(principal)
        return principal

    async def _verified(self, token: bytes, called: str) -> Principal:
        client, keys = self._clients.get(issuer_of(token), NOBODY)
        header = header_of(token, algorithms=client.algorithms, types=TYPES)
        kid = header.get("kid")
        if not isinstance(kid, str) or header.get("jku", client.jku) != client.jku:
            raise Unauthenticated
        key = await keys.find(kid, header["alg"])
        claims = claims_of(token, key, issuer=client.issuer, audience=called, required=("jti",))
        _require_short_life(claims)
        if client.tenants and claims.get("tenant") not in client.tenants:
            raise Unauthenticated
        await self._require_first_use(client, name_in(claims, "jti"), int(claims["exp"]))
        return Principal(client.issuer, SCOPES, CredentialKind.CDS_CLIENT)

    async def _require_first_use(self, client: CdsClient, jti: str, expires_at: int) -> None:
        use = asyncio.to_thread(self._store.first_use, client.issuer, jti, expires_at=expires_at)
        first = await in_time(use)
        if not first:
            raise Unauthenticated

    def _called(self, url: str) -> str:
        """Return the URL as the client knows it, without a query, with or without a proxy's own path."""
        parts = urlsplit(url)
        if self._public_url is None:
            return parts._replace(query="", fragment="").geturl()
        base = self._public_url.rstrip("/")
        return base + parts.path.removeprefix(urlsplit(base).path)


class OpenCdsClients:
    """Lets everyone in who calls this machine by its own name, in the demo on loopback."""

    async def verify(self, authorization: str | None, url: str) -> Principal:
        """Return the demo's principal."""
        began = time.monotonic()
        if not names_loopback(url):
            await hold_back(began)
            raise Unauthenticated
        return DEMO


def _require_short_life(claims: Mapping[str, Any]) -> None:
    if claims["exp"] - claims["iat"] > LONGEST_LIFE_SECONDS:
        raise Unauthenticated


def _keys_of(client: CdsClient, allowed: AllowedAddresses) -> KeySource:
    if client.jku is not None:
        return FetchedKeySet(client.jku, allowed=allowed)
    return KeySet(client.keys)


NOBODY: tuple[CdsClient, KeySource] = (CdsClient(""), KeySet({}))
