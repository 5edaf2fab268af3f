"""The Cox model, against scikit-survival, a plainly written likelihood and known truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize
from sksurv.linear_model import CoxPHSurvivalAnalysis

from features.censoring import Outcome
from features.errors import NotFittable
from models.estimators.cox import PENALTIES, RidgeCox, _Risk
from tests.models.outcomes import sample_outcome, structured

COEFFICIENTS = np.array([0.8, -0.5, 0.3])


def made(seed, *, patients=300, strata=1, tied=False):
    """Return columns on different scales, strata and outcomes with proportional hazards."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(patients, 3)) * [1.0, 4.0, 0.3] + [0.0, 10.0, -2.0]
    stratum = rng.integers(0, strata, patients)
    score = (X - [0.0, 10.0, -2.0]) / [1.0, 4.0, 0.3] @ COEFFICIENTS
    outcome = sample_outcome(rng, np.where(stratum == 0, 0.02, 0.06) * np.exp(score))
    if tied:
        outcome = Outcome(np.ceil(outcome.duration / 4.0) * 4.0, outcome.event)
    return X, stratum, outcome


def plain_log_likelihood(beta, Z, strata, outcome):
    """Breslow's stratified partial likelihood, as a textbook writes it: one risk set after the other."""
    score, total = Z @ beta, 0.0
    for row in np.flatnonzero(outcome.event):
        at_risk = (strata == strata[row]) & (outcome.duration >= outcome.duration[row])
        total += score[row] - np.log(np.exp(score[at_risk]).sum())
    return total


