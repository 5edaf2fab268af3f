"""Parts of a request that all routes read: its body within limits, its media type, its client."""

import hashlib

from fastapi import Request

from features.errors import InvalidRequest, Problem
from serving.access.principal import Principal
from serving.audit.record import IdempotencyKey
from serving.errors import BodyTooLarge, WrongMediaType
from serving.gateway import request_id
from serving.recorder import Caller

JSON = "application/json"
KEY = "idempotency-key"
LONGEST_KEY = 200
IDEMPOTENT = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "sent again with the same request within a day, the first answer is given again",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
}


async def body_of(request: Request, *, largest: int, media_types: tuple[str, ...]) -> bytes:
    """Read a body, stopping as soon as it is too large.

    Raises:
        WrongMediaType: when it says to be something else than one of the media types.
        BodyTooLarge: when it is larger than ``largest`` bytes.

    """
    require_media_type(request, media_types)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise BodyTooLarge(f"the body is larger than {largest} bytes")
    return bytes(body)


def require_media_type(request: Request, media_types: tuple[str, ...]) -> None:
    """Refuse a Content-Type that is none of the media types."""
    media_type = request.headers.get("content-type", media_types[0]).partition(";")[0].strip().lower()
    if media_type not in media_types:
        raise WrongMediaType("send the body as " + " or ".join(media_types))


def caller_of(request: Request, principal: Principal, body: bytes) -> Caller:
    """Return the client, with the request's Idempotency-Key where it has one.

    Raises:
        InvalidRequest: for a key that is empty, longer than 200 characters or not printable ASCII.

    """
    key = request.headers.get(KEY)
    if key is None:
        return Caller(principal.client, request_id.get())
    if not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        remedy = f"use 1 to {LONGEST_KEY} printable ASCII characters"
        raise InvalidRequest("request", [Problem("Idempotency-Key", "cannot be used", remedy)])
    fingerprint = hashlib.sha256(request.url.path.encode() + b"\x00" + body).hexdigest()
    return Caller(principal.client, request_id.get(), IdempotencyKey(principal.client, key, fingerprint))
