"""Compiled arithmetic, against numpy and against the models' own slopes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from models.estimators.hazard import exposure

from models.estimators.response import ResponseModel
from models.explanation.attribution import EndpointExplainer
from models.explanation.aumann_shapley import exponential, fallen_to
from models.explanation.background import Background
from models.patient.gaussian import unusualness
from tests.models.endpoint_doubles import EDGES, hazard_double, patients

COLUMNS = 6
TIMES = ([12.0], [0.5, 12.0, 30.0, 60.0, 100.0], [60.0, 6.0])


def nested_responses(*, steep: float = 0.7) -> ResponseModel:
    """Make a response model of three nested outcomes without trees."""
    rng = np.random.default_rng(5)
    return ResponseModel(
        ("complete_response", "overall_response", "disease_control"),
        base=rng.normal(size=(2, 3)),
        means=rng.normal(size=(2, COLUMNS)),
        coefficients=rng.normal(0.0, steep, (2, 3, COLUMNS)),
        trees=None,
        stretch=np.array([0.9, 1.0, 1.1]),
        shift=np.array([-0.1, 0.0, 0.1]),
        chosen={},
    )


def explainer(model) -> EndpointExplainer:
    X, strata = patients(20, COLUMNS, seed=7)
    background = Background(X, strata, np.full(20, 0.05))
    return EndpointExplainer(model, background, np.eye(COLUMNS, COLUMNS + 1), COLUMNS, tuple("aabbbcd"))


@settings(deadline=None)
@given(arrays.arrays(np.float64, st.integers(0, 40), elements=st.floats(-30.0, 30.0)))
def test_the_exponential_has_a_dozen_digits(x):
    found = np.empty_like(x)
    exponential(x, found)
    np.testing.assert_allclose(found, np.exp(x), rtol=1e-12)


@pytest.mark.parametrize("steep", [0.3, 3.0])
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("kind", ["survival", "responses"])
def test_compiled_contributions_are_those_by_the_models_own_slopes(kind, times, steep):
    model = (
        hazard_double(COLUMNS, seed=1, steep=steep) if kind == "survival" else nested_responses(steep=steep)
    )
    times, (X, strata) = np.array(times), patients(8, COLUMNS, seed=2)
    compiled, plain = explainer(model), explainer(model)
    ready = plain.prepared(times)
    assert ready.lines is not None
    plain._prepared[times.tobytes()] = replace(ready, lines=None)
    one, other = compiled.explain(X, strata, times), plain.explain(X, strata, times)
    np.testing.assert_allclose(one.contributions, other.contributions, rtol=0, atol=1e-10)
    np.testing.assert_allclose(one.grouped, other.grouped, rtol=0, atol=1e-10)


def test_contributions_of_many_patients_are_those_of_each_alone_bit_for_bit():
    for model in (hazard_double(COLUMNS, seed=3), nested_responses()):
        X, strata = patients(30, COLUMNS, seed=4)
        explain, times = explainer(model).explain, np.array([12.0])
        together = explain(X, strata, times).contributions
        each = [explain(X[[row]], strata[[row]], times).contributions[0] for row in range(30)]
        np.testing.assert_array_equal(together, each)


@pytest.mark.parametrize("missing", [0, 2, 5])
def test_unusualness_is_mahalanobiss_distance_over_the_known_columns(missing):
    rng = np.random.default_rng(missing)
    among = np.corrcoef(rng.normal(size=(30, COLUMNS)).T)
    x, means, scales = rng.normal(size=COLUMNS), rng.normal(size=COLUMNS), rng.uniform(0.5, 2.0, COLUMNS)
    x[:missing] = np.nan
    z, known = ((x - means) / scales)[missing:], among[missing:, missing:]
    expected = z @ np.linalg.solve(known, z) / len(z)
    assert unusualness(x, means, scales, among) == pytest.approx(expected, rel=1e-12)


def test_where_nothing_is_known_or_varies_nobody_is_unusual():
    one = np.ones(2)
    assert unusualness(np.full(2, np.nan), one, one, np.eye(2)) == 0.0
    assert unusualness(5 * one, one, 0 * one, np.eye(2)) == 0.0


def test_survival_falls_to_a_level_between_the_months_around_it_or_not_at_all():
    found = np.empty((3, 1, 2))
    curves = np.array([[[0.8, 0.4, 0.1]], [[0.9, 0.8, 0.6]], [[0.25, 0.2, 0.1]]])
    fallen_to(np.array([2.0, 4.0, 6.0]), curves, np.array([0.5, 0.85]), found)
    np.testing.assert_allclose(found[:, 0, 0], [3.5, np.nan, 4 / 3])
    np.testing.assert_allclose(found[:, 0, 1], [1.5, 3.0, 0.4])


def test_survival_is_the_product_over_the_intervals_lived_through():
    model, times = hazard_double(COLUMNS, seed=1), np.array([1.0, 11.0, 70.0])
    scores = np.random.default_rng(1).normal(-2.0, 1.0, (5, len(EDGES)))
    expected = np.exp(-np.logaddexp(0.0, scores) @ exposure(EDGES, times).T)
    np.testing.assert_allclose(model.probabilities(scores, times)[:, 0], expected, rtol=1e-13)
