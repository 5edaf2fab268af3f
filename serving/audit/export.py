"""Export: a record as JSON Lines, exact enough to be verified by whoever receives it."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from serving.audit.record import LogEntry


def json_lines(entries: Iterable[LogEntry], *, contents: bool) -> Iterator[bytes]:
    """Yield one line an entry: its body as the exact text that was hashed, and its leaf hash.

    With ``contents``, the patient's values and what was answered come with it, and the salt that binds them.
    """
    for entry in entries:
        yield orjson.dumps(described(entry, contents=contents), option=orjson.OPT_APPEND_NEWLINE)


def described(entry: LogEntry, *, contents: bool) -> dict[str, Any]:
    """Return an entry's parts; a content that is not text comes in base64, under another name."""
    said: dict[str, Any] = {"seq": entry.seq, "leaf_hash": entry.leaf_hash, "body": entry.body.decode()}
    content = entry.content if contents else None
    if content is not None and entry.salt is not None:
        said["salt"] = entry.salt.hex()
        try:
            said["content"] = content.decode()
        except UnicodeDecodeError:
            said["content_base64"] = base64.b64encode(content).decode()
    return said
