"""Links: their formulas, back and forth, right slopes, finite at the ends, and each endpoint's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.endpoints import COMPLEMENTARY_LOG_LOG, ENDPOINTS, LOG_CUMULATIVE_HAZARD, LOG_ODDS
from models.estimators.links import LINKS, link_slope, on_both_scales

FORMULAS = {
    LOG_CUMULATIVE_HAZARD: lambda p: np.log(-np.log(p)),
    COMPLEMENTARY_LOG_LOG: lambda p: np.log(-np.log(1.0 - p)),
    LOG_ODDS: lambda p: np.log(p / (1.0 - p)),
}
SURE = np.array([0.0, 1.0])

each_link = pytest.mark.parametrize("link", LINKS.values(), ids=lambda link: link.name)


def test_every_scale_that_an_endpoint_declares_has_a_link_of_its_name():
    assert set(LINKS) == set(FORMULAS) == {endpoint.link for endpoint in ENDPOINTS.values()}
    assert all(link.name == name for name, link in LINKS.items())
    assert len({link.code for link in LINKS.values()}) == 3


@each_link
@given(st.lists(st.floats(1e-6, 1.0 - 1e-6), min_size=1, max_size=9))
def test_a_link_is_its_formula(link, probability):
    p = np.array(probability)
    np.testing.assert_allclose(
        link.value(p), FORMULAS[link.name](1e-9 + (1.0 - 2e-9) * p), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(link.value(p), FORMULAS[link.name](p), atol=2e-3)


@each_link
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=9))
def test_back_from_a_link_is_the_probability(link, probability):
    p = np.array(probability)
    np.testing.assert_allclose(link.inverse(link.value(p)), p, atol=1e-12)


@each_link
@given(st.floats(-1e6, 1e6))
def test_any_value_stands_for_a_probability(link, value):
    assert 0.0 <= link.inverse(np.array([value]))[0] <= 1.0


@each_link
@given(st.floats(-3.0, 2.5))
def test_a_value_comes_back_from_its_probability(link, value):
    assert link.value(link.inverse(np.array([value])))[0] == pytest.approx(value, abs=1e-6)


@each_link
@given(st.floats(1e-3, 1.0 - 1e-3))
def test_the_slope_is_the_derivative(link, probability):
    near = link.value(np.array([probability - 1e-6, probability + 1e-6]))
    assert link_slope(link.code, probability) == pytest.approx((near[1] - near[0]) / 2e-6, rel=1e-5)


@each_link
def test_certainty_is_finite_and_the_order_is_kept(link):
    values = link.value(np.linspace(0.0, 1.0, 101))
    assert np.isfinite(values).all()
    assert np.isfinite([link_slope(link.code, p) for p in SURE]).all()
    falls = link.name == LOG_CUMULATIVE_HAZARD
    assert (np.diff(values) < 0.0 if falls else np.diff(values) > 0.0).all()
    np.testing.assert_allclose(link.inverse(link.value(SURE)), SURE, atol=1e-12)
    assert link.inverse(np.array([-1e9, 1e9])).tolist() == ([1.0, 0.0] if falls else [0.0, 1.0])


@each_link
def test_any_shape_is_kept_and_any_strides_are_read(link):
    p = np.random.default_rng(0).random((4, 3, 5))
    turned = link.value(p.T)
    assert turned.shape == (5, 3, 4)
    np.testing.assert_array_equal(turned.T, link.value(p))
    np.testing.assert_array_equal(link.inverse(turned).T, link.inverse(link.value(p)))


def test_survival_and_incidence_are_two_sides_of_the_same_hazard():
    survival = np.array([0.05, 0.5, 0.99])
    hazard, incidence = LINKS[LOG_CUMULATIVE_HAZARD], LINKS[COMPLEMENTARY_LOG_LOG]
    np.testing.assert_allclose(hazard.value(survival), incidence.value(1.0 - survival), atol=1e-7)
    np.testing.assert_allclose(hazard.value(np.exp(-survival)), np.log(survival), atol=1e-7)


@each_link
def test_both_scales_stand_side_by_side(link):
    p = np.random.default_rng(1).random((6, 2, 3))
    both = on_both_scales(p, link)
    assert both.shape == (6, 2, 2, 3)
    np.testing.assert_array_equal(both[:, 0], p)
    np.testing.assert_array_equal(both[:, 1], link.value(p))
