"""Signatures of bundles: who published this model, and is that somebody this server trusts?

The training host signs a bundle's name, version and manifest, which holds every file's SHA-256, with its own
Ed25519 key; a server loads only what is signed with one of its trusted keys. The signature lies beside the
bundle, whose hash stays the same. Source: RFC 8032.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from features.base64 import decoded
from features.errors import BundleRefused, InvalidInput, Problem
from features.fingerprint import canonical_json
from models.bundle.keyfile import read_or_make

KIND = "ed25519:"
KEY_BYTES = 32
SIGNING_KEY, TRUSTED_KEYS = "signing.key", "trusted-keys"
REMEDY = "compare with `salvage models key` on the training host, then run: salvage models trust KEY"


@dataclass(frozen=True)
class Keys:
    """Where the keys lie: ``signing`` is this host's private key, ``trusted`` the list of public ones.

    The list has a key a line; what follows a blank is a remark.
    """

    signing: Path
    trusted: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, home: Path) -> "Keys":
        """Read SALVAGE_SIGNING_KEY and SALVAGE_TRUSTED_KEYS; without them both lie in the home."""
        signing = environ.get("SALVAGE_SIGNING_KEY") or home / SIGNING_KEY
        return cls(Path(signing), Path(environ.get("SALVAGE_TRUSTED_KEYS") or home / TRUSTED_KEYS))

    def public(self) -> str:
        """Return this host's public key."""
        return public_text(self._private().public_key())

    def sign(self, stated: bytes) -> bytes:
        """Return a signature of what is stated, a small JSON document."""
        return sign(stated, self._private())

    def trust(self, key: str, remark: str = "") -> None:
        """Add a public key to the trusted ones; adding it again changes nothing.

        Raises:
            InvalidInput: when it is no public key, or the remark is more than one line.

        """
        _public(key)
        if not remark.isprintable():
            problem = Problem("remark", "is more than one line", "say who the key is of in a few words")
            raise InvalidInput("trusted keys", [problem])
        if key in self.trusted_keys():
            return
        self.trusted.parent.mkdir(parents=True, exist_ok=True)
        with self.trusted.open("a") as file:
            file.write(f"{key} {remark}".rstrip() + "\n")

    def trusted_keys(self) -> frozenset[str]:
        """Return the trusted public keys; none without the list."""
        try:
            lines = self.trusted.read_text().splitlines()
        except FileNotFoundError:
            return frozenset()
        return frozenset(line.split()[0] for line in lines if line.startswith(KIND))

    def _private(self) -> Ed25519PrivateKey:
        """Return the private key; made at its first use, and then trusted here."""
        first = not self.signing.exists()
        try:
            stored = read_or_make(self.signing, _new_key)
            key = serialization.load_pem_private_key(stored, password=None)
        except (OSError, ValueError, TypeError) as error:
            raise _no_key(self.signing) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise _no_key(self.signing)
        if first:
            self.trust(public_text(key.public_key()), "this host")
        return key


def sign(stated: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return a signature of what is stated, a small JSON document."""
    signature = base64.b64encode(key.sign(stated)).decode()
    return canonical_json({"key": public_text(key.public_key()), "signature": signature})


def verify(stated: bytes, signature: bytes, *, trusted: frozenset[str], name: str) -> None:
    """Check that a trusted key signed what is stated.

    Raises:
        BundleRefused: when it was signed with another key, or not like this.

    """
    try:
        given = json.loads(signature)
        key, made = str(given["key"]), decoded(given["signature"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BundleRefused(f"{name}: its signature cannot be read; publish it again") from None
    if key not in trusted:
        raise BundleRefused(f"{name}: signed with a key that is not trusted here, {key[:80]!r}; {REMEDY}")
    try:
        _public(key).verify(made, stated)
    except InvalidSignature:
        raise BundleRefused(f"{name}: its signature is not of these files; restore the bundle") from None


def public_text(key: Ed25519PublicKey) -> str:
    """Return a public key as it is written in the list."""
    return KIND + base64.b64encode(key.public_bytes_raw()).decode()


def _public(text: str) -> Ed25519PublicKey:
    try:
        if not text.startswith(KIND):
            raise ValueError(text)
        return Ed25519PublicKey.from_public_bytes(decoded(text.removeprefix(KIND)))
    except ValueError:
        remedy = f"expected {KIND}, then {KEY_BYTES} bytes in base64"
        raise InvalidInput("trusted keys", [Problem(text[:80], "is no public key", remedy)]) from None


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _no_key(path: Path) -> InvalidInput:
    remedy = "name a file with an Ed25519 key in PEM, or none to have one made"
    return InvalidInput("settings", [Problem("SALVAGE_SIGNING_KEY", f"{path} holds no key", remedy)])
