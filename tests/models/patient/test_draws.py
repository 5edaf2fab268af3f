"""Draws: fixed deviates that are normal as far as their number allows, and what they make of a patient."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from features.encoder import Encoder
from models.patient.completion import Completion
from models.patient.draws import (
    MIDDLES,
    ONE,
    SEVERAL,
    average,
    complete_one,
    drawing_of,
    expected_row,
    plausible_knots,
    spread_deviates,
)
from tests.lib.patients import protocol

DISEASE = "breast_cancer"


@pytest.fixture(scope="module")
def completion(cohort) -> Completion:
    return fitted(cohort)


def fitted(cohort):
    study = protocol()
    return Completion.fit(cohort, Encoder.fit(cohort, predictors=study.predictors), study.diseases)


@pytest.fixture(scope="module")
def drawing(completion):
    return drawing_of(completion.diseases[DISEASE].joint, completion.encoder)


@pytest.fixture(scope="module")
def patients(completion, cohort):
    """Scores and encoded rows of the disease's patients of whom everything is known."""
    own = cohort.take(np.array([disease == DISEASE for disease in cohort.text("disease")]))
    Z, X = completion.cohort_scores(own, DISEASE), completion.encoder.encode(own)
    known = ~np.isnan(Z).any(axis=1)
    return Z[known], X[known]


def hide(z, gaps):
    hidden = z.copy()
    hidden[gaps] = np.nan
    return hidden


def formula(correlation, z):
    """Return the conditional mean and covariance of the unknown scores."""
    blank = np.isnan(z)
    within, across = correlation[np.ix_(~blank, ~blank)], correlation[np.ix_(blank, ~blank)]
    slopes = np.linalg.solve(within, across.T).T
    return slopes @ z[~blank], correlation[np.ix_(blank, blank)] - slopes @ across.T


# Deviates


@pytest.mark.parametrize("draws", [4, 8, 24])
@pytest.mark.parametrize("columns", [1, 5, 40])
def test_deviates_have_mean_0_and_variance_1_and_the_first_are_uncorrelated(draws, columns):
    found = spread_deviates(draws, columns)
    assert found.shape == (draws, columns)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose((found**2).mean(axis=0), 1.0, atol=1e-12)
    first = found[:, : 3 * draws // 4]
    np.testing.assert_allclose(first.T @ first / draws, np.eye(first.shape[1]), atol=1e-12)


def test_deviates_that_cannot_be_uncorrelated_are_nearly_so():
    found = spread_deviates(SEVERAL, 60)
    apart = (found.T @ found / SEVERAL)[~np.eye(60, dtype=bool)]
    assert np.sqrt((apart**2).mean()) < 1.2 / np.sqrt(SEVERAL)
    assert np.abs(apart).max() < 0.9


def test_more_columns_leave_the_first_as_they_are():
    np.testing.assert_array_equal(spread_deviates(SEVERAL, 40)[:, :7], spread_deviates(SEVERAL, 7))


def test_deviates_are_the_same_on_every_platform():
    """A golden hash of nine digits: bundles made anywhere draw alike, and so do those made from now on."""
    digits = np.round(spread_deviates(SEVERAL, 30) * 1e9).astype("<i8").tobytes()
    assert sha256(digits).hexdigest() == "02abc77a06eae23e530fadbe66d84c5a0cfb0fa27fab80189e04884d9dbb3b5c"


def test_each_column_is_spread_as_the_normal_distribution_is():
    found = np.sort(spread_deviates(SEVERAL, 30), axis=0)
    even = norm.ppf((np.arange(SEVERAL) + 0.5) / SEVERAL)
    np.testing.assert_allclose(found[:, 0], even / np.sqrt((even**2).mean()), atol=1e-9)
    assert np.abs(found - even[:, None]).mean() < 0.2


# Draws


@given(st.data())
def test_draws_have_the_conditional_mean_and_covariance_of_the_formula(completion, drawing, patients, data):
    """Exactly: deviates have mean 0 and variance 1 and are uncorrelated."""
    Z, X = patients
    row = data.draw(st.integers(0, len(Z) - 1))
    gaps = sorted(data.draw(st.sets(st.integers(0, Z.shape[1] - 1), min_size=2)))
    z = hide(Z[row], gaps)
    _, weights, told = complete_one(drawing, z, X[row], np.array(gaps))
    mean, covariance = formula(completion.diseases[DISEASE].joint.correlation, z)
    np.testing.assert_allclose(weights, 1.0 / SEVERAL)
    np.testing.assert_allclose(told.drawn.mean(axis=0), mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.cov(told.drawn.T, bias=True), covariance, rtol=0, atol=1e-9)
    np.testing.assert_allclose(told.means.sum(axis=1), mean, rtol=0, atol=1e-9)
    assert told.unknown.tolist() == gaps
    assert told.known.tolist() == sorted(set(range(len(z))) - set(gaps))


@given(st.data())
def test_one_unknown_value_has_the_conditional_mean_and_spread_of_the_formula(
    completion, drawing, patients, data
):
    Z, X = patients
    row, gap = data.draw(st.integers(0, len(Z) - 1)), data.draw(st.integers(0, Z.shape[1] - 1))
    z = hide(Z[row], gap)
    rows, weights, told = complete_one(drawing, z, X[row], np.array([gap]))
    (mean,), ((variance,),) = formula(completion.diseases[DISEASE].joint.correlation, z)
    assert weights.sum() == pytest.approx(1.0)
    assert told.means.sum() == pytest.approx(mean, abs=1e-9)
    if not drawing.discrete[gap]:
        assert len(rows) == ONE
        assert told.drawn.mean() == pytest.approx(mean, abs=1e-9)
        assert told.drawn.var() == pytest.approx(variance, abs=1e-9)
    else:
        edges = drawing.edges[drawing.first[gap] : drawing.first[gap + 1]]
        expected = np.diff(norm.cdf((edges - mean) / np.sqrt(variance)), prepend=0.0)
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-9)
        assert len(rows) == len(expected)


