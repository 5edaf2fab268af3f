"""API keys: ``salvage_<id>_<secret>``, of which only a hash is stored.

The secret is 256 random bits, so one SHA-256 is the right hash: a slow one protects passwords, which can be
guessed; 2^256 secrets cannot be, and a slow hash on every request would let anyone exhaust the server.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable

from serving.access.errors import Unauthenticated
from serving.access.principal import AccessScope, CredentialKind, Principal
from serving.access.store import AccessStore, ApiKey
from serving.access.timeout import SECONDS, in_time

PREFIX = "salvage"
SECRET_BYTES = 32
ID_BYTES = 6
FRESH_SECONDS = 1.0
DAY = 86400


def new_key(
    name: str, scopes: Iterable[AccessScope], *, now: float, days: float | None = None
) -> tuple[ApiKey, str]:
    """Return a new key as it is stored, and the key itself, which is shown once."""
    made = secrets.token_hex(ID_BYTES)
    shown = f"{PREFIX}_{made}_{secrets.token_urlsafe(SECRET_BYTES)}"
    expires_at = None if days is None else int(now + days * DAY)
    return ApiKey(made, name, _digest(shown.encode()).hex(), frozenset(scopes), int(now), expires_at), shown


class KeyRing:
    """Checks keys against a copy of the store that is never older than a second.

    A key is revoked, or new, in every worker within that second. The copy is renewed beside the requests
    after half a second, so that a busy server never waits for the database; when the database does not
    answer for longer than the second, nobody is let in.
    """

    def __init__(
        self,
        store: AccessStore,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        patience: float = SECONDS,
    ) -> None:
        self._store = store
        self._now = now
        self._clock = clock
        self._patience = patience
        self._read_at = -FRESH_SECONDS * 2
        self._held: dict[bytes, tuple[ApiKey, bytes, Principal]] = {}
        self._renewal: asyncio.Task[None] | None = None

    async def verify(self, presented: bytes) -> Principal:
        """Return whose key it is.

        An unknown, an expired, a revoked and a wrong key take the same steps to the same refusal.

        Raises:
            Unauthenticated: when it is no valid key.
            AccessUnavailable: when the store does not answer.

        """
        age = self._clock() - self._read_at
        if age > FRESH_SECONDS / 2:
            renewal = self._renew()
            if age > FRESH_SECONDS:
                await in_time(asyncio.shield(renewal), seconds=self._patience)
        _, _, rest = presented.partition(b"_")
        key, digest, principal = self._held.get(rest.partition(b"_")[0], NOBODY)
        right = hmac.compare_digest(digest, _digest(presented))
        if not (key.valid(self._now()) and right):
            raise Unauthenticated
        return principal

    def _renew(self) -> asyncio.Task[None]:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._read())
            self._renewal.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._renewal

    async def _read(self) -> None:
        began = self._clock()
        found = await asyncio.to_thread(self._store.every_key)
        self._held = {key.id.encode(): _held(key) for key in found}
        self._read_at = began


def _held(key: ApiKey) -> tuple[ApiKey, bytes, Principal]:
    return key, bytes.fromhex(key.hash), Principal(key.name, key.scopes, CredentialKind.KEY)


def _digest(presented: bytes) -> bytes:
    return hashlib.sha256(presented).digest()


NOBODY = _held(ApiKey("", "", "00" * 32, frozenset(), 0, expires_at=0))
