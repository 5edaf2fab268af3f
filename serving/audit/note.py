"""Signed notes of C2SP: a text with an Ed25519 signature line, and keys of one line each.

A public key reads ``name+id+key`` as Go's ``sumdb/note`` prints it, so that other tools verify our notes.
Source: c2sp.org/signed-note and c2sp.org/tlog-checkpoint.
"""

import hashlib
import os
import re
import secrets
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from features.base64 import decoded
from features.errors import RecordNotWritten, SalvageError

ED25519 = b"\x01"
OWNER_ONLY = 0o600
NAME = re.compile(r"[^\s+]+")


class KeyRefused(SalvageError):
    """A checkpoint key that is malformed, or whose file other users may read."""


@dataclass(frozen=True)
class PublicKey:
    """Verifies notes under one name."""

    name: str
    raw: bytes

    @property
    def id(self) -> bytes:
        """Return the key id of signature lines: the first four bytes of a hash over name and key."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.raw).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(ED25519 + self.raw).decode()}"

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """Read a key as :meth:`__str__` gives it.

        Raises:
            KeyRefused: when it is none.

        """
        name, key_id, encoded = _parts(text, 3)
        key = _decoded(encoded)
        public = cls(name, key[1:])
        if key[:1] != ED25519 or len(key) != 33 or key_id != public.id.hex():
            raise KeyRefused("this is no public key of a checkpoint")
        return public

    def verifies(self, text: str, signature: bytes) -> bool:
        """Tell whether this key signed the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """Signs notes."""

    name: str
    key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """Return the public key."""
        return PublicKey(self.name, self.key.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """Return the note: the text, a blank line, and the signature's line."""
        signature = b64encode(self.public.id + self.key.sign(text.encode())).decode()
        return f"{text}\n\u2014 {self.name} {signature}\n"


def load_key(path: Path) -> PrivateKey:
    """Return the key in a file, making one at the first use that only its owner can read.

    Raises:
        KeyRefused: when the file holds no key, or others may read it.
        RecordNotWritten: when it cannot be read or made.

    """
    try:
        if not path.exists():
            _make_key(path)
        if path.stat().st_mode & 0o077:
            raise KeyRefused(f"{path.name} can be read by others; run: chmod 600 {path}")
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordNotWritten(f"the key of the checkpoints cannot be read: {error}") from error
    private, key, name, _, encoded = _parts(text, 5)
    seed = _decoded(encoded)
    if (private, key) != ("PRIVATE", "KEY") or seed[:1] != ED25519 or len(seed) != 33:
        raise KeyRefused(f"{path.name} holds no private key of a checkpoint")
    return PrivateKey(name, Ed25519PrivateKey.from_private_bytes(seed[1:]))


def _make_key(path: Path) -> None:
    """Create a key atomically: of several processes, the first one's key stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = PrivateKey(f"salvage-audit-{secrets.token_hex(4)}", Ed25519PrivateKey.generate())
    seed = b64encode(ED25519 + made.key.private_bytes_raw()).decode()
    text = f"PRIVATE+KEY+{made.name}+{made.public.id.hex()}+{seed}\n"
    fresh = path.with_name(f"{path.name}.{made.name[-8:]}")
    opened = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(opened, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def _parts(text: str, number: int) -> list[str]:
    """Cut a key's line; the encoded key may hold plus signs of its own."""
    parts = text.split("+", number - 1)
    if len(parts) != number or not NAME.fullmatch(parts[-3]):
        raise KeyRefused("this is no key of a checkpoint")
    return parts


def _decoded(encoded: str) -> bytes:
    try:
        return decoded(encoded)
    except ValueError as error:
        raise KeyRefused("this is no key of a checkpoint") from error
