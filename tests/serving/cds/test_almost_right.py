"""Whatever stands in the place of a part of a call or of feedback: cards or a refusal, never a failure."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from tests.lib.mutation import almost
from tests.serving.cds.calls import AUTHORIZED, SELECT, call
from tests.serving.fhir.charts import order
from tests.serving.fhir.test_almost_right import modest

REPORT = {
    "card": str(uuid.uuid4()),
    "outcome": "overridden",
    "acceptedSuggestions": [{"id": str(uuid.uuid4())}],
    "overrideReason": {"reason": {"code": "x", "system": "y", "display": "z"}, "userComment": "no"},
    "outcomeTimestamp": "2024-05-01T13:00:00Z",
}


@modest
@given(data=st.data())
def test_an_almost_right_call_never_fails(cds, ehr, data):
    ehr.holds = {}
    changed = data.draw(almost(call(SELECT, orders=[order()], **AUTHORIZED)))
    response = cds.post(f"/cds-services/{SELECT}", json=changed)
    assert response.status_code in (200, 412, 422), response.text


@modest
@given(data=st.data())
def test_almost_right_feedback_never_fails(cds, data):
    response = cds.post(f"/cds-services/{SELECT}/feedback", json=data.draw(almost({"feedback": [REPORT]})))
    assert response.status_code in (200, 422), response.text
