"""Answers as JSON: byte for byte the prediction's, alone and among others, for endpoints of every kind."""

from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.endpoints import ENDPOINTS
from features.errors import InvalidRequest
from models.answer.endpoint_answer import Statement
from models.answer.fitted_endpoint import FittedEndpoint
from models.estimators.competing import CompetingModel
from models.estimators.response import ResponseModel
from models.uncertainty.intervals import Intervals
from tests.lib.patients import BREAST, protocol
from tests.models.test_bundle import patients

COMPETING, RESPONSE = "relapse_and_non_relapse_mortality", "response"


def competing(leading: FittedEndpoint) -> CompetingModel:
    """Make a model of two causes from the trees of survival."""
    return CompetingModel(
        tuple(
            replace(leading.model, outcome=name, base=leading.model.base + shift)
            for name, shift in (("relapse", 0.0), ("non_relapse_mortality", -1.0))
        )
    )


def responses(leading: FittedEndpoint) -> ResponseModel:
    rng, shape = np.random.default_rng(1), leading.model.means.shape
    return ResponseModel(
        ("complete_response", "overall_response"),
        base=rng.normal(size=(shape[0], 2)),
        means=leading.model.means,
        coefficients=rng.normal(0.0, 0.1, (shape[0], 2, shape[1])),
        trees=None,
        stretch=np.ones(2),
        shift=np.zeros(2),
        chosen={},
    )


def fitted(leading: FittedEndpoint, name: str, model) -> FittedEndpoint:
    errors = np.full(len(model.outcomes), 0.3)
    own = leading.intervals
    intervals = Intervals(model, own.means, own.scales, errors, np.ones(len(errors)))
    return replace(leading, endpoint=ENDPOINTS[name], model=model, intervals=intervals)


@pytest.fixture(scope="module")
def several(bundle):
    """The small bundle with competing risks and responses beside survival."""
    (leading,) = bundle.endpoints
    others = fitted(leading, COMPETING, competing(leading)), fitted(leading, RESPONSE, responses(leading))
    return replace(bundle, endpoints=(leading, *others))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(patients(), st.data())
def test_an_answer_is_the_prediction_as_json(several, patient, data):
    horizons = [None, *several.explainable(patient["disease"])]
    horizon = data.draw(st.sampled_from(horizons))
    prediction = several.predict(several.validate(patient, horizon=horizon), horizon=horizon)
    assert several.answer(patient, horizon=horizon) == orjson.dumps(prediction)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(patients(), max_size=8))
def test_many_are_answered_byte_for_byte_as_each_alone(several, some):
    assert several.answers(some) == [several.answer(patient) for patient in some]


def test_a_great_many_are_answered_as_each_alone(bundle, cohort):
    some = [cohort.patient(row % len(cohort)) for row in range(600)]
    some = [{name: patient[name] for name in bundle.protocol.predictors} for patient in some]
    together = bundle.answers(some)
    assert together[:400:17] == [bundle.answer(patient) for patient in some[:400:17]]
    assert together[400:] == together[:200]


def test_whoever_cannot_be_answered_is_told_why_in_their_place(bundle):
    first, wrong, last = bundle.answers([BREAST, BREAST | {"age": -1.0}, BREAST])
    assert first == last == bundle.answer(BREAST)
    assert isinstance(wrong, InvalidRequest)
    assert [problem.field for problem in wrong.problems] == ["age"]
    with pytest.raises(InvalidRequest):
        bundle.answer(BREAST, horizon=13.0)


def test_a_horizon_that_was_predicted_at_unasked_is_still_refused(bundle):
    bundle.predict(bundle.validate(BREAST), horizon=13.0)
    with pytest.raises(InvalidRequest, match="horizon"):
        bundle.answer(BREAST, horizon=13.0)


def test_compiled_numbers_are_those_by_the_models_own_methods(several, cohort):
    X, disease = several.encoder.encode(cohort)[:40], protocol().diseases[0]
    strata = np.zeros(40, dtype=np.int64)
    for endpoint in (several.endpoints[0], several.endpoints[2]):
        statement = Statement.of(endpoint, disease, None)
        each = [statement._of_any_model(X[row : row + 1], strata[row : row + 1]) for row in range(40)]
        for found, expected in zip(statement.numbers(X, strata), zip(*each, strict=True), strict=True):
            np.testing.assert_allclose(found, np.concatenate(expected), rtol=0, atol=1e-8)
