"""Whose record it is, without saying who: a keyed hash of a patient's identifier.

Without the key nobody can try out identifiers, of which there are few; with it the same patient's records
are found again. The key therefore lies apart from the record, and is never sent anywhere.
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
