"""CDS Hooks: discovery, the services and their feedback."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from features.errors import InvalidRequest, NotFound, Problem
from features.sources.fhir import Extracted
from models.bundle.bundle import ModelBundle
from serving.access.principal import Principal
from serving.audit.record import LogEntry
from serving.audit.sequencer import AuditLog
from serving.cds.call import CdsCall, read_call
from serving.cds.cards import answer, card
from serving.cds.feedback import FEEDBACK, CardFeedback, read_feedback, subject_of
from serving.cds.prefetch import Fetch, PrefetchedChart, PrefetchMissing, gather
from serving.cds.services import SERVICES, CdsService, discovery
from serving.contract import parse_object
from serving.fhir.assessment import assess
from serving.fhir.chart import Chart
from serving.fhir.datatypes import MEDIA_TYPE
from serving.fhir.operation_outcome import as_outcome
from serving.gateway import request_id
from serving.predictor import Predictor
from serving.recorder import Caller, Recorder
from serving.routes.dialect import translating
from serving.routes.incoming import JSON, body_of

Verify = Callable[[str | None, str], Awaitable[Principal]]
ACCEPTED = (JSON, MEDIA_TYPE)
FRESH_DAYS = 90
REFUSALS = {
    401: "The client's token is missing or wrong",
    404: "There is no such service",
    412: "What the service cannot do without was neither sent nor could be fetched",
    413: "Body too large",
    415: "Not JSON",
    422: "The call breaks the specification; every problem is an issue",
    429: "Too many requests",
    503: "No model is ready, or the answer could not be recorded",
}


class CdsHooks:
    """Answers calls of the services with the cards of every model that is applicable.

    ``fetch`` reads what a client did not send from its FHIR server; ``models`` are those with cards, None for
    every served one; ``fresh_days`` is how long after the index date an estimate is shown;
    ``system_actions`` are the names of clients that require that list in responses on orders.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        fetch: Fetch | None,
        today: Callable[[], date],
        public_url: str,
        models: Sequence[str] | None = None,
        fresh_days: int = FRESH_DAYS,
        system_actions: frozenset[str] = frozenset(),
    ) -> None:
        self._predictor = predictor
        self._fetch = fetch
        self._today = today
        self._public_url = public_url
        self._models = models
        self._fresh_days = fresh_days
        self._system_actions = system_actions

    async def answer(self, call: CdsCall, service: CdsService, caller: Principal) -> dict[str, Any]:
        """Return a call's response, with a card of each model that applies.

        Raises:
            PrefetchMissing: when the chart is too incomplete to tell.
            InvalidRequest: when it is not that of the patient in the context, or contradicts itself.

        """
        gathered = await gather(call, fetch=self._fetch, today=self._today())
        chart = Chart(gathered.bundle)
        names = self._models
        if names is None:
            names = await run_in_threadpool(self._predictor.champions.names)
        cards = [
            one
            for name in names
            if (one := await self._card(name, chart, gathered, call, service, caller)) is not None
        ]
        return answer(cards, system_actions=service.ordering and caller.name in self._system_actions)

    async def _card(
        self,
        name: str,
        chart: Chart,
        gathered: PrefetchedChart,
        call: CdsCall,
        service: CdsService,
        caller: Principal,
    ) -> dict[str, Any] | None:
        champion = await self._predictor.champions.champion(name)
        extracted = chart.at(champion.bundle.protocol.index_event)
        _require_the_patient(extracted, call)
        today = self._today()
        if not _applicable(extracted, champion.bundle, today, self._fresh_days):
            return None
        facts = {"protocol": "cds-hooks", "service": service.id, "hook_instance": call.instance}
        assessed = await assess(
            chart,
            champion,
            predictor=self._predictor,
            caller=Caller(caller.client, request_id.get()),
            facts=facts | ({"user": call.professional} if call.professional else {}),
            today=today,
            encounter=call.encounter and f"Encounter/{call.encounter}",
        )
        return card(assessed, extracted, gathered, service=service, public_url=self._public_url)


def _require_the_patient(extracted: Extracted, call: CdsCall) -> None:
    if extracted.patient not in (None, call.patient):
        remedy = "send the chart of context.patientId"
        raise InvalidRequest("chart", [Problem("prefetch", "is of another patient", remedy)])


