"""Restriction to a horizon: what is known at the horizon, no more and no less."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.censoring import Outcome, restrict

MONTHS = st.floats(0.01, 600)
PATIENTS = st.lists(st.tuples(MONTHS | st.sampled_from([12.0, 24.0]), st.booleans()), max_size=20)
HORIZON = MONTHS | st.sampled_from([12.0, 24.0])


def outcome_of(patients: list[tuple[float, bool]]) -> Outcome:
    durations, events = zip(*patients, strict=True) if patients else ((), ())
    return Outcome(np.array(durations, dtype=float), np.array(events, dtype=bool))


def assert_equal(one: Outcome, other: Outcome) -> None:
    np.testing.assert_array_equal(one.duration, other.duration)
    np.testing.assert_array_equal(one.event, other.event)


def test_an_event_exactly_at_the_horizon_counts():
    at = restrict(outcome_of([(24.0, True)]), horizon=24.0)
    assert_equal(at, outcome_of([(24.0, True)]))


def test_an_event_after_the_horizon_becomes_censored_at_it():
    assert_equal(restrict(outcome_of([(24.01, True)]), horizon=24.0), outcome_of([(24.0, False)]))


def test_censoring_before_the_horizon_stays():
    assert_equal(restrict(outcome_of([(5.0, False)]), horizon=24.0), outcome_of([(5.0, False)]))


@given(PATIENTS, HORIZON)
def test_nobody_is_followed_beyond_the_horizon(patients: list[tuple[float, bool]], horizon: float):
    outcome = outcome_of(patients)
    restricted = restrict(outcome, horizon=horizon)
    assert (restricted.duration <= horizon).all()
    assert (restricted.duration <= outcome.duration).all()


@given(PATIENTS, HORIZON)
def test_the_events_kept_are_those_up_to_the_horizon(patients: list[tuple[float, bool]], horizon: float):
    restricted = restrict(outcome_of(patients), horizon=horizon)
    assert restricted.event.sum() == sum(event for months, event in patients if months <= horizon)
    assert restricted.event.dtype == bool


@given(PATIENTS, HORIZON, HORIZON)
def test_restricting_twice_is_restricting_to_the_nearer(
    patients: list[tuple[float, bool]], one: float, other: float
):
    outcome = outcome_of(patients)
    twice = restrict(restrict(outcome, horizon=one), horizon=other)
    assert_equal(twice, restrict(outcome, horizon=min(one, other)))


@given(PATIENTS, HORIZON)
def test_restriction_leaves_the_outcome_it_was_given(patients: list[tuple[float, bool]], horizon: float):
    outcome = outcome_of(patients)
    restrict(outcome, horizon=horizon)
    assert_equal(outcome, outcome_of(patients))


def test_take_keeps_duration_and_event_together():
    outcome = outcome_of([(1.0, True), (2.0, False), (3.0, True)])
    assert_equal(outcome.take(np.array([2, 1])), outcome_of([(3.0, True), (2.0, False)]))
    assert_equal(outcome.take(outcome.event), outcome_of([(1.0, True), (3.0, True)]))
    assert len(outcome) == 3