@given(st.data())
def test_rows_keep_what_is_known_and_take_values_that_training_saw(completion, drawing, patients, data):
    Z, X = patients
    row = data.draw(st.integers(0, len(Z) - 1))
    gaps = sorted(data.draw(st.sets(st.integers(0, Z.shape[1] - 1), min_size=1)))
    rows, _, _ = complete_one(drawing, hide(Z[row], gaps), X[row], np.array(gaps))
    drawn = np.unique(np.concatenate([drawing.columns[gap, : drawing.widths[gap]] for gap in gaps]))
    kept = np.setdiff1d(np.arange(X.shape[1]), drawn)
    np.testing.assert_array_equal(rows[:, kept], np.repeat(X[row][None, kept], len(rows), axis=0))
    for gap in gaps:
        columns = drawing.columns[gap, : drawing.widths[gap]]
        seen = {tuple(values) for values in X[:, columns].tolist()}
        found = {tuple(values) for values in rows[:, columns].tolist()}
        own = drawing.shown[drawing.first[gap] : drawing.first[gap + 1], : drawing.widths[gap]]
        assert found <= {tuple(values) for values in own.tolist()}
        if len(own) < 10:
            assert found <= seen


def test_the_same_patient_is_drawn_alike_at_any_time(drawing, patients):
    Z, X = patients
    gaps = np.array([1, 3, 4])
    first, *_ = complete_one(drawing, hide(Z[0], gaps), X[0], gaps)
    complete_one(drawing, hide(Z[5], gaps[:1]), X[5], gaps[:1])
    again, *_ = complete_one(drawing, hide(Z[0], gaps), X[0], gaps)
    np.testing.assert_array_equal(first, again)


# The parts


@settings(max_examples=50)
@given(st.data(), st.floats(-3.0, 3.0), st.floats(0.0, 1.5))
def test_plausible_knots_are_weighted_as_the_normal_distribution_falls_on_them(drawing, data, mean, spread):
    p = data.draw(st.integers(0, len(drawing.discrete) - 1))
    knots, weights = plausible_knots(drawing, p, mean, spread)
    first, end = drawing.first[p], drawing.first[p + 1]
    assert ((knots >= first) & (knots < end)).all()
    assert weights.sum() == pytest.approx(1.0)
    edges = drawing.edges[first:end]
    if drawing.discrete[p]:
        assert knots.tolist() == list(range(first, end))
        if spread > 1e-3:
            expected = np.diff(norm.cdf((edges - mean) / spread), prepend=0.0)
            np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-9)
        else:
            assert weights[np.searchsorted(edges, mean, side="right")] > 0.4
    else:
        assert len(knots) == len(MIDDLES)
        assert (np.diff(knots) >= 0).all()
        place = first + np.searchsorted(edges, mean, side="right")
        assert knots[len(knots) // 2] == min(place, end - 1)


def test_an_expected_row_has_each_unknown_value_at_its_mean(completion, drawing, patients):
    Z, X = patients
    gaps = [0, 2, 5]
    z = hide(Z[3], gaps)
    row, mean, spread = expected_row(drawing, z, X[3])
    expected, covariance = formula(completion.diseases[DISEASE].joint.correlation, z)
    np.testing.assert_allclose(mean[gaps], expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(spread[gaps] ** 2, np.diag(covariance), rtol=0, atol=1e-9)
    for gap in gaps:
        edges = drawing.edges[drawing.first[gap] : drawing.first[gap + 1]]
        knot = drawing.first[gap] + np.searchsorted(edges, mean[gap], side="right")
        columns = drawing.columns[gap, : drawing.widths[gap]]
        np.testing.assert_array_equal(row[columns], drawing.shown[knot, : drawing.widths[gap]])
    untouched = np.setdiff1d(np.arange(len(row)), drawing.columns[gaps].ravel())
    np.testing.assert_array_equal(row[untouched], X[3][untouched])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 1000))
def test_averages_are_weighted_sums_of_each_run(counts, seed):
    rng = np.random.default_rng(seed)
    first = np.cumsum([0, *counts])[:-1].astype(np.int64)
    values, weights = rng.normal(size=(sum(counts), 3)), rng.random(sum(counts))
    out = np.zeros((len(counts), 3))
    average(values, weights, first, out)
    expected = np.add.reduceat(values * weights[:, None], first, axis=0)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-12)


def test_a_distribution_without_predictors_can_be_laid_out(completion):
    joint = completion.diseases[DISEASE].joint
    nothing = drawing_of(replace(joint, margins={}, correlation=np.zeros((0, 0))), completion.encoder)
    assert len(nothing.discrete) == len(nothing.values) == 0
