"""Answers, free of HTTP: validate, predict, record, answer."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from features.errors import InvalidRequest, NotFound, Problem, SalvageError
from models.prediction import Prediction
from models.questions.comparison import compare
from models.questions.timeline import explain_over_time
from serving.audit.record import Draft, LogEntry, Receipt
from serving.champions import Champion, Champions
from serving.contract import (
    AuditReceipt,
    ComparisonRequest,
    ExplanationRequest,
    ModelStamp,
    PredictionRequest,
)
from serving.errors import ContentErased
from serving.recorder import Caller, Recorder
from serving.tracing import step

PREDICTION, EXPLANATIONS, COMPARISON, READ = "prediction", "explanations", "comparison", "read"
ANSWERS = (PREDICTION, EXPLANATIONS, COMPARISON)


@dataclass(frozen=True)
class UnrecordedAnswer:
    """What a champion said of a patient, as JSON, before it is on record; ``kind`` names what it is."""

    champion: Champion
    request: bytes
    said: bytes
    subject: str | None = None
    kind: str = PREDICTION

    @property
    def content(self) -> bytes:
        """Return what is kept: the model, what was asked, what was said."""
        parts = self.champion.stamp_json, self.request, self.kind.encode(), self.said
        return b'{"model":%b,"request":%b,"%b":%b}' % parts


@dataclass(frozen=True)
class RecordedPrediction:
    """A prediction that is on record."""

    prediction: Prediction
    stamp: ModelStamp
    receipt: Receipt


class Predictor:
    """Answers requests.

    ``subject_of`` makes the keyed hash of a patient's identifier; ``counted`` is told the model and version
    of each answer; ``mode`` stands in every answer.
    """

    def __init__(
        self,
        champions: Champions,
        recorder: Recorder,
        *,
        subject_of: Callable[[str], str],
        counted: Callable[[str, str], None],
        mode: str,
    ) -> None:
        self.champions = champions
        self._recorder = recorder
        self._subject_of = subject_of
        self._counted = counted
        self._mode = orjson.dumps(mode)

    async def predict(self, request: PredictionRequest, caller: Caller) -> bytes:
        """Return the answer as JSON; its record is durable by then.

        With an Idempotency-Key that came before, the earlier answer is given again.

        Raises:
            NotFound, NoChampion, BundleRefused: when the model asked for cannot answer.
            InvalidRequest: naming every field at fault.
            KeyReused: when the Idempotency-Key came with another request before.
            RecordNotWritten, TooBusy: when the record could not be made durable; nothing was answered.

        """
        champion = await self._champion(request.model, request.problems)
        with step("answer"):
            answered = self.answer(champion, request)
        return await self._give(answered, caller)

    async def explain(self, request: ExplanationRequest, caller: Caller) -> bytes:
        """Return explanations at several horizons as JSON, on record; raises as :meth:`predict` does."""
        champion = await self._champion(request.model, request.problems)
        with step("answer"):
            found = await asyncio.to_thread(
                explain_over_time, champion.bundle, request.patient, request.horizons
            )
        asked = orjson.dumps({"patient": request.patient, "horizons": request.horizons})
        subject = self._hashed(request.subject)
        answered = UnrecordedAnswer(champion, asked, orjson.dumps(found), subject, EXPLANATIONS)
        return await self._give(answered, caller)

    async def compare(self, request: ComparisonRequest, caller: Caller) -> bytes:
        """Return several plans for one patient as JSON, on record; raises as :meth:`predict` does."""
        champion = await self._champion(request.model, request.problems)
        with step("answer"):
            found = await asyncio.to_thread(compare, champion.bundle, request.patient, request.plans)
        asked = orjson.dumps({"patient": request.patient, "plans": request.plans})
        subject = self._hashed(request.subject)
        answered = UnrecordedAnswer(champion, asked, orjson.dumps(found), subject, COMPARISON)
        return await self._give(answered, caller)

    async def answer_many(
        self, requests: Sequence[PredictionRequest]
    ) -> list[UnrecordedAnswer | SalvageError]:
        """Return each request's answer before it is on record, or what is wrong with the request."""
        with step("answer"):
            return await asyncio.to_thread(self._answer_all, requests)

    async def give_many(self, answered: Sequence[UnrecordedAnswer], callers: Sequence[Caller]) -> list[bytes]:
        """Put answers on record in one commit, then give them.

        Raises:
            RecordNotWritten, TooBusy: when the records could not be made durable; nothing was answered.
            KeyReused: when an Idempotency-Key came with another request before.

        """
        drafts = [self._draft(one, caller) for one, caller in zip(answered, callers, strict=True)]
        receipts = await self._recorder.record_all(drafts)
        return [self._given(one, receipt) for one, receipt in zip(answered, receipts, strict=True)]

    async def predict_patient(
        self,
        champion: Champion,
        patient: Mapping[str, object],
        horizon: float | None,
        caller: Caller,
        facts: Mapping[str, Any] | None = None,
        *,
        subject: str | None = None,
    ) -> RecordedPrediction:
        """Return a prediction for other protocols than our own, on record; raises as :meth:`predict` does."""
        with step("answer"):
            cohort = champion.bundle.validate(patient, horizon=horizon)
            prediction = champion.bundle.predict(cohort, horizon=horizon)
        asked = orjson.dumps({"patient": dict(patient), "horizon": horizon})
        answered = UnrecordedAnswer(champion, asked, orjson.dumps(prediction), self._hashed(subject))
        receipt = await self._recorder.record(self._draft(answered, caller, facts))
        self._counted(champion.stamp.name, champion.stamp.version)
        return RecordedPrediction(prediction, champion.stamp, receipt)

    async def read_again(self, entry_id: str, caller: Caller) -> bytes:
        """Return an answer as it was given, number for number; that it was read is on record by then.

        Raises:
            NotFound: when there is none with this id.
            ContentErased: when what was asked and answered was erased.
            RecordNotWritten: when it could not be recorded that it was read.

        """
        entry = await asyncio.to_thread(self._recorder.log.get, entry_id)
        if entry.kind not in ANSWERS:
            raise NotFound("no answer with this id")
        found = self._again(entry)
        await self._recorder.record(self._recorder.draft(READ, caller.facts | {"entry": entry.id}))
        return found

    def answer(self, champion: Champion, request: PredictionRequest) -> UnrecordedAnswer:
        """Return what a champion says, judging request and patient together so that all faults are named."""
        said: bytes | InvalidRequest
        try:
            said = champion.bundle.answer(request.patient, horizon=request.horizon)
        except InvalidRequest as error:
            said = error
        found = self._judged(champion, request, said)
        if isinstance(found, SalvageError):
            raise found
        return found

    async def _champion(self, name: str | None, problems: tuple[Problem, ...]) -> Champion:
        """Return the champion asked for; what else is wrong with the request is named with its name."""
        try:
            found = await self.champions.champion(name)
        except InvalidRequest as error:
            raise InvalidRequest("request", (*problems, *error.problems)) from error
        return found

    def _hashed(self, subject: str | None) -> str | None:
        return None if subject is None else self._subject_of(subject)

    async def _give(self, answered: UnrecordedAnswer, caller: Caller) -> bytes:
        """Put an answer on record, then give it."""
        return self._given(answered, await self._recorder.record(self._draft(answered, caller)))

    def _answer_all(self, requests: Sequence[PredictionRequest]) -> list[UnrecordedAnswer | SalvageError]:
        """Return every request's answer or error; those of one model and horizon are computed together."""
        found: dict[int, UnrecordedAnswer | SalvageError] = {}
        together: dict[tuple[str | None, float | None], list[int]] = {}
        for at, request in enumerate(requests):
            together.setdefault((request.model, request.horizon), []).append(at)
        for (model, _), places in together.items():
            some = [requests[at] for at in places]
            try:
                answers = self._together(self.champions.get(model), some)
            except SalvageError as error:
                answers = [error] * len(some) if len(some) == 1 else [self._tried(one) for one in some]
            found.update(zip(places, answers, strict=True))
        return [found[at] for at in range(len(requests))]

    def _together(
        self, champion: Champion, requests: Sequence[PredictionRequest]
    ) -> list[UnrecordedAnswer | SalvageError]:
        """Return answers of one champion at one horizon."""
        said = champion.bundle.answers([one.patient for one in requests], horizon=requests[0].horizon)
        return [self._judged(champion, *pair) for pair in zip(requests, said, strict=True)]

    def _judged(
        self, champion: Champion, request: PredictionRequest, said: bytes | InvalidRequest
    ) -> UnrecordedAnswer | SalvageError:
        """Return an answer, or all that is wrong with a request and its patient."""
        problems = request.problems + (said.problems if isinstance(said, InvalidRequest) else ())
        if problems or not isinstance(said, bytes):
            return InvalidRequest("request", problems)
        asked = orjson.dumps({"patient": request.patient, "horizon": request.horizon})
        return UnrecordedAnswer(champion, asked, said, self._hashed(request.subject))

    def _tried(self, request: PredictionRequest) -> UnrecordedAnswer | SalvageError:
        try:
            return self.answer(self.champions.get(request.model), request)
        except SalvageError as error:
            return error

    def _draft(
        self, answered: UnrecordedAnswer, caller: Caller, facts: Mapping[str, Any] | None = None
    ) -> Draft:
        """Return what is to be recorded of an answer."""
        stamp = answered.champion.stamp
        model = {"name": stamp.name, "version": stamp.version, "bundle": stamp.bundle}
        return self._recorder.draft(
            answered.kind,
            {**caller.facts, "model": model, "evidence": stamp.evidence, **(facts or {})},
            content=answered.content,
            subject=answered.subject,
            idempotency_key=caller.idempotency_key,
        )

    def _given(self, answered: UnrecordedAnswer, receipt: Receipt) -> bytes:
        """Return an answer that is on record."""
        if receipt.repeated:
            kept = orjson.loads(_content(self._recorder.log.get(receipt.id)))
            model, said = orjson.dumps(kept["model"]), orjson.dumps(kept[answered.kind])
        else:
            model, said = answered.champion.stamp_json, answered.said
            self._counted(answered.champion.stamp.name, answered.champion.stamp.version)
        parts = model, answered.kind.encode(), said, orjson.dumps(standing(receipt)), self._mode
        return b'{"model":%b,"%b":%b,"audit":%b,"mode":%b}' % parts

    def _again(self, entry: LogEntry) -> bytes:
        """Return a recorded answer with the request; every number is the one that was answered."""
        content = _content(entry)
        head = self._recorder.log.head()
        where = AuditReceipt(entry.id, entry.seq, entry.at, entry.leaf_hash, head.size, head.root_hash)
        return b'%b,"audit":%b,"mode":%b}' % (content[:-1], orjson.dumps(where), self._mode)


def standing(receipt: Receipt) -> AuditReceipt:
    """Return a receipt as it stands in an answer."""
    return AuditReceipt(
        receipt.id,
        receipt.seq,
        receipt.recorded_at,
        receipt.leaf_hash,
        receipt.tree_size,
        receipt.root_hash,
    )


def _content(entry: LogEntry) -> bytes:
    if entry.content is None:
        raise ContentErased("what was asked and answered here has been erased; the record of it remains")
    return entry.content
