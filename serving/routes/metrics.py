"""Metrics, for Prometheus."""

from fastapi import APIRouter
from fastapi.responses import Response

from serving.metrics import Metrics

TEXT = "text/plain; version=0.0.4; charset=utf-8"


def metrics_router(metrics: Metrics) -> APIRouter:
    """Return the route ``/metrics``; it names no patient and no client, and needs no key."""
    router = APIRouter(tags=["health"])

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {TEXT: {"schema": {"type": "string"}}}}},
        summary="Show counts and times of every worker, for Prometheus",
    )
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=TEXT)

    return router
