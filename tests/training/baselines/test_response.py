"""The baselines of a response."""

import numpy as np
import pytest
from scipy.optimize import minimize

from features.endpoints import BinaryOutcome, ResponseOutcome
from models.estimators.cox import RidgeCox
from tests.training.samples import TIMES, blanked, response_sample
from training.baselines.response import fit_logistic, fit_prevalence


@pytest.fixture(scope="module")
def answered():
    return response_sample()


def test_prevalence_is_the_share_among_patients_in_whom_the_response_is_known(answered):
    X, strata, outcome, _ = answered
    found = fit_prevalence(X, strata, outcome).probabilities(X, strata, np.zeros(1))
    for at, part in enumerate(outcome.parts):
        for disease in (0, 1):
            inside = part.known & (strata == disease)
            assert found[strata == disease, at, 0] == pytest.approx(part.event[inside].mean())


def test_a_disease_whose_response_is_never_known_gets_everyones_share():
    strata = np.array([0, 0, 0, 1])
    part = BinaryOutcome(np.array([True, False, False, True]), np.array([True, True, True, False]))
    model = fit_prevalence(np.zeros((4, 0)), strata, ResponseOutcome(("complete_response",), (part,)))
    assert model.shares.tolist() == [[1 / 3], [1 / 3]]


def test_the_logistic_baseline_recovers_the_truth(answered):
    X, strata, outcome, truth = answered
    found = fit_logistic(X, strata, outcome).probabilities(X, strata, np.zeros(1))
    assert np.abs(found[:, :, 0] - truth).mean() < 0.03


def test_the_logistic_baseline_maximises_the_penalised_likelihood(answered):
    X, _, outcome, _ = answered
    few = np.arange(120)
    part = outcome.parts[0].take(few)
    everyone = BinaryOutcome(part.event, np.ones(120, dtype=bool))
    model = fit_logistic(X[few], few * 0, ResponseOutcome(("complete_response",), (everyone,)))
    Z = (X[few] - X[few].mean(axis=0)) / X[few].std(axis=0)

    def loss(beta, penalty):
        margin = beta[0] + Z @ beta[1:]
        return np.logaddexp(0.0, margin).sum() - part.event @ margin + penalty / 2 * (beta[1:] ** 2).sum()

    penalties = RidgeCox().penalties
    best = [minimize(loss, np.zeros(4), args=(penalty,)).x for penalty in penalties]
    reached = np.r_[model.intercepts, model.coefficients[0]]
    assert min(np.abs(beta - reached).max() for beta in best) < 1e-3


def test_the_logistic_baseline_takes_the_mean_for_a_missing_value(answered):
    X, strata, outcome, _ = answered
    model = fit_logistic(X, strata, outcome)
    blank, filled = blanked(X)
    np.testing.assert_allclose(
        model.probabilities(blank, strata, TIMES), model.probabilities(filled, strata, TIMES), atol=1e-12
    )


@pytest.mark.parametrize("responders", [0, 1, 40])
def test_the_logistic_baseline_answers_where_nearly_all_ended_alike(responders):
    X = np.random.default_rng(0).normal(size=(40, 2))
    part = BinaryOutcome(np.arange(40) < responders, np.ones(40, dtype=bool))
    model = fit_logistic(X, np.zeros(40, dtype=int), ResponseOutcome(("complete_response",), (part,)))
    found = model.probabilities(X, np.zeros(40, dtype=int), np.zeros(1))
    assert found.shape == (40, 1, 1)
    assert found.mean() == pytest.approx(responders / 40, abs=0.02)
    assert ((found > 0.0) & (found < 1.0)).all()
