"""The sequencer: appends all waiting drafts in one transaction, so that they share one sync of the disk.

One thread writes the drafts that arrived during the previous transaction (group commit). A draft that
arrives alone is written at once, without waiting for others.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from features.errors import RecordNotWritten, SalvageError, TooBusy
from serving.audit.batch import Group, Outcome, salted
from serving.audit.record import SALT_BYTES, Draft, LogEntry, Receipt, TreeHead
from serving.audit.store import LogStore

ROOM = 2048
LARGEST_BATCH = 1024
PATIENCE_SECONDS = 15.0
CLOSED = "the record is closed; the server is going down"
SILENT = "the audit store has not answered in time; whether this is on record is not known"


class AuditLog(Protocol):
    """Appends drafts to the log and reads entries: in this process, or through another one."""

    async def append(self, draft: Draft) -> Receipt:
        """Put one draft on record; it is durable when this returns.

        Raises:
            RecordNotWritten: when it could not be made durable.
            TooBusy: when too much waits already.
            KeyReused: when its idempotency key stands for another request.

        """
        ...

    async def append_all(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Put drafts on record in one transaction, all or none; raises as :meth:`append` does."""
        ...

    def append_now(self, draft: Draft) -> Receipt:
        """Put one draft on record, blocking; raises as :meth:`append` does."""
        ...

    def check(self) -> None:
        """Raise RecordNotWritten when nothing could be put on record now."""
        ...

    def close(self) -> None:
        """Write waiting drafts, then release the store."""
        ...

    def get(self, entry_id: str) -> LogEntry:
        """Return an entry, or raise NotFound."""
        ...

    def find(self, client: str, key: str) -> LogEntry | None:
        """Return the entry that a client's idempotency key left, unless the key has lapsed."""
        ...

    def entries(
        self, after: int = 0, limit: int | None = None, kind: str | None = None, subject: str | None = None
    ) -> Iterator[LogEntry]:
        """Yield entries in order."""
        ...

    def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the leaf hashes of entries ``start + 1`` to ``stop``."""
        ...

    def head(self) -> TreeHead:
        """Return the tree's size and root."""
        ...


class LogReader:
    """The reading half of an audit log, which goes to the store directly."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    def get(self, entry_id: str) -> LogEntry:
        """Return an entry, or raise NotFound."""
        return self._store.get(entry_id)

    def find(self, client: str, key: str) -> LogEntry | None:
        """Return the entry that a client's idempotency key left, unless the key has lapsed."""
        return self._store.find(client, key)

    def entries(
        self, after: int = 0, limit: int | None = None, kind: str | None = None, subject: str | None = None
    ) -> Iterator[LogEntry]:
        """Yield entries in order."""
        return self._store.entries(after, limit, kind, subject)

    def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the leaf hashes of entries ``start + 1`` to ``stop``."""
        return self._store.leaves(start, stop)

    def head(self) -> TreeHead:
        """Return the tree's size and root."""
        return self._store.head()


class Witness(Protocol):
    """Observes appends and may forbid them; :class:`serving.audit.checkpointer.Checkpointer` is one."""

    def allowed(self) -> None:
        """Raise RecordNotWritten while nothing may be added."""
        ...

    def grown(self, size: int) -> None:
        """Learn the record's new size."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


@dataclass(frozen=True)
class QueuedGroup:
    """A group of drafts, and a callback for its outcome: on an event loop, or on the sequencer's thread."""

    group: Group
    loop: asyncio.AbstractEventLoop | None
    tell: Callable[[Outcome], None]


