"""Fingerprints: one canonical text of a document, and its SHA-256."""

import hashlib
import json


def canonical_json(document: object) -> bytes:
    """Return a document's canonical JSON in UTF-8: sorted keys, no spaces.

    >>> canonical_json({"b": 1, "a": None})
    b'{"a":null,"b":1}'

    Raises:
        ValueError: when the document holds NaN or infinity.

    """
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256(content: bytes) -> str:
    """Return the SHA-256 digest as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
