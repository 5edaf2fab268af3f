"""Bearer credentials from the Authorization header, and refusals of constant duration."""

import asyncio
import time
from collections.abc import Iterable

from serving.access.errors import Unauthenticated

SCHEME = b"bearer "
LONGEST = 8192
REFUSAL_SECONDS = 0.01


def presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the key or token of a request's raw headers, their names in lower case.

    Raises:
        Unauthenticated: without exactly one Authorization header, or when it is no bearer's or too long.

    """
    values = [value for name, value in headers if name == b"authorization"]
    if len(values) != 1:
        raise Unauthenticated
    return credentials(values[0])


def credentials(authorization: bytes) -> bytes:
    """Return the key or token of an Authorization header's value.

    Raises:
        Unauthenticated: when it is no bearer's or too long.

    """
    if len(authorization) > LONGEST or authorization[: len(SCHEME)].lower() != SCHEME:
        raise Unauthenticated
    return authorization[len(SCHEME) :].strip()


async def hold_back(began: float) -> None:
    """Delay a refusal to 10 ms after checking began, so that its duration tells nothing of the cause.

    ``began`` is a reading of time.monotonic.
    """
    await asyncio.sleep(max(0.0, began + REFUSAL_SECONDS - time.monotonic()))
