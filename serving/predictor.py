"""The predictor: validates requests, computes answers and puts them on record; it knows no HTTP."""

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
from serving.detail import MOST_LISTED, Detail, abridged
from serving.errors import ContentErased
from serving.recorder import Caller, Recorder
from serving.tracing import step

PREDICTION, EXPLANATIONS, COMPARISON, READ = "prediction", "explanations", "comparison", "read"
ANSWERS = (PREDICTION, EXPLANATIONS, COMPARISON)


@dataclass(frozen=True)
class UnrecordedAnswer:
    """A computed answer before it is on record: request and answer as JSON, ``kind`` one of ANSWERS."""

    champion: Champion
    request: bytes
    answer: bytes
    subject: str | None = None
    kind: str = PREDICTION

    @property
    def content(self) -> bytes:
        """Return the record's erasable content: model, request and answer."""
        parts = self.champion.stamp_json, self.request, self.kind.encode(), self.answer
        return b'{"model":%b,"request":%b,"%b":%b}' % parts


@dataclass(frozen=True)
class RecordedPrediction:
    """A prediction that is on record."""

    prediction: Prediction
    stamp: ModelStamp
    receipt: Receipt


class Predictor:
    """Answers requests, each on record before it is returned.

    ``subject_of`` makes the keyed hash of a patient's identifier; ``counted`` is called with the model and
    version of each answer; ``mode`` stands in every answer.
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

    async def predict(
        self, request: PredictionRequest, caller: Caller, detail: Detail = Detail.BRIEF
    ) -> bytes:
        """Return the answer as JSON; its record, which holds all of it, is durable by then.

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
        return await self._record_and_render(answered, caller, detail)

    async def explain(self, request: ExplanationRequest, caller: Caller) -> bytes:
        """Return explanations at several horizons as JSON, on record; raises as :meth:`predict` does."""
        champion = await self._champion(request.model, request.problems)
        with step("answer"):
            explanations = await asyncio.to_thread(
                explain_over_time, champion.bundle, request.patient, request.horizons
            )
        request_json = orjson.dumps({"patient": request.patient, "horizons": request.horizons})
        subject = self._hashed(request.subject)
        answered = UnrecordedAnswer(champion, request_json, orjson.dumps(explanations), subject, EXPLANATIONS)
        return await self._record_and_render(answered, caller)

    async def compare(self, request: ComparisonRequest, caller: Caller) -> bytes:
        """Return several plans for one patient as JSON, on record; raises as :meth:`predict` does."""
        champion = await self._champion(request.model, request.problems)
        with step("answer"):
            comparison = await asyncio.to_thread(compare, champion.bundle, request.patient, request.plans)
        request_json = orjson.dumps({"patient": request.patient, "plans": request.plans})
        subject = self._hashed(request.subject)
        answered = UnrecordedAnswer(champion, request_json, orjson.dumps(comparison), subject, COMPARISON)
        return await self._record_and_render(answered, caller)

    async def answer_many(
        self, requests: Sequence[PredictionRequest]
    ) -> list[UnrecordedAnswer | SalvageError]:
        """Return each request's answer before it is on record, or what is wrong with the request."""
        with step("answer"):
            return await asyncio.to_thread(self._answer_all, requests)

    async def record_many(
        self,
        answered: Sequence[UnrecordedAnswer],
        callers: Sequence[Caller],
        detail: Detail = Detail.FULL,
    ) -> list[bytes]:
        """Put answers on record in one commit, and return them as JSON.

        Raises:
            RecordNotWritten, TooBusy: when the records could not be made durable; nothing was answered.
            KeyReused: when an Idempotency-Key came with another request before.

        """
        drafts = [self._draft(one, caller) for one, caller in zip(answered, callers, strict=True)]
        receipts = await self._recorder.record_all(drafts)
        return [self._rendered(*pair, detail) for pair in zip(answered, receipts, strict=True)]

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
        """Return a recorded prediction as an object, for other protocols; raises as :meth:`predict` does."""
        with step("answer"):
            cohort = champion.bundle.validate(patient, horizon=horizon)
            prediction = champion.bundle.predict(cohort, horizon=horizon)
        request_json = orjson.dumps({"patient": dict(patient), "horizon": horizon})
        answered = UnrecordedAnswer(champion, request_json, orjson.dumps(prediction), self._hashed(subject))
        receipt = await self._recorder.record(self._draft(answered, caller, facts))
        self._counted(champion.stamp.name, champion.stamp.version)
        return RecordedPrediction(prediction, champion.stamp, receipt)

    async def read_again(self, entry_id: str, caller: Caller) -> bytes:
        """Return an answer as it was given; the reading is recorded before this returns.

        Raises:
            NotFound: when there is none with this id.
            ContentErased: when what was asked and answered was erased.
            RecordNotWritten: when it could not be recorded that it was read.

        """
        entry = await asyncio.to_thread(self._recorder.log.get, entry_id)
        if entry.kind not in ANSWERS:
            raise NotFound("no answer with this id")
        answer = self._reread(entry)
        await self._recorder.record(self._recorder.draft(READ, caller.facts | {"entry": entry.id}))
        return answer

    def answer(self, champion: Champion, request: PredictionRequest) -> UnrecordedAnswer:
        """Return a champion's answer, or raise InvalidRequest naming every fault of request and patient."""
        answer: bytes | InvalidRequest
        try:
            answer = champion.bundle.answer(request.patient, horizon=request.horizon)
        except InvalidRequest as error:
            answer = error
        checked = self._checked(champion, request, answer)
        if isinstance(checked, SalvageError):
            raise checked
        return checked

    async def _champion(self, name: str | None, problems: tuple[Problem, ...]) -> Champion:
        """Return the requested champion; an error about its name also names the request's other problems."""
        try:
            return await self.champions.champion(name)
        except InvalidRequest as error:
            raise InvalidRequest("request", (*problems, *error.problems)) from error

    def _hashed(self, subject: str | None) -> str | None:
        return None if subject is None else self._subject_of(subject)

    async def _record_and_render(
        self, answered: UnrecordedAnswer, caller: Caller, detail: Detail = Detail.FULL
    ) -> bytes:
        """Put an answer on record, and return it as JSON."""
        return self._rendered(answered, await self._recorder.record(self._draft(answered, caller)), detail)

    def _answer_all(self, requests: Sequence[PredictionRequest]) -> list[UnrecordedAnswer | SalvageError]:
        """Return every request's answer or error; those of one model and horizon are computed together."""
        results: dict[int, UnrecordedAnswer | SalvageError] = {}
        groups: dict[tuple[str | None, float | None], list[int]] = {}
        for at, request in enumerate(requests):
            groups.setdefault((request.model, request.horizon), []).append(at)
        for (model, _), indices in groups.items():
            group = [requests[at] for at in indices]
            try:
                answers = self._answer_group(self.champions.get(model), group)
            except SalvageError as error:
                answers = (
                    [error] * len(group) if len(group) == 1 else [self._answer_alone(one) for one in group]
                )
            results.update(zip(indices, answers, strict=True))
        return [results[at] for at in range(len(requests))]

    def _answer_group(
        self, champion: Champion, requests: Sequence[PredictionRequest]
    ) -> list[UnrecordedAnswer | SalvageError]:
        """Return the answers of one champion at one horizon, computed together."""
        answers = champion.bundle.answers([one.patient for one in requests], horizon=requests[0].horizon)
        return [self._checked(champion, *pair) for pair in zip(requests, answers, strict=True)]

    def _checked(
        self, champion: Champion, request: PredictionRequest, answer: bytes | InvalidRequest
    ) -> UnrecordedAnswer | SalvageError:
        """Return an answer, or all that is wrong with a request and its patient."""
        problems = request.problems + (answer.problems if isinstance(answer, InvalidRequest) else ())
        if problems or not isinstance(answer, bytes):
            return InvalidRequest("request", problems)
        request_json = orjson.dumps({"patient": request.patient, "horizon": request.horizon})
        return UnrecordedAnswer(champion, request_json, answer, self._hashed(request.subject))

    def _answer_alone(self, request: PredictionRequest) -> UnrecordedAnswer | SalvageError:
        try:
            return self.answer(self.champions.get(request.model), request)
        except SalvageError as error:
            return error

    def _draft(
        self, answered: UnrecordedAnswer, caller: Caller, facts: Mapping[str, Any] | None = None
    ) -> Draft:
        """Return the draft that records an answer."""
        stamp = answered.champion.stamp
        model = {"name": stamp.name, "version": stamp.version, "bundle": stamp.bundle}
        return self._recorder.draft(
            answered.kind,
            {**caller.facts, "model": model, "evidence": stamp.evidence, **(facts or {})},
            content=answered.content,
            subject=answered.subject,
            idempotency_key=caller.idempotency_key,
        )

    def _rendered(self, answered: UnrecordedAnswer, receipt: Receipt, detail: Detail) -> bytes:
        """Return a recorded answer as JSON: the earlier one where an Idempotency-Key repeated a request."""
        if receipt.repeated:
            content = orjson.loads(_content(self._recorder.log.get(receipt.id)))
            model, answer = orjson.dumps(content["model"]), orjson.dumps(content[answered.kind])
        else:
            model, answer = answered.champion.stamp_json, answered.answer
            self._counted(answered.champion.stamp.name, answered.champion.stamp.version)
        sent = Detail.FULL
        if detail is Detail.BRIEF and answered.champion.predictors > MOST_LISTED:
            answer, sent = abridged(answer)
        audit = orjson.dumps(audit_receipt(receipt))
        if answered.kind == PREDICTION:
            parts = model, answer, audit, self._mode, sent.encode()
            return b'{"model":%b,"prediction":%b,"audit":%b,"mode":%b,"detail":"%b"}' % parts
        parts = model, answered.kind.encode(), answer, audit, self._mode
        return b'{"model":%b,"%b":%b,"audit":%b,"mode":%b}' % parts

    def _reread(self, entry: LogEntry) -> bytes:
        """Return a recorded answer and its request as they are stored, without recomputing."""
        content = _content(entry)
        head = self._recorder.log.head()
        where = AuditReceipt(entry.id, entry.seq, entry.at, entry.leaf_hash, head.size, head.root_hash)
        return b'%b,"audit":%b,"mode":%b}' % (content[:-1], orjson.dumps(where), self._mode)


def audit_receipt(receipt: Receipt) -> AuditReceipt:
    """Convert a receipt to its form in answers."""
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
