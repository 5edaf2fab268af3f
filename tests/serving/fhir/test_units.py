"""An Observation whose unit is in question refuses the record: missing, it would change the answer."""

from typing import Any

import pytest

from models.bundle.bundle import ModelBundle
from tests.serving.client import TestClient
from tests.serving.fhir import charts
from tests.serving.several import several_bundle

URL = "/v1/fhir/predictions"


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    """A model that was trained on albumin, for the module's service in place of the shared one."""
    return several_bundle()


def sent(fhir: TestClient, loinc: str, **quantity: Any) -> Any:
    observed = charts.observation(loinc, charts.RELAPSE, valueQuantity=quantity)
    return fhir.post(URL, json=charts.bundle(*charts.relapsed(), observed))


@pytest.mark.parametrize(
    ("quantity", "said"),
    [
        ({"value": 38, "code": "g/dL"}, "albumin fits g/L better than g/dL: did you mean g/L?"),
        ({"value": 3.8, "code": "g/L"}, "albumin fits g/dL better than g/L: did you mean g/dL?"),
        ({"value": 3.8}, "albumin has no unit: did you mean g/dL?"),
    ],
)
def test_a_unit_in_question_is_refused(fhir: TestClient, quantity: dict[str, Any], said: str):
    refused = sent(fhir, "1751-7", **quantity)
    assert refused.status_code == 422
    (issue,) = refused.json()["issue"]
    assert said in issue["diagnostics"]


@pytest.mark.parametrize("quantity", [{"value": 3.8, "code": "g/dL"}, {"value": 38, "code": "g/L"}])
def test_a_stated_unit_that_fits_is_answered_for(fhir: TestClient, quantity: dict[str, Any]):
    assert sent(fhir, "1751-7", **quantity).status_code == 200


def test_a_unit_of_a_value_that_the_model_does_not_use_is_not_asked_about(fhir: TestClient):
    assert sent(fhir, "718-7", value=118, code="g/dL").status_code == 200
