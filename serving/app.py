"""Builds the FastAPI application from its settings."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, date, datetime
from functools import cache, partial
from importlib import metadata
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from models.bundle.shelf import Shelf
from serving import errors, openapi
from serving.access.addresses import fetch_json
from serving.access.subjects import subject_hash, subject_key
from serving.access.wiring import open_access
from serving.audit.checkpoint import CheckpointFile
from serving.audit.sequencer import AuditLog
from serving.batcher import Batcher
from serving.cds.prefetch import Fetch
from serving.champions import Champion, Champions
from serving.gateway import Gateway
from serving.metrics import Metrics
from serving.predictor import Predictor
from serving.recorder import Recorder, recorder_of
from serving.routes.audit import audit_router
from serving.routes.batches import batches_router
from serving.routes.cds_hooks import CdsHooks, cds_hooks_router
from serving.routes.explanations import explanations_router
from serving.routes.fhir import fhir_router
from serving.routes.health import health_router
from serving.routes.inference import inference_router
from serving.routes.metrics import metrics_router
from serving.routes.models import models_router
from serving.routes.predictions import predictions_router
from serving.settings import ServingSettings
from serving.tracing import TracingMiddleware

DESCRIPTION = (
    "Outcomes of salvage therapy, explained and on record. Answers describe patients of the training "
    "cohorts; they are associations, and inform a clinician's decision without making it."
)
SILENT: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""The framework's own telemetry would send paths and query strings, which may name a patient."""
DEMO, SECURED = "demo: no access control, not for patients", "secured"
ASKED_BY_PAGES = ("authorization", "content-type", "accept", "idempotency-key", "x-request-id")


def create_app(settings: ServingSettings, log: AuditLog) -> FastAPI:
    """Return the application over an audit log, which whoever opened it closes."""
    access = open_access(settings.who, host=settings.host, workers=settings.workers)
    mode = DEMO if settings.who.off else SECURED
    metrics = Metrics()
    recorder = recorder_of(log)
    champions = Champions(Shelf(settings.shelf, settings.keys), loaded=_recorded(recorder, metrics))
    predictor = Predictor(
        champions,
        recorder,
        subject_of=lambda identifier: subject_hash(subject_key(settings.who.subject_key), identifier),
        counted=metrics.predicted,
        mode=mode,
    )
    batcher = Batcher(predictor, longest=settings.largest_body, most_lines=settings.largest_batch)
    app = FastAPIOffline(
        title="Salvage outcomes",
        version=metadata.version("salvage-outcomes"),
        description=DESCRIPTION,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would send a patient's values again, behind a proxy in clear
        lifespan=_life(champions, access.store.close),
        telemetry=SILENT,
    )
    app.include_router(predictions_router(predictor, access.gate, largest_body=settings.largest_body))
    app.include_router(explanations_router(predictor, access.gate, largest_body=settings.largest_body))
    app.include_router(batches_router(batcher, access.gate))
    app.include_router(models_router(champions, access.gate))
    app.include_router(audit_router(recorder, CheckpointFile(settings.second_place), access.gate))
    app.include_router(
        fhir_router(
            predictor,
            log,
            access.gate,
            today=_today,
            public_url=settings.public_url,
            largest_body=settings.largest_chart,
        )
    )
    app.include_router(
        cds_hooks_router(
            CdsHooks(predictor, fetch=_fetch(settings), today=_today, public_url=settings.public_url),
            recorder,
            access.cds_clients.verify,
            largest_body=settings.largest_chart,
        )
    )
    app.include_router(inference_router(predictor, log, access.gate, largest_body=settings.largest_chart))
    app.include_router(health_router(champions, log))
    app.include_router(metrics_router(metrics))
    errors.install(app)
    app.openapi = cache(partial(openapi.document, app))  # type: ignore[method-assign]  # FastAPI's way
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.origins,
        allow_methods=["GET", "POST"],
        allow_headers=ASKED_BY_PAGES,
    )
    app.add_middleware(
        Gateway,
        metrics=metrics,
        most=settings.most_requests,
        headers={"Salvage-Mode": mode.partition(":")[0]},
    )
    if settings.traces is not None:
        app.add_middleware(TracingMiddleware, collector=settings.traces)
    return app


def _today() -> date:
    return datetime.now(UTC).date()


def _fetch(settings: ServingSettings) -> Fetch:
    """Return the function that reads from clients' FHIR servers at allowed addresses."""
    allowed = settings.who.allowed

    async def fetch(url: str, headers: Mapping[str, str]) -> Any:
        return await fetch_json(url, allowed=allowed, headers=headers, largest=settings.largest_chart)

    return fetch


def _recorded(recorder: Recorder, metrics: Metrics) -> Callable[[Champion, Champion | None], None]:
    """Return the callback that records a newly served bundle: the first one, a promotion or a rollback."""

    def loaded(champion: Champion, before: Champion | None) -> None:
        stamp = champion.stamp
        facts = {"model": {"name": stamp.name, "version": stamp.version, "bundle": stamp.bundle}}
        kind = "model_loaded"
        if before is not None:
            kind = "model_promoted" if int(stamp.version) > int(before.stamp.version) else "model_rolled_back"
            facts["before"] = {"version": before.stamp.version, "bundle": before.stamp.bundle}
        recorder.event(kind, facts)
        metrics.taken_up(stamp.name, stamp.version)

    return loaded


def _life(
    champions: Champions, close: Callable[[], None]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        champions.load_all()
        yield
        close()

    return lifespan