def _applicable(extracted: Extracted, bundle: ModelBundle, today: date, fresh_days: int) -> bool:
    """Tell whether a model applies: to a living patient in its scope whose relapse is recent.

    A chart that holds a cancer and contradicts itself is an error.
    """
    if extracted.condition and extracted.record_problems:
        raise InvalidRequest("chart", extracted.record_problems)
    disease = str(extracted.fields.get("disease"))
    if (
        extracted.index_date is None
        or extracted.fields.get("died")
        or disease not in bundle.protocol.diseases
    ):
        return False
    if not any(endpoint.answers(disease) for endpoint in bundle.endpoints):
        return False
    return 0 <= (today - extracted.index_date).days <= fresh_days


def cds_hooks_router(
    hooks: CdsHooks,
    recorder: Recorder,
    verify: Verify,
    *,
    largest_body: int,
) -> APIRouter:
    """Return the routes under ``/cds-services``; their errors are OperationOutcomes.

    ``verify`` returns the client of an Authorization header and the called URL.
    """
    router = APIRouter(prefix="/cds-services", tags=["cds hooks"], route_class=translating(as_outcome))

    async def caller_of(request: Request) -> Principal:
        principal = await verify(request.headers.get("authorization"), str(request.url))
        request.scope["principal"] = principal
        return principal

    @router.get("", responses=_refusals(401, 429, 503), summary="List the CDS services")
    async def discover(request: Request) -> dict[str, Any]:
        await caller_of(request)
        return discovery()

    @router.post(
        "/{service_id}",
        responses=_refusals(401, 404, 412, 413, 415, 422, 429, 503),
        openapi_extra=_body("hook", "hookInstance", "context"),
        summary="Call a CDS service: cards for the patient in context",
    )
    async def call_service(service_id: str, request: Request) -> Response:
        caller = await caller_of(request)
        service = _service(service_id)
        document = parse_object(await body_of(request, largest=largest_body, media_types=ACCEPTED))
        try:
            answered = await hooks.answer(read_call(document, service), service, caller)
        except PrefetchMissing as missing:
            return _incomplete(missing)
        return Response(orjson.dumps(answered), media_type=JSON)

    @router.post(
        "/{service_id}/feedback",
        responses=_refusals(401, 404, 413, 415, 422, 429, 503),
        openapi_extra=_body("feedback"),
        summary="Report what became of cards",
    )
    async def feedback(service_id: str, request: Request) -> Response:
        caller = await caller_of(request)
        service = _service(service_id)
        document = parse_object(await body_of(request, largest=largest_body, media_types=ACCEPTED))
        reports = read_feedback(document)
        cards = await run_in_threadpool(_cards_on_record, recorder.log, reports)
        facts = Caller(caller.client, request_id.get()).facts | {"service": service.id}
        await recorder.record_all(
            [
                recorder.draft(
                    FEEDBACK,
                    facts | report.facts | {"known": report.card in cards},
                    content=report.content,
                    subject=subject_of(cards.get(report.card)),
                )
                for report in reports
            ]
        )
        return Response(status_code=200)

    return router


def _service(identifier: str) -> CdsService:
    if identifier not in SERVICES:
        raise NotFound("there is no such CDS service; GET /cds-services lists them")
    return SERVICES[identifier]


def _cards_on_record(log: AuditLog, reports: Sequence[CardFeedback]) -> dict[str, LogEntry]:
    """Return the records of those cards that this service showed."""
    entries = {}
    for identifier in {report.card for report in reports}:
        try:
            entries[identifier] = log.get(identifier)
        except NotFound:
            continue
    return entries


def _incomplete(missing: PrefetchMissing) -> Response:
    issues = [
        {
            "severity": "error",
            "code": "required",
            "details": {"text": "Needed data were neither sent nor could be fetched"},
            "diagnostics": f"prefetch key {key}",
            "expression": [f"prefetch.{key}"],
        }
        for key in missing.keys
    ]
    outcome = {"resourceType": "OperationOutcome", "issue": issues}
    return Response(orjson.dumps(outcome), 412, media_type=MEDIA_TYPE)


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content: dict[str, Any] = {MEDIA_TYPE: {"schema": {"type": "object"}}}
    return {status: {"description": REFUSALS[status], "content": content} for status in statuses}


def _body(*required: str) -> dict[str, Any]:
    schema = {"type": "object", "required": list(required)}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}
