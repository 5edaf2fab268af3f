"""Inference by hand: shapes, missing values, datatypes, records, and every refusal as one text."""

import math
import struct

import numpy as np
import orjson
import pytest

from models.bundle.bundle import ModelBundle
from tests.serving.client import MODEL, TestClient
from tests.serving.fhir.service import Service
from tests.serving.inference.conftest import MOST_ROWS
from tests.serving.inference.tensors import BREAST_ONLY, NAME, PATIENTS, json_inputs, tensor
from tests.serving.several import ENDPOINTS

URL = f"/v2/models/{NAME}/infer"


def infer(v2: TestClient, *inputs, url: str = URL, expect: int = 200, **more):
    response = v2.post(url, json={"inputs": list(inputs)} | more)
    assert response.status_code == expect, response.text
    return response.json()


def output(answered, name: str = "probability"):
    return next(one for one in answered["outputs"] if one["name"] == name)


def refused(response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    return response.json()["error"]


def test_every_row_is_on_record_in_one_commit(v2, served: Service, bundle: ModelBundle):
    before = served.log.head().size
    answered = infer(v2, *json_inputs(bundle))
    entries = list(served.log.entries(after=before))
    assert [entry.id for entry in entries] == output(answered, "record")["data"]
    assert {entry.kind for entry in entries} == {"prediction"}
    assert len(entries) == len(PATIENTS)


def test_a_refused_row_puts_none_on_record(v2, served: Service):
    before = served.log.head()
    two = tensor("disease", "breast_cancer", "gout", datatype="BYTES")
    said = infer(v2, two, expect=400)["error"]
    assert "disease[1]: unknown category" in said
    assert served.log.head() == before


def test_null_empty_and_left_out_are_all_missing(v2):
    whole = infer(v2, BREAST_ONLY)
    null = infer(v2, BREAST_ONLY, tensor("age", None), tensor("sex", "", datatype="BYTES"))
    assert output(null)["data"] == output(whole)["data"]


@pytest.mark.parametrize(
    ("datatype", "value"), [("BOOL", True), ("FP64", 1.0), ("UINT8", 1), ("BYTES", "true")]
)
def test_a_flag_may_come_as_any_of_its_datatypes(v2, datatype, value):
    flagged = infer(v2, BREAST_ONLY, tensor("prior_chemotherapy", value, datatype=datatype))
    without = infer(v2, BREAST_ONLY, tensor("prior_chemotherapy", False, datatype="BOOL"))
    again = infer(v2, BREAST_ONLY, tensor("prior_chemotherapy", True, datatype="BOOL"))
    assert output(flagged)["data"] == output(again)["data"] != output(without)["data"]


def test_a_column_may_be_two_dimensional(v2):
    flat = infer(v2, BREAST_ONLY, tensor("age", 50.0))
    nested = infer(v2, BREAST_ONLY | {"shape": [1, 1]}, tensor("age", [50.0], shape=[1, 1]))
    assert output(nested)["data"] == output(flat)["data"]
    assert output(nested)["shape"] == [1, 1, 4]


def test_only_the_outputs_named_are_given_in_their_order(v2):
    answered = infer(v2, BREAST_ONLY, outputs=[{"name": "high"}, {"name": "record"}], id="a")
    assert [one["name"] for one in answered["outputs"]] == ["high", "record"]
    assert answered["id"] == "a"
    assert answered["model_name"] == NAME
    assert answered["model_version"] == "1"


def test_simulated_evidence_is_said_in_every_answer(v2):
    parameters = infer(v2, BREAST_ONLY)["parameters"]
    assert parameters["evidence"] == "synthetic"
    assert parameters["notice"].startswith("Every patient behind this model is simulated")


def test_each_endpoint_is_a_model_with_its_own_shape(several):
    made, v2 = several
    name = f"{MODEL}.response"
    described = v2.get(f"/v2/models/{name}").json()
    outcomes = described["properties"]["outcomes"].split(",")
    assert described["outputs"][0]["shape"] == [-1, len(outcomes)]
    assert described["properties"]["horizons_months"] == ""
    for endpoint in ENDPOINTS:
        answered = infer(v2, BREAST_ONLY, url=f"/v2/models/{MODEL}.{endpoint}/infer")
        shape = v2.get(f"/v2/models/{MODEL}.{endpoint}").json()["outputs"][0]["shape"]
        assert output(answered)["shape"] == [1, *shape[1:]]
        assert len(output(answered)["data"]) == math.prod(shape[1:])
        content = orjson.loads(made.log.get(output(answered, "record")["data"][0]).content)
        (said,) = [e for e in content["prediction"]["endpoints"] if e["endpoint"] == endpoint]
        stated = [p["probability"] for o in said["outcomes"] for p in o["probabilities"]]
        assert output(answered)["data"] == stated


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "inputs: are missing"),
        ({"inputs": []}, "inputs: are missing"),
        ({"inputs": [1]}, "inputs: are missing"),
        ({"inputs": [{"name": "age"}]}, "age: has an unknown datatype"),
        ({"inputs": [tensor("age", 1, shape=[2])]}, "age: has other data"),
        ({"inputs": [tensor("age", 1, shape=[1, 2])]}, "age: has a shape"),
        ({"inputs": [tensor("age", 1, shape=[-1])]}, "age: has a shape"),
        ({"inputs": [tensor("age", 1, shape=[True])]}, "age: has a shape"),
        ({"inputs": [tensor("age", *[1] * (MOST_ROWS + 1))]}, "age: has a shape"),
        ({"inputs": [tensor("age", "old")]}, "age: holds values that are not FP64"),
        ({"inputs": [tensor("age", True)]}, "age: holds values that are not FP64"),
        ({"inputs": [tensor("age", 1.5, datatype="INT32")]}, "age: holds values that are not INT32"),
        ({"inputs": [tensor("age", "x", datatype="BYTES")]}, "age: cannot be BYTES"),
        ({"inputs": [tensor("disease", 1)]}, "disease: cannot be FP64"),
        ({"inputs": [tensor("shoe_size", 1)]}, "shoe_size: is no input"),
        ({"inputs": [BREAST_ONLY, BREAST_ONLY]}, "disease: is given twice"),
        ({"inputs": [BREAST_ONLY, tensor("age", 1, 2)]}, "different numbers of rows"),
        ({"inputs": [tensor("age", 50.0)]}, "disease[0]: is missing"),
        ({"inputs": [BREAST_ONLY, tensor("positive_lymph_nodes", 1.5)]}, "not a whole number"),
        ({"inputs": [BREAST_ONLY], "outputs": [{"name": "shap"}]}, "outputs: are none"),
        ({"inputs": [BREAST_ONLY], "id": 7}, "id: is no text"),
        ({"inputs": [BREAST_ONLY], "parameters": []}, "parameters: are no object"),
        ({"inputs": [BREAST_ONLY | {"parameters": {"binary_data_size": 4}}]}, "has data beside"),
        ({"inputs": [{**tensor("age", 1), "parameters": {"binary_data_size": -1}}]}, "wrong binary"),
    ],
)
def test_a_request_that_breaks_the_protocol_is_refused_with_one_text(v2, document, said):
    assert said in refused(v2.post(URL, json=document))


