"""The log's data: drafts are appended as entries, for which receipts are returned.

An entry's body is what the Merkle tree's leaf is made of. It holds facts that name no patient, and for
the patient's values and the answer only a commitment: SHA-256 over a byte 2, a random salt and their bytes.
Salt and bytes lie beside the log, packed, and can be erased; what remains then says nothing of them.
"""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from features.errors import RecordNotWritten

SALT_BYTES = 16
CHECK_BYTES = 4
FAST = 1


@dataclass(frozen=True)
class IdempotencyKey:
    """A client's Idempotency-Key, with the request that it was sent with.

    ``fingerprint`` is the SHA-256 of the request, in hex: the same key for another request is refused.
    """

    client: str
    key: str
    fingerprint: str


@dataclass(frozen=True)
class Draft:
    """An entry before it is appended.

    ``facts`` are plain JSON values and name no patient; ``subject`` is a keyed hash of the patient's
    identifier; ``content`` are the erasable bytes: the request and its answer.
    """

    id: str
    at: str
    kind: str
    facts: Mapping[str, Any]
    content: bytes | None = None
    subject: str | None = None
    idempotency_key: IdempotencyKey | None = None


@dataclass(frozen=True)
class LogEntry:
    """One entry of the log; ``body`` holds the exact bytes that were hashed.

    ``salt`` and ``stored``, the packed content, are None where there never was any, or it has been erased.
    """

    seq: int
    id: str
    at: str
    kind: str
    body: bytes
    leaf_hash: str
    salt: bytes | None = None
    stored: bytes | None = None

    @property
    def held(self) -> bool:
        """Tell whether the content is stored, intact or damaged."""
        return self.stored is not None

    @property
    def content(self) -> bytes | None:
        """Return the unpacked content; a damaged one fails here, and not when its entry is read.

        Raises:
            RecordNotWritten: when it is not the one that was stored.

        """
        try:
            return None if self.stored is None else unpacked(self.stored)
        except ValueError as error:
            raise RecordNotWritten(f"entry {self.seq} cannot be read: {error}; restore a backup") from error

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return the facts in the body."""
        facts: Mapping[str, Any] = orjson.loads(self.body)["facts"]
        return facts


@dataclass(frozen=True)
class Receipt:
    """Proof of an append: the entry's place and leaf hash, and the tree's size and root at its commit.

    ``repeated`` tells that an earlier request with the same Idempotency-Key left this entry.
    """

    id: str
    seq: int
    recorded_at: str
    leaf_hash: str
    tree_size: int
    root_hash: str
    repeated: bool = False


@dataclass(frozen=True)
class TreeHead:
    """The tree over the whole record: how many entries it has, and its RFC 6962 root in hex."""

    size: int
    root_hash: str


def body_of(draft: Draft, *, seq: int, salt: bytes | None) -> bytes:
    """Return an entry's body: one JSON object, keys sorted."""
    commitment = None
    if draft.content is not None and salt is not None:
        commitment = commit(salt, draft.content)
    body = {
        "at": draft.at,
        "commitment": commitment,
        "facts": dict(draft.facts),
        "id": draft.id,
        "kind": draft.kind,
        "seq": seq,
        "subject": draft.subject,
    }
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def commit(salt: bytes, content: bytes) -> str:
    """Return the salted commitment to some content, in hex."""
    return hashlib.sha256(b"\x02" + salt + content).hexdigest()


def packed(content: bytes) -> bytes:
    """Return content as it is stored: zlib-compressed, followed by the CRC-32 of the compressed bytes.

    An answer is mostly text that many answers share, and takes a fifth of its size.
    """
    deflated = zlib.compress(content, FAST)
    return deflated + zlib.crc32(deflated).to_bytes(CHECK_BYTES, "big")


def unpacked(stored: bytes) -> bytes:
    """Return the content from its stored form.

    Raises:
        ValueError: when a byte of it is not the one that was stored.

    """
    deflated, check = stored[:-CHECK_BYTES], stored[-CHECK_BYTES:]
    if zlib.crc32(deflated).to_bytes(CHECK_BYTES, "big") != check:
        raise ValueError("the content is not the one that was stored")
    try:
        return zlib.decompress(deflated)
    except zlib.error as error:
        raise ValueError("the content cannot be unpacked") from error
