"""The background: its weighted mean is the cohort's, and its weights are even enough to be a background."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.estimators.links import LINKS, on_both_scales
from models.estimators.xgboost_aft import XGBoostAFT
from models.explanation.background import Background, choose_background, fit_background
from tests.models.endpoint_doubles import (
    competing_double,
    hazard_double,
    link_of,
    patients,
    response_double,
)
from tests.models.outcomes import sample_outcome

HORIZONS = np.array([6.0, 12.0, 30.0, 48.0])
DOUBLES = {
    "hazard": hazard_double(8, seed=1),
    "interacting": hazard_double(8, seed=2, interacting=True),
    "competing": competing_double(8, seed=1, uneven=True),
    "response": response_double(8, seed=1),
}


def means(model, X, strata, weights, times):
    """Return the weighted mean answers on both scales, shape (2, outcomes, times)."""
    answers = on_both_scales(model.predict(X, strata, times), link_of(model))
    return np.tensordot(weights, answers, axes=1)


def everyone(model, X, strata, times):
    return means(model, X, strata, np.full(len(X), 1.0 / len(X)), times)


@pytest.mark.parametrize("size", [48, 96])
@pytest.mark.parametrize("model", DOUBLES.values(), ids=DOUBLES)
def test_its_mean_is_the_cohorts_at_every_horizon_on_both_scales(model, size):
    X, strata = patients(900, 8, seed=3)
    chosen = fit_background(model, link_of(model), X, strata, HORIZONS, size=size)
    here = means(model, chosen.X, chosen.strata, chosen.weights, HORIZONS)
    np.testing.assert_allclose(here, everyone(model, X, strata, HORIZONS), atol=1e-8)
    assert len(chosen) <= size + here.size + 1
    assert (chosen.weights > 0.0).all()
    assert chosen.weights.sum() == pytest.approx(1.0, abs=1e-12)


def test_any_model_has_a_background_of_its_own_predictions():
    rng, (X, strata) = np.random.default_rng(5), patients(400, 8, seed=3)
    model = XGBoostAFT(rounds=10).fit(X, strata, sample_outcome(rng, 0.03 * np.exp(np.nan_to_num(X[:, 0]))))
    link = LINKS["log_cumulative_hazard"]
    chosen = fit_background(model, link, X, strata, HORIZONS)
    mean = on_both_scales(model.predict(X, strata, HORIZONS), link).mean(axis=0)
    behind = on_both_scales(model.predict(chosen.X, chosen.strata, HORIZONS), link)
    np.testing.assert_allclose(np.tensordot(chosen.weights, behind, axes=1), mean, atol=1e-8)


@pytest.mark.parametrize("model", [DOUBLES["hazard"], DOUBLES["competing"]])
def test_between_horizons_its_mean_stays_close_to_the_cohorts(model):
    X, strata = patients(900, 8, seed=3)
    chosen = fit_background(model, link_of(model), X, strata, HORIZONS)
    months = np.arange(1.0, 49.0)
    here = means(model, chosen.X, chosen.strata, chosen.weights, months)
    assert np.abs(here - everyone(model, X, strata, months))[0].max() < 1e-3


def test_weights_are_even_and_columns_and_diseases_alike():
    model = DOUBLES["hazard"]
    X, _ = patients(900, 8, seed=3)
    strata = (np.random.default_rng(1).random(900) < 0.2).astype(np.int64)
    chosen = fit_background(model, link_of(model), X, strata, HORIZONS)
    assert 1.0 / (chosen.weights**2).sum() > len(chosen) / 2
    shown = np.nan_to_num(chosen.X)
    apart = np.abs(chosen.weights @ shown - np.nan_to_num(X).mean(axis=0))
    by_chance = X[~np.isnan(X)].std() / np.sqrt(len(chosen))
    assert apart.mean() < by_chance / 2
    assert chosen.weights @ chosen.strata == pytest.approx(strata.mean(), abs=0.03)


def test_the_same_cohort_gives_the_same_background():
    model, (X, strata) = DOUBLES["hazard"], patients(900, 8, seed=3)
    first, second = (fit_background(model, link_of(model), X, strata, HORIZONS).to_bytes() for _ in range(2))
    assert first == second


def test_a_stored_background_reads_back():
    X, strata = patients(30, 4, seed=3)
    stored = Background(X, strata, np.full(30, 1 / 30))
    read = Background.from_bytes(stored.to_bytes())
    np.testing.assert_array_equal(read.X, X)
    np.testing.assert_array_equal(read.strata, strata)
    np.testing.assert_array_equal(read.weights, stored.weights)


def test_of_few_patients_all_are_taken_alike():
    predictions = np.random.default_rng(1).random((20, 3))
    rows, weights = choose_background(predictions, np.zeros(20, dtype=np.int64), size=64)
    assert rows.tolist() == list(range(20))
    assert (weights == 1 / 20).all()


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 30), st.sampled_from(["normal", "skewed", "tied"]))
def test_the_mean_is_reached_whatever_the_predictions(seed, answers, kind):
    rng = np.random.default_rng(seed)
    predictions = rng.normal(size=(400, answers))
    if kind == "skewed":
        predictions = np.exp(2.0 * predictions)
        predictions /= predictions.max(axis=0)
    if kind == "tied":
        predictions = np.round(predictions[:, :1]) + np.zeros((400, answers))
    rows, weights = choose_background(predictions, rng.integers(0, 3, 400), size=48)
    np.testing.assert_allclose(weights @ predictions[rows], predictions.mean(axis=0), atol=1e-7)
    assert (weights > 0.0).all()


def test_one_patient_in_a_hundred_who_carries_the_mean_is_found():
    predictions = np.zeros((500, 1))
    predictions[123] = 50.0
    rows, weights = choose_background(predictions, np.zeros(500, dtype=np.int64), size=48)
    assert 123 in rows
    assert weights @ predictions[rows, 0] == pytest.approx(0.1, abs=1e-9)


def test_patients_who_are_all_predicted_alike_are_weighed_by_what_else_they_are():
    rng = np.random.default_rng(4)
    strata, age = rng.integers(0, 2, 300), rng.normal(60.0, 10.0, (300, 1))
    rows, weights = choose_background(np.full((300, 2), 0.4), strata, near=age)
    assert weights @ age[rows, 0] == pytest.approx(age.mean(), abs=0.5)
    assert weights @ strata[rows] == pytest.approx(strata.mean(), abs=0.03)
