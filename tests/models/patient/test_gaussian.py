"""The compiled normal distribution, against plain numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.patient.gaussian import expect, factor, regression, unusualness

COLUMNS = 6


def correlation(rng, columns=COLUMNS):
    return np.corrcoef(rng.normal(size=(30, columns)).T)


def drawn(seed, missing):
    """Return a correlation, scores of which some are unknown, and which are known."""
    rng = np.random.default_rng(seed)
    z, blank = rng.normal(size=COLUMNS), rng.permutation(COLUMNS)[:missing]
    z[blank] = np.nan
    return correlation(rng), z, ~np.isnan(z)


@pytest.mark.parametrize("missing", [0, 2, 5])
def test_unusualness_is_mahalanobiss_distance_over_the_known_scores(missing):
    among, z, known = drawn(missing, missing)
    expected = z[known] @ np.linalg.solve(among[np.ix_(known, known)], z[known]) / known.sum()
    assert unusualness(z, among) == pytest.approx(expected, rel=1e-12)


def test_where_nothing_is_known_nobody_is_unusual():
    assert unusualness(np.full(2, np.nan), np.eye(2)) == 0.0


@given(st.integers(0, 10_000), st.integers(0, COLUMNS))
def test_the_conditional_distribution_is_that_of_the_formula(seed, missing):
    among, z, known = drawn(seed, missing)
    mean, covariance = np.empty(COLUMNS), np.empty((COLUMNS, COLUMNS))
    expect(z, among, mean, covariance)
    within, across = among[np.ix_(known, known)], among[np.ix_(~known, known)]
    slopes = np.linalg.solve(within, across.T).T
    np.testing.assert_array_equal(mean[known], z[known])
    np.testing.assert_allclose(mean[~known], slopes @ z[known], rtol=0, atol=1e-10)
    left = among[np.ix_(~known, ~known)] - slopes @ across.T
    np.testing.assert_allclose(covariance[np.ix_(~known, ~known)], left, rtol=0, atol=1e-10)
    assert not covariance[known].any()
    assert not covariance[:, known].any()


@given(st.integers(0, 10_000), st.integers(0, COLUMNS))
def test_what_known_scores_add_to_the_mean_is_their_regression(seed, missing):
    among, z, known = drawn(seed, missing)
    found = regression(among, np.flatnonzero(known), np.flatnonzero(~known))
    expected = np.linalg.solve(among[np.ix_(known, known)], among[np.ix_(known, ~known)]).T
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    mean, covariance = np.empty(COLUMNS), np.empty((COLUMNS, COLUMNS))
    expect(z, among, mean, covariance)
    np.testing.assert_allclose(found @ z[known], mean[~known], rtol=0, atol=1e-10)


@given(st.integers(0, 10_000))
def test_the_factor_is_choleskys(seed):
    among, _, known = drawn(seed, 2)
    expected = np.linalg.cholesky(among[np.ix_(known, known)])
    np.testing.assert_allclose(factor(among, np.flatnonzero(known)), expected, rtol=0, atol=1e-12)
