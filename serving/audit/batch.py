"""A batch: what one transaction puts on record, worked out before a row is written.

Groups of drafts come in; each stands or falls as a whole and none takes another with it. The result is rows,
and for each group its receipts or the error its caller is to see.
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
    """Where an entry stands, as far as a receipt says it."""

    id: str
    seq: int
    at: str
    leaf_hash: str


@dataclass(frozen=True)
class KeyUse:
    """What an idempotency key stands for until it lapses, in seconds since 1970."""

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
        """Take over another's rows."""
        self.entries += other.entries
        self.contents += other.contents
        self.repeats += other.repeats
        self.erased += other.erased
        self.leaves += other.leaves
        self.known |= other.known
        self.ids |= other.ids


@dataclass(frozen=True)
class Batch:
    """The rows of a transaction, the tree after it, and what each group's caller is told."""

    rows: NewRows
    frontier: Frontier
    outcomes: list[Outcome]


def plan(
    groups: Sequence[Group], *, frontier: Frontier, taken: set[str], known: Mapping[Key, KeyUse]
) -> Batch:
    """Work out a batch over a tree, given the ids on record already and the idempotency keys in force."""
    rows = NewRows(known=dict(known), ids=set(taken))
    planned = [_planned(group, frontier.size, rows) for group in groups]
    grown = frontier.grown(rows.leaves)
    root = grown.root.hex()
    return Batch(rows, grown, [_outcome(one, grown.size, root) for one in planned])


_Planned = list[tuple[EntryPosition, bool]] | SalvageError


def _planned(group: Group, size: int, rows: NewRows) -> _Planned:
    """Add a group's rows, or none of them and say why."""
    mine = NewRows()
    try:
        found = [_place(one, size + len(rows.leaves) + len(mine.leaves) + 1, rows, mine) for one in group]
    except SalvageError as error:
        return error
    except (TypeError, ValueError, KeyError) as error:
        return RecordNotWritten(f"the record cannot be encoded: {error}")
    rows.add(mine)
    return found


def _place(salted: SaltedDraft, seq: int, rows: NewRows, mine: NewRows) -> tuple[EntryPosition, bool]:
    """Return where a draft stands, and whether it stood there before."""
    draft = salted.draft
    _refuse_odd(draft)
    if draft.idempotency_key is not None:
        earlier = _earlier(draft, draft.idempotency_key, mine.known, rows.known)
        if earlier is not None:
            return earlier, True
    if draft.id in rows.ids or draft.id in mine.ids:
        raise RecordNotWritten(f"the id {draft.id} is on record already")
    body = body_of(draft, seq=seq, salt=salted.salt)
    leaf = leaf_hash(body)
    standing = EntryPosition(draft.id, seq, draft.at, leaf.hex())
    mine.ids.add(draft.id)
    mine.leaves.append(leaf)
    mine.entries.append((seq, draft.id, draft.at, draft.kind, body, leaf.hex(), draft.subject))
    if draft.content is not None:
        mine.contents.append((seq, salted.salt, packed(draft.content)))
    if draft.idempotency_key is not None:
        _remember(draft.idempotency_key, standing, mine)
    if draft.kind == ERASED:
        mine.erased += draft.facts["ids"]
    return standing, False


def _refuse_odd(draft: Draft) -> None:
    """Refuse what would fail in the database, and with it everybody's transaction."""
    asked = draft.idempotency_key
    texts = [draft.id, draft.at, draft.kind, "" if draft.subject is None else draft.subject]
    texts += [asked.client, asked.key, asked.fingerprint] if asked else []
    texts += draft.facts["ids"] if draft.kind == ERASED else []
    if not all(map(storable, texts)):
        raise ValueError("something that should be text is none, or holds a character that cannot be stored")


def storable(text: object) -> bool:
    """Tell whether something is text that both databases store: no NUL, no half of a surrogate pair."""
    return isinstance(text, str) and not UNSTORABLE.search(text)


def _earlier(draft: Draft, asked: IdempotencyKey, *known: Mapping[Key, KeyUse]) -> EntryPosition | None:
    """Return where the same request was put on record before.

    Raises:
        KeyReused: when the key came with another request.

    """
    key = asked.client, asked.key
    repeat = next((one[key] for one in known if key in one), None)
    if repeat is None or repeat.lapses <= seconds(draft.at):
        return None
    if repeat.fingerprint != asked.fingerprint:
        raise KeyReused("this idempotency key was sent with another request; use a new one")
    return repeat.entry


def _remember(asked: IdempotencyKey, standing: EntryPosition, mine: NewRows) -> None:
    lapses = seconds(standing.at) + DAY_SECONDS
    mine.known[asked.client, asked.key] = KeyUse(asked.fingerprint, lapses, standing)
    row = (asked.client, asked.key, asked.fingerprint, standing.seq, lapses)
    mine.repeats.append((*row, repeat_hash(row)))


def _outcome(planned: _Planned, size: int, root: str) -> Outcome:
    if isinstance(planned, SalvageError):
        return planned
    return tuple(
        Receipt(one.id, one.seq, one.at, one.leaf_hash, size, root, repeated) for one, repeated in planned
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
