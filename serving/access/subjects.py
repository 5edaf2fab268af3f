"""Pseudonyms of patients in the record: a keyed hash (HMAC) of the caller's identifier.

Identifiers are few enough to be tried out, so a plain hash would not hide them. The key finds a patient's
records again; it lies apart from the record, and is never sent anywhere.
"""

import hashlib
import hmac
import secrets
from pathlib import Path

from models.bundle.keyfile import read_or_make

KEY_BYTES = 32


def subject_key(path: Path) -> bytes:
    """Return the key in a file, made at its first use."""
    return read_or_make(path, lambda: secrets.token_bytes(KEY_BYTES))


def subject_hash(key: bytes, identifier: str) -> str:
    """Return the keyed hash of an identifier: HMAC-SHA256, in hex.

    >>> subject_hash(b"k" * 32, "MRN-1") == subject_hash(b"l" * 32, "MRN-1")
    False
    """
    return hmac.digest(key, identifier.encode(), hashlib.sha256).hex()
