"""Public keys for token signatures: JSON Web Key Sets (RFC 7517), local or fetched.

A key is built from its public members only and only for an algorithm of its own kind, so that a public key
can never serve as the secret of a symmetric algorithm.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from serving.access.addresses import AllowedAddresses, fetch_json
from serving.access.errors import AccessUnavailable, AddressRefused

KINDS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "EdDSA": ("OKP", "Ed25519"),
}
PUBLIC_MEMBERS = ("kty", "crv", "n", "e", "x", "y")
RENEW_SECONDS = 600.0
BETWEEN_SECONDS = 60.0
FIRST_SECONDS = 5.0
KEEP_SECONDS = 3600.0


class KeySource(Protocol):
    """Finds the public key for a token's signature."""

    async def find(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """Return the key of that id, fit for the algorithm; without an id, the only fit one."""


class KeySet:
    """A local set of public keys."""

    def __init__(self, document: Any) -> None:
        listed = document.get("keys") if isinstance(document, Mapping) else None
        self._keys = [key for key in listed if isinstance(key, Mapping)] if isinstance(listed, list) else []
        self._built: dict[tuple[str | None, str], PyJWK | None] = {}

    def __len__(self) -> int:
        return len(self._keys)

    async def find(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """Return the key of that id, fit for the algorithm; without an id, the only fit one."""
        return self.at_hand(kid, algorithm)

    def at_hand(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """Return what :meth:`find` does, without waiting."""
        fit = [key for key in self._keys if _fits(key, algorithm) and kid in (None, key.get("kid"))]
        if len(fit) != 1:
            return None
        place = (fit[0].get("kid"), algorithm)
        if place not in self._built:
            self._built[place] = _build(fit[0], algorithm)
        return self._built[place]


class FetchedKeySet:
    """The keys at an address: fetched when needed, renewed after ten minutes, kept for an hour at most.

    An unknown key id may mean that the keys were changed, so it has them fetched again, once a minute at
    most: tokens cannot make the server call anyone more often.
    """

    def __init__(
        self, url: str, *, allowed: AllowedAddresses, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._allowed = allowed
        self._clock = clock
        self._keys = KeySet({})
        self._fetched_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """Return the key of that id, fit for the algorithm; without an id, the only fit one.

        Raises:
            AccessUnavailable: while there are no keys that are less than an hour old.

        """
        if self._age > RENEW_SECONDS:
            await self._fetch()
        key = self._keys.at_hand(kid, algorithm)
        if key is None:
            await self._fetch()
            key = self._keys.at_hand(kid, algorithm)
        if self._age > KEEP_SECONDS:
            raise AccessUnavailable
        return key

    @property
    def _age(self) -> float:
        return self._clock() - self._fetched_at

    async def _fetch(self) -> None:
        async with self._lock:
            now = self._clock()
            if now - self._tried_at < (BETWEEN_SECONDS if len(self._keys) else FIRST_SECONDS):
                return
            self._tried_at = now
            try:
                keys = KeySet(await fetch_json(self._url, allowed=self._allowed))
            except AddressRefused:
                return
            if len(keys):
                self._keys, self._fetched_at = keys, now


def fitting(document: Any, algorithms: Sequence[str]) -> bool:
    """Tell whether a set holds a key that fits any of some algorithms."""
    keys = document.get("keys") if isinstance(document, Mapping) else None
    return isinstance(keys, list) and any(
        isinstance(key, Mapping) and _fits(key, algorithm) and _build(key, algorithm) is not None
        for key in keys
        for algorithm in algorithms
    )


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    kind, curve = KINDS[algorithm]
    meant_for = key.get("key_ops")
    return (
        key.get("kty") == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("use") in (None, "sig")
        and key.get("alg") in (None, algorithm)
        and (meant_for is None or (isinstance(meant_for, list) and "verify" in meant_for))
    )


def _build(key: Mapping[str, Any], algorithm: str) -> PyJWK | None:
    try:
        return PyJWK({name: key[name] for name in PUBLIC_MEMBERS if name in key}, algorithm)
    except (PyJWTError, ValueError, TypeError):
        return None
