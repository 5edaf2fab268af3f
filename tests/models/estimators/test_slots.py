"""Rows of a regression in slots: person-intervals by hand, intervals and the life table by property."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from features.censoring import Outcome
from models.estimators.slots import SlotRows, chance, interval_edges, life_table, person_intervals
from models.estimators.transforms import exposure
from tests.models.outcomes import sample_outcome, tied_outcomes

EDGES = np.array([2.0, 5.0, 9.0])


def columns_of(rows):
    """Return patient, interval, weight and event of every person-interval."""
    return rows.patient, rows.slot, rows.weight, rows.event


def log_odds(probability):
    return np.log(probability / (1.0 - probability))


def test_person_intervals_of_a_worked_example():
    # intervals (0, 2], (2, 5], (5, 9]
    outcome = Outcome(
        np.array([2.0, 1.0, 1.0, 3.5, 5.0, 8.0, 9.0]),
        np.array([True, True, False, False, False, True, False]),
    )
    rows = person_intervals(outcome, EDGES)
    assert rows.slots == 3
    assert [tuple(row) for row in np.stack(columns_of(rows), axis=1).tolist()] == [
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
def test_every_death_is_in_the_rows_once_and_nobody_lives_on_after_leaving(outcome):
    edges = np.unique(np.append([1.5, 4.0, 6.0], outcome.duration.max()))
    patient, interval, weight, died = columns_of(person_intervals(outcome, edges))
    assert died.sum() == outcome.event.sum()
    assert ((weight > 0) & (weight <= 1)).all()
    assert (np.diff(patient) >= 0).all()
    for row in range(len(outcome)):
        own = patient == row
        assert interval[own].tolist() == list(range(own.sum()))
        starts_before = np.concatenate([[0.0], edges[:-1]])[interval[own]] < outcome.duration[row]
        assert starts_before.all()
        if not outcome.event[row]:
            lived = exposure(edges, outcome.duration[[row]])[0]
            assert weight[own].sum() == pytest.approx(lived.sum())


@given(tied_outcomes(smallest=3))
def test_intervals_rise_and_cover_all_follow_up(outcome):
    assume(outcome.event.any())
    edges = interval_edges(outcome, count=5)
    assert (np.diff(np.append(0.0, edges)) > 0).all()
    assert edges[-1] == outcome.duration.max()
    assert len(edges) <= 5


def test_intervals_hold_equal_shares_of_the_deaths():
    outcome = sample_outcome(np.random.default_rng(1), np.full(2000, 0.05))
    edges = interval_edges(outcome, count=10)
    deaths, _ = np.histogram(outcome.duration[outcome.event], np.append(0.0, edges))
    assert np.ptp(deaths) <= 2


@pytest.mark.parametrize(("events", "intervals"), [(400, 20), (60, 12), (20, 4), (5, 4)])
def test_few_events_have_few_intervals_of_about_five_events(events, intervals):
    rng = np.random.default_rng(events)
    outcome = Outcome(rng.uniform(1.0, 60.0, 500), np.arange(500) < events)
    assert len(interval_edges(outcome, count=20)) == intervals


def test_the_likelihood_is_the_weighted_bernoulli_one():
    rng = np.random.default_rng(2)
    outcome = sample_outcome(rng, np.full(50, 0.1))
    rows, scores = person_intervals(outcome, np.array([2.0, 5.0, 80.0])), rng.normal(size=(50, 3))
    probability = chance(scores[rows.patient, rows.slot])
    likelihood = np.where(rows.event == 1.0, probability, 1.0 - probability) ** rows.weight
    assert rows.log_likelihood(scores) == pytest.approx(np.log(likelihood).sum())


def test_some_rows_are_taken_whole():
    rows = person_intervals(sample_outcome(np.random.default_rng(3), np.full(20, 0.1)), np.array([9.0, 80.0]))
    kept = rows.patient % 2 == 1
    taken = rows.take(kept)
    assert (taken.slots, len(taken)) == (2, kept.sum())
    for whole, some in zip(columns_of(rows), columns_of(taken), strict=True):
        np.testing.assert_array_equal(some, whole[kept])


@given(st.floats(-1e6, 1e6))
def test_a_chance_is_the_inverse_of_log_odds_and_never_certain(margin):
    found = float(chance(np.array([margin]))[0])
    assert 0.0 < found < 1.0
    if abs(margin) < 20.0:
        assert log_odds(found) == pytest.approx(margin, rel=1e-6, abs=1e-6)


# The life table


def life_tables(seed, *, patients=3000, spread=0.4):
    """Return diseases, person-intervals and scores of patients with known hazards."""
    rng = np.random.default_rng(seed)
    strata, score = rng.integers(0, 2, patients), spread * rng.normal(size=patients)
    outcome = sample_outcome(rng, np.array([0.02, 0.05])[strata] * np.exp(score))
    edges = interval_edges(outcome, count=12)
    return strata, person_intervals(outcome, edges), score, edges


def test_with_many_patients_a_life_table_is_the_share_who_die_in_each_interval():
    strata, rows, score, _ = life_tables(8)
    base = life_table(strata, rows, np.zeros_like(score), strata_count=2)
    assert base.shape == (2, rows.slots)
    for stratum in range(2):
        for slot in range(rows.slots):
            own = (strata[rows.patient] == stratum) & (rows.slot == slot)
            share = rows.event[own].sum() / rows.weight[own].sum()
            assert chance(base[stratum, [slot]])[0] == pytest.approx(share, abs=2.0 / rows.weight[own].sum())


def test_hazard_ratios_count_as_so_many_patients():
    strata, rows, score, _ = life_tables(9)
    base = life_table(strata, rows, score, strata_count=2)
    expected = rows.weight * np.exp(score[rows.patient]) * chance(base[strata[rows.patient], rows.slot])
    for stratum in range(2):
        own = strata[rows.patient] == stratum
        assert expected[own].sum() == pytest.approx(rows.event[own].sum(), rel=0.02)
    higher = life_table(strata, rows, score + 1.0, strata_count=2)
    assert (higher < base).all()


def test_where_nobody_is_at_risk_a_life_table_stays_at_the_diseases_mean():
    outcome = Outcome(np.array([1.0, 2.0, 3.0, 4.0] * 25), np.array([True, False] * 50))
    rows = person_intervals(outcome, np.array([2.0, 4.0, 60.0]))
    base = life_table(np.zeros(100, dtype=np.int64), rows, np.zeros(100), strata_count=1)
    mean = (rows.event.sum() + 0.5 * (rows.event.sum() / rows.weight.sum())) / (rows.weight.sum() + 0.5)
    assert chance(base[0, [2]])[0] == pytest.approx(mean)


def test_a_disease_without_events_is_drawn_to_the_mean_of_all_and_no_hazard_is_certain():
    certain = SlotRows(1, np.arange(40), np.zeros(40, dtype=np.int64), np.ones(40), np.ones(40))
    base = life_table(np.zeros(40, dtype=np.int64), certain, np.zeros(40), strata_count=2)
    assert chance(base[0])[0] == pytest.approx(0.95)
    silent = SlotRows(
        1, np.arange(40), np.zeros(40, dtype=np.int64), np.ones(40), (np.arange(40) < 20).astype(np.float64)
    )
    base = life_table((np.arange(40) >= 20).astype(np.int64), silent, np.zeros(40), strata_count=2)
    assert 0.0 < chance(base[1])[0] < 0.05 < 0.5 < chance(base[0])[0]
