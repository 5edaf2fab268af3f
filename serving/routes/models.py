"""The served models: what they predict, from what, and their cards."""

import hashlib
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from serving.access.gate import Gate
from serving.access.principal import AccessScope
from serving.champions import Champions
from serving.contract import ModelDetail, ModelList, ModelSummary
from serving.routes.incoming import JSON
from serving.routes.responses import problems
from serving.schemas import patient_schema

UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "Nothing changed since the ETag was given"}
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "the ETag of what is held already; 304 when it is unchanged",
    "schema": {"type": "string"},
}


def models_router(champions: Champions, gate: Gate) -> APIRouter:
    """Return the routes under ``/v1/models``."""
    router = APIRouter(
        prefix="/v1/models", tags=["models"], dependencies=[Depends(gate.needs(AccessScope.PREDICT))]
    )

    @router.get(
        "",
        response_model=ModelList,
        responses={**UNCHANGED, **problems(401, 403, 429, 503)},
        openapi_extra={"parameters": [IF_NONE_MATCH]},
        summary="List the served models",
    )
    async def list_models(request: Request) -> Response:
        models = await run_in_threadpool(
            lambda: ModelList(tuple(_summary(champions, n) for n in champions.names()))
        )
        return tagged(request, models)

    @router.get(
        "/{name}",
        response_model=ModelDetail,
        responses={**UNCHANGED, **problems(401, 403, 404, 429, 503)},
        openapi_extra={"parameters": [IF_NONE_MATCH]},
        summary="Show a model's protocol, predictors and card",
    )
    async def show_model(request: Request, name: str) -> Response:
        return tagged(request, await run_in_threadpool(_detail, champions, name))

    return router


def tagged(request: Request, document: object) -> Response:
    """Return a document with its ETag, or 304 where the client holds the same."""
    body = orjson.dumps(document)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    held = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tag in held or "*" in held:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=JSON)


def _summary(champions: Champions, name: str) -> ModelSummary:
    champion = champions.get(name)
    stamp, protocol = champion.stamp, champion.bundle.protocol
    return ModelSummary(
        stamp.name,
        stamp.version,
        stamp.bundle,
        stamp.title,
        stamp.evidence,
        protocol.time_zero,
        protocol.endpoints,
        protocol.horizons,
    )


def _detail(champions: Champions, name: str) -> ModelDetail:
    champion = champions.get(name)
    bundle = champion.bundle
    return ModelDetail(
        champion.stamp,
        bundle.protocol.as_dict(),
        patient_schema(
            bundle.dictionary, diseases=bundle.protocol.diseases, applicability=bundle.applicability
        ),
        bundle.protocol.horizons,
        {e.endpoint.name: dict(e.supported) for e in bundle.endpoints},
        bundle.card.as_dict(),
    )
