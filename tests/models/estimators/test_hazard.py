"""The boosted discrete-time hazard: its person-interval table by hand, its curves by property and truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.censoring import Outcome
from models.estimators.cox import RidgeCox
from models.estimators.cross_fitted import CrossFitted
from models.estimators.hazard import (
    HazardModel,
    exposure,
    interval_edges,
    person_intervals,
    survival_from_margins,
)
from tests.models.outcomes import sample_outcome, tied_outcomes

EDGES = np.array([2.0, 5.0, 9.0])


QUICK = CrossFitted(cox=RidgeCox(penalties=(100.0,)), folds=3, repeats=1)


def fitted(seed, *, patients=400, hazards=(0.03, 0.06), columns=3):
    """Fit constant hazards, each stratum its own, that no column influences."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(patients, columns))
    strata = rng.integers(0, len(hazards), patients)
    outcome = sample_outcome(rng, np.array(hazards)[strata])
    return X, strata, outcome, QUICK.fit(X, strata, outcome)


def columns_of(rows):
    """Return patient, interval, weight and event of every person-interval."""
    return rows.patient, rows.interval, rows.weight, rows.event


def test_person_intervals_of_a_worked_example():
    # intervals (0, 2], (2, 5], (5, 9]
    outcome = Outcome(
        np.array([2.0, 1.0, 1.0, 3.5, 5.0, 8.0, 9.0]),
        np.array([True, True, False, False, False, True, False]),
    )
    table = [tuple(row) for row in np.stack(columns_of(person_intervals(outcome, EDGES)), axis=1).tolist()]
    assert table == [
        # patient, interval, weight, died
        (0, 0, 1.0, 1),  # died at the first edge: belongs to the interval that ends there
        (1, 0, 1.0, 1),  # died halfway: a death counts in full
        (2, 0, 0.5, 0),  # censored halfway: half an interval was seen
        (3, 0, 1.0, 0),
        (3, 1, 0.5, 0),  # left after 1.5 of 3 months
        (4, 0, 1.0, 0),
        (4, 1, 1.0, 0),  # left at the edge: saw all of the interval and nothing of the next
        (5, 0, 1.0, 0),
        (5, 1, 1.0, 0),
        (5, 2, 1.0, 1),
        (6, 0, 1.0, 0),
        (6, 1, 1.0, 0),
        (6, 2, 1.0, 0),
    ]


@given(tied_outcomes(smallest=2))
def test_every_death_is_in_the_table_once_and_nobody_lives_on_after_leaving(outcome):
    edges = np.unique(np.append([1.5, 4.0, 6.0], outcome.duration.max()))
    patient, interval, weight, died = columns_of(person_intervals(outcome, edges))
    assert died.sum() == outcome.event.sum()
    assert ((weight > 0) & (weight <= 1)).all()
    for row in range(len(outcome)):
        own = patient == row
        assert interval[own].tolist() == list(range(own.sum()))
        starts_before = np.concatenate([[0.0], edges[:-1]])[interval[own]] < outcome.duration[row]
        assert starts_before.all()
        if not outcome.event[row]:
            lived = exposure(edges, outcome.duration[[row]])[0]
            assert weight[own].sum() == pytest.approx(lived.sum())


def test_exposure_is_the_share_of_each_interval_lived():
    times = np.array([0.0, 1.0, 2.0, 3.5, 9.0, 50.0])
    assert exposure(EDGES, times).tolist() == [
        [0.0, 0.0, 0.0],
        [0.5, 0.0, 0.0],
        [1.0, 0.0, 0.0],
        [1.0, 0.5, 0.0],
        [1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0],
    ]


@given(tied_outcomes(smallest=3))
def test_intervals_rise_and_cover_all_follow_up(outcome):
    if not outcome.event.any():
        outcome = Outcome(outcome.duration, np.ones(len(outcome), dtype=bool))
    edges = interval_edges(outcome, count=5)
    assert (np.diff(np.append(0.0, edges)) > 0).all()
    assert edges[-1] == outcome.duration.max()
    assert len(edges) <= 5


def test_intervals_hold_equal_shares_of_the_deaths():
    outcome = sample_outcome(np.random.default_rng(1), np.full(2000, 0.05))
    edges = interval_edges(outcome, count=10)
    deaths, _ = np.histogram(outcome.duration[outcome.event], np.append(0.0, edges))
    assert np.ptp(deaths) <= 2


@given(
    arrays(np.float64, (4, 3), elements=st.floats(-50, 50)),
    st.lists(st.floats(0, 200), min_size=2, max_size=12),
)
def test_survival_from_any_margins_starts_at_1_and_never_rises(margins, months):
    times = np.sort(np.array([0.0, *months]))
    survival = survival_from_margins(margins, exposure(EDGES, times))
    assert (survival[:, 0] == 1.0).all()
    assert ((survival >= 0) & (survival <= 1)).all()
    assert (np.diff(survival, axis=1) <= 1e-12).all()


def test_survival_at_the_edges_is_the_product_of_one_less_each_hazard():
    X, strata, _, model = fitted(2)
    hazard = 1.0 / (1.0 + np.exp(-model.scores(X, strata, model.edges)))
    expected = np.cumprod(1.0 - hazard, axis=1)
    np.testing.assert_allclose(model.survival(X, strata, model.edges), expected, atol=1e-12)


def test_within_an_interval_the_hazard_is_constant():
    X, strata, _, model = fitted(3)
    first = model.edges[0]
    at = model.survival(X, strata, np.array([0.0, first / 2, first]))
    np.testing.assert_allclose(at[:, 1] ** 2, at[:, 2], atol=1e-12)
    assert (at[:, 0] == 1.0).all()


