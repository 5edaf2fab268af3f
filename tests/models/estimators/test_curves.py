"""Survival functions: Kaplan-Meier, steps and supported follow-up."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sksurv.nonparametric import kaplan_meier_estimator

from features.censoring import Outcome
from models.estimators.curves import kaplan_meier, step, supported_until
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


@given(tied_outcomes(smallest=10), st.integers(1, 10))
def test_follow_up_is_supported_while_enough_patients_are_followed(outcome, at_risk):
    limit = supported_until(outcome, at_risk=at_risk)
    assert (outcome.duration >= limit).sum() >= at_risk
    assert (outcome.duration > limit).sum() < at_risk


def test_fewer_patients_than_asked_for_support_no_follow_up():
    outcome = Outcome(np.full(9, 50.0), np.ones(9, dtype=bool))
    assert supported_until(outcome, at_risk=10) == 0.0
    assert supported_until(outcome, at_risk=9) == 50.0
