"""Landmarks: a later clock, with everyone who left before it counted."""

import numpy as np
import pytest

from features.endpoints import overall_survival
from features.errors import InvalidCohort
from features.landmark import landmark


def test_clocks_start_at_the_landmark(cohort):
    moved = landmark(cohort, months=6.0)
    kept = cohort.values["months_followed"] > 6.0
    assert np.allclose(moved.values["months_followed"], cohort.values["months_followed"][kept] - 6.0)
    assert np.allclose(moved.values["age"], cohort.values["age"][kept] + 0.5)
    assert overall_survival(moved).event.sum() == overall_survival(cohort).event[kept].sum()


def test_those_who_left_before_it_are_counted(cohort):
    moved = landmark(cohort, months=6.0)
    attrition = moved.provenance[0].attrition
    assert attrition.kept == len(moved)
    assert attrition.exclusions[-1].excluded == len(cohort) - len(moved)


def test_the_index_event_says_so(cohort):
    assert landmark(cohort, months=3.0).provenance[0].index_event == "first relapse, plus 3 months"


@pytest.mark.parametrize("months", [0.0, -1.0, float("nan"), 1e6])
def test_an_impossible_landmark_is_refused(cohort, months):
    with pytest.raises(InvalidCohort):
        landmark(cohort, months=months)
