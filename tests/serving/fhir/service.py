"""The standards' routes over real parts: a champion on a shelf, a sequencer on SQLite, an open gate."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from fastapi import APIRouter, FastAPI

from models.bundle.bundle import ModelBundle
from models.bundle.shelf import Shelf
from serving import errors
from serving.access.gate import Gate, OpenGate
from serving.access.subjects import subject_hash
from serving.audit.sequencer import AuditLog, Sequencer
from serving.audit.sqlite import SqliteStore
from serving.champions import Champions
from serving.predictor import Predictor
from serving.recorder import Recorder
from tests.serving.client import TestClient, deploy

PUBLIC = "https://salvage.example.org"
TODAY = date(2024, 5, 1)
AT = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
KEY = b"a key of the tests, 32 bytes long"


@dataclass(frozen=True)
class Service:
    """What a router is made from."""

    predictor: Predictor
    recorder: Recorder
    gate: Gate

    @property
    def log(self) -> AuditLog:
        return self.recorder.log


@contextmanager
def service(folder: Path, bundle: ModelBundle) -> Iterator[Service]:
    """Deploy a model and open a log; close the log afterwards."""
    home = deploy(folder, bundle)
    log = Sequencer(SqliteStore(folder / "audit.db"))
    recorder = Recorder(log, now=lambda: AT, new_id=lambda: str(uuid.uuid4()))
    predictor = Predictor(
        Champions(Shelf(home / "shelf"), loaded=lambda champion, before: None),
        recorder,
        subject_of=lambda identifier: subject_hash(KEY, identifier),
        counted=lambda model, version: None,
        mode="tests",
    )
    try:
        yield Service(predictor, recorder, OpenGate())
    finally:
        log.close()


@contextmanager
def client(*routers: APIRouter) -> Iterator[TestClient]:
    """Run an application of these routers."""
    with TestClient(app_of(*routers), base_url="http://localhost", raise_server_exceptions=False) as running:
        yield running


def app_of(*routers: APIRouter) -> FastAPI:
    app = FastAPI()
    for router in routers:
        app.include_router(router)
    errors.install(app)
    return app
