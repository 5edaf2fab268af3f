"""The record in SQL tables: the queries that SQLite and PostgreSQL share.

A database brings its connection, its transaction and its schema: :mod:`serving.audit.sqlite`,
:mod:`serving.audit.postgresql`. ``entries`` never change; ``contents`` can be erased; ``repeats`` holds
idempotency keys for a day; ``head`` holds the tree's size and peaks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from features.errors import NotFound
from serving.audit.batch import Batch, EntryPosition, Group, Key, KeyUse, Outcome, Row, plan, storable
from serving.audit.merkle import Frontier
from serving.audit.record import LogEntry, TreeHead

PAGE = 500
ENTRY = (
    "SELECT e.seq, e.id, e.at, e.kind, e.body, e.leaf_hash, c.salt, c.content "
    "FROM entries e LEFT JOIN contents c ON c.seq = e.seq "
)
REPEAT = (
    "SELECT r.client, r.key, r.fingerprint, r.lapses, e.id, e.seq, e.at, e.leaf_hash "
    "FROM repeats r JOIN entries e ON e.seq = r.seq WHERE "
)
INSERT_ENTRY = (
    "INSERT INTO entries (seq, id, at, kind, body, leaf_hash, subject) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
INSERT_CONTENT = "INSERT INTO contents (seq, salt, content) VALUES (?, ?, ?)"
INSERT_REPEAT = (
    "INSERT INTO repeats (client, key, fingerprint, seq, lapses, row_hash) VALUES (?, ?, ?, ?, ?, ?)"
)
NO_TEXT = "\ufffd"
"""Stands for the one character that no text on record has, and that PostgreSQL takes as an error."""
SEQ_OF = "(SELECT seq FROM entries WHERE id = ?)"


class Statements(Protocol):
    """SQL run in one transaction; values stand for question marks."""

    def __call__(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run a statement and return its rows."""
        ...

    def many(self, sql: str, rows: Sequence[Row]) -> None:
        """Run a statement once a row."""
        ...

    def stream(self, sql: str) -> Iterator[Row]:
        """Run a statement and yield its rows as they are read."""
        ...


