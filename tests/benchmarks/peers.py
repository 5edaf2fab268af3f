"""What the service is timed against: a route that does nothing, and one with xgboost's own explanations."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from models.bundle.bundle import ModelBundle
from models.bundle.reading import read_bundle
from serving.contract import Answer, AuditReceipt, ModelStamp
from serving.detail import Detail
from tests.serving.several import EXAMINED

HOME = Path(os.environ.get("BENCHMARK_HOME", "."))


class Asked(BaseModel):
    """The request as a model of the framework."""

    model_config = ConfigDict(extra="forbid")
    patient: dict[str, float | int | bool | str | None]
    model: str | None = None
    horizon: float | None = None
    subject: str | None = None


def _bundle() -> ModelBundle:
    bundle = read_bundle(HOME / "written")
    bundle.prepare()
    return bundle


def noop() -> FastAPI:
    """Return an application that answers with an answer made beforehand."""
    bundle = _bundle()
    stamp = ModelStamp("salvage-three", "1", "0" * 64, "title", "three", "synthetic")
    receipt = AuditReceipt("0" * 36, 1, "2026-01-01T00:00:00+00:00", "0" * 64, 1, "0" * 64)
    made = Answer(stamp, bundle.predict(bundle.validate(EXAMINED)), receipt, "secured", Detail.FULL)
    app = FastAPI()

    @app.get("/health")
    async def health() -> str:
        return "ready"

    @app.post("/v1/predictions")
    async def predict(asked: Asked) -> Answer:
        return made

    return app


def plain() -> FastAPI:
    """Return an application that predicts and explains with the boosters, and records nothing."""
    import xgboost  # noqa: PLC0415

    bundle = _bundle()
    boosters = {}
    for file in sorted(HOME.glob("*.ubj")):
        boosters[file.stem] = xgboost.Booster(model_file=file)
        boosters[file.stem].set_param({"nthread": 1})
    app = FastAPI()

    @app.get("/health")
    async def health() -> str:
        return "ready"

    @app.post("/v1/predictions")
    def predict(asked: Asked) -> dict[str, Any]:
        X = bundle.encoder.encode(bundle.validate(asked.patient))
        data = xgboost.DMatrix(X, nthread=1)
        return {
            name: {
                "probability": float(booster.predict(data)[0]),
                "contributions": np.asarray(booster.predict(data, pred_contribs=True))[0].tolist(),
            }
            for name, booster in boosters.items()
        }

    app.state.boosters = boosters
    return app


if os.environ.get("BENCHMARK_HOME"):
    noop, plain = noop(), plain()  # type: ignore[assignment]  # uvicorn's workers import an application
