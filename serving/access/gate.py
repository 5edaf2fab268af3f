"""The gate: authenticates a request by key or token, and authorises it by the route's scope."""

import time
from collections.abc import Iterable
from typing import Protocol

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from serving.access.bearer import hold_back, presented
from serving.access.errors import Forbidden, Unauthenticated
from serving.access.keys import PREFIX, KeyRing
from serving.access.loopback import names_loopback
from serving.access.principal import DEMO, AccessScope, Principal
from serving.access.rate import RateLimiter

KEY_START = f"{PREFIX}_".encode()
SCHEME = "An API key (salvage keys create) or a token of the identity provider."


class TokenVerifier(Protocol):
    """Verifies the tokens of an identity provider."""

    async def verify(self, token: bytes) -> Principal:
        """Return whose token it is, or raise Unauthenticated."""


class Gate:
    """Admits requests with a valid key or token; without ``keys`` and ``tokens`` it refuses all."""

    def __init__(self, *, keys: KeyRing | None, tokens: TokenVerifier | None, rate: RateLimiter) -> None:
        self._keys = keys
        self._tokens = tokens
        self._rate = rate

    def needs(self, scope: str) -> "RequiredScope":
        """Return the dependency of a route that needs a scope."""
        return RequiredScope(self, AccessScope(scope))

    async def admit(self, headers: Iterable[tuple[bytes, bytes]], scope: AccessScope) -> Principal:
        """Return who asks.

        Raises:
            Unauthenticated: without valid credentials, never sooner than a hundredth of a second after.
            Forbidden: when they do not carry the scope.
            TooManyRequests: when this client asks too often.
            AccessUnavailable: when they cannot be checked.

        """
        principal = await self.principal(headers)
        self._rate.take(principal)
        if scope not in principal.scopes:
            raise Forbidden
        return principal

    async def principal(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """Return whose credentials a request's raw headers hold."""
        began = time.monotonic()
        try:
            credentials = presented(headers)
            if credentials.startswith(KEY_START):
                if self._keys is not None:
                    return await self._keys.verify(credentials)
            elif self._tokens is not None:
                return await self._tokens.verify(credentials)
            raise Unauthenticated
        except Unauthenticated:
            await hold_back(began)
            raise


class OpenGate(Gate):
    """The gate of the demo on loopback: everyone is let in as the same principal, and may do everything.

    Everyone who calls this machine by its own name: a web page whose domain was made to lead here is not.
    """

    def __init__(self) -> None:
        super().__init__(keys=None, tokens=None, rate=RateLimiter(0))

    async def principal(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal:
        """Return the demo's principal."""
        began = time.monotonic()
        named = [value for name, value in headers if name == b"host"]
        if len(named) != 1 or not names_loopback(f"//{named[0].decode('latin-1')}"):
            await hold_back(began)
            raise Unauthenticated
        return DEMO


class RequiredScope(SecurityBase):
    """A FastAPI dependency that admits principals with a scope and describes itself in OpenAPI."""

    def __init__(self, gate: Gate, scope: AccessScope) -> None:
        self._gate = gate
        self.scope = scope
        self.scheme_name = "bearer"
        self.model = HTTPBearer(description=SCHEME)

    async def __call__(self, request: Request) -> Principal:
        """Return who asks; the request's scope remembers it for the log as ``principal``."""
        principal = await self._gate.admit(request.scope["headers"], self.scope)
        request.scope["principal"] = principal
        return principal
