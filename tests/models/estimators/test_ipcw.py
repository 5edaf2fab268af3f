"""Censoring weights and Brier scores, against scikit-survival and by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from sksurv.metrics import brier_score, integrated_brier_score
from sksurv.nonparametric import CensoringDistributionEstimator

from features.censoring import Outcome
from models.estimators.ipcw import SMALLEST_WEIGHT, brier, censoring_survival, integrated_brier
from tests.models.outcomes import sample_outcome, structured, tied_outcomes

TIMES = np.linspace(3.0, 60.0, 20)


def made(seed, *, patients=500):
    """Return outcomes and curves that are right on average and wrong for everyone."""
    rng = np.random.default_rng(seed)
    hazard = rng.lognormal(-3.5, 0.6, patients)
    guessed = hazard * rng.lognormal(0.0, 0.5, patients)
    return sample_outcome(rng, hazard), np.exp(-np.outer(guessed, TIMES))


def test_censoring_survival_of_a_worked_example():
    outcome = Outcome(np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, False, True, False]))
    at = np.array([0.5, 1.0, 2.0, 2.5, 3.0])
    # at month 2 one dies first, so one of the two others left is censored
    assert censoring_survival(outcome, at, before=True).tolist() == [1.0, 1.0, 1.0, 0.5, 0.5]
    assert censoring_survival(outcome, at, before=False).tolist() == [1.0, 1.0, 0.5, 0.5, SMALLEST_WEIGHT]


@given(tied_outcomes(smallest=2))
def test_censoring_survival_is_scikit_survivals(outcome):
    assume(outcome.event.any())  # the oracle refuses to be without
    oracle = CensoringDistributionEstimator().fit(structured(outcome))
    at = np.unique(outcome.duration)
    expected = np.maximum(oracle.predict_proba(at), SMALLEST_WEIGHT)
    np.testing.assert_allclose(censoring_survival(outcome, at, before=False), expected, atol=1e-12)


@given(tied_outcomes())
def test_without_censoring_every_weight_is_1(outcome):
    everyone = Outcome(outcome.duration, np.ones(len(outcome), dtype=bool))
    for before in (True, False):
        assert (censoring_survival(everyone, outcome.duration, before=before) == 1.0).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_brier_score_is_scikit_survivals(seed):
    outcome, survival = made(seed)
    known = structured(outcome)
    _, expected = brier_score(known, known, survival, TIMES)
    np.testing.assert_allclose(brier(survival, outcome, TIMES).mean(axis=0), expected, atol=1e-10)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_integrated_brier_score_is_scikit_survivals(seed):
    outcome, survival = made(seed)
    known = structured(outcome)
    expected = integrated_brier_score(known, known, survival, TIMES)
    assert integrated_brier(survival, outcome, TIMES).mean() == pytest.approx(expected, abs=1e-10)


def test_the_brier_score_of_a_worked_example():
    # one died at 2, one was censored at 3, one still lives at 6: half of those at risk at 3 stay uncensored
    outcome = Outcome(np.array([2.0, 3.0, 6.0]), np.array([True, False, True]))
    survival = np.array([[0.9, 0.2], [0.8, 0.6], [0.7, 0.5]])
    errors = brier(survival, outcome, np.array([1.0, 4.0]))
    np.testing.assert_allclose(errors, [[0.01, 0.04], [0.04, 0.0], [0.09, 0.25 / 0.5]])


def test_without_censoring_a_known_future_costs_nothing_and_its_opposite_costs_1():
    rng = np.random.default_rng(3)
    outcome = Outcome(rng.uniform(1.0, 80.0, 100), np.ones(100, dtype=bool))
    alive = (outcome.duration[:, None] > TIMES).astype(np.float64)
    assert (integrated_brier(alive, outcome, TIMES) == 0.0).all()
    np.testing.assert_allclose(integrated_brier(1.0 - alive, outcome, TIMES), 1.0)
