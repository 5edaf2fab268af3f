"""Batches: JSON Lines of requests, answered as a stream; each chunk is recorded in one commit."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import orjson

from features.errors import RecordNotWritten, SalvageError, TooBusy
from serving.audit.record import IdempotencyKey
from serving.contract import PredictionRequest, parse_request
from serving.detail import Detail
from serving.errors import BodyTooLarge, document_of, problem_of
from serving.predictor import Predictor, UnrecordedAnswer
from serving.recorder import Caller

LINES_AT_ONCE = 64
AT_WORK = 3

Computing = asyncio.Task[list[UnrecordedAnswer | SalvageError]]


@dataclass(frozen=True)
class BatchLine:
    """One line of a batch: its number, from 1, and its bytes or why they cannot be read."""

    number: int
    content: bytes
    fault: SalvageError | None = None


@dataclass(frozen=True)
class Batcher:
    """Answers batches of at most ``most_lines`` lines of at most ``longest`` bytes.

    A line that cannot be answered gets a problem in its place and stops no other. With an Idempotency-Key
    each line has a key of its own, by its number.
    """

    predictor: Predictor
    longest: int
    most_lines: int

    async def answers(
        self,
        stream: AsyncIterator[bytes],
        model: str | None,
        caller: Caller,
        detail: Detail = Detail.BRIEF,
    ) -> AsyncIterator[bytes]:
        """Yield chunks of answered lines, in the order of the lines; it is also that of their records.

        The next chunks are computed while one is recorded and sent; once the client is gone, they are not
        recorded.
        """
        begun: asyncio.Queue[tuple[list[BatchLine], Computing] | None] = asyncio.Queue()
        room = asyncio.Semaphore(AT_WORK)

        async def begin() -> None:
            try:
                async for chunk in self._chunks(stream):
                    await room.acquire()
                    begun.put_nowait((chunk, asyncio.create_task(self._computed(chunk, model))))
            finally:
                begun.put_nowait(None)

        reading = asyncio.create_task(begin())
        try:
            while (started := await begun.get()) is not None:
                chunk, computing = started
                yield await self._answered_lines(chunk, await computing, caller, detail)
                room.release()
            await reading
        finally:
            reading.cancel()

    async def _computed(
        self, chunk: list[BatchLine], model: str | None
    ) -> list[UnrecordedAnswer | SalvageError]:
        """Return each line's answer before it is on record, or what is wrong with the line."""
        requests = [_read(line, model) for line in chunk]
        answers = iter(
            await self.predictor.answer_many([one for one in requests if isinstance(one, PredictionRequest)])
        )
        return [next(answers) if isinstance(one, PredictionRequest) else one for one in requests]

    async def _answered_lines(
        self,
        chunk: list[BatchLine],
        computed: list[UnrecordedAnswer | SalvageError],
        caller: Caller,
        detail: Detail,
    ) -> bytes:
        """Return the lines of a chunk, its answers on record."""
        answered = [
            (one, _caller_of(caller, line))
            for line, one in zip(chunk, computed, strict=True)
            if isinstance(one, UnrecordedAnswer)
        ]
        recorded = iter(await self._recorded(answered, detail))
        results = [next(recorded) if isinstance(one, UnrecordedAnswer) else one for one in computed]
        return b"".join(_as_json(line, one) for line, one in zip(chunk, results, strict=True))

    async def _recorded(
        self, answered: list[tuple[UnrecordedAnswer, Caller]], detail: Detail
    ) -> list[bytes | SalvageError]:
        """Record answers in one commit, or each in its own when one of them is refused."""
        if not answered:
            return []
        try:
            answers, callers = zip(*answered, strict=True)
            return list(await self.predictor.record_many(answers, callers, detail))
        except SalvageError as error:
            if len(answered) == 1 or isinstance(error, RecordNotWritten | TooBusy):
                return [error] * len(answered)
        return [given for one in answered for given in await self._recorded([one], detail)]

    async def _chunks(self, stream: AsyncIterator[bytes]) -> AsyncIterator[list[BatchLine]]:
        """Yield chunks of the lines that have arrived, at most 64, without waiting for a full chunk."""
        async for lines in self._lines(stream):
            for start in range(0, len(lines), LINES_AT_ONCE):
                yield lines[start : start + LINES_AT_ONCE]

    async def _lines(self, stream: AsyncIterator[bytes]) -> AsyncIterator[list[BatchLine]]:
        """Yield the lines that each part of the stream ends; of one that is too long the rest is skipped.

        Empty lines are none. After one line too many there are no others.
        """
        number, rest, skipping = 0, b"", False
        async for part in stream:
            *whole, rest = (rest + part).split(b"\n")
            if skipping and whole:
                whole, skipping = whole[1:], False
            ended = [content for content in whole if content.strip()]
            if len(rest) > self.longest or skipping:
                ended += [] if skipping else [rest]
                rest, skipping = b"", True
            lines = [self._line(number + at, content) for at, content in enumerate(ended, start=1)]
            number += len(lines)
            yield lines[: max(0, self.most_lines + 1 - number + len(lines))]
            if number > self.most_lines:
                return
        if rest.strip():
            yield [self._line(number + 1, rest)]

    def _line(self, number: int, content: bytes) -> BatchLine:
        if number > self.most_lines:
            fault = BodyTooLarge(f"a batch has at most {self.most_lines} lines; send the rest in another one")
            return BatchLine(number, b"", fault)
        if len(content) > self.longest:
            return BatchLine(number, b"", BodyTooLarge(f"the line is longer than {self.longest} bytes"))
        return BatchLine(number, content)


def _read(line: BatchLine, model: str | None) -> PredictionRequest | SalvageError:
    if line.fault is not None:
        return line.fault
    try:
        request = parse_request(line.content)
    except SalvageError as error:
        return error
    return request if request.model is not None else replace(request, model=model)


def _as_json(line: BatchLine, result: bytes | SalvageError) -> bytes:
    if isinstance(result, bytes):
        return b'{"line":%d,"answer":%b}\n' % (line.number, result)
    return b'{"line":%d,"problem":%b}\n' % (line.number, orjson.dumps(document_of(problem_of(result))))


def _caller_of(caller: Caller, line: BatchLine) -> Caller:
    if caller.idempotency_key is None:
        return caller
    key, fingerprint = caller.idempotency_key, hashlib.sha256(line.content).hexdigest()
    return replace(
        caller, idempotency_key=IdempotencyKey(key.client, f"{key.key}#{line.number}", fingerprint)
    )
