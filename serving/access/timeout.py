"""Timeouts of the access store."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from serving.access.errors import AccessUnavailable

T = TypeVar("T")
SECONDS = 5.0


async def in_time(answer: Awaitable[T], *, seconds: float = SECONDS) -> T:
    """Await the store for at most some seconds.

    Raises:
        AccessUnavailable: when it does not in time, as a database that hangs never does.

    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise AccessUnavailable from None
