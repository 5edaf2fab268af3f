"""The served models: what they predict, from what, and their cards."""

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool

from serving.access.gate import Gate
from serving.access.principal import Scope
from serving.champions import Champions
from serving.contract import ModelDetail, ModelList, ModelSummary, patient_schema
from serving.routes.responses import problems


def models_router(champions: Champions, gate: Gate) -> APIRouter:
    """Return the routes under ``/v1/models``."""
    router = APIRouter(
        prefix="/v1/models", tags=["models"], dependencies=[Depends(gate.needs(Scope.PREDICT))]
    )

    @router.get("", responses=problems(401, 403, 429, 503), summary="List the served models")
    async def list_models() -> ModelList:
        return await run_in_threadpool(
            lambda: ModelList(tuple(_summary(champions, n) for n in champions.names()))
        )

    @router.get(
        "/{name}",
        responses=problems(401, 403, 404, 429, 503),
        summary="Show a model's protocol, predictors and card",
    )
    async def show_model(name: str) -> ModelDetail:
        return await run_in_threadpool(_detail, champions, name)

    return router


def _summary(champions: Champions, name: str) -> ModelSummary:
    champion = champions.get(name)
    stamp, protocol = champion.stamp, champion.bundle.protocol
    return ModelSummary(
        stamp.name,
        stamp.version,
        stamp.bundle,
        stamp.title,
        stamp.evidence,
        protocol.index_event,
        protocol.endpoints,
        protocol.horizons,
    )


def _detail(champions: Champions, name: str) -> ModelDetail:
    champion = champions.get(name)
    bundle = champion.bundle
    return ModelDetail(
        champion.stamp,
        bundle.protocol.as_dict(),
        patient_schema(bundle.dictionary, diseases=bundle.protocol.diseases),
        bundle.protocol.horizons,
        {e.endpoint.name: dict(e.supported) for e in bundle.endpoints},
        bundle.card.as_dict(),
    )
