"""The service beside what it could have been: python -m tests.benchmarks.serving [--json].

One model of three endpoints (overall and progression-free survival, three nested responses), every answer
explained and durably on record, asked over HTTP by a separate process. Beside it, with as many workers:

noop    a FastAPI route with the same request and response models that returns an answer made beforehand;
plain   a FastAPI route that predicts and explains with xgboost's own ``pred_contribs``, one booster an
        endpoint with as many leaves on the same columns; it records nothing;
mlflow  ``mlflow models serve`` of the same boosters; it explains and records nothing;
served  ``mlflow models serve`` of the model itself, as `salvage fit` registers it: every outcome at every
        horizon, without intervals, explanations or a record.

Ratios are medians over rounds in which the contenders take turns, so that a noisy machine treats all alike.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.bundle.bundle import ModelBundle
from models.bundle.shelf import Shelf
from tests.serving.several import EXAMINED, several_cohort, study
from training.evaluate import Evaluation
from training.fit import bundle_from, fit_models, read_outcomes
from training.plan import TrainingPlan
from training.report import model_card

NAME = "salvage-three"
ENDPOINTS = ("overall_survival", "progression_free_survival", "response")
HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 90
LINES = 2000


def three_endpoints() -> ModelBundle:
    """Fit the model that is asked: 300 simulated patients, the ordinary procedure."""
    cohort, plan = several_cohort(), TrainingPlan()
    asked = replace(study(), name="three", endpoints=ENDPOINTS)
    outcomes = read_outcomes(cohort, asked)
    fitted = fit_models(cohort, outcomes, protocol=asked, plan=plan)
    card = model_card(cohort, outcomes, Evaluation({}), protocol=asked, plan=plan)
    return bundle_from(fitted, cohort, outcomes, protocol=asked, plan=plan, card=card)


def publish(bundle: ModelBundle, home: Path) -> None:
    """Put the bundle on a shelf as champion."""
    bundle.write(home / "written")
    shelf = Shelf(home / "shelf")
    shelf.publish(NAME, "1", home / "written")
    shelf.promote(NAME, "1")


def save_boosters(bundle: ModelBundle, home: Path) -> None:
    """Train, for each endpoint, one booster of depth 3 that has as many leaves as its model."""
    import numpy as np  # noqa: PLC0415
    import xgboost  # noqa: PLC0415

    X = bundle.encoder.encode(several_cohort())
    data = xgboost.DMatrix(X, label=(np.arange(len(X)) % 3 == 0).astype(float))
    settings = {"max_depth": 3, "eta": 0.02, "objective": "binary:logistic", "nthread": 1}
    for endpoint in bundle.endpoints:
        trees = endpoint.model.tables  # type: ignore[attr-defined]
        wanted = 8 if trees is None else len(trees.parts.leaf_value)
        booster = xgboost.train(settings, data, num_boost_round=wanted // 8 + 1)
        booster.save_model(home / f"{endpoint.endpoint.name}.ubj")


@contextmanager
def running(command: list[str], port: int, ready: str, **environment: str) -> Iterator[None]:
    """Run a server until it answers, and to the end of the block."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # mlflow looks for uvicorn there
    settings = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, env=settings, stdout=log, stderr=log, start_new_session=True)
        try:
            _await(port, ready, server, log)
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def _await(port: int, path: str, server: subprocess.Popen[bytes], log: Any) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    log.seek(0)
    raise SystemExit(f"no answer at {path}: {log.read()[-3000:].decode(errors='replace')}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def contenders(home: Path, workers: int, *, mlflow: bool) -> Iterator[dict[str, tuple[int, str, Path]]]:
    """Run every contender, and say where each is asked and with what."""
    python = sys.executable
    asked = home / "request.json"
    asked.write_text(json.dumps({"patient": EXAMINED}))
    ports = {name: free_port() for name in ("ours", "noop", "plain", "mlflow", "served")}
    peers = [python, "-m", "uvicorn", "--workers", str(workers), "--no-access-log", "--log-level", "error"]
    serve = [python, "-m", "salvage", "serve", "--demo", "--workers", str(workers)]
    with (
        running(
            [*serve, "--port", str(ports["ours"])], ports["ours"], "/health/ready", SALVAGE_HOME=str(home)
        ),
        running(
            [*peers, "--port", str(ports["noop"]), "tests.benchmarks.peers:noop"],
            ports["noop"],
            "/health",
            BENCHMARK_HOME=str(home),
        ),
        running(
            [*peers, "--port", str(ports["plain"]), "tests.benchmarks.peers:plain"],
            ports["plain"],
            "/health",
            BENCHMARK_HOME=str(home),
        ),
    ):
        found = {
            "ours": (ports["ours"], "/v1/predictions", asked),
            "noop": (ports["noop"], "/v1/predictions", asked),
            "plain": (ports["plain"], "/v1/predictions", asked),
        }
        if not mlflow:
            yield found
            return
        with (
            _mlflow(home / "boosters", ports["mlflow"], _row(home), workers) as boosters,
            _mlflow(home / "model", ports["served"], _patient(), workers) as model,
        ):
            yield found | {"mlflow": boosters, "served": model}


@contextmanager
def _mlflow(model: Path, port: int, row: dict[str, Any], workers: int) -> Iterator[tuple[int, str, Path]]:
    """Run ``mlflow models serve`` of a model, and say where it is asked and with what."""
    asked = model.with_name(f"{model.name}.json")
    asked.write_text(json.dumps({"dataframe_split": row}))
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model)]
    command += ["--env-manager", "local", "-h", HOST, "-p", str(port), "-w", str(workers)]
    with running(command, port, "/ping"):
        yield port, "/invocations", asked


