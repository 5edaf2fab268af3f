"""Aumann-Shapley integration, against adaptive quadrature of numerical slopes of the probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.integrate import quad_vec

from models.estimators.links import LINKS, on_both_scales
from models.estimators.transforms import CauseSpecificHazards, IntervalHazards, NestedOdds, probabilities
from models.explanation.aumann_shapley import (
    MOST_PANELS,
    NODES,
    SHARES,
    Lines,
    carry,
    exponential,
    find_slopes,
    gauss_legendre,
    mean_slopes,
    sum_groups,
)
from tests.models.endpoint_doubles import EDGES, LINK_OF

PREDICTORS, BACKGROUND = 4, 3
STEP = 1e-5
TRANSFORMS = {
    "survival": IntervalHazards(EDGES),
    "one_interval": IntervalHazards(EDGES[-1:]),
    "competing": CauseSpecificHazards((EDGES, EDGES)),
    "uneven": CauseSpecificHazards((EDGES, EDGES[[3, 9]])),
    "apart": CauseSpecificHazards((np.array([3.0, 20.0, 50.0]), np.array([7.0, 60.0]))),
    "three": CauseSpecificHazards((EDGES[::3], EDGES[[2, 8]], EDGES[[9]])),
    "nested": NestedOdds(3),
    "one_response": NestedOdds(1),
}
TIMES = ([12.0], [0.5, 12.0, 30.0, 60.0, 100.0], [60.0, 6.0])


def link_of(transform):
    return LINKS[LINK_OF[transform.name]]


def drawn(transform, count, *, steep, seed=1):
    """Draw rows' scores and predictors' shares of them; what is no predictor's is the same for all rows."""
    rng = np.random.default_rng(seed)
    centre = 0.0 if isinstance(transform, NestedOdds) else -1.5
    constant = rng.normal(centre, 0.3, transform.scores)
    shares = rng.normal(0.0, steep, (count, transform.scores, PREDICTORS))
    return constant + shares.sum(axis=2), shares


def answers(transform, scores, times):
    """Return the answers on both scales in the order of the kernel, shape (rows, answers)."""
    both = on_both_scales(probabilities(transform, scores, times), link_of(transform))
    return both.reshape(len(scores), -1)


def lines(transform, scores, shares, times, *, weights=None):
    count = len(scores)
    weights = np.full(count, 1.0 / count) if weights is None else weights
    own, steps, link = answers(transform, scores, times), transform.at(times), link_of(transform).code
    return Lines(steps, link, scores, shares, own, weights, weights @ own, NODES, SHARES)


def carried(transform, times, *, steep, seed=1, rows=2, weights=None):
    """Return what each row's predictors contribute, and what it was computed from."""
    scores, shares = drawn(transform, BACKGROUND + rows, steep=steep, seed=seed)
    behind = lines(transform, scores[rows:], shares[rows:], times, weights=weights)
    own = answers(transform, scores[:rows], times)
    out = np.empty((*own.shape, PREDICTORS))
    missed = carry(behind, scores[:rows], shares[:rows], own, out)
    np.testing.assert_allclose(missed, np.abs(behind.reference + out.sum(axis=2) - own).max(), atol=1e-12)
    return out, scores, shares, behind


def by_quadrature(transform, times, start, end, direction):
    """Integrate the numerical slope of every answer in a direction along the line between two scores."""

    def slope(at):
        along = start + at * (end - start)
        near = np.stack([along + STEP * direction, along - STEP * direction])
        above, under = answers(transform, near, times)
        return (above - under) / (2.0 * STEP)

    return quad_vec(slope, 0.0, 1.0, epsabs=2e-8, epsrel=1e-9, limit=200)[0]


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    return TRANSFORMS[request.param]


@pytest.mark.parametrize("steep", [0.2, 1.0])
@pytest.mark.parametrize("times", TIMES)
def test_contributions_are_the_integrals_of_numerical_slopes(transform, times, steep):
    """Each predictor's difference in shares, times the slopes, line by line; on both scales."""
    times, weights = np.array(times), np.array([0.5, 0.3, 0.2])
    out, scores, shares, _ = carried(transform, times, steep=steep, rows=1, weights=weights)
    for predictor in (0, 2):
        expected = sum(
            weight
            * by_quadrature(
                transform, times, scores[at], scores[0], shares[0, :, predictor] - shares[at, :, predictor]
            )
            for at, weight in enumerate(weights, start=1)
        )
        np.testing.assert_allclose(out[0, :, predictor], expected, rtol=0, atol=2e-7)
    assert np.abs(out).max() > 0.01


