"""Links: right slopes, finite at the ends, and each outcome on its own kind of scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.estimators.links import COMPLEMENTARY_LOG_LOG, LOG_CUMULATIVE_HAZARD, LOG_ODDS, links
from tests.models.endpoint_doubles import competing_double, hazard_double, response_double

LINKS = [COMPLEMENTARY_LOG_LOG, LOG_CUMULATIVE_HAZARD, LOG_ODDS]


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
@given(st.floats(1e-3, 1.0 - 1e-3))
def test_the_slope_is_the_derivative(link, probability):
    near = link.value(np.array([probability - 1e-6, probability + 1e-6]))
    assert link.slope(np.array(probability)) == pytest.approx((near[1] - near[0]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_certainty_is_finite_and_the_order_is_kept(link):
    values = link.value(np.linspace(0.0, 1.0, 101))
    assert np.isfinite(values).all()
    assert np.isfinite(link.slope(np.array([0.0, 1.0]))).all()
    falls = link is LOG_CUMULATIVE_HAZARD
    assert (np.diff(values) < 0.0 if falls else np.diff(values) > 0.0).all()


def test_survival_and_incidence_are_two_sides_of_the_same_hazard():
    survival = np.array([0.05, 0.5, 0.99])
    np.testing.assert_allclose(
        LOG_CUMULATIVE_HAZARD.value(survival), COMPLEMENTARY_LOG_LOG.value(1.0 - survival), atol=1e-7
    )
    np.testing.assert_allclose(LOG_CUMULATIVE_HAZARD.value(np.exp(-survival)), np.log(survival), atol=1e-7)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (hazard_double(2, seed=1), ["log_cumulative_hazard"]),
        (competing_double(2, seed=1), ["log_cumulative_hazard", *["complementary_log_log"] * 2]),
        (response_double(2, seed=1), ["log_odds"] * 2),
    ],
)
def test_each_outcome_has_its_own_kind_of_scale(model, names):
    assert [link.name for link in links(model)] == names
