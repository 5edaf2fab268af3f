"""Smooth calibration: near nothing for a perfect model, near the truth for a wrong one, at any size."""

import numpy as np
import pytest

from features.censoring import Outcome
from features.endpoints import COMPLEMENTARY_LOG_LOG, LOG_ODDS
from training import metrics
from training.bootstrap import BootstrapSamples
from training.smooth_calibration import SmoothCalibration
from training.status import Status

HORIZON, SAMPLES = 24.0, 200
SMALL = 221  # the patients of the smallest cohort


def made(seed, *, patients=SMALL, wrong=0.0, slope=1.0):
    """Return a predicted and the true risk, and the outcome; the first two agree when nothing is wrong."""
    rng = np.random.default_rng(seed)
    hazard = 0.03 * np.exp(rng.normal(0.0, 0.7, patients))
    death, censored = rng.exponential(1.0 / hazard), rng.uniform(1.0, 80.0, patients)
    predicted = 1.0 - np.exp(-np.exp(wrong) * (HORIZON * hazard) ** slope)
    truth = 1.0 - np.exp(-HORIZON * hazard)
    return predicted, truth, Outcome(np.minimum(death, censored), death <= censored)


def fitted(risk, outcome):
    return SmoothCalibration.fit(risk, Status.by(outcome, horizon=HORIZON), link=COMPLEMENTARY_LOG_LOG)


def estimated(seed, **how):
    risk, truth, outcome = made(seed, **how)
    samples = BootstrapSamples.draw(len(risk), samples=SAMPLES, seed=seed)
    return np.abs(risk - truth), fitted(risk, outcome).estimates(samples)


def by_groups(seed):
    """Return the error of a perfect model over five groups of risk."""
    risk, _, outcome = made(seed)
    curve = metrics.calibration(1.0 - risk, outcome, horizon=HORIZON)
    return np.average(np.abs(curve.predicted - curve.observed), weights=curve.patients)


def test_a_perfect_model_of_few_patients_is_not_blamed_for_chance():
    found = [estimated(seed)[1]["ici"] for seed in range(60)]
    groups = [by_groups(seed) for seed in range(60)]
    assert np.mean(groups) > 0.05  # what five groups would say of it
    assert np.mean([each.value for each in found]) < 0.032
    assert np.mean([each.low == 0.0 for each in found]) > 0.85  # nine in ten over many seeds


@pytest.mark.parametrize(("wrong", "slope"), [(0.3, 1.0), (0.6, 1.0), (0.0, 1.4)])
def test_a_wrong_model_of_few_patients_is_as_wrong_as_it_is(wrong, slope):
    runs = [estimated(seed, wrong=wrong, slope=slope) for seed in range(60)]
    for name, measure in (("ici", np.mean), ("e50", np.median), ("e90", lambda e: np.quantile(e, 0.9))):
        truth = np.array([measure(error) for error, _ in runs])
        value, low, high = (
            np.array([getattr(found[name], end) for _, found in runs]) for end in ("value", "low", "high")
        )
        assert value.mean() == pytest.approx(truth.mean(), abs=0.03)
        assert np.mean((low <= truth) & (truth <= high)) > 0.85  # 91 to 98 % over many seeds


def test_with_many_patients_estimate_and_truth_meet():
    for how in ({}, {"wrong": 0.3}, {"slope": 1.4}):
        error, found = estimated(1, patients=40_000, **how)
        assert found["ici"].value == pytest.approx(error.mean(), abs=0.005)
        assert found["e50"].value == pytest.approx(np.median(error), abs=0.008)
        assert found["e90"].value == pytest.approx(np.quantile(error, 0.9), abs=0.015)
        assert found["ici"].high - found["ici"].low < 0.02


def test_a_resampled_curve_is_that_of_the_patients_drawn():
    risk, _, outcome = made(2, patients=2000, wrong=0.3)
    status = Status.by(outcome, horizon=HORIZON)
    drawn = BootstrapSamples.draw(len(risk), samples=20, seed=3)
    moved, _ = SmoothCalibration.fit(risk, status, link=COMPLEMENTARY_LOG_LOG)._moved(drawn)
    for sample, counts in enumerate(drawn.counts.T):
        again = SmoothCalibration.fit(
            risk, Status(status.event, status.weight * counts), link=COMPLEMENTARY_LOG_LOG
        )
        np.testing.assert_allclose(moved[:, sample], again.coefficients, atol=0.03)


@pytest.mark.parametrize("link", [COMPLEMENTARY_LOG_LOG, LOG_ODDS])
@pytest.mark.parametrize("risk", [0.3, 0.0, 1.0])
def test_a_prediction_that_is_the_same_for_everyone_is_held_to_the_share_alone(link, risk):
    event = np.arange(200) < 60
    fit = SmoothCalibration.fit(np.full(200, risk), Status.certain(event), link=link)
    assert fit.basis.shape[1] == 1
    np.testing.assert_allclose(fit.observed, 0.3, atol=1e-6)
    samples = BootstrapSamples.draw(200, samples=50, seed=1)
    estimate = fit.estimates(samples)["ici"]
    assert estimate.value == pytest.approx(abs(risk - 0.3), abs=1e-5)
    assert 0.0 <= estimate.low <= estimate.high <= 1.0


@pytest.mark.parametrize("distinct", [2, 3, 5])
def test_few_distinct_predictions_are_told_apart_as_far_as_they_go(distinct):
    rng = np.random.default_rng(4)
    risk = rng.integers(1, distinct + 1, 400) / (distinct + 2.0)
    fit = SmoothCalibration.fit(risk, Status.certain(rng.random(400) < risk), link=LOG_ODDS)
    assert fit.basis.shape[1] <= min(distinct, 3)
    assert np.isfinite(fit.observed).all()
    assert np.abs(fit.observed - risk).max() < 0.2


def test_predictions_that_separate_perfectly_have_a_finite_error():
    event = np.arange(40) >= 20
    fit = SmoothCalibration.fit(np.where(event, 0.6, 0.4), Status.certain(event), link=LOG_ODDS)
    samples = BootstrapSamples.draw(40, samples=50, seed=5)
    assert fit.estimates(samples)["ici"].value == pytest.approx(0.4, abs=0.02)
