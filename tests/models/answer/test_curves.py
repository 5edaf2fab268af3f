"""Curves as they are reported: monotone, and crossed where the drawn line crosses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.answer.curves import crossing_times, monotone, monotone_ends

HALF = np.array([0.5])


def crossed(times, survival, levels=HALF):
    """Return where one curve crosses levels."""
    return crossing_times(np.array(times), np.array(survival)[None, None], levels)[0, 0]


@given(arrays(np.float64, (3, 2, 6), elements=st.floats(0.0, 1.0)), st.booleans())
def test_a_reported_curve_runs_one_way_and_moves_no_further_than_it_must(curves, falling):
    found = monotone(curves, falling=falling)
    steps = np.diff(found, axis=2)
    assert (steps <= 0.0).all() if falling else (steps >= 0.0).all()
    np.testing.assert_array_equal(found[..., 0], curves[..., 0])
    ends = [(curves[..., : at + 1].min if falling else curves[..., : at + 1].max)(axis=-1) for at in range(6)]
    np.testing.assert_array_equal(found, np.stack(ends, axis=-1))


@given(arrays(np.float64, (2, 3, 2, 6), elements=st.floats(0.0, 1.0)), st.booleans())
def test_intervals_are_widened_until_their_ends_run_as_the_curve_does(drawn, falling):
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    lower, higher = monotone_ends(low, high, falling=falling)
    assert (lower <= low).all()
    assert (higher >= high).all()
    for end in (lower, higher):
        steps = np.diff(end, axis=2)
        assert (steps <= 0.0).all() if falling else (steps >= 0.0).all()
    again = monotone_ends(lower, higher, falling=falling)
    np.testing.assert_array_equal(again, (lower, higher))


def test_a_curve_that_is_monotone_stays_as_it_is():
    curves = np.sort(np.random.default_rng(0).random((4, 1, 9)), axis=2)
    np.testing.assert_array_equal(monotone(curves, falling=False), curves)
    np.testing.assert_array_equal(monotone(curves[..., ::-1], falling=True), curves[..., ::-1])


@pytest.mark.parametrize(
    ("times", "survival", "median"),
    [
        ([1.0, 2.0, 3.0], [0.9, 0.5, 0.4], 2.0),
        ([1.0, 3.0], [0.75, 0.25], 2.0),
        ([4.0], [0.0], 2.0),
        ([1.0, 2.0], [0.5, 0.5], 1.0),
        ([1.0, 2.0], [0.9, 0.51], np.nan),
    ],
)
def test_the_median_is_where_the_drawn_curve_crosses_one_half(times, survival, median):
    np.testing.assert_equal(crossed(times, survival).item(), median)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20), st.floats(0.01, 0.99))
def test_the_curve_drawn_between_its_points_is_at_the_level_when_it_crosses(heights, level):
    survival = np.sort(np.array(heights))[::-1]
    times = np.arange(1.0, len(survival) + 1)
    month = crossed(times, survival, np.array([level])).item()
    if np.isnan(month):
        assert survival[-1] > level
    else:
        drawn = np.interp(month, np.append(0.0, times), np.append(1.0, survival))
        assert drawn == pytest.approx(level, abs=1e-9)


def test_survival_falls_to_a_level_between_the_months_around_it_or_not_at_all():
    curves = np.array([[[0.8, 0.4, 0.1]], [[0.9, 0.8, 0.6]], [[0.25, 0.2, 0.1]]])
    found = crossing_times(np.array([2.0, 4.0, 6.0]), curves, np.array([0.5, 0.85]))
    np.testing.assert_allclose(found[:, 0, 0], [3.5, np.nan, 4 / 3])
    np.testing.assert_allclose(found[:, 0, 1], [1.5, 3.0, 0.4])


def test_without_levels_or_months_nothing_is_crossed():
    assert crossing_times(np.array([2.0]), np.ones((3, 2, 1)), np.empty(0)).shape == (3, 2, 0)
    assert np.isnan(crossing_times(np.empty(0), np.ones((3, 2, 0)), HALF)).all()
