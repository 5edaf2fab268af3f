"""The application, wired: settings in, routes out."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from importlib import metadata

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from models.shelf import Shelf
from serving import errors, openapi
from serving.audit.store import SqliteAuditStore
from serving.champions import Champions
from serving.predictor import Predictor
from serving.routes.health import health_router
from serving.routes.models import models_router
from serving.routes.predictions import predictions_router
from serving.settings import ServingSettings

DESCRIPTION = (
    "Outcomes of salvage therapy, explained and on record. Answers describe patients of the training "
    "cohorts; they are associations, and inform a clinician's decision without making it."
)


def _closing(store: SqliteAuditStore) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        store.close()

    return lifespan


def create_app(settings: ServingSettings) -> FastAPI:
    """Return the application; nothing is read before the first request."""
    champions = Champions(Shelf(settings.shelf))
    store = SqliteAuditStore(settings.audit)
    predictor = Predictor(champions, store, now=lambda: datetime.now(UTC), new_id=lambda: str(uuid.uuid4()))
    app = FastAPIOffline(
        title="Salvage outcomes",
        version=metadata.version("salvage-outcomes"),
        description=DESCRIPTION,
        redoc_url=None,
        lifespan=_closing(store),
    )
    app.include_router(predictions_router(predictor, largest_body=settings.largest_body))
    app.include_router(models_router(champions))
    app.include_router(health_router(champions, store))
    errors.install(app)
    described = openapi.document(app)
    app.openapi = lambda: described  # type: ignore[method-assign]  # the framework's own way to correct it
    return app
