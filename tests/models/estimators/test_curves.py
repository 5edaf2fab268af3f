"""Survival functions: Kaplan-Meier, medians, supported follow-up and balanced folds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sksurv.nonparametric import kaplan_meier_estimator

from features.censoring import Outcome
from models.estimators.curves import kaplan_meier, median_time, step, stratified_folds, supported_until
from tests.models.outcomes import sample_outcome, tied_outcomes


@given(tied_outcomes())
def test_kaplan_meier_is_scikit_survivals(outcome):
    times, survival = kaplan_meier(outcome)
    expected_times, expected = kaplan_meier_estimator(outcome.event, outcome.duration)
    assert times.tolist() == expected_times.tolist()
    np.testing.assert_allclose(survival, expected, atol=1e-12)


def test_kaplan_meier_of_a_large_cohort_is_scikit_survivals():
    rng = np.random.default_rng(0)
    outcome = sample_outcome(rng, rng.uniform(0.01, 0.1, 2000))
    np.testing.assert_allclose(
        kaplan_meier(outcome)[1], kaplan_meier_estimator(outcome.event, outcome.duration)[1], atol=1e-12
    )


@given(tied_outcomes())
def test_kaplan_meier_never_rises_and_falls_only_at_deaths(outcome):
    times, survival = kaplan_meier(outcome)
    before = np.concatenate([[1.0], survival[:-1]])
    assert ((survival >= 0) & (survival <= before)).all()
    assert set(times[survival < before]) == set(outcome.duration[outcome.event])


def test_a_step_holds_from_its_own_time_on():
    times, values = np.array([2.0, 5.0]), np.array([0.8, 0.3])
    at = np.array([0.0, 1.99, 2.0, 4.99, 5.0, 99.0])
    assert step(times, values, at, before=1.0).tolist() == [1.0, 1.0, 0.8, 0.8, 0.3, 0.3]


@pytest.mark.parametrize(
    ("times", "survival", "median"),
    [
        ([1.0, 2.0, 3.0], [0.9, 0.5, 0.4], 2.0),
        ([1.0, 3.0], [0.75, 0.25], 2.0),
        ([4.0], [0.0], 2.0),
        ([1.0, 2.0], [0.5, 0.5], 1.0),
        ([1.0, 2.0], [0.9, 0.51], None),
    ],
)
def test_the_median_is_where_the_drawn_curve_crosses_one_half(times, survival, median):
    assert median_time(np.array(times), np.array(survival)) == median


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_the_curve_drawn_between_its_points_is_one_half_at_the_median(heights):
    survival = np.sort(np.array(heights))[::-1]
    times = np.arange(1.0, len(survival) + 1)
    median = median_time(times, survival)
    if median is None:
        assert survival[-1] > 0.5
    else:
        drawn = np.interp(median, np.append(0.0, times), np.append(1.0, survival))
        assert drawn == pytest.approx(0.5, abs=1e-9)


@given(tied_outcomes(smallest=10), st.integers(1, 10))
def test_follow_up_is_supported_while_enough_patients_are_followed(outcome, at_risk):
    limit = supported_until(outcome, at_risk=at_risk)
    assert (outcome.duration >= limit).sum() >= at_risk
    assert (outcome.duration > limit).sum() < at_risk


def test_fewer_patients_than_asked_for_support_no_follow_up():
    outcome = Outcome(np.full(9, 50.0), np.ones(9, dtype=bool))
    assert supported_until(outcome, at_risk=10) == 0.0
    assert supported_until(outcome, at_risk=9) == 50.0


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(12, 90))
def test_every_row_has_one_fold_and_folds_are_balanced(seed, folds, patients):
    rng = np.random.default_rng(seed)
    strata = rng.integers(0, 2, patients)
    outcome = sample_outcome(rng, np.full(patients, 0.03))
    fold = stratified_folds(strata, outcome, folds=folds, seed=seed)
    assert fold.shape == (patients,)
    assert set(fold.tolist()) <= set(range(folds))
    assert np.ptp(np.bincount(fold, minlength=folds)) <= 1
    third = np.searchsorted(np.quantile(outcome.duration, [1 / 3, 2 / 3]), outcome.duration)
    for key in {(s, e, t) for s, e, t in zip(strata, outcome.event, third, strict=True)}:
        rows = (strata == key[0]) & (outcome.event == key[1]) & (third == key[2])
        assert np.ptp(np.bincount(fold[rows], minlength=folds)) <= 1


def test_folds_follow_the_seed_and_nothing_else():
    rng = np.random.default_rng(2)
    outcome = sample_outcome(rng, np.full(200, 0.03))
    strata = rng.integers(0, 2, 200)
    first = stratified_folds(strata, outcome, folds=5, seed=1)
    assert (first == stratified_folds(strata, outcome, folds=5, seed=1)).all()
    assert (first != stratified_folds(strata, outcome, folds=5, seed=2)).any()