def standardised(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


@pytest.mark.parametrize("tied", [False, True])
def test_one_unpenalised_stratum_is_scikit_survivals_cox_model(tied):
    X, strata, outcome = made(1, tied=tied)
    model = RidgeCox(penalties=(0.0,)).fit(X, strata, outcome)
    oracle = CoxPHSurvivalAnalysis(alpha=0, ties="breslow", tol=1e-14).fit(X, structured(outcome))
    np.testing.assert_allclose(model.coefficients[0], oracle.coef_, atol=1e-8)
    curves = oracle.predict_survival_function(X)
    times = curves[0].x
    expected = np.stack([curve(times) for curve in curves])
    np.testing.assert_allclose(model.survival(X, strata, times), expected, atol=1e-8)


@pytest.mark.parametrize("tied", [False, True])
def test_the_baseline_is_scikit_survivals_at_the_mean_patient(tied):
    X, strata, outcome = made(2, tied=tied)
    centred = X - X.mean(axis=0)
    model = RidgeCox(penalties=(0.0,)).fit(centred, strata, outcome)
    oracle = CoxPHSurvivalAnalysis(alpha=0, ties="breslow", tol=1e-14).fit(centred, structured(outcome))
    times, hazard = model.baselines[0]
    assert times.tolist() == np.unique(outcome.duration[outcome.event]).tolist()
    np.testing.assert_allclose(np.exp(-hazard), oracle.baseline_survival_(times), atol=1e-8)


@pytest.mark.parametrize("penalty", [0.3, 20.0, 400.0])
def test_one_stratum_with_a_penalty_is_scikit_survivals_ridge(penalty):
    X, strata, outcome = made(3, tied=True)
    Z = standardised(X)
    model = RidgeCox(penalties=(penalty,)).fit(Z, strata, outcome)
    oracle = CoxPHSurvivalAnalysis(alpha=penalty, ties="breslow", tol=1e-14).fit(Z, structured(outcome))
    np.testing.assert_allclose(model.coefficients[0], oracle.coef_, atol=1e-8)


@given(st.integers(0, 10_000), st.integers(1, 3), st.booleans())
def test_likelihood_and_derivatives_are_those_of_the_plainly_written_one(seed, strata, tied):
    X, stratum, outcome = made(seed, patients=40, strata=strata, tied=tied)
    Z = standardised(X)
    beta = np.random.default_rng(seed).uniform(-0.5, 0.5, 3)
    risk = _Risk(Z, stratum, outcome)
    assert risk.log_likelihood(beta) == pytest.approx(plain_log_likelihood(beta, Z, stratum, outcome))
    gradient, hessian = risk.derivatives(beta)
    slopes = approx_fprime(beta, lambda b: plain_log_likelihood(b, Z, stratum, outcome), 1e-6)
    np.testing.assert_allclose(gradient, slopes, atol=2e-3, rtol=1e-4)
    step = 1e-5
    curvature = [
        (risk.derivatives(beta + step * e)[0] - risk.derivatives(beta - step * e)[0]) / (2 * step)
        for e in np.eye(3)
    ]
    np.testing.assert_allclose(hessian, -np.array(curvature), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("firmer", [1.0, 5.0])
def test_two_strata_share_and_deviate_as_the_penalised_likelihood_says(firmer):
    X, strata, outcome = made(4, patients=200, strata=2, tied=True)
    penalty = 8.0
    means = np.stack([X[strata == s].mean(axis=0) for s in (0, 1)])
    Z = (X - means[strata]) / X.std(axis=0)
    design = np.hstack([Z, Z * (strata == 0)[:, None], Z * (strata == 1)[:, None]])

    def loss(beta):
        shrunk = np.repeat([1.0, firmer], [3, 6]) @ beta**2
        return 0.5 * penalty * shrunk - plain_log_likelihood(beta, design, strata, outcome)

    best = minimize(loss, np.zeros(9), method="BFGS", options={"gtol": 1e-4}).x
    expected = np.stack([best[:3] + best[3:6], best[:3] + best[6:]]) / X.std(axis=0)
    model = RidgeCox(penalties=(penalty,), firmer=(firmer,)).fit(X, strata, outcome)
    np.testing.assert_allclose(model.coefficients * X.std(axis=0), expected * X.std(axis=0), atol=1e-4)
    np.testing.assert_allclose(model.means, means, atol=1e-12)


def test_a_larger_penalty_shrinks_further():
    X, strata, outcome = made(5, strata=2)
    sizes = [
        np.linalg.norm(RidgeCox(penalties=(p,)).fit(X, strata, outcome).coefficients * X.std(axis=0))
        for p in (0.1, 1.0, 10.0, 100.0, 1000.0)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.5 * sizes[0]


def test_a_heavy_penalty_leaves_the_breslow_curve_of_each_stratum():
    X, strata, outcome = made(6, strata=2)
    model = RidgeCox(penalties=(1e12,)).fit(X, strata, outcome)
    for stratum, (times, hazard) in enumerate(model.baselines):
        own = outcome.take(strata == stratum)
        increments = [own.event[own.duration == time].sum() / (own.duration >= time).sum() for time in times]
        np.testing.assert_allclose(hazard, np.cumsum(increments), rtol=1e-6)


@pytest.mark.parametrize("strata", [1, 2])
def test_the_penalty_has_the_largest_marginal_likelihood(strata):
    """The oracle integrates the plainly written likelihood over normal coefficients of any spread alike."""
    X, stratum, outcome = made(7, patients=60, strata=strata)
    X, penalties = X[:, :1], (0.3, 3.0, 30.0, 300.0)
    chosen = RidgeCox(penalties=penalties).fit(X, stratum, outcome).penalty
    means = np.stack([X[stratum == s].mean(axis=0) for s in range(strata)])
    Z = (X - means[stratum]) / X.std(axis=0)
    slopes = np.linspace(-3.0, 3.0, 121)
    logged = np.array([[plain_log_likelihood(np.array([b]), Z[own], stratum[own], outcome.take(own))
                        for b in slopes] for own in (stratum == s for s in range(strata))])  # fmt: skip
    marginal = [_integrated(logged, slopes, penalty) / np.sqrt(penalty) for penalty in penalties]
    assert chosen == penalties[int(np.argmax(marginal))]


@pytest.mark.parametrize(("sign", "firmer"), [(1.0, 1000.0), (-1.0, 1.0)])
def test_deviations_are_held_firmer_where_strata_are_alike(sign, firmer):
    """The first column acts alike in both strata, or in opposite directions."""
    rng = np.random.default_rng(31)
    X, strata = rng.normal(size=(800, 3)), np.arange(800) % 2
    outcome = sample_outcome(rng, 0.03 * np.exp(np.where(strata == 0, 1.0, sign) * X[:, 0]))
    model = RidgeCox(firmer=(1.0, 1000.0)).fit(X, strata, outcome)
    assert model.firmer == firmer
    np.testing.assert_allclose(model.coefficients[:, 0], [1.0, sign], atol=0.2)


def _integrated(logged, slopes, penalty):
    """Integrate by sums over a shared slope and, with two strata, a deviation of its kind in each."""
    shared = np.exp(-0.5 * penalty * slopes**2)
    likelihood = np.exp(logged - logged.max())
    if len(logged) == 1:
        return (shared * likelihood[0]).sum() / shared.sum()
    between = np.exp(-0.5 * penalty * (slopes[:, None] - slopes) ** 2)
    inside = [(between * own).sum(axis=1) / shared.sum() for own in likelihood]
    return (shared * inside[0] * inside[1]).sum() / shared.sum()


def test_columns_of_noise_get_a_heavier_penalty_than_columns_that_tell():
    X, strata, outcome = made(8)
    noise = np.random.default_rng(80).normal(size=X.shape)
    told = RidgeCox().fit(X, strata, outcome).penalty
    assert RidgeCox().fit(noise, strata, outcome).penalty > told
    assert told in PENALTIES


def test_a_missing_value_stands_at_the_mean_of_its_stratum():
    X, strata, outcome = made(9, strata=2)
    X[np.random.default_rng(9).random(X.shape) < 0.2] = np.nan
    model = RidgeCox(penalties=(5.0,)).fit(X, strata, outcome)
    means = np.stack([np.nanmean(X[strata == s], axis=0) for s in (0, 1)])
    filled = np.where(np.isnan(X), means[strata], X)
    times = np.array([6.0, 24.0, 60.0])
    np.testing.assert_allclose(
        model.survival(X, strata, times), model.survival(filled, strata, times), atol=1e-12
    )
    assert (model.terms(X, strata)[np.isnan(X)] == 0.0).all()


def test_a_column_never_observed_in_a_stratum_says_nothing_there():
    X, strata, outcome = made(10, strata=2)
    X[strata == 1, 0] = np.nan
    model = RidgeCox(penalties=(5.0,)).fit(X, strata, outcome)
    assert np.isfinite(model.coefficients).all()
    assert (model.terms(X, strata)[strata == 1, 0] == 0.0).all()
    assert np.ptp(model.terms(X, strata)[strata == 0, 0]) > 0.1


def test_a_column_that_never_varies_gets_no_effect():
    X, strata, outcome = made(11)
    X[:, 1] = 7.0
    model = RidgeCox(penalties=(1.0,)).fit(X, strata, outcome)
    assert model.coefficients[0, 1] == 0.0


def test_coefficients_approach_the_truth():
    X, strata, outcome = made(12, patients=6000, strata=2)
    model = RidgeCox(penalties=(1.0,)).fit(X, strata, outcome)
    np.testing.assert_allclose(
        model.coefficients * [1.0, 4.0, 0.3], np.broadcast_to(COEFFICIENTS, (2, 3)), atol=0.08
    )


@given(st.integers(0, 1000))
def test_survival_lies_between_0_and_1_and_never_rises(seed):
    X, strata, outcome = made(seed, patients=60, strata=2)
    model = RidgeCox(penalties=(1.0,)).fit(X, strata, outcome)
    anyone = np.random.default_rng(seed).normal(size=(20, 3)) * 20.0
    survival = model.survival(anyone, np.arange(20) % 2, np.linspace(0.0, 120.0, 61))
    assert ((survival >= 0) & (survival <= 1)).all()
    assert (np.diff(survival, axis=1) <= 0).all()


def test_survival_and_log_cumulative_hazard_say_the_same():
    X, strata, outcome = made(13, strata=2)
    model = RidgeCox(penalties=(1.0,)).fit(X, strata, outcome)
    times = np.array([12.0, 40.0])
    logged = model.log_cumulative_hazard(X, strata, times)
    np.testing.assert_allclose(np.log(-np.log(model.survival(X, strata, times))), logged, atol=1e-9)
    np.testing.assert_allclose(
        model.terms(X, strata).sum(axis=1)[:, None] + model.log_baseline(strata, times), logged, atol=1e-12
    )


def test_a_stratum_without_events_is_not_fittable():
    X, strata, outcome = made(15, strata=2)
    silent = Outcome(outcome.duration, outcome.event & (strata == 0))
    with pytest.raises(NotFittable, match="no event in 1 of 2 disease strata"):
        RidgeCox(penalties=(1.0,)).fit(X, strata, silent)


def test_strata_with_scores_far_apart_do_not_drown_each_other():
    rng = np.random.default_rng(0)
    Z, strata = rng.normal(size=(60, 2)), np.repeat([0, 1], 30)
    outcome = Outcome(rng.exponential(10.0, 60), rng.random(60) < 0.7)
    moved = Z + np.array([400.0, 0.0]) * (strata == 0)[:, None]
    beta = np.array([0.5, -0.2])
    near, far = (_Risk(z, strata, outcome) for z in (Z, moved))
    assert far.log_likelihood(beta) == pytest.approx(near.log_likelihood(beta), abs=1e-9)
    for a, b in zip(far.derivatives(beta), near.derivatives(beta), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_scores_too_far_apart_to_add_up_are_no_improvement():
    Z = np.array([[0.0], [1.0], [2.0]])
    outcome = Outcome(np.array([3.0, 2.0, 1.0]), np.array([True, True, True]))
    assert _Risk(Z, np.zeros(3, dtype=np.int64), outcome).log_likelihood(np.array([800.0])) == -np.inf


def test_many_columns_in_many_strata_share_their_coefficients():
    rng = np.random.default_rng(1)
    X, strata = rng.normal(size=(400, 101)), np.arange(400) % 4
    death = rng.exponential(20.0 * np.exp(-X[:, 0]))
    model = RidgeCox(penalties=(10.0,)).fit(X, strata, Outcome(death, np.ones(400, dtype=bool)))
    assert model.coefficients.shape == (4, 101)
    assert (model.coefficients == model.coefficients[0]).all()
    assert model.coefficients[0, 0] > 0.5
