"""Mean slopes: known integrals, more nodes at a cliff, the short cut for hazards as good as the long way."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.explanation.path import NODES, SHARES, gauss_legendre, mean_slopes


@dataclass
class Cliff:
    """One answer of one score, the logistic function of ``steepness`` times the score."""

    steepness: float
    asked: list[tuple[int, int]] = field(default_factory=list)

    def value(self, score):
        return 1.0 / (1.0 + np.exp(-self.steepness * score))

    def integrate(self, starts, change, nodes, shares):
        self.asked.append((len(starts), len(nodes)))
        value = self.value(starts[:, None, 0] + nodes * change)
        return (shares * self.steepness * value * (1.0 - value)).sum(axis=1)[None, :, None]


@given(st.integers(0, 15))
def test_eight_nodes_integrate_polynomials_of_degree_fifteen(power):
    assert SHARES @ NODES**power == pytest.approx(1.0 / (power + 1), rel=1e-13)
    assert gauss_legendre(8)[1].sum() == pytest.approx(1.0)


@pytest.mark.parametrize("steepness", [0.5, 20.0, 100.0])
def test_the_mean_slope_is_the_rise_over_the_change_however_steep(steepness):
    cliff, starts, end = Cliff(steepness), np.array([[-1.0], [-0.9], [0.95]]), np.array([1.1])
    rise = cliff.value(end) - cliff.value(starts)
    slopes = mean_slopes(cliff, starts, end, rise)
    np.testing.assert_allclose(slopes[0] * (end - starts), rise, atol=1e-7)


def test_only_lines_that_need_more_nodes_get_them():
    cliff, starts, end = Cliff(30.0), np.array([[1.05], [-1.0], [1.0]]), np.array([1.1])
    mean_slopes(cliff, starts, end, cliff.value(end) - cliff.value(starts))
    assert cliff.asked[0] == (3, 8)
    assert {lines for lines, _ in cliff.asked[1:]} == {1}
    assert [nodes for _, nodes in cliff.asked[1:]] == [16 * 2**more for more in range(len(cliff.asked) - 1)]


def test_a_rise_that_no_slopes_give_ends_the_search():
    cliff = Cliff(1.0)
    slopes = mean_slopes(cliff, np.array([[0.0]]), np.array([1.0]), np.array([[9.0]]))
    assert np.isfinite(slopes).all()
    assert cliff.asked[-1][1] == 512
