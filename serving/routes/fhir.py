"""FHIR R4: a patient's Bundle in, a recorded RiskAssessment out; and the log as AuditEvents."""

from collections.abc import Callable
from datetime import date
from itertools import islice
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from features.errors import InvalidRequest, NotFound, Problem
from serving.access.gate import Gate
from serving.access.principal import AccessScope, Principal
from serving.audit.record import LogEntry
from serving.audit.sequencer import AuditLog
from serving.contract import parse_object
from serving.fhir.assessment import assess
from serving.fhir.chart import Chart
from serving.fhir.datatypes import MEDIA_TYPE, Json
from serving.fhir.export import search_results
from serving.fhir.operation_outcome import as_outcome
from serving.gateway import request_id
from serving.predictor import Predictor
from serving.recorder import Caller
from serving.routes.dialect import translating
from serving.routes.incoming import JSON, body_of

MOST_EVENTS = 1000
CODE = r"^[a-z][a-z0-9_.-]{0,63}$"
SHAPE: Json = {
    "type": "object",
    "required": ["resourceType"],
    "properties": {"resourceType": {"type": "string"}},
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The resource", "content": {MEDIA_TYPE: {"schema": SHAPE}}}
}
REFUSALS: dict[int, str] = {
    401: "Valid credentials are needed",
    403: "The credentials do not allow this",
    404: "Not found",
    413: "Body too large",
    415: "Not FHIR JSON",
    422: "The record cannot be read as one patient with a relapse; every problem is an issue",
    429: "Too many requests",
    503: "No model is ready, or the answer could not be recorded",
}


def fhir_router(
    predictor: Predictor,
    log: AuditLog,
    gate: Gate,
    *,
    today: Callable[[], date],
    public_url: str,
    largest_body: int,
) -> APIRouter:
    """Return the routes under ``/v1/fhir``; their errors are OperationOutcomes.

    ``log`` is the audit log, read here; ``largest_body`` is in bytes, and a Bundle needs more than a patient.
    """
    router = APIRouter(prefix="/v1/fhir", tags=["fhir"], route_class=translating(as_outcome))

    @router.post(
        "/predictions",
        response_class=Response,
        responses=_responses(401, 403, 404, 413, 415, 422, 429, 503),
        openapi_extra={"requestBody": _bundle_body()},
        summary="Assess the one patient of an mCODE Bundle: a RiskAssessment, explained and on record",
    )
    async def assess_bundle(
        request: Request,
        principal: Annotated[Principal, Depends(gate.needs(AccessScope.PREDICT))],
        model: Annotated[
            str | None, Query(description="a served model; needed when there are several")
        ] = None,
        horizon: Annotated[float | None, Query(description="the horizon to explain, in months")] = None,
    ) -> Response:
        bundle = parse_object(await body_of(request, largest=largest_body, media_types=(MEDIA_TYPE, JSON)))
        _require_bundle(bundle)
        champion = await predictor.champions.champion(model)
        assessed = await assess(
            Chart(bundle),
            champion,
            predictor=predictor,
            caller=Caller(principal.client, request_id.get()),
            facts={"protocol": "fhir"},
            today=today(),
            horizon=horizon,
        )
        return _fhir(assessed.assessment)

    @router.get(
        "/AuditEvent",
        response_class=Response,
        responses=_responses(401, 403, 422, 429, 503),
        dependencies=[Depends(gate.needs(AccessScope.AUDIT_READ))],
        summary="Read the audit log as FHIR AuditEvents, in its order, page by page",
    )
    async def audit_events(
        identifier: Annotated[str | None, Query(alias="_id", description="one record")] = None,
        subtype: Annotated[str | None, Query(pattern=CODE, description="only records of this kind")] = None,
        count: Annotated[int, Query(alias="_count", ge=1, le=MOST_EVENTS)] = 100,
        after: Annotated[int, Query(ge=0, le=2**53, description="only records after this number")] = 0,
    ) -> Response:
        found = await run_in_threadpool(_found, log, identifier, subtype, count, after)
        asked = {"_id": identifier, "subtype": subtype, "_count": count, "after": after}
        address, following = f"{public_url}/v1/fhir/AuditEvent", None
        if len(found) == count and not identifier:
            following = _url(address, asked | {"after": found[-1].seq})
        return _fhir(search_results(found, asked=_url(address, asked), following=following))

    return router


def _found(log: AuditLog, identifier: str | None, kind: str | None, count: int, after: int) -> list[LogEntry]:
    if identifier is None:
        return list(islice(log.entries(after=after, limit=count, kind=kind), count))
    try:
        return [log.get(identifier)]
    except NotFound:
        return []


def _require_bundle(resource: Any) -> None:
    if resource.get("resourceType") != "Bundle":
        raise InvalidRequest(
            "record", [Problem("resourceType", "is not Bundle", "send one Bundle a patient")]
        )


def _url(address: str, asked: dict[str, Any]) -> str:
    return f"{address}?{urlencode({name: value for name, value in asked.items() if value is not None})}"


def _fhir(resource: Json) -> Response:
    return Response(orjson.dumps(resource), media_type=MEDIA_TYPE)


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": SHAPE}}
    return ANSWERS | {s: {"description": REFUSALS[s], "content": content} for s in statuses}


def _bundle_body() -> Json:
    schema = SHAPE | {
        "properties": {
            "resourceType": {"const": "Bundle"},
            "entry": {"type": "array", "items": {}},
        }
    }
    return {"required": True, "content": {MEDIA_TYPE: {"schema": schema}, JSON: {"schema": schema}}}
