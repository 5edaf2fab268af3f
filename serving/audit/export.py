"""Export as JSON Lines that a recipient can verify: exact bodies, hashes, and salts of contents."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from serving.audit.record import LogEntry


def json_lines(entries: Iterable[LogEntry], *, contents: bool) -> Iterator[bytes]:
    """Yield one line an entry: its body as the exact text that was hashed, and its leaf hash.

    ``contents`` adds request and answer, and the salt of their commitment.
    """
    for entry in entries:
        yield orjson.dumps(described(entry, contents=contents), option=orjson.OPT_APPEND_NEWLINE)


def described(entry: LogEntry, *, contents: bool) -> dict[str, Any]:
    """Return an entry as JSON values; a content that is not UTF-8 stands in base64 as ``content_base64``."""
    parts: dict[str, Any] = {"seq": entry.seq, "leaf_hash": entry.leaf_hash, "body": entry.body.decode()}
    content = entry.content if contents else None
    if content is not None and entry.salt is not None:
        parts["salt"] = entry.salt.hex()
        try:
            parts["content"] = content.decode()
        except UnicodeDecodeError:
            parts["content_base64"] = base64.b64encode(content).decode()
    return parts
