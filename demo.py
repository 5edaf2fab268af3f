"""The guided tour: build the real cohorts, fit, register, serve, ask, and show the answer and its record.

Every step is the command or request that anyone can give themselves; each runs in a process of its own.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

HOME = Path("var/demo").absolute()
RECIPES = ("rotterdam", "colon")
HOST, PORT = "127.0.0.1", 8000
DEPLOYMENT = ("SALVAGE_", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID")
PATIENT = {
    "disease": "breast_cancer",
    "age": 58.4,
    "sex": "female",
    "menopausal_status": "postmenopausal",
    "months_diagnosis_to_relapse": 26,
    "positive_lymph_nodes": 4,
    "tumour_grade": "grade_3",
    "tumour_size": "over_20_to_50_mm",
    "oestrogen_receptor": 42,
    "prior_chemotherapy": False,
    "prior_endocrine_therapy": True,
}
REQUEST = {"model": "salvage-relapse-survival", "patient": PATIENT, "horizon": 24}
PATIENCE_SECONDS = 120


def main() -> int:
    """Run the tour."""
    options = _options()
    notes = Console(stderr=True)
    environment = _environment()
    HOME.mkdir(parents=True, exist_ok=True)
    cohorts = [HOME / f"{recipe}.parquet" for recipe in RECIPES]
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=notes) as progress:
        for recipe, file in zip(RECIPES, cohorts, strict=True):
            with _step(progress, f"building the cohort {recipe}"):
                _salvage("cohort", "build", "--recipe", recipe, "--out", str(file), "--json", env=environment)
        with _step(progress, "fitting, evaluating on held-out patients, registering"):
            named = [argument for file in cohorts for argument in ("--cohort", str(file))]
            registered = json.loads(
                _salvage("fit", "--protocol", "relapse-survival", *named, "--json", env=environment)
            )
        with _step(progress, "starting the server"):
            server = _serve(options.port, environment)
    try:
        address = f"http://{HOST}:{options.port}"
        answer = _ask(address)
        if options.json:
            print(json.dumps(answer, indent=1))
        else:
            _show(Console(), registered, answer)
        if not options.once:
            notes.print(f"serving at {address} (API page: {address}/docs); stop with Ctrl-C")
            with contextlib.suppress(KeyboardInterrupt):
                server.wait()
    finally:
        _stop(server)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build, fit, register, serve, ask.")
    parser.add_argument("--once", action="store_true", help="stop after the example")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--port", type=int, help=f"where to serve; {PORT}, or a free port with --once")
    options = parser.parse_args()
    if options.port is None:
        options.port = _free_port() if options.once else PORT
    return options


def _environment() -> dict[str, str]:
    """Return ours without a deployment's settings, so that the tour writes into its own folder only."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(DEPLOYMENT)}
    return ours | {"SALVAGE_HOME": str(HOME)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def _step(progress: Progress, name: str) -> Iterator[None]:
    task = progress.add_task(name, total=1)
    yield
    progress.update(task, completed=1)


def _salvage(*arguments: str, env: dict[str, str]) -> str:
    """Run one command of the project; its messages go where ours go."""
    command = [sys.executable, "-m", "salvage", *arguments]
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout


def _serve(port: int, env: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "salvage", "serve", "--demo", "--host", HOST, "--port", str(port)]
    with (HOME / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://{HOST}:{port}/health/ready").status_code == 200 and server.poll() is None:
                return server
        time.sleep(0.1)
    _stop(server)
    sys.exit(f"the server did not become ready; its log: {HOME / 'server.log'}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=10)


def _ask(address: str) -> dict[str, Any]:
    response = httpx.post(f"{address}/v1/predictions", json=REQUEST)
    response.raise_for_status()
    answer = response.json()
    return {
        "model": answer["model"],
        "request": REQUEST,
        "prediction": answer["prediction"],
        "audit": answer["audit"],
        "mode": answer["mode"],
    }


def _show(console: Console, registered: dict[str, Any], answer: dict[str, Any]) -> None:
    model, prediction, audit = answer["model"], answer["prediction"], answer["audit"]
    console.rule("The model")
    console.print(
        f"{model['title']}\n{model['name']} version {model['version']}, evidence: {model['evidence']}"
    )
    for endpoint, groups in registered["performance"].items():
        for group, by_model in groups.items():
            ours, cox = by_model["model"]["uno_c"]["value"], by_model["cox"]["uno_c"]["value"]
            whom = f"{endpoint}, {group}".replace("_", " ")
            console.print(f"held-out Uno's C, {whom}: {ours:.3f} (Cox baseline {cox:.3f})")
    console.rule("The question")
    asked = Table("at the day of relapse", "")
    for name, value in answer["request"]["patient"].items():
        asked.add_row(name.replace("_", " "), str(value))
    console.print(asked)
    console.rule("The answer")
    unused = [w for w in prediction["warnings"] if w["kind"] in ("not_known", "unseen_category")]
    for endpoint in prediction["endpoints"]:
        for outcome in endpoint["outcomes"]:
            _show_outcome(console, endpoint["title"], outcome, unused)
    console.rule("How sure")
    _show_next_tests(console, prediction["next_tests"])
    console.print(f"how typical: {prediction['typical']['words']}")
    for warning in prediction["warnings"]:
        console.print(f"note: {warning['message']}")
    console.print(prediction["notice"])
    console.print(f"on record as number {audit['seq']}: {audit['id']}")
    console.print(f"mode: {answer['mode']}")


def _show_outcome(
    console: Console, title: str, outcome: dict[str, Any], unused: list[dict[str, Any]]
) -> None:
    """Print one outcome's probabilities with their intervals, its median, and the reasons.

    What is not known, or taken as not known, is no reason; the warnings ``unused`` tell of it.
    """
    stated = Table("months", f"probability of {outcome['label']}", "nine times in ten within", title=title)
    for at in outcome["probabilities"]:
        known = at["probability"] is not None
        said = f"{at['probability']:.1%}" if known else at["reason"]
        months = "any" if at["horizon"] is None else f"{at['horizon']:g}"
        stated.add_row(months, said, f"{at['low']:.1%} to {at['high']:.1%}" if known else "-")
    console.print(stated)
    if (median := outcome["median"]) is not None:
        ends = [f"{end:.1f}" if end else "beyond follow-up" for end in (median["low"], median["high"])]
        said = median["reason"] or f"{median['months']:.1f} months ({ends[0]} to {ends[1]})"
        console.print(f"median: {said}")
    explained = outcome["explanation"]["scales"][0]
    console.print(f"{explained['reference']:.1%} is the {explained['reference_name']};")
    console.print(f"the reasons for {explained['prediction']:.1%} ({explained['unit']}):")
    reasons = Table("predictor", "value", "adds")
    none = {"disease", *(warning["predictor"] for warning in unused)}
    known = [c for c in explained["contributions"] if c["value"] is not None and c["predictor"] not in none]
    for reason in sorted(known, key=lambda c: -abs(c["contribution"]))[:8]:
        points = f"{100 * reason['contribution']:+.1f} points"
        reasons.add_row(reason["label"], str(reason["value"]), points)
    console.print(reasons)
    if unused:
        together = next(g["contribution"] for g in explained["groups"] if g["group"] == "not_known")
        console.print(f"what is not known adds {100 * together:+.1f} points and widens the interval")
    if explained["coherence"]:
        console.print(f"agreeing with the other endpoints adds {100 * explained['coherence']:+.1f} points")


def _show_next_tests(console: Console, tests: list[dict[str, Any]]) -> None:
    if not tests:
        console.print("what to find out next: nothing, all that this model uses is known")
    for heading, source in (("known already to you?", "history"), ("to be done", "test")):
        for test in [test for test in tests if test["source"] == source][:5]:
            console.print(f"{heading} {test['words']}")


if __name__ == "__main__":
    sys.exit(main())
