"""HTTP as bytes, for what no client library would send."""

import socket
import time
from collections.abc import Iterable

HOST = "127.0.0.1"


def head(target: str, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def post(target: str, body: bytes, *lines: str) -> bytes:
    return head(target, f"Content-Length: {len(body)}", "Connection: close", *lines) + body


def exchange(port: int, pieces: Iterable[bytes], *, wait: float = 20.0, pause: float = 0.0) -> bytes:
    """Send pieces until the server hangs up or there are no more; return what came until it hung up.

    Raises:
        TimeoutError: when the server neither answers nor hangs up in time.

    """
    with socket.create_connection((HOST, port), timeout=wait) as asking:
        try:
            for piece in pieces:
                asking.sendall(piece)
                time.sleep(pause)
        except ConnectionError:
            pass
        return _received(asking)


def _received(asking: socket.socket) -> bytes:
    came = b""
    try:
        while part := asking.recv(65536):
            came += part
    except ConnectionError:
        pass
    return came


def status_of(came: bytes) -> int | None:
    """Return the status of an answer, None where the server hung up without one."""
    return int(came.split(b" ", 2)[1]) if came.startswith(b"HTTP/1.1 ") else None
