"""The gateway: middleware around every request.

It gives each an id, counts, times and logs it without patients' values, and answers 503 while too many are in
progress, instead of letting a queue grow.
"""

import contextvars
import logging
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.errors import TooBusy
from serving.errors import problem_response
from serving.metrics import Metrics

REQUEST_ID = b"x-request-id"
ACCEPTABLE = re.compile(rb"[A-Za-z0-9._:-]{1,100}")
HUNG_UP = 499  # what proxies write down of a client that does not wait; nobody is told
NEVER_REFUSED = ("/health/live", "/health/ready", "/metrics")
CACHE = b"cache-control"
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
FULL = problem_response(TooBusy("too many requests are being answered; try again"))
request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")

log = logging.getLogger("salvage.requests")


class Gateway:
    """Wraps the application; beyond ``most`` concurrent requests, others are refused."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, most: int, headers: Mapping[str, str]) -> None:
        self._app = app
        self._metrics = metrics
        self._most = most
        self._headers = [*HEADERS, *((k.encode(), v.encode()) for k, v in headers.items())]
        self._answering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        requested = dict(scope["headers"]).get(REQUEST_ID, b"")
        identifier = requested if ACCEPTABLE.fullmatch(requested) else uuid.uuid4().hex.encode()
        request_id.set(identifier.decode())
        status = 500

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [*message["headers"], (REQUEST_ID, identifier), *self._headers]
                cached = any(name.lower() == CACHE for name, _ in own)
                message["headers"] = own if cached else [*own, (CACHE, b"no-store")]
            await send(message)

        self._answering += 1
        try:
            busy = self._answering > self._most and scope["path"] not in NEVER_REFUSED
            await (FULL if busy else self._app)(scope, receive, answered)
        except ClientDisconnect:
            status = HUNG_UP
        finally:
            self._answering -= 1
            self._note(scope, status, time.perf_counter() - started, identifier.decode())

    def _note(self, scope: Scope, status: int, seconds: float, identifier: str) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        self._metrics.request(route, status, seconds)
        fields: dict[str, Any] = {
            "request_id": identifier,
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(seconds * 1000.0, 3),
        }
        if (principal := scope.get("principal")) is not None:
            fields["client"] = principal.client
        log.info("request", extra=fields)
