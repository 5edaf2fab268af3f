"""Whatever stands in the place of a part of a request: tensors or a refusal, never a failure."""

from hypothesis import given
from hypothesis import strategies as st

from tests.lib.mutation import almost
from tests.serving.fhir.test_almost_right import modest
from tests.serving.inference.tensors import BREAST_ONLY, tensor
from tests.serving.inference.test_infer import URL

REQUEST = {
    "id": "a",
    "parameters": {"binary_data_output": False},
    "inputs": [BREAST_ONLY, tensor("age", 50.0), tensor("prior_chemotherapy", True, datatype="BOOL")],
    "outputs": [{"name": "low", "parameters": {"binary_data": False}}],
}


@modest
@given(data=st.data())
def test_an_almost_right_request_never_fails(v2, data):
    response = v2.post(URL, json=data.draw(almost(REQUEST)))
    assert response.status_code in (200, 400), response.text


@modest
@given(tail=st.binary(max_size=40), length=st.integers(0, 60))
def test_any_bytes_behind_any_length_never_fail(v2, tail, length):
    content = b'{"inputs":[{"name":"age","datatype":"FP64","shape":[1],"parameters":{"binary_data_size":8}}]}'
    headers = {"Inference-Header-Content-Length": str(len(content) - length)}
    response = v2.post(URL, content=content + tail, headers=headers)
    assert response.status_code == 400, response.text
