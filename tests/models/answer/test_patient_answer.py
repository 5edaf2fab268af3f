"""Answers as JSON: byte for byte the prediction's, alone and among others, for endpoints of every kind."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.cohort import read_patient
from features.errors import InvalidRequest
from models.estimators.transforms import probabilities
from models.explanation.sampled import SAMPLED
from tests.lib.patients import BREAST
from tests.models.bundle.test_bundle import patients

pytestmark = pytest.mark.filterwarnings(  # raised by shap's figures as it loads
    "ignore:The set_.* function will be deprecated:PendingDeprecationWarning"
)
UNKNOWN = {"tumour_grade", "positive_lymph_nodes"}


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(patients(), st.data())
def test_an_answer_is_the_prediction_as_json(several, patient, data):
    horizons = [None, *several.explainable(patient["disease"])]
    horizon = data.draw(st.sampled_from(horizons))
    prediction = several.predict(several.validate(patient, horizon=horizon), horizon=horizon)
    assert several.answer(patient, horizon=horizon) == orjson.dumps(prediction)


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(patients(), max_size=8))
def test_many_are_answered_byte_for_byte_as_each_alone(several, some):
    assert several.answers(some) == [several.answer(patient) for patient in some]


@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(patients(), min_size=1, max_size=3))
def test_so_are_patients_whose_explanations_are_sampled(sampled, some):
    answers = sampled.answers(some)
    assert answers == [sampled.answer(patient) for patient in some]
    assert answers[0] == orjson.dumps(sampled.predict(sampled.validate(some[0])))


def test_a_sampled_answer_has_all_that_an_exact_one_has_and_its_errors(bundle, sampled):
    exact, other = (json.loads(answering.answer(BREAST)) for answering in (bundle, sampled))
    assert exact.keys() == other.keys()
    one, another = (answer["endpoints"][0]["outcomes"][0] for answer in (exact, other))
    assert one.keys() == another.keys()
    assert another["explanation"]["method"] == SAMPLED
    errors = [[s["standard_error"] for s in o["explanation"]["scales"]] for o in (one, another)]
    assert errors[0] == [None, None]
    assert all(error > 0.0 for error in errors[1])


def known_of(patient, *unknown):
    return {name: value for name, value in patient.items() if name not in unknown}


def asked(bundle, patient):
    """Return a patient of the first disease as read: values, encoded and in scores."""
    values = read_patient(patient, dictionary=bundle.dictionary)
    (x,) = bundle.encoder.encode_each([values])
    (z,) = bundle.completion.scores([values], BREAST["disease"])
    return values, x, z


def test_next_tests_are_ranked_by_what_any_model_answers_with_each_result(sampled):
    """It answers rows with each plausible result; weighted, these answers differ so from their mean."""
    known, horizon, model = known_of(BREAST, *UNKNOWN), 24.0, sampled.endpoints[0].model
    _, x, z = asked(sampled, known)
    expected = {}
    for each in sampled.completion.plausible(z, x, BREAST["disease"]):
        strata = np.zeros(len(each.X), dtype=np.int64)
        answers = model.predict(each.X, strata, np.array([horizon]))[:, 0, 0]
        expected[each.predictor] = each.weights @ np.abs(answers - each.weights @ answers)
    found = sampled.predict(sampled.validate(known, horizon=horizon), horizon=horizon).next_tests
    assert {test.predictor for test in found} == UNKNOWN
    assert [test.predictor for test in found] == sorted(expected, key=lambda name: -expected[name])
    for test in found:
        assert test.expected_change == pytest.approx(expected[test.predictor], abs=1e-9)
    assert found[0].expected_change > 0.01


def test_an_additive_model_s_next_tests_are_ranked_by_its_shares_over_the_draws(several):
    """Its scores stand at their mean and move as the predictor's shares do, and those of what it tells of."""
    known, horizon, endpoint = known_of(BREAST, *UNKNOWN), 24.0, several.endpoints[0]
    _, x, z = asked(several, known)
    rows = several.completion.complete(z[None], x[None], BREAST["disease"])
    explained = endpoint.explainer(BREAST["disease"], 0).explain(rows, np.array([horizon]))
    (told,), expected = rows.told, {}
    apart = told.drawn - rows.weights @ told.drawn
    for name in UNKNOWN:
        place = several.dictionary.names.index(name)
        own = explained.shares[:, :, place]
        moved = rows.weights @ explained.scores + own - rows.weights @ own
        at = told.unknown.tolist().index(place)
        for other, score in zip(told.unknown.tolist(), apart.T, strict=True):
            if other != place:
                slope = (rows.weights * score) @ explained.shares[:, :, other] / (rows.weights @ score**2)
                told_of = (rows.weights * score) @ apart[:, at] / (rows.weights @ apart[:, at] ** 2)
                moved = moved + np.outer(apart[:, at], told_of * slope)
        answers = probabilities(endpoint.model.transform, moved, np.array([horizon]))[:, 0, 0]
        expected[name] = rows.weights @ np.abs(answers - rows.weights @ answers)
    found = several.predict(several.validate(known, horizon=horizon), horizon=horizon).next_tests
    assert [test.predictor for test in found] == sorted(expected, key=lambda name: -expected[name])
    for test in found:
        assert test.expected_change == pytest.approx(expected[test.predictor], abs=1e-9)
    assert found[0].expected_change > 0.01


@pytest.mark.parametrize("name", [name for name in BREAST if name != "disease"])
def test_knowing_the_only_unknown_value_moves_the_answer_as_its_rows_differ(bundle, name):
    """One unknown predictor's rows are the patient with each of its values: no other share moves much."""
    known, model = known_of(BREAST, name), bundle.endpoints[0].model
    _, x, z = asked(bundle, known)
    rows = bundle.completion.complete(z[None], x[None], BREAST["disease"])
    answers = model.predict(rows.X, np.zeros(len(rows.X), dtype=np.int64), np.array([24.0]))[:, 0, 0]
    (test,) = bundle.predict(bundle.validate(known), horizon=24.0).next_tests
    assert test.predictor == name
    expected = rows.weights @ np.abs(answers - rows.weights @ answers)
    assert test.expected_change == pytest.approx(expected, abs=0.02)
    assert answers.min() - 0.05 < test.low <= test.high < answers.max() + 0.05


def test_one_caution_names_all_that_is_not_known_what_matters_most_first(bundle):
    answer = bundle.predict(bundle.validate(known_of(BREAST, *UNKNOWN, "age")))
    (caution,) = answer.warnings
    assert (caution.kind, caution.predictor) == ("not_known", None)
    labels = [test.label for test in answer.next_tests]
    assert len(labels) == 3
    assert caution.message == f"not known, what matters most first: {'; '.join(labels)}"
    assert bundle.predict(bundle.validate(BREAST)).warnings == ()
    assert bundle.predict(bundle.validate(BREAST)).next_tests == ()


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


def test_outcomes_stand_in_the_order_of_the_endpoints_and_their_causes(several):
    said = json.loads(several.answer(BREAST))
    assert [[outcome["outcome"] for outcome in endpoint["outcomes"]] for endpoint in said["endpoints"]] == [
        ["overall_survival"],
        ["relapse", "non_relapse_mortality"],
        ["complete_response", "overall_response"],
    ]
    _, (relapse, death), (complete, overall) = (endpoint["outcomes"] for endpoint in said["endpoints"])
    for one, other in zip(relapse["curve"]["probability"], death["curve"]["probability"], strict=True):
        assert one + other <= 1.0
    assert complete["probabilities"][0]["probability"] < overall["probabilities"][0]["probability"]
