"""Schemathesis, with every check, on the service's own description: with a key, and in the demo.

SALVAGE_SCHEMATHESIS_EXAMPLES is how many examples each operation gets (10). The description is narrowed to
what one deployment can answer, as a client would read it: names that are there, the model's own predictors
and horizons. In the demo nobody is asked for credentials, so what is said of them is left out.
"""

import copy
import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from features.dictionary import load_dictionary
from serving.access.keys import new_key
from serving.access.principal import EVERY_SCOPE
from serving.access.store import AccessStore
from tests.contract.test_openapi import OPENAPI
from tests.serving.cds.calls import SELECT, SIGN, VIEW
from tests.serving.client import deploy
from tests.serving.planned import PLANNED, planned_bundle
from tests.serving.processes import ROOT, Server, serving

EXAMPLES = os.environ.get("SALVAGE_SCHEMATHESIS_EXAMPLES", "10")
SECONDS = 1200
DISEASE = "breast_cancer"
REPEATED = "Idempotency-Key"  # one that was used is refused, and a schema cannot say so
# Other protocols' documents say more than a schema can; each has its own tests with its own judge.
# A line of a batch that cannot be accepted is answered by a problem in its place, not by a status.
CONFIGURATION = """
[[operations]]
include-path-regex = "^/(cds-services|v2|v1/fhir)"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "^/(cds-services|v2|v1/fhir)"
checks.negative_data_rejection.enabled = false

[[operations]]
include-path = "/v1/batches"
checks.negative_data_rejection.enabled = false
"""


def narrowed(predictors: dict[str, Any], horizons: list[float], record: str) -> dict[str, Any]:
    """Return the description of what this deployment can answer."""
    document = copy.deepcopy(OPENAPI)
    known = load_dictionary()
    patient = copy.deepcopy(predictors)
    patient["properties"] = {
        name: schema
        for name, schema in patient["properties"].items()
        if known[name].applies_to is None or DISEASE in known[name].applies_to
    }
    patient["properties"]["disease"]["enum"] = [DISEASE]
    by_disease = {one["if"]["properties"]["disease"]["const"]: one["then"] for one in patient.pop("allOf")}
    for name, limits in by_disease[DISEASE]["properties"].items():
        schema = patient["properties"][name]
        schema["minimum"] = max(schema["minimum"], limits["minimum"])
        schema["maximum"] = min(schema["maximum"], limits["maximum"])
    names: dict[str, list[Any]] = {
        "name": [PLANNED],
        "version": ["1"],
        "service_id": [VIEW, SELECT, SIGN],
        "prediction_id": [record],
        "record_id": [record],
        "id": [record],
        "model": [PLANNED],
        "size": [3],
        "first": [1],
        "second": [2, 3],
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["parameters"] = [p for p in operation.get("parameters", []) if p["name"] != REPEATED]
            for parameter in operation["parameters"]:
                if parameter["name"] in names:
                    inference = path.startswith("/v2") and parameter["name"] == "name"
                    allowed = [f"{PLANNED}.overall_survival"] if inference else names[parameter["name"]]
                    parameter["schema"] = {"enum": allowed}
            for content in operation.get("requestBody", {}).get("content", {}).values():
                narrow(content["schema"], patient, horizons)
    return document


def narrow(schema: dict[str, Any], patient: dict[str, Any], horizons: list[float]) -> None:
    properties = schema.get("properties", {})
    if "patient" not in properties:
        return
    properties["patient"] = patient
    properties["model"] = {"enum": [PLANNED, None]}
    if "horizon" in properties:
        properties["horizon"] = {"enum": [*horizons, None]}
    if "horizons" in properties:
        properties["horizons"]["items"] = {"enum": horizons}
    if "plans" in properties:
        plans = {name: schema for name, schema in patient["properties"].items() if name.startswith("plan_")}
        properties["plans"]["items"]["properties"] = plans


def run(server: Server, folder: Path, document: dict[str, Any], *options: str) -> None:
    described, configuration = folder / "openapi.json", folder / "schemathesis.toml"
    described.write_text(json.dumps(document), encoding="utf-8")
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    program = str(Path(sys.executable).with_name("schemathesis"))
    command = [program, "--config-file", str(configuration), "run", str(described), "--url", server.url]
    command += ["--phases=examples,coverage,fuzzing", f"--max-examples={EXAMPLES}"]
    command += ["--generation-deterministic", *options]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
    }
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, cwd=folder, env=environment
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2000:]
    assert "29 selected / 29 total" in ran.stdout or "29/29" in ran.stdout


def described_by(server: Server, **headers: str) -> dict[str, Any]:
    """Return the description narrowed to what a server says of itself."""
    server.client.headers.update(headers)
    shown = server.client.get(f"/v1/models/{PLANNED}").json()
    return narrowed(shown["predictors"], shown["horizons"], server.ask().json()["audit"]["id"])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A deployment whose model knows plans."""
    return deploy(tmp_path, planned_bundle(), name=PLANNED)


@pytest.mark.slow
def test_no_check_fails_with_a_key(home, tmp_path):
    key, shown = new_key("schemathesis", EVERY_SCOPE, now=time.time())
    with closing(AccessStore(f"sqlite:///{home / 'access.db'}")) as store:
        store.add(key)
    credentials = f"Bearer {shown}"
    with serving(home, demo=False, SALVAGE_RATE=0) as server:
        run(
            server,
            tmp_path,
            described_by(server, Authorization=credentials),
            "-H",
            f"Authorization: {credentials}",
        )


@pytest.mark.slow
def test_no_check_fails_in_the_demo(home, tmp_path):
    with serving(home) as server:
        document = described_by(server)
        for operations in document["paths"].values():
            for operation in operations.values():
                operation.pop("security", None)
        run(server, tmp_path, document)
