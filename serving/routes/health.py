"""Health: liveness, and readiness to answer and record."""

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool

from features.errors import NoChampion
from serving.audit.sequencer import AuditLog
from serving.champions import ADVICE, Champions
from serving.contract import Health
from serving.routes.responses import problems


def health_router(champions: Champions, log: AuditLog) -> APIRouter:
    """Return the routes under ``/health``."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", summary="Tell that the process runs")
    async def live() -> Health:
        return Health("live")

    @router.get(
        "/ready", responses=problems(503), summary="Tell that every champion can answer and be recorded"
    )
    async def ready() -> Health:
        return await run_in_threadpool(_ready, champions, log)

    return router


def _ready(champions: Champions, log: AuditLog) -> Health:
    names = champions.names()
    if not names:
        raise NoChampion(ADVICE)
    for name in names:
        champions.get(name)
    log.check()
    return Health("ready", names)
