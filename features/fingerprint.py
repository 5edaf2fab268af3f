"""Fingerprints: one canonical text of a document, and its SHA-256."""

import hashlib
import json


def canonical_json(document: object) -> bytes:
    """Return the one JSON text of a document: sorted keys, no spaces, no NaN.

    >>> canonical_json({"b": 1, "a": None})
    b'{"a":null,"b":1}'
    """
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
