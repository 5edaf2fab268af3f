"""Frames: the binary messages between a worker and the sequencer's process.

A frame is its length (4 bytes), the request's number (8 bytes), the length of a JSON header (4 bytes), the
header, and the drafts' contents. Integers are big-endian.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from features.errors import KeyReused, RecordNotWritten, SalvageError, TooBusy
from serving.audit.batch import Outcome
from serving.audit.record import Draft, IdempotencyKey, Receipt

LENGTH = struct.Struct(">I")
HEAD = struct.Struct(">QI")
LARGEST_FRAME = 1 << 28
ERRORS = {kind.__name__: kind for kind in (RecordNotWritten, TooBusy, KeyReused)}


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def fed(self, data: bytes) -> Iterator[tuple[int, Any, bytes]]:
        """Yield number, header and contents of each frame that is complete after some more bytes.

        Raises:
            ValueError: when the bytes are no frames.

        """
        self._rest += data
        while len(self._rest) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._rest)
            if not HEAD.size <= length <= LARGEST_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            if len(self._rest) < LENGTH.size + length:
                return
            payload = bytes(self._rest[LENGTH.size : LENGTH.size + length])
            del self._rest[: LENGTH.size + length]
            number, header = HEAD.unpack_from(payload)
            start = HEAD.size + header
            yield number, orjson.loads(payload[HEAD.size : start]), payload[start:]


def frame(number: int, header: Any, contents: Sequence[bytes] = ()) -> bytes:
    """Return a frame.

    Raises:
        RecordNotWritten: when the header cannot be encoded or the frame is too large.

    """
    try:
        encoded = orjson.dumps(header)
    except TypeError as error:
        raise RecordNotWritten(f"the record cannot be encoded: {error}") from error
    payload = b"".join((HEAD.pack(number, len(encoded)), encoded, *contents))
    if len(payload) > LARGEST_FRAME:
        raise RecordNotWritten(f"a record of {len(payload)} bytes is too large")
    return LENGTH.pack(len(payload)) + payload


def drafts_frame(number: int, drafts: Sequence[Draft]) -> bytes:
    """Return the frame that asks for drafts to be put on record."""
    rows = [
        (
            draft.id,
            draft.at,
            draft.kind,
            dict(draft.facts),
            draft.subject,
            draft.idempotency_key
            and (draft.idempotency_key.client, draft.idempotency_key.key, draft.idempotency_key.fingerprint),
            None if draft.content is None else len(draft.content),
        )
        for draft in drafts
    ]
    return frame(number, rows, [draft.content for draft in drafts if draft.content is not None])


def drafts_of(header: Any, contents: bytes) -> list[Draft]:
    """Return the drafts of a frame.

    Raises:
        ValueError, TypeError: when it holds none.

    """
    drafts, at = [], 0
    for entry_id, recorded_at, kind, facts, subject, key, length in header:
        content = None if length is None else contents[at : at + length]
        at += length or 0
        idempotency_key = None if key is None else IdempotencyKey(*key)
        drafts.append(Draft(entry_id, recorded_at, kind, facts, content, subject, idempotency_key))
    if at != len(contents):
        raise ValueError("contents of another length than was said")
    return drafts


def outcome_frame(number: int, outcome: Outcome) -> bytes:
    """Return the frame that answers with receipts, or with an error."""
    if isinstance(outcome, SalvageError):
        return frame(number, {"error": type(outcome).__name__, "said": str(outcome)})
    return frame(number, {"receipts": outcome})


def outcome_of(header: Any) -> Outcome:
    """Return the outcome of an answering frame."""
    if "error" in header:
        return ERRORS.get(header["error"], RecordNotWritten)(header["said"])
    return tuple(Receipt(**fields) for fields in header["receipts"])
