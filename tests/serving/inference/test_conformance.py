"""The protocol's own OpenAPI document as the judge: Schemathesis sends what it allows, and what not."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.serving.inference.tensors import BREAST_ONLY, NAME, tensor

SPECIFICATION = Path(__file__).parents[4] / "shared" / "standards" / "open_inference_rest.yaml"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
SECONDS = 240
ERROR = {"$ref": "#/components/schemas/inference_error_response"}
UNKNOWN = {"description": "Unknown", "content": {"application/json": {"schema": ERROR}}}
WORKS = {"id": "42", "inputs": [BREAST_ONLY, tensor("age", 50.0)], "outputs": [{"name": "probability"}]}


@pytest.fixture(scope="module")
def specification(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published document, with its paths mended and a request that our model takes.

    It leaves open what becomes of a model that is not there: a 404 with an error, as for inference.
    """
    if not SPECIFICATION.is_file():
        pytest.skip("the protocol's document (shared/standards) is not here")
    document = yaml.safe_load(SPECIFICATION.read_text(encoding="utf-8").replace("${", "{"))
    for path in document["paths"].values():
        for parameter in path.get("parameters", []):
            parameter["schema"]["enum"] = [NAME if parameter["name"] == "MODEL_NAME" else "1"]
        path.get("get", {"responses": {}})["responses"]["404"] = UNKNOWN
    infer = document["paths"]["/v2/models/{MODEL_NAME}/versions/{MODEL_VERSION}/infer"]["post"]
    infer["requestBody"]["content"]["application/json"]["example"] = WORKS
    path = tmp_path_factory.mktemp("protocol") / "open_inference.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_what_the_server_answers_is_what_the_protocol_says(specification: Path, address: str):
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        str(specification),
        "--url",
        address,
        "--phases=examples,fuzzing",
        "--max-examples=20",
        "--seed=1",
        "--generation-deterministic",
        f"--checks={','.join(CHECKS)}",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=specification.parent)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]
    assert "6 selected / 6 total" in ran.stdout