def test_survival_is_flat_beyond_the_last_interval():
    X, strata, outcome, model = fitted(4)
    last = outcome.duration.max()
    at = model.survival(X, strata, np.array([last, last + 1.0, 10.0 * last]))
    assert (at == at[:, :1]).all()


@given(st.integers(0, 2**32 - 1))
def test_a_fitted_curve_never_rises_for_anyone(fitted_once, seed):
    rng = np.random.default_rng(seed)
    anyone = rng.normal(size=(8, 3)) * 30.0
    anyone[rng.random(anyone.shape) < 0.3] = np.nan
    times = np.sort(rng.uniform(0.0, 120.0, 30))
    survival = fitted_once.survival(anyone, rng.integers(0, 2, 8), times)
    assert ((survival >= 0) & (survival <= 1)).all()
    assert (np.diff(survival, axis=1) <= 1e-12).all()


@pytest.fixture(scope="module")
def fitted_once():
    return fitted(5)[3]


def test_a_constant_hazard_is_recovered_in_each_stratum():
    hazards = (0.03, 0.06)
    X, strata, _, model = fitted(6, patients=6000, hazards=hazards)
    times = np.array([6.0, 12.0, 24.0, 36.0])
    survival = model.survival(X, strata, times)
    for stratum, hazard in enumerate(hazards):
        mean = survival[strata == stratum].mean(axis=0)
        np.testing.assert_allclose(mean, np.exp(-hazard * times), atol=0.025)
        assert survival[strata == stratum].std(axis=0).max() < 0.03


def test_the_trees_learn_an_effect_that_the_cox_model_misses():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(3000, 1))
    strata = np.zeros(3000, dtype=np.int64)
    outcome = sample_outcome(rng, np.where(np.abs(X[:, 0]) > 1, 0.1, 0.02))
    alone = RidgeCox(penalties=(1.0,)).fit(X, strata, outcome)
    model = QUICK.fit(X, strata, outcome)
    times, anyone = np.array([12.0, 24.0]), np.array([[-2.0], [0.0], [2.0]])
    truth = np.exp(-np.outer([0.1, 0.02, 0.1], times))
    assert np.abs(model.survival(anyone, strata[:3], times) - truth).max() < 0.08
    assert np.abs(alone.survival(anyone, strata[:3], times) - truth).max() > 0.15


def test_hazards_that_cross_are_learned():
    rng = np.random.default_rng(17)
    late = rng.random(3000) < 0.5
    early = rng.exponential(1.0 / np.where(late, 0.01, 0.08))
    death = np.where(early < 12.0, early, 12.0 + rng.exponential(1.0 / np.where(late, 0.08, 0.01)))
    outcome = Outcome(np.minimum(death, 60.0), death <= 60.0)
    model = QUICK.fit(late[:, None].astype(float), np.zeros(3000, dtype=np.int64), outcome)
    times, two = np.array([12.0, 36.0]), np.zeros(2, dtype=np.int64)
    truth = np.exp([[-0.96, -0.96 - 0.24], [-0.12, -0.12 - 1.92]])
    assert np.abs(model.survival(np.array([[0.0], [1.0]]), two, times) - truth).max() < 0.06


def test_a_cured_fraction_keeps_a_plateau():
    rng = np.random.default_rng(18)
    cured = rng.random(2000) < 0.4
    death = np.where(cured, np.inf, rng.exponential(6.0, 2000))
    outcome = Outcome(np.minimum(death, 100.0), death <= 100.0)
    X, strata = rng.normal(size=(2000, 2)), np.zeros(2000, dtype=np.int64)
    curves = QUICK.fit(X, strata, outcome).survival(X, strata, np.array([60.0, 90.0])).mean(axis=0)
    np.testing.assert_allclose(curves, 0.4, atol=0.03)


def test_slopes_are_the_derivatives_of_survival(fitted_once):
    rng = np.random.default_rng(10)
    times = np.array([3.0, 20.0, 45.0])
    scores = rng.normal(-2.0, 1.0, size=(5, len(fitted_once.edges)))
    slopes = fitted_once.slopes(scores, times)
    step = 1e-6
    for score in range(scores.shape[1]):
        up, down = scores.copy(), scores.copy()
        up[:, score] += step
        down[:, score] -= step
        found = fitted_once.probabilities(up, times) - fitted_once.probabilities(down, times)
        np.testing.assert_allclose(slopes[..., score], found / (2.0 * step), atol=1e-8)


def test_parts_add_up_to_the_scores(fitted_once):
    rng = np.random.default_rng(11)
    X = rng.normal(size=(20, 3))
    X[rng.random(X.shape) < 0.3] = np.nan
    strata, times = rng.integers(0, 2, 20), np.array([12.0])
    total = fitted_once.parts(X, strata, times).total()
    np.testing.assert_allclose(total, fitted_once.scores(X, strata, times), atol=1e-9)


def test_absurd_values_give_probabilities_all_the_same(fitted_once):
    absurd = np.array([[1e30, -1e30, 1e30], [np.nan, np.nan, np.nan]])
    survival = fitted_once.survival(absurd, np.array([0, 1]), np.array([1.0, 60.0, 1e6]))
    assert np.isfinite(survival).all()
    assert ((survival >= 0.0) & (survival <= 1.0)).all()


def test_a_stored_model_answers_as_before():
    X, strata, _, model = fitted(9)
    again = HazardModel.from_files(model.files())
    times = np.array([4.0, 20.0])
    assert (again.survival(X, strata, times) == model.survival(X, strata, times)).all()
    assert again.files() == model.files()
