"""Whatever stands in the place of a part of a Bundle: an assessment or a refusal, never a failure."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lib.mutation import almost
from tests.serving.fhir.charts import bundle, order, relapsed
from tests.serving.fhir.test_predictions import FHIR, URL

modest = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@modest
@given(data=st.data())
def test_an_almost_right_bundle_never_fails(fhir, data):
    response = fhir.post(URL, json=data.draw(almost(bundle(*relapsed(), order()))))
    assert response.status_code in (200, 422), response.text
    assert response.headers["content-type"] == FHIR