def binary(*parts: tuple[dict, bytes], length: int | str | None = None):
    document = orjson.dumps({"inputs": [head for head, _ in parts]})
    header = {"Inference-Header-Content-Length": str(len(document) if length is None else length)}
    return {"content": document + b"".join(raw for _, raw in parts), "headers": header}


def raw(name: str, content: bytes, datatype: str = "FP64", rows: int = 1, size: int | None = None):
    parameters = {"binary_data_size": len(content) if size is None else size}
    head = {"name": name, "datatype": datatype, "shape": [rows], "parameters": parameters}
    return head, content


DISEASE = struct.pack("<I", 13) + b"breast_cancer"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (binary(raw("age", b"1234")), "age: has other data"),
        (binary(raw("age", b"")), "age: has other data"),
        (binary(raw("age", np.float64(5).tobytes(), size=800)), "disease[0]: is missing"),
        (binary(raw("disease", b"\xff\xff\xff\xff", "BYTES")), "disease: has other data"),
        (binary(raw("disease", b"\x01\x00\x00\x00\xff", "BYTES")), "disease: has other data"),
        (binary(raw("disease", DISEASE, "BYTES"), ({}, b"more")), "has an unknown datatype"),
        (binary(raw("disease", DISEASE + b"more", "BYTES", size=17)), "belong to no tensor"),
        (binary(raw("disease", DISEASE, "BYTES"), length=100_000), "is no length"),
        (binary(raw("disease", DISEASE, "BYTES"), length="-1"), "is no length"),
        (binary(raw("disease", DISEASE, "BYTES"), length="²"), "is no length"),
        (binary(raw("disease", DISEASE, "BYTES"), length=3), "is not JSON"),
    ],
)
def test_bytes_that_are_not_the_tensors_said_are_refused(v2, sent, said):
    headers = {n: v.encode("latin-1") for n, v in sent["headers"].items()}
    assert said in refused(v2.post(URL, content=sent["content"], headers=headers))


@pytest.mark.parametrize(
    "name", [MODEL, f"{MODEL}.", ".overall_survival", "overall_survival", f"{MODEL}.x", "x"]
)
def test_there_is_no_other_model(v2, name):
    assert refused(v2.get(f"/v2/models/{name}"), 404)
    assert refused(v2.get(f"/v2/models/{name}/ready"), 404)
    assert "is not served" in refused(v2.post(f"/v2/models/{name}/infer", json={"inputs": [BREAST_ONLY]}))


def test_there_is_no_other_version(v2):
    assert v2.get(f"/v2/models/{NAME}/versions/1/ready").json() == {"name": NAME, "ready": True}
    assert refused(v2.get(f"/v2/models/{NAME}/versions/2"), 404)
    assert refused(v2.post(f"/v2/models/{NAME}/versions/2/infer", json={"inputs": [BREAST_ONLY]}))


def test_too_large_a_body_is_refused(v2):
    assert "larger than" in refused(v2.post(URL, content=b" " * 200_001), 413)


def test_a_sequence_gives_what_single_rows_give(v2, bundle: ModelBundle):
    together = np.reshape(output(infer(v2, *json_inputs(bundle)))["data"], (len(PATIENTS), 1, 4))
    for row, patient in enumerate(PATIENTS):
        alone = output(infer(v2, *json_inputs(bundle, [patient])))["data"]
        np.testing.assert_array_equal(together[row, 0].astype(float), np.array(alone, dtype=float))
