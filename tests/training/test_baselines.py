"""The baselines that a model must beat."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.nonparametric import cumulative_incidence_competing_risks

from features.endpoints import (
    COMPETING_RISKS,
    RESPONSE,
    SURVIVAL,
    BinaryOutcome,
    CompetingOutcome,
    ResponseOutcome,
)
from models.estimators.cox import RidgeCox
from models.estimators.curves import kaplan_meier
from tests.models.outcomes import sample_outcome, structured
from training.baselines import (
    aalen_johansen,
    baselines,
    fit_aalen_johansen,
    fit_cause_specific_cox,
    fit_kaplan_meier,
    fit_logistic,
    fit_plain_cox,
    fit_prevalence,
    fit_ridge_cox,
)

TIMES = np.array([0.0, 6.0, 24.0, 60.0])


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(1)
    strata = rng.integers(0, 2, 400)
    X = np.column_stack([strata, rng.normal(size=400), rng.normal(size=400) * 3.0])
    hazard = 0.02 * np.exp(0.9 * strata + 0.5 * X[:, 1] - 0.1 * X[:, 2])
    return X, strata, sample_outcome(rng, hazard)


@pytest.fixture(scope="module")
def answered():
    """Two nested responses, which rise with the second column and in the second disease."""
    rng = np.random.default_rng(2)
    strata = rng.integers(0, 2, 1500)
    X = np.column_stack([strata, rng.normal(size=1500) * 2.0 + 5.0, rng.normal(size=1500)])
    margin = -1.0 + 0.8 * strata + 0.5 * (X[:, 1] - 5.0)
    draw = rng.logistic(size=1500)
    known = rng.random(1500) < 0.9
    parts = tuple(BinaryOutcome(draw < margin + more, known) for more in (0.0, 1.0))
    truth = 1.0 / (1.0 + np.exp(-np.stack([margin, margin + 1.0], axis=1)))
    return X, strata, ResponseOutcome(("complete_response", "overall_response"), parts), truth


@pytest.fixture(scope="module")
def competing():
    """Two causes with constant hazards; each column moves one of them."""
    rng = np.random.default_rng(3)
    strata = rng.integers(0, 2, 1500)
    X = np.column_stack([strata, rng.normal(size=1500), rng.normal(size=1500)])
    hazards = np.stack([0.02 * np.exp(0.7 * strata + 0.6 * X[:, 1]), 0.015 * np.exp(-0.5 * X[:, 2])], axis=1)
    waits = np.column_stack([rng.exponential(1.0 / hazards), rng.uniform(10.0, 120.0, 1500)])
    first = waits.argmin(axis=1)
    outcome = CompetingOutcome(waits.min(axis=1), np.array([1, 2, 0])[first])
    total = hazards.sum(axis=1)[:, None]
    gone = 1.0 - np.exp(-total * TIMES)
    truth = np.stack([hazards[:, [at]] / total * gone for at in (0, 1)] + [1.0 - gone], axis=1)
    return X, strata, outcome, truth


def blanked(X):
    """Return the matrix with a column missing, and with its mean there instead."""
    blank, filled = X.copy(), X.copy()
    blank[:, 1], filled[:, 1] = np.nan, X[:, 1].mean()
    return blank, filled


def test_kaplan_meier_gives_everyone_the_curve_of_their_disease(made):
    X, strata, outcome = made
    survival = fit_kaplan_meier(X, strata, outcome).survival(X, strata, TIMES)
    for disease in (0, 1):
        times, curve = kaplan_meier(outcome.take(strata == disease))
        expected = [1.0, *(curve[times <= t][-1] for t in TIMES[1:])]
        assert (survival[strata == disease] == expected).all()
    assert survival[strata == 0][0, 2] > survival[strata == 1][0, 2]


def test_the_cox_baseline_is_a_textbook_fit_with_disease_as_a_covariate(made):
    X, strata, outcome = made
    oracle = CoxPHSurvivalAnalysis(ties="breslow").fit(X, structured(outcome))
    expected = np.stack([curve(TIMES[1:3]) for curve in oracle.predict_survival_function(X)])
    survival = fit_plain_cox(X, strata, outcome).survival(X, strata, TIMES)
    np.testing.assert_allclose(survival[:, 1:3], expected, atol=1e-5)


@pytest.mark.parametrize("fit", [fit_plain_cox, fit_ridge_cox])
def test_the_cox_baselines_take_the_mean_for_a_missing_value(made, fit):
    X, strata, outcome = made
    model = fit(X, strata, outcome)
    blank, filled = blanked(X)
    np.testing.assert_allclose(
        model.survival(blank, strata, TIMES), model.survival(filled, strata, TIMES), atol=1e-12
    )


def test_the_ridge_baseline_forgets_noise_that_the_plain_one_believes():
    rng = np.random.default_rng(5)
    noise, strata = rng.normal(size=(150, 30)), np.zeros(150, dtype=int)
    outcome = sample_outcome(rng, np.full(150, 0.03))
    spread = [
        fit(noise, strata, outcome).survival(noise, strata, TIMES)[:, 2].std()
        for fit in (fit_plain_cox, fit_ridge_cox)
    ]
    assert spread[1] < spread[0] / 5


def test_the_ridge_baseline_fits_a_disease_in_which_nobody_died(made):
    X, strata, outcome = made
    alive = type(outcome)(outcome.duration, outcome.event & (strata == 0))
    survival = fit_ridge_cox(X, strata, alive).survival(X, strata, TIMES)
    assert survival[strata == 1, -1].mean() > survival[strata == 0, -1].mean() + 0.2


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


@pytest.mark.parametrize("kind", [SURVIVAL, RESPONSE, COMPETING_RISKS])
def test_each_kind_of_endpoint_has_one_baseline_of_the_disease_alone_and_a_regression(
    kind, made, answered, competing
):
    X, strata, outcome, *_ = {SURVIVAL: made, RESPONSE: answered, COMPETING_RISKS: competing}[kind]
    times = np.zeros(1) if kind == RESPONSE else TIMES
    answers = [fit(X, strata, outcome).probabilities(X, strata, times) for fit in baselines(kind).values()]
    alone, *regressions = answers
    assert all(answer.shape == alone.shape for answer in answers)
    assert all(len(np.unique(alone[strata == s], axis=0)) == 1 for s in (0, 1))
    assert all(len(np.unique(answer, axis=0)) > 100 for answer in regressions)
