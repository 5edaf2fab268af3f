"""NVIDIA's client of the protocol, with its binary tensors, against a running server."""

import warnings

import numpy as np
import orjson
import pytest

from models.bundle.bundle import ModelBundle
from tests.serving.client import MODEL
from tests.serving.fhir.service import Service
from tests.serving.inference.tensors import NAME, PATIENTS, column

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies warn at import
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException


@pytest.fixture(scope="module")
def asking(address):
    client = triton.InferenceServerClient(address.removeprefix("http://"))
    yield client
    client.close()


def inputs(bundle: ModelBundle, *, binary: bool):
    made = []
    for field in bundle.dictionary.fields:
        values = column(bundle, field.name)
        if not binary and values.dtype != np.object_ and np.isnan(values).any():
            continue  # JSON has no NaN, and this client no null: what is missing is left out
        one = triton.InferInput(
            field.name, [len(PATIENTS)], "BYTES" if values.dtype == np.object_ else "FP64"
        )
        made.append(one.set_data_from_numpy(values, binary_data=binary))
    return made


def test_the_server_and_its_models_are_alive_ready_and_described(asking, bundle: ModelBundle):
    assert asking.is_server_live()
    assert asking.is_server_ready()
    assert asking.is_model_ready(NAME)
    assert asking.is_model_ready(NAME, "1")
    assert "binary_tensor_data" in asking.get_server_metadata()["extensions"]
    described = asking.get_model_metadata(NAME)
    assert described["versions"] == ["1"]
    assert [one["name"] for one in described["inputs"]] == list(bundle.dictionary.names)
    assert described["outputs"][0] == {"name": "probability", "datatype": "FP64", "shape": [-1, 1, 4]}
    assert described["properties"]["horizons_months"] == "12,24,36,60"


@pytest.mark.parametrize("named", [False, True])
def test_binary_tensors_are_answered_with_the_very_numbers_on_record(
    asking, bundle: ModelBundle, served: Service, named
):
    outputs = [triton.InferRequestedOutput(n) for n in ("high", "probability", "low", "record")]
    found = asking.infer(
        NAME, inputs(bundle, binary=True), outputs=outputs if named else None, request_id="seven"
    )
    assert found.get_response()["id"] == "seven"
    records = [one.decode() for one in found.as_numpy("record")]
    assert len(set(records)) == len(PATIENTS)
    for row, record in enumerate(records):
        said = orjson.loads(served.log.get(record).content)
        (endpoint,) = said["prediction"]["endpoints"]
        for name in ("probability", "low", "high"):
            stated = [
                np.nan if p[name] is None else p[name] for p in endpoint["outcomes"][0]["probabilities"]
            ]
            np.testing.assert_array_equal(found.as_numpy(name)[row, 0], stated)
        asked = {k: v for k, v in said["request"]["patient"].items() if v is not None}
        assert asked == PATIENTS[row]


def test_json_tensors_give_the_same_as_binary_ones(asking, bundle: ModelBundle):
    plain = [
        triton.InferRequestedOutput(n, binary_data=False) for n in ("probability", "low", "high", "record")
    ]
    given = inputs(bundle, binary=False)
    kept = {one.name() for one in given}
    binary = [one for one in inputs(bundle, binary=True) if one.name() in kept]
    by_json = asking.infer(NAME, given, outputs=plain)
    by_bytes = asking.infer(NAME, binary)
    for name in ("probability", "low", "high"):
        np.testing.assert_array_equal(by_json.as_numpy(name), by_bytes.as_numpy(name))


def test_what_is_wrong_is_told_in_one_text(asking, bundle: ModelBundle):
    with pytest.raises(InferenceServerException, match="is not served"):
        asking.infer("nobody.overall_survival", inputs(bundle, binary=True))
    wrong = triton.InferInput("age", [1], "FP64").set_data_from_numpy(np.array([500.0]))
    with pytest.raises(InferenceServerException, match=r"age\[0\]: out of range"):
        asking.infer(NAME, [wrong])
    assert not asking.is_model_ready(MODEL)
    assert not asking.is_model_ready(NAME, "2")