def _patient() -> dict[str, Any]:
    return {"columns": list(EXAMINED), "data": [list(EXAMINED.values())]}


def _row(home: Path) -> dict[str, Any]:
    import numpy as np  # noqa: PLC0415

    from models.bundle.reading import read_bundle  # noqa: PLC0415

    bundle = read_bundle(home / "written")
    X = bundle.encoder.encode(bundle.validate(EXAMINED))[0]
    values = [None if np.isnan(value) else float(value) for value in X]
    return {"columns": [f"f{at}" for at in range(len(values))], "data": [values]}


def save_for_mlflow(bundle: ModelBundle, home: Path) -> None:
    """Save the boosters as an MLflow model of code, and the model as `salvage fit` registers it."""
    import mlflow  # noqa: PLC0415

    from models.registry.flavor import signature  # noqa: PLC0415
    from models.registry.tracking import LOADER  # noqa: PLC0415

    mlflow.pyfunc.save_model(
        str(home / "boosters"),
        python_model=str(ROOT / "tests" / "benchmarks" / "pyfunc_model.py"),
        artifacts={name: str(home / f"{name}.ubj") for name in ENDPOINTS},
        pip_requirements=["xgboost"],
    )
    mlflow.pyfunc.save_model(
        str(home / "model"),
        loader_module=LOADER,
        data_path=str(home / "written"),
        pip_requirements=["salvage-outcomes"],
        signature=signature(bundle),
    )


def asked(where: tuple[int, str, Path], *, connections: int, seconds: float) -> dict[str, float]:
    """Load one contender from a process of its own."""
    port, path, body = where
    command = [sys.executable, "-m", "tests.benchmarks.load", HOST, str(port), path, str(body)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    found: dict[str, float] = json.loads(said)
    if found["failed"]:
        raise SystemExit(f"{path}: {found['failed']} of {found['requests']} requests failed")
    return found


def batch(port: int, home: Path) -> float:
    """Return the rows a second of the batch route over those of the bundle in this process."""
    import httpx  # noqa: PLC0415

    from models.bundle.reading import read_bundle  # noqa: PLC0415

    bundle = read_bundle(home / "written")
    bundle.prepare()
    patients = [EXAMINED | {"age": 40.0 + at % 40} for at in range(LINES)]
    lines = b"".join(json.dumps({"patient": patient}).encode() + b"\n" for patient in patients)
    headers = {"content-type": "application/jsonl"}
    rates = {"http": [0.0], "here": [0.0]}
    for _ in range(3):
        started = time.perf_counter()
        answer = httpx.post(f"http://{HOST}:{port}/v1/batches", content=lines, headers=headers, timeout=300)
        rates["http"].append(answer.content.count(b'"answer"') / (time.perf_counter() - started))
        started = time.perf_counter()
        bundle.answers(patients)
        rates["here"].append(LINES / (time.perf_counter() - started))
    return max(rates["http"]) / max(rates["here"])


def measure(*, workers: int, rounds: int, seconds: float, mlflow: bool) -> dict[str, float]:
    """Return the named figures."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        bundle = three_endpoints()
        publish(bundle, home)
        save_boosters(bundle, home)
        if mlflow:
            save_for_mlflow(bundle, home)
        with contenders(home, workers, mlflow=mlflow) as places:
            for where in places.values():
                asked(where, connections=4, seconds=1.0)
            runs = [
                {
                    (name, connections): asked(where, connections=connections, seconds=seconds)
                    for connections in (1, 8, 32)
                    for name, where in places.items()
                }
                for _ in range(rounds)
            ]
            by_batch = batch(places["ours"][0], home)

    def median(name: str, connections: int, figure: str) -> float:
        return statistics.median(run[name, connections][figure] for run in runs)

    def ratio(other: str, connections: int, figure: str) -> float:
        return statistics.median(
            run["ours", connections][figure] / run[other, connections][figure] for run in runs
        )

    found = {"workers": workers, "rounds": rounds}
    found["p50_vs_noop"] = ratio("noop", 1, "p50_ms")
    found["throughput_vs_plain_fastapi"] = ratio("plain", 8, "per_second")
    if mlflow:
        found["throughput_vs_mlflow_serve"] = ratio("mlflow", 8, "per_second")
        found["throughput_vs_mlflow_serve_of_the_model"] = ratio("served", 8, "per_second")
    found["p99_over_p50_at_32"] = statistics.median(
        run["ours", 32]["p99_ms"] / run["ours", 32]["p50_ms"] for run in runs
    )
    found["batch_vs_inprocess"] = by_batch
    for name in places:
        found[f"{name}_p50_ms"] = median(name, 1, "p50_ms")
        found[f"{name}_per_second_at_8"] = median(name, 8, "per_second")
        found[f"{name}_per_second_at_32"] = median(name, 32, "per_second")
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the service beside its peers.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--workers", type=int, default=1, help="workers of every contender")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one load in one round")
    parser.add_argument("--without-mlflow", action="store_true", help="leave mlflow models serve out")
    given = parser.parse_args()
    figures = measure(
        workers=given.workers,
        rounds=given.rounds,
        seconds=given.seconds,
        mlflow=not given.without_mlflow,
    )
    lines = [json.dumps(figures)] if given.json else [f"{name}: {value}" for name, value in figures.items()]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
