"""The standards' routes over real parts: a champion on a shelf, a sequencer on SQLite, an open gate."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI

from models.bundle import ModelBundle
from models.prediction import Prediction
from models.shelf import Shelf
from serving import errors
from serving.access.gate import Gate, OpenGate
from serving.access.principal import Principal
from serving.audit.record import Draft, Receipt
from serving.audit.sequencer import AuditLog, Sequencer
from serving.audit.sqlite import SqliteStore
from serving.champions import Champion, Champions
from serving.contract import ModelStamp
from tests.serving.client import TestClient, deploy

PUBLIC = "https://salvage.example.org"
TODAY = date(2024, 5, 1)
AT = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Recorded:
    prediction: Prediction
    stamp: ModelStamp
    receipt: Receipt


@dataclass(frozen=True)
class Service:
    """What a router is made from; ``predict`` stands in for the predictor, over the real log."""

    champions: Champions
    log: AuditLog
    gate: Gate

    async def predict(
        self,
        champion: Champion,
        patient: Mapping[str, Any],
        horizon: float | None,
        caller: Principal,
        facts: Mapping[str, Any],
        *,
        subject: str | None,
    ) -> Recorded:
        cohort = champion.bundle.validate(patient, horizon=horizon)
        prediction = champion.bundle.predict(cohort, horizon=horizon)
        draft = Draft(
            str(uuid.uuid4()),
            AT.isoformat(),
            "prediction",
            {"model": champion.stamp.__dict__, "client": caller.client, **facts},
            orjson.dumps({"request": {"patient": patient}, "prediction": prediction}),
            sha256(str(subject).encode()).hexdigest(),
        )
        return Recorded(prediction, champion.stamp, await self.log.append(draft))


@contextmanager
def service(folder: Path, bundle: ModelBundle, gate: Gate | None = None) -> Iterator[Service]:
    """Deploy a model and open a log; close the log afterwards."""
    home = deploy(folder, bundle)
    log = Sequencer(SqliteStore(folder / "audit.db"))
    try:
        yield Service(Champions(Shelf(home / "shelf")), log, gate or OpenGate())
    finally:
        log.close()


@contextmanager
def client(*routers: APIRouter) -> Iterator[TestClient]:
    """Run an application of these routers."""
    with TestClient(app_of(*routers), raise_server_exceptions=False) as running:
        yield running


def app_of(*routers: APIRouter) -> FastAPI:
    app = FastAPI()
    for router in routers:
        app.include_router(router)
    errors.install(app)
    return app


Route = Callable[[Service], APIRouter]
