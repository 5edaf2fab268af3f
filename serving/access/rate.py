"""Rate limits: a token bucket a client, stored as the time when it will be full again.

Source: the generic cell rate algorithm (ITU-T I.371), which is a token bucket with one number a client.
"""

import time
from collections.abc import Callable
from math import ceil

from serving.access.errors import TooManyRequests
from serving.access.principal import Principal

MINUTE = 60.0
BURST_SECONDS = 10.0
MOST_CLIENTS = 10_000
ROUNDING = 1e-6


class RateLimiter:
    """Allows ``per_minute`` requests a client over all ``workers``, and bursts of ten seconds' worth.

    Each worker keeps its own share; 0 allows any number. Memory is bounded: with too many clients those
    whose bucket will be full the soonest are forgotten.
    """

    def __init__(
        self, per_minute: int, *, workers: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = MINUTE * workers / per_minute if per_minute else 0.0
        self._burst = max(BURST_SECONDS, self._interval)
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def take(self, principal: Principal, requests: int = 1) -> None:
        """Count requests of a client.

        Raises:
            TooManyRequests: with the seconds to wait; nothing is counted then.

        """
        if not self._interval:
            return
        now, client = self._clock(), principal.client
        cost = self._interval * requests
        full_at = max(now, self._full_at.get(client, now)) + cost
        over = full_at - now - max(self._burst, cost)
        if over > ROUNDING:
            raise TooManyRequests(ceil(over))
        self._full_at[client] = full_at
        if len(self._full_at) > MOST_CLIENTS:
            self._forget()

    def _forget(self) -> None:
        """Drop the half of the clients whose buckets are the fullest."""
        emptiest = sorted(self._full_at.items(), key=lambda item: item[1])[len(self._full_at) // 2 :]
        self._full_at = dict(emptiest)
