"""The interface of the log's store, and its implementations by address."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from features.errors import MissingExtra
from serving.audit.batch import Group, Outcome
from serving.audit.record import LogEntry, TreeHead
from serving.audit.sql_store import Statements
from serving.audit.sqlite import SqliteStore

POSTGRESQL = ("postgresql://", "postgres://", "postgresql+psycopg://")


class LogStore(Protocol):
    """Keeps entries in one gapless, immutable sequence, and their erasable contents beside them.

    Writing is for one thread at a time; reading is for any.
    """

    failures: tuple[type[Exception], ...]

    def write(self, groups: Sequence[Group]) -> list[Outcome]:
        """Make groups of drafts durable in one transaction; a group that is refused fails alone.

        An entry of kind ``erased`` deletes the contents of the entries whose ids its facts name.

        Raises:
            RecordNotWritten: when the transaction could not be committed; nothing of it is acknowledged.

        """
        ...

    def check(self) -> None:
        """Raise RecordNotWritten when the store cannot be written now."""
        ...

    def close(self) -> None:
        """Close the database; the next call reopens it."""
        ...

    def get(self, entry_id: str) -> LogEntry:
        """Return an entry, or raise NotFound."""
        ...

    def find(self, client: str, key: str) -> LogEntry | None:
        """Return the entry that a client's idempotency key left, unless the key has lapsed."""
        ...

    def page(
        self, *, after: int = 0, limit: int = ..., kind: str | None = None, subject: str | None = None
    ) -> list[LogEntry]:
        """Return the next entries after a place in the sequence."""
        ...

    def entries(
        self,
        after: int = 0,
        limit: int | None = None,
        kind: str | None = None,
        subject: str | None = None,
    ) -> Iterator[LogEntry]:
        """Yield entries in order."""
        ...

    def held_before(self, at: str) -> list[str]:
        """Return the ids of entries from before a time whose contents are still there."""
        ...

    def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the leaf hashes of entries ``start + 1`` to ``stop``."""
        ...

    def head(self) -> TreeHead:
        """Return the tree's size and root."""
        ...

    def snapshot(self) -> AbstractContextManager[Statements]:
        """Return a consistent snapshot; the database's own exceptions pass through."""
        ...

    def flaws(self, run: Statements) -> Iterator[str]:
        """Yield what is wrong with the schema."""
        ...


def make_store(address: str | Path) -> LogStore:
    """Return the store at a file path, or at a ``postgresql://`` address.

    Raises:
        MissingExtra: when a PostgreSQL address is given and its driver is not installed.

    """
    if not isinstance(address, str) or not address.startswith(POSTGRESQL):
        return SqliteStore(Path(address))
    try:
        from serving.audit.postgresql import PostgresqlStore  # noqa: PLC0415  only where it is asked for
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            "a PostgreSQL store needs psycopg; run: pip install 'salvage-outcomes[sql]'"
        ) from missing
    return PostgresqlStore(address.replace("postgresql+psycopg://", "postgresql://", 1))
