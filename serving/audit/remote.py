"""The audit log in worker processes: appends go to the sequencer's process over a Unix-domain socket.

:class:`SequencerServer` runs beside the sequencer, :class:`RemoteSequencer` in each worker. A connection that
breaks fails its pending appends; the next call reconnects. Reads go to the store directly.
"""

import asyncio
import itertools
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from features.errors import RecordNotWritten, SalvageError
from serving.audit.batch import Outcome
from serving.audit.frames import FrameReader, drafts_frame, drafts_of, frame, outcome_frame, outcome_of
from serving.audit.record import Draft, Receipt
from serving.audit.sequencer import PATIENCE_SECONDS, SILENT, LogReader, Sequencer, receipts
from serving.audit.store import LogStore

CHECK = "check"
OWNER_ONLY = 0o600
HANG_UP_SECONDS = 1.0
UNREACHABLE = "the sequencer cannot be reached"
LOST = "the sequencer was lost; whether this is on record is not known"


class SequencerServer:
    """Serves a sequencer to worker processes at a socket that only this user may open."""

    def __init__(self, sequencer: Sequencer, path: Path) -> None:
        self._sequencer = sequencer
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._sessions: set[_Session] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="audit-server", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def close(self) -> None:
        """Close all connections and remove the socket; the sequencer stays open."""
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        """Bind under a temporary name and rename, so that the socket is never stale or open to others."""
        bound = self._path.with_name(self._path.name + ".new")
        bound.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(bound))
        bound.chmod(OWNER_ONLY)
        bound.rename(self._path)
        return await self._loop.create_unix_server(
            lambda: _Session(self._sequencer, self._loop, self._sessions), sock=listening, backlog=128
        )

    async def _hang_up(self) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)
        for session in list(self._sessions):
            session.hang_up()
        with suppress(TimeoutError):
            async with asyncio.timeout(HANG_UP_SECONDS):
                while self._sessions:
                    await asyncio.sleep(0.001)
        await self._loop.shutdown_default_executor()


class _Session(asyncio.Protocol):
    """One worker's connection, as the sequencer's process sees it."""

    def __init__(
        self, sequencer: Sequencer, loop: asyncio.AbstractEventLoop, sessions: set["_Session"]
    ) -> None:
        self._sequencer = sequencer
        self._loop = loop
        self._sessions = sessions
        self._frames = FrameReader()
        self._answers: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is one that writes
        self._sessions.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._sessions.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            for number, header, contents in self._frames.fed(data):
                if header == CHECK:
                    self._loop.run_in_executor(None, self._check, number)
                else:
                    self._append(number, drafts_of(header, contents))
        except (ValueError, TypeError):
            self.hang_up()

    def hang_up(self) -> None:
        """Close the connection, after what was answered."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _append(self, number: int, drafts: list[Draft]) -> None:
        tell = partial(self._answer, number)
        try:
            self._sequencer.submit(drafts, self._loop, tell)
        except SalvageError as error:
            tell(error)

    def _check(self, number: int) -> None:
        outcome: Outcome = ()
        try:
            self._sequencer.check()
        except SalvageError as error:
            outcome = error
        self._loop.call_soon_threadsafe(self._answer, number, outcome)

    def _answer(self, number: int, outcome: Outcome) -> None:
        """Gather the answers of one batch, and send them together."""
        if not self._answers:
            self._loop.call_soon(self._flush)
        self._answers.append(outcome_frame(number, outcome))

    def _flush(self) -> None:
        if self._transport is not None and self._answers:
            self._transport.write(b"".join(self._answers))
        self._answers.clear()


class RemoteSequencer(LogReader):
    """The audit log of a worker: appends through the sequencer's socket, reads from the store."""

    def __init__(self, path: Path, store: LogStore) -> None:
        super().__init__(store)
        self._path = path
        self._linking: asyncio.Task[_Link] | None = None

    async def append(self, draft: Draft) -> Receipt:
        """Put one draft on record; it is durable when this returns."""
        (receipt,) = await self.append_all([draft])
        return receipt

    async def append_all(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Put drafts on record in one transaction, all or none."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                link = await self._linked()
                return receipts(await link.append(drafts))
        except TimeoutError as late:
            raise RecordNotWritten(SILENT) from late

    def append_now(self, draft: Draft) -> Receipt:
        """Put one draft on record, blocking."""
        (receipt,) = receipts(self._ask(drafts_frame(0, [draft])))
        return receipt

    def check(self) -> None:
        """Raise RecordNotWritten when nothing could be put on record now."""
        receipts(self._ask(frame(0, CHECK)))

    def close(self) -> None:
        """Hang up."""
        if self._linking is not None and self._linking.done() and not self._linking.exception():
            self._linking.result().hang_up()
        self._linking = None
        self._store.close()

    async def _linked(self) -> "_Link":
        """Return the open connection of this event loop, shared by all who wait for it."""
        loop = asyncio.get_running_loop()
        linking = self._linking
        if linking is None or linking.get_loop() is not loop or _over(linking):
            linking = self._linking = loop.create_task(self._connect())
        return await asyncio.shield(linking)

    async def _connect(self) -> "_Link":
        loop = asyncio.get_running_loop()
        try:
            _, link = await loop.create_unix_connection(lambda: _Link(loop), str(self._path))
        except OSError as error:
            raise RecordNotWritten(UNREACHABLE) from error
        return link

    def _ask(self, request: bytes) -> Outcome:
        """Send a request over its own connection, and wait for the outcome."""
        frames = FrameReader()
        try:
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(PATIENCE_SECONDS)
                asking.connect(str(self._path))
                asking.sendall(request)
                while data := asking.recv(65536):
                    for _, header, _ in frames.fed(data):
                        return outcome_of(header)
        except TimeoutError as late:
            raise RecordNotWritten(SILENT) from late
        except OSError as error:
            raise RecordNotWritten(UNREACHABLE) from error
        raise RecordNotWritten(LOST)


def _over(linking: "asyncio.Task[_Link]") -> bool:
    """Tell whether a connection failed or broke."""
    if not linking.done():
        return False
    return linking.cancelled() or linking.exception() is not None or not linking.result().open


class _Link(asyncio.Protocol):
    """One connection, as a worker's event loop sees it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._frames = FrameReader()
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._transport: asyncio.Transport | None = None

    @property
    def open(self) -> bool:
        """Tell whether the connection is open."""
        return self._transport is not None and not self._transport.is_closing()

    def append(self, drafts: Sequence[Draft]) -> "asyncio.Future[Outcome]":
        """Send drafts, and return the future of their outcome."""
        if self._transport is None:
            raise RecordNotWritten(LOST)
        number = next(self._numbers)
        request = drafts_frame(number, drafts)
        outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting[number] = outcome
        self._transport.write(request)
        return outcome

    def hang_up(self) -> None:
        """Close the connection, unless its event loop is gone already."""
        if self._transport is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._transport.close)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is one that writes

    def data_received(self, data: bytes) -> None:
        for number, header, _ in self._frames.fed(data):
            self._settle(number, outcome_of(header))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for number in list(self._waiting):
            self._settle(number, RecordNotWritten(LOST))

    def _settle(self, number: int, outcome: Outcome) -> None:
        pending = self._waiting.pop(number, None)
        if pending is not None and not pending.done():
            pending.set_result(outcome)