class SqlStore(ABC):
    """A store over SQL tables; ``now`` gives seconds since 1970, for idempotency keys that lapse."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._seen = 0

    locking = ""
    """What makes a read of the head's row wait for other writers, where a transaction does not."""

    failures: tuple[type[Exception], ...]
    """What the database raises when it, or its file, fails."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Statements]:
        """Return a consistent snapshot; the database's own exceptions pass through."""

    @abstractmethod
    def flaws(self, run: Statements) -> Iterator[str]:
        """Yield what is wrong with the schema: its tables, indexes and triggers."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Statements]:
        """Return a read transaction, or raise RecordNotWritten."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Statements]:
        """Return an exclusive write transaction, durable once it ends, or raise RecordNotWritten."""

    def write(self, groups: Sequence[Group]) -> list[Outcome]:
        """Make groups of drafts durable in one transaction; a group that is refused fails alone.

        Raises:
            RecordNotWritten: when the transaction could not be committed.

        """
        with self._writing() as run:
            frontier = _frontier(run, self.locking)
            if frontier.size < self._seen:
                raise ValueError("it is shorter than it was; restore the newest backup")
            batch = plan(groups, frontier=frontier, taken=_taken(run, groups), known=_known(run, groups))
            if batch.rows.entries:
                _insert(run, batch, now=int(self._now()))
        self._seen = batch.frontier.size
        if batch.rows.erased:
            self._scrub()
        return batch.outcomes

    @abstractmethod
    def _scrub(self) -> None:
        """Overwrite erased contents that the database would leave in its files."""

    def get(self, entry_id: str) -> LogEntry:
        """Return an entry.

        Raises:
            NotFound: when none has this id.
            RecordNotWritten: when the store cannot be read.

        """
        with self._reading() as run:
            rows = run(ENTRY + "WHERE e.id = ?", (entry_id.replace("\x00", NO_TEXT),))
        if not rows:
            raise NotFound("nothing is on record with this id")
        return LogEntry(*rows[0])

    def find(self, client: str, key: str) -> LogEntry | None:
        """Return the entry that a client's idempotency key left, unless the key has lapsed.

        Raises:
            RecordNotWritten: when the store cannot be read.

        """
        by_key = "WHERE e.seq IN (SELECT seq FROM repeats WHERE client = ? AND key = ? AND lapses > ?)"
        with self._reading() as run:
            rows = run(ENTRY + by_key, (client, key, int(self._now())))
        return LogEntry(*rows[0]) if rows else None

    def page(
        self, *, after: int = 0, limit: int = PAGE, kind: str | None = None, subject: str | None = None
    ) -> list[LogEntry]:
        """Return at most ``limit`` entries after a place in the sequence, of one kind or subject if asked.

        Raises:
            RecordNotWritten: when the store cannot be read.

        """
        columns = {"e.kind": kind, "e.subject": subject}
        filters = {
            column: value.replace("\x00", NO_TEXT) for column, value in columns.items() if value is not None
        }
        where = "".join(f" AND {column} = ?" for column in filters)
        with self._reading() as run:
            rows = run(
                ENTRY + f"WHERE e.seq > ?{where} ORDER BY e.seq LIMIT ?", (after, *filters.values(), limit)
            )
        return [LogEntry(*row) for row in rows]

    def entries(
        self, after: int = 0, limit: int | None = None, kind: str | None = None, subject: str | None = None
    ) -> Iterator[LogEntry]:
        """Yield entries in order, read a page at a time.

        Raises:
            RecordNotWritten: when the store cannot be read.

        """
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self.page(after=after, limit=size, kind=kind, subject=subject)
            yield from page
            if len(page) < size:
                return
            after = page[-1].seq
            left = None if left is None else left - size

    def held_before(self, at: str) -> list[str]:
        """Return the ids of entries from before a time whose contents are still there."""
        query = "SELECT e.id FROM entries e JOIN contents c ON c.seq = e.seq WHERE e.at < ? ORDER BY e.seq"
        with self._reading() as run:
            return [row[0] for row in run(query, (at,))]

    def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the leaf hashes of entries ``start + 1`` to ``stop``."""
        query = "SELECT leaf_hash FROM entries WHERE seq > ? AND seq <= ? ORDER BY seq"
        with self._reading() as run:
            return [bytes.fromhex(row[0]) for row in run(query, (start, stop))]

    def head(self) -> TreeHead:
        """Return the tree's size and root.

        Raises:
            RecordNotWritten: when the store cannot be read.

        """
        with self._reading() as run:
            frontier = _frontier(run)
        return TreeHead(frontier.size, frontier.root.hex())


def _frontier(run: Statements, locking: str = "") -> Frontier:
    ((size, peaks),) = run(f"SELECT size, peaks FROM head{locking}")
    return Frontier.from_bytes(size, peaks)


def _taken(run: Statements, groups: Sequence[Group]) -> set[str]:
    """Return those of the drafts' ids that are on record already."""
    ids = [salted.draft.id for group in groups for salted in group if storable(salted.draft.id)]
    taken: set[str] = set()
    for part in _parts(ids):
        taken.update(row[0] for row in run(f"SELECT id FROM entries WHERE id IN ({_marks(part)})", part))
    return taken


def _known(run: Statements, groups: Sequence[Group]) -> dict[Key, KeyUse]:
    """Return the earlier uses of the drafts' idempotency keys."""
    request_keys = [salted.draft.idempotency_key for group in groups for salted in group]
    keys = {
        (one.client, one.key) for one in request_keys if one and storable(one.client) and storable(one.key)
    }
    known: dict[Key, KeyUse] = {}
    for part in _parts(sorted(keys)):
        either = " OR ".join(["(r.client = ? AND r.key = ?)"] * len(part))
        for client, key, fingerprint, lapses, *entry in run(
            REPEAT + either, [text for pair in part for text in pair]
        ):
            known[client, key] = KeyUse(fingerprint, lapses, EntryPosition(*entry))
    return known


def _insert(run: Statements, batch: Batch, *, now: int) -> None:
    rows = batch.rows
    run.many(INSERT_ENTRY, rows.entries)
    run.many(INSERT_CONTENT, rows.contents)
    if rows.repeats:
        run("DELETE FROM repeats WHERE lapses <= ?", (now,))
        run.many("DELETE FROM repeats WHERE client = ? AND key = ?", [row[:2] for row in rows.repeats])
        run.many(INSERT_REPEAT, rows.repeats)
    if rows.erased:
        erased = [(entry_id,) for entry_id in rows.erased]
        run.many(f"DELETE FROM repeats WHERE seq = {SEQ_OF}", erased)
        run.many(f"DELETE FROM contents WHERE seq = {SEQ_OF}", erased)
    run("UPDATE head SET size = ?, peaks = ?", (batch.frontier.size, batch.frontier.to_bytes()))


def _parts(things: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (things[start : start + PAGE] for start in range(0, len(things), PAGE))


def _marks(things: Sequence[Any]) -> str:
    return ", ".join("?" * len(things))
