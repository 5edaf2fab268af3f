"""The boosted discrete-time hazard: its person-interval table by hand, its curves by property and truth."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.censoring import Outcome
from models.cox import CoxModel, RidgeCox
from models.hazard import (
    BoostedHazard,
    HazardModel,
    exposure,
    interval_edges,
    person_intervals,
    survival_from_margins,
)
from tests.models.outcomes import sample_outcome, tied_outcomes

EDGES = np.array([2.0, 5.0, 9.0])


def fitted(seed, *, patients=400, hazards=(0.03, 0.06), columns=3, rounds=100):
    """Fit constant hazards, each stratum its own, that no column influences."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(patients, columns))
    strata = rng.integers(0, len(hazards), patients)
    outcome = sample_outcome(rng, np.array(hazards)[strata])
    start = RidgeCox(penalties=(100.0,)).fit(X, strata, outcome)
    return X, strata, outcome, BoostedHazard(rounds=rounds).fit(X, strata, outcome, start=start)


def test_person_intervals_of_a_worked_example():
    # intervals (0, 2], (2, 5], (5, 9]
    outcome = Outcome(
        np.array([2.0, 1.0, 1.0, 3.5, 5.0, 8.0, 9.0]),
        np.array([True, True, False, False, False, True, False]),
    )
    table = [tuple(row) for row in np.stack(person_intervals(outcome, EDGES), axis=1).tolist()]
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
    patient, interval, weight, died = person_intervals(outcome, edges)
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
    hazard = 1.0 / (1.0 + np.exp(-model.margins(X, strata)))
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
    hazard = np.where(np.abs(X[:, 0]) > 1, 0.1, 0.02)
    outcome = sample_outcome(rng, hazard)
    start = RidgeCox(penalties=(1.0,)).fit(X, strata, outcome)
    model = BoostedHazard().fit(X, strata, outcome, start=start)
    times, anyone = np.array([12.0, 24.0]), np.array([[-2.0], [0.0], [2.0]])
    truth = np.exp(-np.outer([0.1, 0.02, 0.1], times))
    alone = start.survival(anyone, strata[:3], times)
    assert np.abs(model.survival(anyone, strata[:3], times) - truth).max() < 0.08
    assert np.abs(alone - truth).max() > 0.15


def test_the_same_data_give_the_same_booster():
    first, second = fitted(8)[3], fitted(8)[3]
    assert first.booster == second.booster
    assert first.as_dict() == second.as_dict()


def test_a_stored_model_answers_as_before():
    X, strata, _, model = fitted(9)
    stored = json.loads(json.dumps(model.as_dict()))
    start = CoxModel.from_dict(json.loads(json.dumps(model.start.as_dict())))
    again = HazardModel.from_dict(stored, booster=model.booster, start=start)
    times = np.array([4.0, 20.0])
    assert (again.survival(X, strata, times) == model.survival(X, strata, times)).all()
