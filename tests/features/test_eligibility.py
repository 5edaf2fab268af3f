"""Attrition: no patient disappears uncounted."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.eligibility import Attrition, has_follow_up

STEPS = st.lists(st.tuples(st.text(max_size=5), st.integers(0, 50)), max_size=5)


@given(st.integers(0, 500), STEPS)
def test_kept_and_excluded_add_up_to_read(read: int, steps: list[tuple[str, int]]):
    attrition = Attrition(read)
    for reason, excluded in steps:
        attrition = attrition.then(reason, excluded)
    assert attrition.kept + sum(excluded for _, excluded in steps) == read
    assert [(e.reason, e.excluded) for e in attrition.exclusions] == steps


@given(st.integers(0, 500), STEPS)
def test_attrition_survives_being_stored(read: int, steps: list[tuple[str, int]]):
    attrition = Attrition(read)
    for reason, excluded in steps:
        attrition = attrition.then(reason, excluded)
    assert attrition.as_dict()["kept"] == attrition.kept
    assert Attrition.from_dict(attrition.as_dict()) == attrition


def test_one_more_exclusion_leaves_the_earlier_attrition_as_it_was():
    before = Attrition(10)
    before.then("no relapse", 4)
    assert before == Attrition(10)


def test_only_a_follow_up_of_zero_is_no_follow_up():
    months = np.array([0.0, 0.03, -1.0, math.nan])
    assert has_follow_up(months).tolist() == [False, True, True, True]
