"""Landmarks: a later clock, with everyone who left before it counted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.cohort import Cohort, Provenance
from features.dictionary import load_dictionary
from features.eligibility import Attrition
from features.endpoints import ENDPOINTS, overall_survival
from features.errors import InvalidCohort
from features.landmark import CLOCKS, landmark

FIELDS = ("age", "months_since_transplant", "months_followed", "died", "months_progression_free",
          "progressed_or_died")  # fmt: skip
SOURCE = Provenance("made", "synthetic", "made", "none", "first relapse", (), Attrition(0))


def made(followed: list[float], progression_free: list[float]) -> Cohort:
    """Return patients aged 60, transplanted a year ago, who died and progressed at these months."""
    size = len(followed)
    columns = ([60.0] * size, [12.0] * size, followed, [1.0] * size, progression_free, [1.0] * size)
    values = {name: np.array(column) for name, column in zip(FIELDS, columns, strict=True)}
    source = replace(SOURCE, attrition=Attrition(size))
    patients = tuple(f"p{row}" for row in range(size))
    return Cohort(load_dictionary().slice(FIELDS), patients, values, (source,))


def test_clocks_start_at_the_landmark(cohort):
    moved = landmark(cohort, months=6.0)
    kept = cohort.values["months_followed"] > 6.0
    assert np.allclose(moved.values["months_followed"], cohort.values["months_followed"][kept] - 6.0)
    assert np.allclose(moved.values["age"], cohort.values["age"][kept] + 0.5)
    assert overall_survival(moved).event.sum() == overall_survival(cohort).event[kept].sum()


def test_every_timed_endpoint_has_its_clock_moved():
    assert {endpoint.clock for endpoint in ENDPOINTS.values() if endpoint.timed} == CLOCKS
    moved = landmark(made([10.0], [8.0]), months=2.0)
    assert (moved.values["months_followed"][0], moved.values["months_progression_free"][0]) == (8.0, 6.0)


def test_times_up_to_the_index_date_grow_and_nothing_else_does():
    moved = landmark(made([10.0], [8.0]), months=3.0)
    assert (moved.values["age"][0], moved.values["months_since_transplant"][0]) == (60.25, 15.0)
    assert moved.values["died"][0] == 1.0


def test_those_who_left_before_it_are_counted(cohort):
    moved = landmark(cohort, months=6.0)
    attrition = moved.provenance[0].attrition
    assert attrition.kept == len(moved)
    assert attrition.exclusions[-1].excluded == len(cohort) - len(moved)


MONTHS = st.floats(0.1, 60.0)


@given(st.lists(st.tuples(MONTHS, MONTHS), min_size=1, max_size=20), MONTHS)
def test_whoever_stays_is_at_risk_of_every_endpoint_and_whoever_leaves_is_counted_once(times, months):
    followed, free = [max(pair) for pair in times], [min(pair) for pair in times]
    cohort = made([*followed, 100.0], [*free, 90.0])
    moved = landmark(cohort, months=months, endpoints=("overall_survival", "progression_free_survival"))
    assert moved.patients == tuple(
        p for p, f in zip(cohort.patients, [*free, 90.0], strict=True) if f > months
    )
    assert all((moved.values[clock] > 0).all() for clock in CLOCKS & set(FIELDS))
    dead, ended = (step.excluded for step in moved.provenance[0].attrition.exclusions)
    assert dead == sum(f <= months for f in followed)
    assert moved.provenance[0].attrition.kept == len(moved) == len(cohort) - dead - ended


def test_who_progressed_before_it_stays_where_only_survival_is_predicted():
    assert len(landmark(made([10.0], [1.0]), months=2.0)) == 1


def test_a_missing_time_is_left_for_the_endpoint_to_refuse():
    moved = landmark(made([10.0, np.nan], [8.0, 8.0]), months=2.0)
    with pytest.raises(InvalidCohort, match="months_followed: has no value"):
        overall_survival(moved)


@pytest.mark.parametrize(
    ("months", "words"), [(3.0, "first relapse, plus 3 months"), (1.0, "first relapse, plus 1 month")]
)
def test_the_index_event_says_so(cohort, months, words):
    assert landmark(cohort, months=months).provenance[0].index_event == words


@pytest.mark.parametrize("months", [0.0, -1.0, float("nan"), 1e6])
def test_an_impossible_landmark_is_refused(cohort, months):
    with pytest.raises(InvalidCohort, match="landmark"):
        landmark(cohort, months=months)


def test_everything_in_the_way_of_a_landmark_is_named_at_once(cohort):
    joined = replace(cohort, provenance=cohort.provenance * 2)
    with pytest.raises(InvalidCohort) as refused:
        landmark(joined, months=0.0, endpoints=("progression_free_survival",))
    assert [p.field for p in refused.value.problems] == ["months_progression_free", "landmark", "landmark"]
