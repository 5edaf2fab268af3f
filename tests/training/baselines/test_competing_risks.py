"""The baselines of competing risks."""

import numpy as np
import pytest
from sksurv.nonparametric import cumulative_incidence_competing_risks

from features.endpoints import CompetingOutcome
from tests.training.samples import TIMES, competing_sample
from training.baselines.competing_risks import aalen_johansen, fit_aalen_johansen, fit_cause_specific_cox


@pytest.fixture(scope="module")
def competing():
    return competing_sample()


def test_aalen_johansen_is_that_of_scikit_survival_with_ties(competing):
    outcome = CompetingOutcome(np.ceil(competing[2].duration / 3.0), competing[2].cause)
    times, curves = aalen_johansen(outcome)
    known, expected = cumulative_incidence_competing_risks(outcome.cause, outcome.duration)
    assert times.tolist() == known.tolist()
    np.testing.assert_allclose(curves[:2], expected[1:], atol=1e-12)
    np.testing.assert_allclose(curves[2], 1.0 - expected[0], atol=1e-12)


def test_aalen_johansen_gives_everyone_the_incidences_of_their_disease(competing):
    X, strata, outcome, _ = competing
    found = fit_aalen_johansen(X, strata, outcome).probabilities(X, strata, TIMES)
    for disease in (0, 1):
        times, curves = aalen_johansen(outcome.take(strata == disease))
        at = np.searchsorted(times, TIMES[1:], side="right") - 1
        assert (found[strata == disease][:, :, 0] == [0.0, 0.0, 1.0]).all()
        assert (found[strata == disease][:, :, 1:] == curves[:, at]).all()


@pytest.mark.parametrize("fit", [fit_aalen_johansen, fit_cause_specific_cox])
def test_incidences_and_the_event_free_share_sum_to_one_and_incidences_never_fall(competing, fit):
    X, strata, outcome, _ = competing
    found = fit(X, strata, outcome).probabilities(X * 3.0, strata, np.linspace(0.0, 200.0, 41))
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    assert ((found >= 0.0) & (found <= 1.0)).all()
    assert (np.diff(found[:, :2], axis=2) >= 0.0).all()


def test_cause_specific_cox_regressions_recover_the_true_incidences(competing):
    X, strata, outcome, truth = competing
    found = fit_cause_specific_cox(X, strata, outcome).probabilities(X, strata, TIMES)
    assert np.abs(found - truth).mean() < 0.025
    alone = fit_aalen_johansen(X, strata, outcome).probabilities(X, strata, TIMES)
    assert np.abs(found - truth).mean() < np.abs(alone - truth).mean() / 3


def test_without_effects_cause_specific_cox_regressions_are_aalen_johansen(competing):
    _, strata, outcome, _ = competing
    nothing, one = np.zeros((len(strata), 1)), np.zeros_like(strata)
    found, expected = (
        fit(nothing, one, outcome).probabilities(nothing, one, TIMES)
        for fit in (fit_cause_specific_cox, fit_aalen_johansen)
    )
    np.testing.assert_allclose(found, expected, atol=2e-3)