@given(
    st.sampled_from(sorted(TRANSFORMS)),
    st.integers(0, 10_000),
    st.sampled_from([0.1, 1.0, 3.0]),
    st.lists(st.floats(0.1, 90.0), min_size=1, max_size=4),
)
def test_contributions_give_the_whole_change_from_the_background(name, seed, steep, months):
    transform, times = TRANSFORMS[name], np.array(months)
    out, scores, _, behind = carried(transform, times, steep=steep, seed=seed)
    change = answers(transform, scores[:2], times) - behind.weights @ behind.answers
    np.testing.assert_allclose(out.sum(axis=2), change, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steep", [0.5, 20.0, 100.0])
def test_mean_slopes_give_the_change_of_every_answer_however_steep(transform, steep):
    """A line may lead over a cliff of log odds; within the limits of 30 more panels find it."""
    times = np.array([6.0, 45.0])
    start = np.full((1, transform.scores), -0.3)
    direction = np.random.default_rng(0).normal(size=transform.scores)
    change = np.clip(steep * direction, -25.0, 25.0)
    behind = lines(transform, start, np.zeros((1, transform.scores, 1)), times)
    end = answers(transform, start + change, times)[0]
    slopes = np.empty((len(end), transform.scores))
    find_slopes(behind, 0, change, end, np.empty((3, len(change), len(NODES))), slopes)
    np.testing.assert_allclose(slopes @ change, end - behind.answers[0], rtol=0, atol=1e-7)


def test_where_log_odds_are_held_there_is_no_slope(transform):
    start = np.full((1, transform.scores), -40.0)
    behind = lines(transform, start, np.zeros((1, transform.scores, 1)), np.array([30.0]))
    change = np.full(transform.scores, 5.0)
    slopes = np.empty((len(behind.answers[0]), transform.scores))
    mean_slopes(behind, 0, change, 1, np.empty((3, len(change), len(NODES))), slopes)
    assert np.abs(slopes[: len(slopes) // 2]).max() < 1e-12


def test_a_change_that_no_slopes_give_ends_the_search():
    """The best reached after the most panels is finite, and is not what was asked for."""
    transform, times = TRANSFORMS["survival"], np.array([12.0])
    scores, shares = drawn(transform, 1, steep=1.0)
    behind = lines(transform, scores, shares, times)
    change, wrong = np.full(transform.scores, 0.1), behind.answers[0] + 9.0
    room, slopes = np.empty((3, len(change), len(NODES))), np.empty((2, len(change)))
    find_slopes(behind, 0, change, wrong, room, slopes)
    assert np.isfinite(slopes).all()
    most = np.empty_like(slopes)
    mean_slopes(behind, 0, change, MOST_PANELS, room, most)
    np.testing.assert_array_equal(slopes, most)


def test_contributions_of_many_rows_are_those_of_each_alone_bit_for_bit(transform):
    times = np.array([12.0])
    scores, shares = drawn(transform, 40, steep=0.7)
    behind = lines(transform, scores[30:], shares[30:], times)
    own = answers(transform, scores[:30], times)
    together = np.empty((*own.shape, PREDICTORS))
    carry(behind, scores[:30], shares[:30], own, together)
    alone = np.empty_like(together)
    for row in range(30):
        some = slice(row, row + 1)
        carry(behind, scores[some], shares[some], own[some], alone[some])
    np.testing.assert_array_equal(together, alone)


def test_a_time_asked_for_among_others_is_explained_alike(transform):
    """Panels are as many as a line's steepest answer needs: digits beyond the tolerance may differ."""
    times = np.array([3.0, 12.0, 50.0])
    together = carried(transform, times, steep=0.5)[0].reshape(2, 2, transform.outcomes, -1, PREDICTORS)
    for at in range(together.shape[3]):
        alone = carried(transform, times[[at]], steep=0.5)[0].reshape(2, 2, transform.outcomes, 1, PREDICTORS)
        np.testing.assert_allclose(together[:, :, :, [at]], alone, rtol=0, atol=1e-7)


def test_intervals_that_no_time_reaches_take_no_part():
    """Shares of the scores beyond the last time, however large, change nothing."""
    for name in ("survival", "uneven"):
        transform, times = TRANSFORMS[name], np.array([5.0, 9.0])
        scores, shares = drawn(transform, BACKGROUND + 2, steep=0.5)
        late = shares.copy()
        late[:, 4:10, 1] += 3.0
        each = []
        for parts in (shares, late):
            total = scores + parts.sum(axis=2) - shares.sum(axis=2)
            own = answers(transform, total[:2], times)
            out = np.empty((*own.shape, PREDICTORS))
            carry(lines(transform, total[2:], parts[2:], times), total[:2], parts[:2], own, out)
            each.append(out)
        np.testing.assert_allclose(*each, rtol=0, atol=1e-9)


# The parts


@given(st.integers(0, 15))
def test_eight_nodes_integrate_polynomials_of_degree_fifteen(power):
    assert SHARES @ NODES**power == pytest.approx(1.0 / (power + 1), rel=1e-13)


@pytest.mark.parametrize("nodes", [1, 3, 20])
def test_nodes_lie_inside_and_their_weights_sum_to_one(nodes):
    at, weight = gauss_legendre(nodes)
    assert weight.sum() == pytest.approx(1.0)
    assert ((at > 0.0) & (at < 1.0)).all()
    np.testing.assert_allclose(at + at[::-1], 1.0)


@given(arrays.arrays(np.float64, st.integers(0, 40), elements=st.floats(-30.0, 30.0)))
def test_the_exponential_has_a_dozen_digits(x):
    found = np.empty_like(x)
    exponential(x, found)
    np.testing.assert_allclose(found, np.exp(x), rtol=1e-12)


def test_groups_are_sums_of_their_predictors():
    """Each row's predictors are in groups of its own."""
    rng = np.random.default_rng(1)
    contributions, group = rng.normal(size=(4, 6, 5)), rng.integers(0, 3, (4, 5))
    found = np.full((4, 6, 3), np.nan)
    sum_groups(contributions, group, found)
    for row in range(4):
        expected = [contributions[row][:, group[row] == at].sum(axis=1) for at in range(3)]
        np.testing.assert_allclose(found[row], np.stack(expected, axis=1), rtol=0, atol=1e-12)
