"""The bootstrap: re-weighting patients is the same as drawing them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from features.censoring import Outcome
from features.endpoints import CompetingOutcome
from tests.models.outcomes import sample_outcome, tied_outcomes
from training import metrics
from training.bootstrap import BootstrapSamples


def made(seed, *, patients=120):
    rng = np.random.default_rng(seed)
    hazard = rng.lognormal(-3.5, 0.7, patients)
    outcome = sample_outcome(rng, hazard)
    outcome = Outcome(np.ceil(outcome.duration / 2.0) * 2.0, outcome.event)
    return np.round(np.log(hazard), 1), outcome


def drawn_rows(counts):
    return np.repeat(np.arange(len(counts)), counts.astype(int))


@given(st.data(), tied_outcomes(smallest=2))
def test_when_everyone_counts_once_the_concordance_is_the_metric(data, outcome):
    assume(metrics.outlives(outcome, np.flatnonzero(outcome.event)).any())
    size = len(outcome)
    risk = np.array(data.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)), dtype=np.float64)
    once, same = BootstrapSamples(np.ones((size, 2))), np.ones(size)
    found = once.concordance(risk, outcome, until=np.inf, weight=same)
    np.testing.assert_allclose(found, metrics.harrell_c(risk, outcome), atol=1e-12)


@pytest.mark.parametrize("patients", [120, 1300])  # the larger cohort is scored in several chunks
def test_when_everyone_counts_once_unos_concordance_is_the_metric(patients):
    risk, outcome = made(1, patients=patients)
    once = BootstrapSamples(np.ones((patients, 1)))
    found = once.concordance(risk, outcome, until=48.0, weight=metrics.uno_weight(outcome))
    assert found[0] == pytest.approx(metrics.uno_c(risk, outcome, until=48.0), abs=1e-12)


def test_harrells_c_of_a_sample_is_that_of_the_patients_drawn():
    risk, outcome = made(2)
    drawn = BootstrapSamples.draw(len(outcome), samples=25, seed=4)
    found = drawn.concordance(risk, outcome, until=np.inf, weight=np.ones(len(outcome)))
    for sample, counts in enumerate(drawn.counts.T):
        rows = drawn_rows(counts)
        expected = metrics.harrell_c(risk[rows], outcome.take(rows))
        assert found[sample] == pytest.approx(expected, abs=1e-12)


@given(tied_outcomes(), st.floats(0.0, 10.0), st.integers(0, 1000))
def test_observed_risk_is_kaplan_meiers_of_everyone_and_of_any_sample(outcome, horizon, seed):
    once = BootstrapSamples(np.ones((len(outcome), 1)))
    assert once.observed_risk(outcome, horizon=horizon)[0] == pytest.approx(
        metrics.observed_risk(outcome, horizon), abs=1e-12
    )
    drawn = BootstrapSamples.draw(len(outcome), samples=3, seed=seed)
    expected = [metrics.observed_risk(outcome.take(drawn_rows(counts)), horizon) for counts in drawn.counts.T]
    np.testing.assert_allclose(drawn.observed_risk(outcome, horizon=horizon), expected, atol=1e-12)


@given(tied_outcomes(), st.data(), st.floats(0.0, 10.0), st.integers(0, 1000))
def test_observed_incidence_is_aalen_johansens_of_everyone_and_of_any_sample(outcome, data, horizon, seed):
    size = len(outcome)
    cause = np.array(data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
    competing = CompetingOutcome(outcome.duration, cause)
    once, drawn = BootstrapSamples.once(size), BootstrapSamples.draw(size, samples=3, seed=seed)
    for at in (1, 2):
        assert once.observed_incidence(competing, at, horizon=horizon)[0] == pytest.approx(
            metrics.observed_incidence(competing, at, horizon), abs=1e-12
        )
        expected = [
            metrics.observed_incidence(competing.take(drawn_rows(counts)), at, horizon)
            for counts in drawn.counts.T
        ]
        found = drawn.observed_incidence(competing, at, horizon=horizon)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_concordance_of_a_cause_is_that_of_the_patients_drawn_with_everyones_weights():
    risk, outcome = made(10)
    cause = np.where(outcome.event, np.random.default_rng(11).integers(1, 3, len(outcome)), 0)
    competing = CompetingOutcome(outcome.duration, cause)
    had = np.flatnonzero((cause == 1) & (outcome.duration < 48.0))
    pairs = metrics.competing_pairs(competing, 1, had)
    drawn = BootstrapSamples.draw(len(outcome), samples=5, seed=12)
    found = drawn.competing_concordance(risk, competing, 1, until=48.0)
    for sample, counts in enumerate(drawn.counts.T):
        weight = pairs * counts[had, None] * counts
        expected = (weight * metrics.precedes(risk, had)).sum() / weight.sum()
        assert found[sample] == pytest.approx(expected, abs=1e-12)


def test_the_mean_of_a_sample_is_that_of_the_patients_drawn():
    values = np.random.default_rng(5).normal(size=50)
    drawn = BootstrapSamples.draw(50, samples=10, seed=6)
    expected = [values[drawn_rows(counts)].mean() for counts in drawn.counts.T]
    np.testing.assert_allclose(drawn.mean(values), expected, atol=1e-12)


def test_every_sample_draws_as_many_patients_as_there_are():
    drawn = BootstrapSamples.draw(80, samples=200, seed=7)
    assert drawn.counts.shape == (80, 200)
    assert (drawn.counts.sum(axis=0) == 80).all()
    assert drawn.counts.mean(axis=1) == pytest.approx(np.ones(80), abs=0.35)


def test_samples_follow_the_seed():
    one, same, other = (BootstrapSamples.draw(30, samples=5, seed=s).counts for s in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    values = np.random.default_rng(8).normal(size=400)
    means = BootstrapSamples.draw(400, samples=2000, seed=9).mean(values)
    assert means.std() == pytest.approx(values.std() / 20.0, rel=0.1)