class Sequencer(LogReader):
    """The audit log of the process that writes the store.

    ``witness`` signs checkpoints, and refuses entries while the store contradicts them; ``room`` is the
    largest number of waiting drafts.
    """

    def __init__(
        self,
        store: LogStore,
        *,
        new_salt: Callable[[], bytes] = lambda: os.urandom(SALT_BYTES),
        witness: Witness | None = None,
        room: int = ROOM,
    ) -> None:
        super().__init__(store)
        self._new_salt = new_salt
        self._witness = witness
        self._room = room
        self._waiting: list[QueuedGroup] = []
        self._count = 0
        self._closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="audit-sequencer", daemon=True)
        self._thread.start()

    async def append(self, draft: Draft) -> Receipt:
        """Put one draft on record; it is durable when this returns."""
        (receipt,) = await self.append_all([draft])
        return receipt

    async def append_all(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Put drafts on record in one transaction, all or none."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outcome] = loop.create_future()
        self.submit(drafts, loop, lambda outcome: None if answer.done() else answer.set_result(outcome))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return receipts(await answer)
        except TimeoutError as late:
            raise RecordNotWritten(SILENT) from late

    def append_now(self, draft: Draft) -> Receipt:
        """Put one draft on record, blocking."""
        outcome: Future[Outcome] = Future()
        self.submit([draft], None, outcome.set_result)
        try:
            (receipt,) = receipts(outcome.result(PATIENCE_SECONDS))
        except TimeoutError as late:
            raise RecordNotWritten(SILENT) from late
        return receipt

    def submit(
        self,
        drafts: Sequence[Draft],
        loop: asyncio.AbstractEventLoop | None,
        tell: Callable[[Outcome], None],
    ) -> None:
        """Queue drafts as one group; ``tell`` is called on the loop once they are durable, or cannot be.

        Raises:
            RecordNotWritten: when the log is closed.
            TooBusy: when the queue is full.

        """
        waiting = QueuedGroup(salted(drafts, self._new_salt), loop, tell)
        with self._change:
            if self._closed:
                raise RecordNotWritten(CLOSED)
            if self._waiting and self._count + len(drafts) > self._room:
                raise TooBusy(f"{self._count} records wait to be written; try again")
            self._waiting.append(waiting)
            self._count += len(drafts)
            self._change.notify()

    def check(self) -> None:
        """Raise RecordNotWritten when nothing could be put on record now."""
        if self._closed:
            raise RecordNotWritten(CLOSED)
        if self._witness is not None:
            self._witness.allowed()
        self._store.check()

    def close(self) -> None:
        """Write waiting drafts, sign a last checkpoint and close the store, unless it hangs."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join(PATIENCE_SECONDS)
        if self._thread.is_alive():
            return
        if self._witness is not None:
            self._witness.close()
        self._store.close()

    def _run(self) -> None:
        while batch := self._next():
            outcomes = self._write([waiting.group for waiting in batch])
            _tell(batch, outcomes)

    def _next(self) -> list[QueuedGroup]:
        """Wait for drafts, and return the next batch of groups; an empty one once closed."""
        with self._change:
            while not self._waiting and not self._closed:
                self._change.wait()
            batch, size = list[QueuedGroup](), 0
            for waiting in self._waiting:
                size += len(waiting.group)
                if batch and size > LARGEST_BATCH:
                    break
                batch.append(waiting)
            del self._waiting[: len(batch)]
            self._count -= sum(len(waiting.group) for waiting in batch)
            return batch

    def _write(self, groups: list[Group]) -> list[Outcome]:
        try:
            return self._witnessed(groups)
        except SalvageError as error:
            return [error] * len(groups)
        except Exception as error:  # noqa: BLE001  the thread has to live, and every caller to be told
            return [RecordNotWritten(f"the record could not be written: {error!r}")] * len(groups)

    def _witnessed(self, groups: list[Group]) -> list[Outcome]:
        if self._witness is None:
            return self._store.write(groups)
        self._witness.allowed()
        outcomes = self._store.write(groups)
        sizes = [outcome[0].tree_size for outcome in outcomes if isinstance(outcome, tuple) and outcome]
        if sizes:
            self._witness.grown(sizes[0])
        return outcomes


def receipts(outcome: Outcome) -> list[Receipt]:
    """Return an outcome's receipts, or raise its error."""
    if isinstance(outcome, SalvageError):
        raise type(outcome)(*outcome.args)  # one of each caller's own: a traceback belongs to one raise
    return list(outcome)


def _tell(batch: list[QueuedGroup], outcomes: list[Outcome]) -> None:
    """Report every outcome to its caller, waking each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[QueuedGroup, Outcome]]] = {}
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if waiting.loop is None:
            waiting.tell(outcome)
        else:
            by_loop.setdefault(waiting.loop, []).append((waiting, outcome))
    for loop, waiting_here in by_loop.items():
        with suppress(RuntimeError):  # the loop was closed, and nobody listens any more
            loop.call_soon_threadsafe(_tell_all, waiting_here)


def _tell_all(outcomes: list[tuple[QueuedGroup, Outcome]]) -> None:
    for waiting, outcome in outcomes:
        waiting.tell(outcome)
