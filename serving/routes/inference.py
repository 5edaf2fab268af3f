"""Open Inference Protocol v2: server and model metadata, readiness and inference."""

import asyncio
from importlib import metadata
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, params
from fastapi.responses import Response

from features.errors import InvalidRequest, NotFound, Problem, SalvageError, TooBusy
from serving.access.gate import Gate
from serving.access.principal import AccessScope, Principal
from serving.audit.sequencer import AuditLog
from serving.contract import PredictionRequest
from serving.gateway import request_id
from serving.inference.exchange import HEADER, JSON, OCTETS, InferenceRequest, read_request, respond
from serving.inference.served_endpoint import ServedEndpoint, split_name
from serving.predictor import Predictor
from serving.recorder import Caller
from serving.routes.dialect import translating
from serving.routes.incoming import body_of
from serving.wording import notices

SERVER = "salvage"
EXTENSIONS = ["binary_tensor_data"]
MOST_ROWS = 1000
UNSAID = ""
INVALID, NOT_READY = 400, 503
AS_INVALID = (415, 422)
ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
}
ASKED = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": TENSOR},
        "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
    },
}
REFUSALS = {
    400: "The request cannot be accepted",
    401: "Valid credentials are needed",
    403: "The credentials do not allow this",
    404: "There is no such model or version",
    413: "Body too large",
    429: "Too many requests",
    503: "No model is ready, or the answer could not be recorded",
}


def as_error(problem: Response) -> Response:
    """Convert a problem response to the protocol's error: one text; 415 and 422 become 400."""
    document = orjson.loads(problem.body)
    parts = [f"{p['field']}: {p['problem']}; {p['remedy']}" for p in document.get("problems", [])]
    text = " | ".join([str(document["detail"]), *parts])
    status = INVALID if problem.status_code in AS_INVALID else problem.status_code
    headers = {n: v for n, v in problem.headers.items() if n not in ("content-length", "content-type")}
    return Response(orjson.dumps({"error": text}), status, headers, JSON)


def inference_router(
    predictor: Predictor, log: AuditLog, gate: Gate, *, largest_body: int, most_rows: int = MOST_ROWS
) -> APIRouter:
    """Return the routes under ``/v2``; ``largest_body`` is in bytes, of up to ``most_rows`` patients."""
    router = APIRouter(prefix="/v2", tags=["open inference"], route_class=translating(as_error))
    may_predict = Depends(gate.needs(AccessScope.PREDICT))
    _add_server(router, predictor, log)
    _add_models(router, predictor, may_predict)

    @router.post(
        "/models/{name}/infer",
        responses=_refusals(400, 401, 403, 413, 429, 503),
        openapi_extra=_body(),
        summary="Predict one endpoint for some patients, each on record",
    )
    @router.post(
        "/models/{name}/versions/{version}/infer",
        responses=_refusals(400, 401, 403, 413, 429, 503),
        openapi_extra=_body(),
        summary="Predict one endpoint for some patients by this version, each on record",
    )
    async def infer(
        request: Request, name: str, principal: Annotated[Principal, may_predict], version: str | None = None
    ) -> Response:
        body = await body_of(request, largest=largest_body, media_types=(JSON, OCTETS, UNSAID))
        try:
            model = await _find(predictor, name, version)
        except NotFound as error:
            raise InvalidRequest("request", [Problem("model", "is not served", str(error))]) from error
        inference = read_request(body, request.headers.get(HEADER), most_rows=most_rows)
        caller = Caller(principal.client, request_id.get())
        answers = await _answers(predictor, model, inference, caller)
        notice = answers[0]["prediction"]["notice"]
        words = " ".join(notices(notice, model.champion.stamp.evidence))
        return respond(model, inference, model.outputs(answers), words)

    return router


def _add_server(router: APIRouter, predictor: Predictor, log: AuditLog) -> None:
    """Add the routes on the server: metadata, liveness, readiness."""

    @router.get("", summary="Say what this server is")
    @router.get("/", include_in_schema=False)
    async def server() -> dict[str, Any]:
        version = metadata.version("salvage-outcomes")
        return {"name": SERVER, "version": version, "extensions": EXTENSIONS}

    @router.get("/health/live", summary="Tell that the process runs")
    async def live() -> dict[str, Any]:
        return {"live": True}

    @router.get(
        "/health/ready",
        responses={503: {"description": "Not ready"}},
        summary="Tell that every champion can answer and be recorded",
    )
    async def ready() -> Response:
        sound = await asyncio.to_thread(_ready, predictor, log)
        body = orjson.dumps({"live": True, "ready": sound})
        return Response(body, 200 if sound else NOT_READY, media_type=JSON)


def _add_models(router: APIRouter, predictor: Predictor, may_predict: params.Depends) -> None:
    """Add the routes on one model: metadata, readiness."""

    @router.get(
        "/models/{name}/ready",
        dependencies=[may_predict],
        responses=_refusals(401, 403, 404, 429, 503),
        summary="Tell that an endpoint of a model can answer",
    )
    @router.get(
        "/models/{name}/versions/{version}/ready",
        dependencies=[may_predict],
        responses=_refusals(401, 403, 404, 429, 503),
        summary="Tell that an endpoint of this version can answer",
    )
    async def model_ready(name: str, version: str | None = None) -> dict[str, Any]:
        return {"name": (await _find(predictor, name, version)).name, "ready": True}

    @router.get(
        "/models/{name}",
        dependencies=[may_predict],
        responses=_refusals(401, 403, 404, 429, 503),
        summary="Show the tensors of an endpoint of a model",
    )
    @router.get(
        "/models/{name}/versions/{version}",
        dependencies=[may_predict],
        responses=_refusals(401, 403, 404, 429, 503),
        summary="Show the tensors of an endpoint of this version",
    )
    async def model_metadata(name: str, version: str | None = None) -> dict[str, Any]:
        return (await _find(predictor, name, version)).metadata()


async def _find(predictor: Predictor, name: str, version: str | None) -> ServedEndpoint:
    """Return the served endpoint of a model name and version."""
    served, endpoint = split_name(name)
    if not served:
        raise NotFound("expected MODEL.ENDPOINT")
    champion = await predictor.champions.champion(served)
    if version is not None and version != champion.stamp.version:
        raise NotFound("this version is not the one that is served")
    return ServedEndpoint.of(champion, endpoint)


async def _answers(
    predictor: Predictor, model: ServedEndpoint, inference: InferenceRequest, caller: Caller
) -> list[dict[str, Any]]:
    """Return the recorded answer of each row, of all rows or of none."""
    rows = await asyncio.to_thread(model.patients, inference.tensors)
    served = model.champion.stamp
    requests = [PredictionRequest(row, model=served.name) for row in rows]
    answered = []
    for one in await predictor.answer_many(requests):
        if isinstance(one, SalvageError):
            raise one
        if one.champion.stamp.bundle != served.bundle:
            raise TooBusy("the model was replaced while it was asked; ask again")
        answered.append(one)
    return [orjson.loads(one) for one in await predictor.record_many(answered, [caller] * len(rows))]


def _ready(predictor: Predictor, log: AuditLog) -> bool:
    try:
        names = predictor.champions.names()
        for name in names:
            predictor.champions.get(name)
        log.check()
    except SalvageError:
        return False
    return bool(names)


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content: dict[str, Any] = {JSON: {"schema": ERROR}}
    return {status: {"description": REFUSALS[status], "content": content} for status in statuses}


def _body() -> dict[str, Any]:
    octets = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": ASKED}, OCTETS: octets}}}
