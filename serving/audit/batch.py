"""A batch: the rows of one transaction, planned before any is written.

Each group of drafts succeeds or fails as a whole, and independently of the others. The plan holds the rows,
and for each group its receipts or its caller's error.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from features.errors import KeyReused, RecordNotWritten, SalvageError
from serving.audit.merkle import Frontier, leaf_hash
from serving.audit.record import Draft, IdempotencyKey, Receipt, body_of, packed

ERASED = "erased"
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
DAY_SECONDS = 86400
Outcome = tuple[Receipt, ...] | SalvageError
Row = tuple[Any, ...]


@dataclass(frozen=True)
class SaltedDraft:
    """A draft with the salt of its content."""

    draft: Draft
    salt: bytes | None


Group = Sequence[SaltedDraft]


@dataclass(frozen=True)
class EntryPosition:
    """An entry's place in the log, as its receipt states it."""

    id: str
    seq: int
    at: str
    leaf_hash: str


@dataclass(frozen=True)
class KeyUse:
    """The request that an idempotency key was used for; it lapses at a time in seconds since 1970."""

    fingerprint: str
    lapses: int
    entry: EntryPosition


Key = tuple[str, str]


@dataclass
class NewRows:
    """Rows to insert, and the ids whose contents are to be erased."""

    entries: list[Row] = field(default_factory=list)
    contents: list[Row] = field(default_factory=list)
    repeats: list[Row] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    known: dict[Key, KeyUse] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)

    def add(self, other: "NewRows") -> None:
        """Append the rows of another plan."""
        self.entries += other.entries
        self.contents += other.contents
        self.repeats += other.repeats
        self.erased += other.erased
        self.leaves += other.leaves
        self.known |= other.known
        self.ids |= other.ids


@dataclass(frozen=True)
class Batch:
    """The rows of a transaction, the tree after it, and each group's outcome."""

    rows: NewRows
    frontier: Frontier
    outcomes: list[Outcome]


def plan(
    groups: Sequence[Group], *, frontier: Frontier, taken: set[str], known: Mapping[Key, KeyUse]
) -> Batch:
    """Plan a batch over a tree, given the ids already on record and the idempotency keys in force."""
    rows = NewRows(known=dict(known), ids=set(taken))
    planned = [_planned(group, frontier.size, rows) for group in groups]
    grown = frontier.grown(rows.leaves)
    root = grown.root.hex()
    return Batch(rows, grown, [_outcome(one, grown.size, root) for one in planned])


_Planned = list[tuple[EntryPosition, bool]] | SalvageError


def _planned(group: Group, size: int, rows: NewRows) -> _Planned:
    """Add all rows of a group and return their places, or add none and return the error."""
    added = NewRows()
    try:
        positions = [
            _place(one, size + len(rows.leaves) + len(added.leaves) + 1, rows, added) for one in group
        ]
    except SalvageError as error:
        return error
    except (TypeError, ValueError, KeyError) as error:
        return RecordNotWritten(f"the record cannot be encoded: {error}")
    rows.add(added)
    return positions


def _place(salted: SaltedDraft, seq: int, rows: NewRows, added: NewRows) -> tuple[EntryPosition, bool]:
    """Return a draft's place, and whether an earlier request with the same idempotency key holds it."""
    draft = salted.draft
    _refuse_odd(draft)
    if draft.idempotency_key is not None:
        earlier = _earlier(draft, draft.idempotency_key, added.known, rows.known)
        if earlier is not None:
            return earlier, True
    if draft.id in rows.ids or draft.id in added.ids:
        raise RecordNotWritten(f"the id {draft.id} is on record already")
    body = body_of(draft, seq=seq, salt=salted.salt)
    leaf = leaf_hash(body)
    position = EntryPosition(draft.id, seq, draft.at, leaf.hex())
    added.ids.add(draft.id)
    added.leaves.append(leaf)
    added.entries.append((seq, draft.id, draft.at, draft.kind, body, leaf.hex(), draft.subject))
    if draft.content is not None:
        added.contents.append((seq, salted.salt, packed(draft.content)))
    if draft.idempotency_key is not None:
        _remember(draft.idempotency_key, position, added)
    if draft.kind == ERASED:
        added.erased += draft.facts["ids"]
    return position, False


def _refuse_odd(draft: Draft) -> None:
    """Refuse values that would fail in the database, and with it the transaction of all groups."""
    key = draft.idempotency_key
    texts = [draft.id, draft.at, draft.kind, "" if draft.subject is None else draft.subject]
    texts += [key.client, key.key, key.fingerprint] if key else []
    texts += draft.facts["ids"] if draft.kind == ERASED else []
    if not all(map(storable, texts)):
        raise ValueError("something that should be text is none, or holds a character that cannot be stored")


def storable(text: object) -> bool:
    """Tell whether something is text that both databases store: no NUL, no half of a surrogate pair."""
    return isinstance(text, str) and not UNSTORABLE.search(text)


def _earlier(draft: Draft, sent: IdempotencyKey, *known: Mapping[Key, KeyUse]) -> EntryPosition | None:
    """Return the place of the same request where it is on record already.

    Raises:
        KeyReused: when the key came with another request.

    """
    key = sent.client, sent.key
    repeat = next((one[key] for one in known if key in one), None)
    if repeat is None or repeat.lapses <= seconds(draft.at):
        return None
    if repeat.fingerprint != sent.fingerprint:
        raise KeyReused("this idempotency key was sent with another request; use a new one")
    return repeat.entry


def _remember(key: IdempotencyKey, position: EntryPosition, added: NewRows) -> None:
    lapses = seconds(position.at) + DAY_SECONDS
    added.known[key.client, key.key] = KeyUse(key.fingerprint, lapses, position)
    row = (key.client, key.key, key.fingerprint, position.seq, lapses)
    added.repeats.append((*row, repeat_hash(row)))


def _outcome(positions: _Planned, size: int, root: str) -> Outcome:
    if isinstance(positions, SalvageError):
        return positions
    return tuple(
        Receipt(one.id, one.seq, one.at, one.leaf_hash, size, root, repeated) for one, repeated in positions
    )


def repeat_hash(row: Row) -> str:
    """Return the SHA-256 of an idempotency key's row, which no entry's hash covers."""
    return hashlib.sha256(orjson.dumps(row)).hexdigest()


def seconds(at: str) -> int:
    """Return a time stamp in seconds since 1970."""
    return int(datetime.fromisoformat(at).timestamp())


def salted(drafts: Sequence[Draft], new_salt: Callable[[], bytes]) -> Group:
    """Return drafts, each with a salt of its own where it has content."""
    return [SaltedDraft(draft, None if draft.content is None else new_salt()) for draft in drafts]
