"""Metrics, against scikit-survival and by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sksurv.metrics import concordance_index_censored, concordance_index_ipcw

from features.censoring import Outcome
from features.endpoints import CompetingOutcome
from models.estimators.curves import kaplan_meier
from tests.models.outcomes import sample_outcome, structured, tied_outcomes
from training.metrics import (
    calibration,
    competing_pairs,
    harrell_c,
    observed_risk,
    outlives,
    restricted_mean_risk,
    uno_c,
    uno_weight,
)


def made(seed, *, patients=400):
    rng = np.random.default_rng(seed)
    hazard = rng.lognormal(-3.5, 0.7, patients)
    outcome = sample_outcome(rng, hazard)
    return np.round(np.log(hazard) + rng.normal(0, 0.7, patients), 1), outcome, hazard


def usable(outcome):
    return outlives(outcome, np.flatnonzero(outcome.event)).any()


@given(st.data(), tied_outcomes(smallest=2))
def test_harrells_c_is_scikit_survivals_with_any_ties(data, outcome):
    assume(usable(outcome))
    size = len(outcome)
    risk = np.array(data.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)), dtype=np.float64)
    expected = concordance_index_censored(outcome.event, outcome.duration, risk)[0]
    assert harrell_c(risk, outcome) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("until", [12.0, 36.0, 60.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_unos_c_is_scikit_survivals(seed, until):
    risk, outcome, _ = made(seed)
    known = structured(outcome)
    expected = concordance_index_ipcw(known, known, risk, tau=until)[0]
    assert uno_c(risk, outcome, until=until) == pytest.approx(expected, abs=1e-10)


def test_a_perfect_order_scores_1_and_its_reverse_0():
    _, outcome, _ = made(3)
    for score in (harrell_c, lambda risk, outcome: uno_c(risk, outcome, until=48.0)):
        assert score(-outcome.duration, outcome) == 1.0
        assert score(outcome.duration, outcome) == 0.0
        assert score(np.zeros(len(outcome)), outcome) == 0.5


@given(tied_outcomes(smallest=2), st.integers(0, 1000))
def test_without_censoring_unos_c_is_harrells(outcome, seed):
    everyone = Outcome(outcome.duration, np.ones(len(outcome), dtype=bool))
    assume(usable(everyone))
    risk = np.random.default_rng(seed).normal(size=len(outcome))
    assert uno_c(risk, everyone, until=np.inf) == pytest.approx(harrell_c(risk, everyone), abs=1e-12)


def test_without_a_usable_pair_there_is_no_concordance():
    outcome = Outcome(np.array([3.0, 5.0]), np.array([False, True]))
    assert np.isnan(harrell_c(np.array([1.0, 2.0]), outcome))


def test_who_outlives_whom_at_a_tied_time():
    # two die at month 2; one is censored then, so lived at least as long; one is followed further
    outcome = Outcome(np.array([2.0, 2.0, 2.0, 3.0, 1.0]), np.array([True, True, False, False, False]))
    assert outlives(outcome, np.array([0, 1])).tolist() == [[0, 0, 1, 1, 0], [0, 0, 1, 1, 0]]


def test_restricted_mean_risk_is_minus_the_area_under_the_curve():
    times = np.array([1.0, 3.0])
    survival = np.array([[1.0, 1.0], [0.5, 0.5], [0.0, 0.0], [0.8, 0.4]])
    expected = -np.array([3.0, 0.75 + 1.0, 0.5, 0.9 + 1.2])
    np.testing.assert_allclose(restricted_mean_risk(survival, times), expected)


@given(tied_outcomes(), st.floats(0.0, 10.0))
def test_observed_risk_is_one_less_kaplan_meier(outcome, horizon):
    times, survival = kaplan_meier(outcome)
    reached = survival[times <= horizon]
    assert observed_risk(outcome, horizon) == 1.0 - (reached[-1] if reached.size else 1.0)


def test_the_cohorts_own_kaplan_meier_is_calibrated_exactly():
    _, outcome, _ = made(4)
    everyone = np.full(len(outcome), 1.0 - observed_risk(outcome, 24.0))
    fit = calibration(everyone, outcome, horizon=24.0, groups=1)
    np.testing.assert_allclose(fit.observed, fit.predicted, atol=1e-12)
    assert fit.patients.tolist() == [len(outcome)]


def test_the_truth_is_calibrated_in_every_group_of_risk():
    _, outcome, hazard = made(5, patients=20_000)
    fit = calibration(np.exp(-24.0 * hazard), outcome, horizon=24.0, groups=5)
    assert (np.diff(fit.predicted) > 0).all()
    np.testing.assert_allclose(fit.observed, fit.predicted, atol=0.025)


def test_a_model_that_halves_the_hazard_expects_too_few_deaths():
    _, outcome, hazard = made(6, patients=5000)
    fit = calibration(np.exp(-12.0 * hazard), outcome, horizon=24.0, groups=5)
    assert (fit.observed > fit.predicted + 0.05).all()


def test_groups_are_of_one_size_or_one_patient_apart():
    _, outcome, hazard = made(7, patients=102)
    fit = calibration(np.exp(-30.0 * hazard), outcome, horizon=24.0, groups=4)
    assert fit.patients.tolist() == [26.0, 26.0, 25.0, 25.0]


def test_pairs_of_a_cause_by_hand():
    # has the cause at 2; censored at 1; gone by the other cause at 1.5; has it later; followed on
    outcome = CompetingOutcome(np.array([2.0, 1.0, 1.5, 3.0, 4.0]), np.array([1, 0, 2, 1, 0]))
    free = 4 / 5  # of being uncensored after month 1
    found = competing_pairs(outcome, 1, np.array([0]))
    np.testing.assert_allclose(found, [[0.0, 0.0, 1 / free**2, 1 / free**2, 1 / free**2]])


def test_without_another_cause_the_pairs_are_unos():
    _, outcome, _ = made(8)
    rows = np.flatnonzero(outcome.event)
    one_cause = CompetingOutcome(outcome.duration, outcome.event.astype(np.int64))
    unos = uno_weight(outcome)[rows, None] * outlives(outcome, rows)
    np.testing.assert_allclose(competing_pairs(one_cause, 1, rows), unos)
