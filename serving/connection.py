"""HTTP/1.1 connections with limits that uvicorn lacks: the size of a request's head, and timeouts.

Without them an endless head fills the memory, and a client that stops in the middle of a request holds its
connection for ever. Such a client is refused or disconnected.
"""

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.contract import ProblemDetails
from serving.errors import MEDIA_TYPE, TYPE, document_of

LARGEST_HEAD = 65536
MOST_UNREAD = 1 << 20
HEAD, BODY, NOTHING = "head", "body", "nothing"


class BoundedConnection(HttpToolsProtocol):
    """One connection.

    A head, a chunk's extension or a trailer of more than 64 KiB is a 400. The connection ends when a head is
    not whole after ``head_seconds``, when a body stops for ``body_seconds``, and when more than 1 MiB comes
    after the answer to a request was given.
    """

    head_seconds = 10.0
    body_seconds = 30.0
    look_seconds = 2.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer, and wait for a head."""
        super().connection_made(transport)
        self._expecting, self._since = HEAD, self.loop.time()
        self._head, self._bare, self._unread = 0, 0, 0
        self._look = self.loop.call_later(self.look_seconds, self._watch)

    def connection_lost(self, error: Exception | None) -> None:
        """Stop the timer."""
        self._look.cancel()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; those that are no body count towards the limit of a head."""
        if self._expecting == BODY:
            self._since = self.loop.time()
        self._bare += len(data)
        super().data_received(data)
        if self._bare > LARGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("the head of the request is too large")

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        self._expecting, self._since = HEAD, self.loop.time()
        self._head, self._unread = 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the target towards the head's size."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header or trailer towards the head's size."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to read a body."""
        self._expecting, self._since, self._bare = BODY, self.loop.time(), 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Read part of a body; after the response was sent, close the connection once it exceeds 1 MiB."""
        self._bare = 0
        if self.cycle.response_complete:
            self._unread += len(body)
            if self._unread > MOST_UNREAD:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request, without a timeout."""
        self._expecting, self._bare = NOTHING, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request with 400, and close the connection."""
        title = "The request is not HTTP, or its head is too large"
        body = orjson.dumps(document_of(ProblemDetails(TYPE + "not-http", title, 400, msg)))
        head = b"content-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[400] + head % (MEDIA_TYPE.encode(), len(body)) + body)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > LARGEST_HEAD:
            raise ValueError("the head of the request is too large")

    def _watch(self) -> None:
        """Close the connection when a head or body has timed out, else look again later."""
        if self._stopped(self.loop.time() - self._since):
            self.transport.close()
            return
        self._look = self.loop.call_later(self.look_seconds, self._watch)

    def _stopped(self, seconds: float) -> bool:
        if self._expecting == HEAD:
            answered: Any = self.cycle is None or self.cycle.response_complete
            return bool(answered) and seconds > self.head_seconds
        return self._expecting == BODY and seconds > self.body_seconds and not self.flow.read_paused
