"""Bodies of requests: read up to a size, and only where they say that they are JSON."""

from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException, Request

from serving.contract import parse_object
from serving.errors import BodyTooLarge

JSON = "application/json"


async def read_body(request: Request, *, largest: int) -> bytes:
    """Return the body, stopping as soon as it is too large.

    Raises:
        BodyTooLarge: beyond ``largest`` bytes.

    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise BodyTooLarge(f"the body is larger than {largest} bytes")
    return bytes(body)


async def read_object(
    request: Request, *, largest: int, accepted: tuple[str, ...] = (JSON,)
) -> Mapping[str, Any]:
    """Return the JSON object of the body.

    Raises:
        HTTPException: 415, when the Content-Type is none of those accepted.
        BodyTooLarge: beyond ``largest`` bytes.
        InvalidRequest: when the body is not one JSON object.

    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in accepted:
        raise HTTPException(415, "expected a Content-Type of " + " or ".join(accepted))
    return parse_object(await read_body(request, largest=largest))
