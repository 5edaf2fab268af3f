"""The background: its weighted mean is the disease's, and its weights are even enough to be a background."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.estimators.links import LINKS, on_both_scales
from models.estimators.xgboost_aft import XGBoostAFT
from models.explanation.background import Background, choose_background, fit_background
from tests.lib.completions import complete_rows, drawn_rows
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


DISEASES = (0, 1)


def means(model, X, strata, weights, times):
    """Return the weighted mean answers on both scales, shape (2, outcomes, times)."""
    answers = on_both_scales(model.predict(X, strata, times), link_of(model))
    return np.tensordot(weights, answers, axes=1)


def everyone(model, X, strata, times):
    return means(model, X, strata, np.full(len(X), 1.0 / len(X)), times)


def fitted(model, X, strata, *, link=None, **options):
    return fit_background(
        model, link or link_of(model), complete_rows(X, X.shape[1]), strata, HORIZONS, **options
    )


def behind(model, chosen, times):
    return means(model, chosen.X, chosen.strata, chosen.weights, times)


@pytest.mark.parametrize("size", [48, 96])
@pytest.mark.parametrize("model", DOUBLES.values(), ids=DOUBLES)
def test_its_mean_is_that_of_each_disease_at_every_horizon_on_both_scales(model, size):
    X, strata = patients(900, 8, seed=3)
    chosen = fitted(model, X, strata, size=size)
    chosen.check(columns=8, strata=2)
    np.testing.assert_allclose(chosen.shares, np.bincount(strata) / 900, rtol=1e-12)
    for disease in DISEASES:
        own, theirs = chosen.of(disease), strata == disease
        assert (own.strata == disease).all()
        here = behind(model, own, HORIZONS)
        np.testing.assert_allclose(here, everyone(model, X[theirs], strata[theirs], HORIZONS), atol=1e-8)
        assert len(own) <= size + here.size + 1
        assert (own.weights > 0.0).all()
        assert own.weights.sum() == pytest.approx(1.0, abs=1e-12)


def test_weighted_by_its_shares_its_mean_is_the_cohorts():
    model, (X, strata) = DOUBLES["hazard"], patients(900, 8, seed=3)
    chosen = fitted(model, X, strata)
    each = np.stack([behind(model, chosen.of(disease), HORIZONS) for disease in DISEASES])
    whole = np.tensordot(chosen.shares, each, axes=1)
    np.testing.assert_allclose(whole, everyone(model, X, strata, HORIZONS), atol=1e-8)


def test_a_patient_with_unknown_values_stands_there_with_one_plausible_row():
    """Another draw from patient to patient, so that all of them are as varied as training patients."""
    model, (X, strata) = DOUBLES["response"], patients(40, 8, seed=3)
    drawn = drawn_rows(np.nan_to_num(X), np.arange(8), 9, draws=6, seed=1)
    chosen = fit_background(model, link_of(model), drawn, strata, HORIZONS)
    counts = drawn.counts
    assert counts.tolist() == [1 if row % 3 == 0 else 6 for row in range(40)]
    expected = drawn.X[
        [start + row % n for row, (start, n) in enumerate(zip(drawn.first, counts, strict=True))]
    ]
    order = np.argsort(strata, kind="stable")
    np.testing.assert_array_equal(chosen.X, expected[order])


def test_any_model_has_a_background_of_its_own_predictions():
    rng, (X, strata) = np.random.default_rng(5), patients(400, 8, seed=3)
    model = XGBoostAFT(rounds=10).fit(X, strata, sample_outcome(rng, 0.03 * np.exp(np.nan_to_num(X[:, 0]))))
    link = LINKS["log_cumulative_hazard"]
    chosen = fitted(model, X, strata, link=link)
    for disease in DISEASES:
        own, theirs = chosen.of(disease), strata == disease
        mean = on_both_scales(model.predict(X[theirs], strata[theirs], HORIZONS), link).mean(axis=0)
        here = on_both_scales(model.predict(own.X, own.strata, HORIZONS), link)
        np.testing.assert_allclose(np.tensordot(own.weights, here, axes=1), mean, atol=1e-8)


@pytest.mark.parametrize("model", [DOUBLES["hazard"], DOUBLES["competing"]])
def test_between_horizons_its_mean_stays_close_to_the_diseases(model):
    X, strata = patients(900, 8, seed=3)
    chosen, months = fitted(model, X, strata), np.arange(1.0, 49.0)
    for disease in DISEASES:
        theirs = strata == disease
        apart = behind(model, chosen.of(disease), months) - everyone(model, X[theirs], strata[theirs], months)
        assert np.abs(apart)[0].max() < 1e-3


def test_weights_are_even_and_columns_alike():
    model = DOUBLES["hazard"]
    X, _ = patients(900, 8, seed=3)
    strata = (np.random.default_rng(1).random(900) < 0.2).astype(np.int64)
    both = fitted(model, X, strata)
    for disease in DISEASES:
        chosen, theirs = both.of(disease), X[strata == disease]
        assert 1.0 / (chosen.weights**2).sum() > len(chosen) / 2
        apart = np.abs(chosen.weights @ np.nan_to_num(chosen.X) - np.nan_to_num(theirs).mean(axis=0))
        by_chance = theirs[~np.isnan(theirs)].std() / np.sqrt(len(chosen))
        assert apart.mean() < by_chance / 2


def test_the_same_cohort_gives_the_same_background():
    model, (X, strata) = DOUBLES["hazard"], patients(900, 8, seed=3)
    first, second = (fitted(model, X, strata).to_bytes() for _ in range(2))
    assert first == second


def test_a_stored_background_reads_back():
    X, strata = patients(30, 4, seed=3)
    counts = np.bincount(strata)
    stored = Background(X, strata, 1.0 / counts[strata], counts / 30)
    stored.check(columns=4, strata=2)
    read = Background.from_bytes(stored.to_bytes())
    read.check(columns=4, strata=2)
    for part in ("X", "strata", "weights", "shares"):
        np.testing.assert_array_equal(getattr(read, part), getattr(stored, part))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("weights", lambda w: w / 2.0), ("weights", lambda w: w[::-1]), ("weights", lambda w: -w),
        ("weights", lambda w: w * np.nan), ("shares", lambda s: s * 2.0), ("shares", lambda s: s[:1]),
        ("shares", lambda s: np.array([1.0, 0.0])), ("shares", lambda s: np.array([1.5, -0.5])),
        ("strata", lambda s: s * 0), ("strata", lambda s: s + 1), ("strata", lambda s: s - 1),
        ("X", lambda x: x[:, 1:]), ("X", lambda x: x[1:]), ("X", lambda x: x * np.inf),
    ],
)  # fmt: skip
def test_a_background_that_cannot_be_is_refused(part, change):
    """Weights sum to one in each disease, and every disease has a share and patients."""
    X, _ = patients(30, 4, seed=3)
    strata = np.repeat([0, 1], [10, 20])
    sound = Background(X, strata, np.repeat([0.1, 0.05], [10, 20]), np.array([1 / 3, 2 / 3]))
    sound.check(columns=4, strata=2)
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="background is not as it must be"):
        replace(sound, **{part: change(getattr(sound, part))}).check(columns=4, strata=2)


def test_of_few_patients_all_are_taken_alike():
    predictions = np.random.default_rng(1).random((20, 3))
    rows, weights = choose_background(predictions, size=64)
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
    rows, weights = choose_background(predictions, size=48)
    np.testing.assert_allclose(weights @ predictions[rows], predictions.mean(axis=0), atol=1e-7)
    assert (weights > 0.0).all()


def test_one_patient_in_a_hundred_who_carries_the_mean_is_found():
    predictions = np.zeros((500, 1))
    predictions[123] = 50.0
    rows, weights = choose_background(predictions, size=48)
    assert 123 in rows
    assert weights @ predictions[rows, 0] == pytest.approx(0.1, abs=1e-9)


def test_patients_who_are_all_predicted_alike_are_weighed_by_what_else_they_are():
    rng = np.random.default_rng(4)
    what = np.column_stack([rng.normal(60.0, 10.0, 300), rng.integers(0, 2, 300)])
    rows, weights = choose_background(np.full((300, 2), 0.4), near=what)
    assert weights @ what[rows, 0] == pytest.approx(what[:, 0].mean(), abs=0.5)
    assert weights @ what[rows, 1] == pytest.approx(what[:, 1].mean(), abs=0.03)
