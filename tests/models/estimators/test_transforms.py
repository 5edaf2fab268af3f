"""From scores to probabilities: plain numpy and quadrature, textbook forms, and what every curve keeps to."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.estimators.transforms import (
    CauseSpecificHazards,
    IntervalHazards,
    NestedOdds,
    exposure,
    probabilities,
    read_transform,
)

EDGES = np.array([2.0, 5.0, 9.0])
TEN = np.array([2.0, 4.0, 6.0, 9.0, 12.0, 16.0, 22.0, 30.0, 42.0, 60.0])
TIMES = np.linspace(0.5, 70.0, 25)
CAUSES = {
    "alike": CauseSpecificHazards((TEN, TEN)),
    "three": CauseSpecificHazards((TEN, TEN[::2], TEN)),
    "joined": CauseSpecificHazards((TEN, TEN[[3, 9]])),
    "apart": CauseSpecificHazards((np.array([3.0, 20.0, 50.0]), np.array([7.0, 60.0]))),
    "ends_early": CauseSpecificHazards((TEN, np.array([10.0]))),
}
ALL = {"survival": IntervalHazards(TEN), "nested": NestedOdds(3), **CAUSES}
MARGINS = arrays(np.float64, (4, 3), elements=st.floats(-50.0, 50.0))
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)


def drawn(transform, count, *, spread=1.5, seed=4):
    """Draw scores."""
    return np.random.default_rng(seed).normal(-1.5, spread, (count, transform.scores))


def chances(margins):
    return 1.0 / (1.0 + np.exp(-np.clip(margins, -30.0, 30.0)))


def survival_by_product(edges, margins, times):
    """Multiply what each interval leaves, one less its hazard, to the power of the share lived of it."""
    starts = np.append(0.0, edges[:-1])
    lived = np.clip((np.asarray(times)[:, None] - starts) / (edges - starts), 0.0, 1.0)
    return np.prod(chances(-margins)[:, None, :] ** lived, axis=2)


def cumulative_hazards(transform, scores):
    """Return each cause's ends and cumulative hazards there of one row, both from 0."""
    ends = np.cumsum([len(edges) for edges in transform.edges])[:-1]
    return [
        (np.append(0.0, edges), np.append(0.0, np.cumsum(-np.log(chances(-own)))))
        for edges, own in zip(transform.edges, np.split(scores, ends), strict=True)
    ]


def incidence_by_quadrature(transform, scores, time):
    """Integrate each cause's monthly hazard times the chance of being free of all, from 0 to a time."""
    causes = cumulative_hazards(transform, scores)
    every = np.concatenate([months for months, _ in causes])
    breaks = np.unique(np.append(every[every < time], time))
    found = np.zeros(len(causes))
    for start, end in pairwise(breaks):
        at = start + (end - start) * (NODES + 1.0) / 2.0
        free = np.exp(-sum(np.interp(at, months, hazard) for months, hazard in causes))
        area = (end - start) / 2.0 * (WEIGHTS @ free)
        for cause, (months, hazard) in enumerate(causes):
            found[cause] += np.diff(np.interp([start, end], months, hazard))[0] / (end - start) * area
    return found


@pytest.fixture(params=CAUSES)
def causes(request):
    return CAUSES[request.param]


@pytest.fixture(params=ALL)
def transform(request):
    return ALL[request.param]


def test_exposure_is_the_share_of_each_interval_lived():
    times = np.array([0.0, 1.0, 2.0, 3.5, 9.0, 50.0])
    assert exposure(EDGES, times).tolist() == [
        [0.0, 0.0, 0.0],
        [0.5, 0.0, 0.0],
        [1.0, 0.0, 0.0],
        [1.0, 0.5, 0.0],
        [1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0],
    ]


# One event


@given(MARGINS, st.lists(st.floats(0.0, 200.0), min_size=1, max_size=8))
def test_survival_is_the_product_of_what_every_interval_leaves(margins, months):
    found = probabilities(IntervalHazards(EDGES), margins, np.array(months))
    assert found.shape == (4, 1, len(months))
    np.testing.assert_allclose(
        found[:, 0], survival_by_product(EDGES, margins, months), rtol=1e-9, atol=1e-13
    )


@given(MARGINS, st.lists(st.floats(0.0, 200.0), min_size=2, max_size=12))
def test_survival_from_any_margins_starts_at_1_and_never_rises(margins, months):
    survival = probabilities(IntervalHazards(EDGES), margins, np.sort([0.0, *months]))[:, 0]
    assert (survival[:, 0] == 1.0).all()
    assert ((survival >= 0.0) & (survival <= 1.0)).all()
    assert (np.diff(survival, axis=1) <= 1e-12).all()


def test_survival_at_the_edges_is_the_product_of_one_less_each_hazard():
    scores = drawn(IntervalHazards(TEN), 20)
    found = probabilities(IntervalHazards(TEN), scores, TEN)[:, 0]
    np.testing.assert_allclose(found, np.cumprod(1.0 - chances(scores), axis=1), atol=1e-12)


def test_within_an_interval_the_hazard_is_constant():
    transform = IntervalHazards(EDGES)
    at = probabilities(transform, drawn(transform, 20), np.array([0.0, 1.0, 2.0]))[:, 0]
    np.testing.assert_allclose(at[:, 1] ** 2, at[:, 2], atol=1e-12)
    assert (at[:, 0] == 1.0).all()


# Competing causes


@pytest.mark.parametrize("spread", [0.5, 1.5, 4.0])
def test_incidences_are_the_integrals_of_hazard_times_freedom(causes, spread):
    scores, times = drawn(causes, 5, spread=spread), np.array([0.7, 3.0, 8.0, 25.0, 60.0, 90.0])
    found = probabilities(causes, scores, times)
    expected = [[incidence_by_quadrature(causes, row, time) for time in times] for row in scores]
    np.testing.assert_allclose(found, np.transpose(expected, (0, 2, 1)), atol=1e-11)


@given(st.integers(0, 10_000), st.sampled_from(sorted(CAUSES)), st.sampled_from([0.5, 5.0, 40.0]))
def test_incidences_never_fall_and_with_the_event_free_sum_to_one(seed, name, spread):
    transform = CAUSES[name]
    scores = drawn(transform, 20, spread=spread, seed=seed)
    incidence = probabilities(transform, scores, TIMES)
    ends = np.cumsum([len(edges) for edges in transform.edges])[:-1]
    alone = [
        survival_by_product(edges, own, TIMES)
        for edges, own in zip(transform.edges, np.split(scores, ends, axis=1), strict=True)
    ]
    assert np.abs(incidence.sum(axis=1) + np.prod(alone, axis=0) - 1.0).max() < 1e-12
    assert ((incidence >= 0.0) & (incidence <= 1.0)).all()
    assert (incidence.sum(axis=1) <= 1.0 + 1e-12).all()
    assert (np.diff(incidence, axis=2) >= -1e-14).all()


def test_with_constant_hazards_the_incidence_has_its_textbook_form():
    # monthly hazards 0.03 and 0.01: F1(t) = 3/4 (1 - exp(-0.04 t)) up to the last interval's end
    for transform in (CAUSES["alike"], CAUSES["joined"]):
        widths = [np.diff(np.append(0.0, edges)) for edges in transform.edges]
        margins = [np.log(np.expm1(hazard * w)) for hazard, w in zip((0.03, 0.01), widths, strict=True)]
        times = np.linspace(0.5, TEN[-1], 25)
        found = probabilities(transform, np.concatenate(margins)[None], times)[0]
        expected = np.array([0.75, 0.25])[:, None] * (1.0 - np.exp(-0.04 * times))
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_cause_that_can_no_longer_happen_keeps_its_incidence():
    found = probabilities(CAUSES["ends_early"], drawn(CAUSES["ends_early"], 9), np.array([10.0, 30.0]))
    np.testing.assert_allclose(found[:, 1, 0], found[:, 1, 1], rtol=1e-12)
    assert (found[:, 0, 1] > found[:, 0, 0]).all()


# Nested outcomes


@given(MARGINS)
def test_nested_probabilities_are_products_along_the_way(margins):
    found = probabilities(NestedOdds(3), margins, TIMES)
    assert found.shape == (4, 3, 1)
    expected = np.cumprod(chances(margins)[:, ::-1], axis=1)[:, ::-1]
    np.testing.assert_allclose(found[:, :, 0], expected, rtol=1e-12)
    assert ((found > 0.0) & (found <= 1.0)).all()
    assert (np.diff(found[:, :, 0], axis=1) >= 0.0).all()


def test_complete_response_is_the_product_along_the_way():
    scores = np.array([[0.0, np.log(3.0), np.log(4.0)]])
    found = probabilities(NestedOdds(3), scores, np.zeros(1))[0, :, 0]
    assert found == pytest.approx([0.8 * 0.75 * 0.5, 0.8 * 0.75, 0.8])


# Each of them


def test_nothing_has_happened_at_the_index_date(causes):
    assert not probabilities(causes, drawn(causes, 3), np.zeros(1)).any()


@pytest.mark.parametrize("name", ["survival", *CAUSES])
def test_beyond_the_last_interval_nothing_more_happens(name):
    transform = ALL[name]
    last, later = probabilities(transform, drawn(transform, 5), np.array([TEN[-1], 300.0])).transpose(2, 0, 1)
    np.testing.assert_array_equal(last, later)


def test_a_time_is_answered_alike_among_others_and_a_patient_too(transform):
    scores = drawn(transform, 12)
    whole = probabilities(transform, scores, TIMES)
    one = np.stack([probabilities(transform, row[None], TIMES)[0] for row in scores])
    np.testing.assert_array_equal(whole, one)
    if transform.timed:
        each = [probabilities(transform, scores, np.array([time])) for time in TIMES[::-1]]
        np.testing.assert_array_equal(whole[:, :, ::-1], np.concatenate(each, axis=2))


def test_plain_values_give_back_the_same_transform(transform):
    again = read_transform(json.loads(json.dumps(transform.as_dict())))
    transform.check()
    again.check()
    assert again.as_dict() == transform.as_dict()
    assert (again.scores, again.outcomes, again.timed) == (
        transform.scores, transform.outcomes, transform.timed,
    )  # fmt: skip
    scores = drawn(transform, 5)
    np.testing.assert_array_equal(
        probabilities(again, scores, TIMES), probabilities(transform, scores, TIMES)
    )


@pytest.mark.parametrize(
    ("transform", "part"),
    [
        (IntervalHazards(np.array([0.0, 2.0])), "edges"),
        (IntervalHazards(np.array([3.0, 3.0])), "edges"),
        (IntervalHazards(np.array([3.0, np.inf])), "edges"),
        (IntervalHazards(np.array([np.nan, 2.0])), "edges"),
        (IntervalHazards(np.empty(0)), "edges"),
        (CauseSpecificHazards((TEN,)), "causes"),
        (CauseSpecificHazards((TEN, TEN[::-1])), "edges"),
        (NestedOdds(0), "outcomes"),
    ],
)
def test_an_unsound_transform_is_refused_by_part(transform, part):
    with pytest.raises(ValueError, match=part):
        transform.check()


def test_a_transform_of_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="no transform is called weibull"):
        read_transform({"name": "weibull"})
