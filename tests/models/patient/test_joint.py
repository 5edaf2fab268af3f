"""The joint distribution: margins that are training's, a correlation that can be one, and its refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from features.dictionary import load_dictionary
from models.patient.joint import (
    FEWEST,
    MOST_KNOTS,
    JointDistribution,
    Margin,
    correlation_of,
    normal_quantiles,
    read_numbers,
)

KNOWN = load_dictionary()


def fields():
    names = ("age", "prior_lines", "prior_chemotherapy", "disease_status")
    number, integer, flag, nominal = (KNOWN[name] for name in names)
    return number, integer, flag, nominal


def drawn(patients=500, *, seed=1):
    """Return values by predictor, a tenth unknown; categories follow the number in their own order."""
    rng = np.random.default_rng(seed)
    number, integer, flag, nominal = fields()
    x = rng.normal(size=patients)
    low, high = number.minimum, number.maximum
    middle, width = (low + high) / 2, (high - low) / 20
    rank = np.digitize(x + 0.3 * rng.normal(size=patients), [-0.5, 0.5])
    values = {
        number.name: middle + width * x,
        integer.name: (integer.minimum + rng.integers(0, 4, patients)).astype(float),
        flag.name: (rng.random(patients) < 0.2).astype(float),
        nominal.name: np.array([1.0, 2.0, 0.0])[rank],
    }
    for column in values.values():
        column[rng.random(patients) < 0.1] = np.nan
    return values


@pytest.fixture(scope="module")
def values():
    return drawn()


@pytest.fixture(scope="module")
def joint(values):
    return JointDistribution.fit(fields(), values)


# Margins


@given(arrays(np.float64, st.integers(1, 12), elements=st.integers(1, 500).map(float)))
def test_a_margins_scores_are_the_mean_normal_scores_of_who_has_a_value(counts):
    margin, share = Margin.of(np.arange(len(counts), dtype=float), counts), counts / counts.sum()
    np.testing.assert_allclose(norm.cdf(margin.edges), np.cumsum(share), rtol=0, atol=1e-4)
    assert margin.edges[-1] == np.inf
    assert (np.diff(margin.scores) >= 0.0).all()
    assert abs(share @ margin.scores) < 1e-3
    if len(counts) > 1:
        assert share @ margin.scores**2 == pytest.approx(1.0, abs=1e-3)
    else:
        assert margin.scores.tolist() == [0.0]


def test_a_margins_values_are_those_of_training_patients(joint, values):
    for name, margin in joint.margins.items():
        assert np.isin(margin.values, values[name]).all()
        assert len(margin.values) <= MOST_KNOTS
    number, *others = fields()
    assert len(joint.margins[number.name].values) == MOST_KNOTS
    for field in others:
        assert set(joint.margins[field.name].values) == set(values[field.name][~np.isnan(values[field.name])])


def test_a_value_is_as_frequent_as_in_training(joint, values):
    for name, margin in joint.margins.items():
        own = values[name][~np.isnan(values[name])]
        expected = [(own == value).mean() for value in margin.values]
        if len(margin.values) < MOST_KNOTS:
            np.testing.assert_allclose(np.diff(norm.cdf(margin.edges), prepend=0.0), expected, atol=1e-4)


def test_a_score_is_interpolated_between_values_and_an_ends_beyond_them():
    margin = Margin.of(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 1.0]))
    low, middle, high = margin.scores
    found = margin.score(np.array([-9.0, 1.0, 1.5, 3.0, 4.0, 99.0, np.nan]))
    expected = [low, low, (low + middle) / 2, (middle + high) / 2, high, high, np.nan]
    np.testing.assert_allclose(found, expected)


def test_categories_without_an_order_are_ordered_along_what_goes_with_them(joint):
    *_, nominal = fields()
    found = joint.margins[nominal.name].values.tolist()
    assert found in ([1.0, 2.0, 0.0], [0.0, 2.0, 1.0])


def test_hardly_anybodys_values_are_left_out(values):
    number, _, flag, _ = fields()
    sparse = {name: column.copy() for name, column in values.items()}
    for name, kept in ((number.name, FEWEST - 1), (flag.name, FEWEST)):
        sparse[name][np.flatnonzero(~np.isnan(sparse[name]))[kept:]] = np.nan
    found = JointDistribution.fit(fields(), sparse)
    assert number.name not in found.margins
    assert flag.name in found.margins
    assert found.correlation.shape == (len(found.margins),) * 2


@pytest.mark.parametrize("patients", [0, 3])
def test_of_too_few_patients_there_is_no_distribution(values, patients):
    found = JointDistribution.fit(fields(), {name: column[:patients] for name, column in values.items()})
    assert not found.margins
    found.check(KNOWN, "dlbcl")
    read = JointDistribution.from_dict(json.loads(json.dumps(found.as_dict())))
    read.check(KNOWN, "dlbcl")


def test_categories_alone_keep_the_order_that_they_are_declared_in(values):
    *_, nominal = fields()
    found = JointDistribution.fit([nominal], {nominal.name: values[nominal.name]})
    assert found.margins[nominal.name].values.tolist() == [0.0, 1.0, 2.0]
    assert found.correlation.tolist() == [[1.0]]


# Correlation


def known_correlation():
    return np.array([[1.0, 0.6, -0.3], [0.6, 1.0, 0.1], [-0.3, 0.1, 1.0]])


def test_with_many_patients_the_correlation_is_theirs():
    rng = np.random.default_rng(2)
    Z = rng.multivariate_normal(np.zeros(3), known_correlation(), 20_000)
    np.testing.assert_allclose(correlation_of(Z), known_correlation(), atol=0.02)
    Z[rng.random(Z.shape) < 0.3] = np.nan
    np.testing.assert_allclose(correlation_of(Z), known_correlation(), atol=0.03)


def test_what_does_not_rise_above_chance_is_shrunk_away():
    Z = np.random.default_rng(3).normal(size=(50, 12))
    by_chance = np.abs(np.corrcoef(Z.T) - np.eye(12)).max()
    assert np.abs(correlation_of(Z) - np.eye(12)).max() < by_chance / 2


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 40), st.sampled_from([0.0, 0.3, 0.9]))
def test_whatever_is_known_the_correlation_is_positive_definite(seed, columns, patients, unknown):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(patients, columns)) + 3.0 * rng.normal(size=(patients, 1))
    Z[rng.random(Z.shape) < unknown] = np.nan
    found = correlation_of(Z)
    assert np.linalg.eigvalsh(found).min() > 1e-4
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 1.0)


def test_correlations_that_contradict_one_another_are_reconciled():
    """Of three predictors each pair is known of other patients, and no three patients could be so."""
    rng, Z = np.random.default_rng(4), np.full((3000, 3), np.nan)
    for at, (one, other, sign) in enumerate([(0, 1, 1.0), (1, 2, 1.0), (0, 2, -1.0)]):
        rows = slice(1000 * at, 1000 * at + 1000)
        Z[rows, one] = rng.normal(size=1000)
        Z[rows, other] = sign * Z[rows, one] + 0.1 * rng.normal(size=1000)
    found = correlation_of(Z)
    assert np.linalg.eigvalsh(found).min() > 1e-4
    assert np.sign(found[[0, 1, 0], [1, 2, 2]]).tolist() == [1.0, 1.0, -1.0]


def test_quantiles_are_the_normal_distributions():
    shares = np.linspace(0.001, 0.999, 77)
    np.testing.assert_allclose(normal_quantiles(shares), norm.ppf(shares), rtol=1e-9, atol=1e-12)


# Files and refusals


def test_stored_and_read_back_it_is_the_same_bit_for_bit_and_holds_no_patients(joint, values):
    stored = json.dumps(joint.as_dict(), allow_nan=False)
    read = JointDistribution.from_dict(json.loads(stored))
    read.check(KNOWN, "dlbcl")
    assert json.dumps(read.as_dict()) == stored
    np.testing.assert_array_equal(read.correlation, joint.correlation)
    for name, margin in joint.margins.items():
        for part in ("values", "scores", "edges"):
            np.testing.assert_array_equal(getattr(read.margins[name], part), getattr(margin, part))
    again = JointDistribution.fit(fields(), drawn())
    assert json.dumps(again.as_dict()) == stored


def margin_of(joint, place):
    name = fields()[place].name
    return name, joint.margins[name]


NUMBER, INTEGER, FLAG, NOMINAL = range(4)


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        (NUMBER, {"values": lambda v: v[::-1]}), (NUMBER, {"values": lambda v: v[1:]}),
        (NUMBER, {"values": lambda v: v * np.nan}), (NUMBER, {"values": lambda v: v + 1e9}),
        (NUMBER, {"values": lambda v: v - 1e9}), (NUMBER, {"values": lambda v: v * 0.0 + v[0]}),
        (NUMBER, {"scores": lambda s: s[::-1]}), (NUMBER, {"scores": lambda s: s * np.inf}),
        (NUMBER, {"scores": lambda s: s * 1e6}), (NUMBER, {"scores": lambda s: s[:, None]}),
        (NUMBER, {"edges": lambda e: np.append(e[:-1][::-1], np.inf)}),
        (NUMBER, {"edges": lambda e: np.append(e[:-1] * 1e6, np.inf)}),
        (NUMBER, {"edges": lambda e: np.append(np.inf, e[1:])}), (NUMBER, {"edges": lambda e: e[1:]}),
        (NUMBER, {"edges": lambda e: np.append(e[:-1] * np.nan, np.inf)}),
        (NUMBER, dict.fromkeys(("values", "scores", "edges"), lambda a: a[:0])),
        (FLAG, {"values": lambda v: v + 1.0}), (FLAG, {"values": lambda v: v * 0.5}),
        (FLAG, {"values": lambda v: v - 1.0}), (FLAG, {"values": lambda v: v * 0.0}),
        (NOMINAL, {"values": lambda v: v + 50.0}), (NOMINAL, {"values": lambda v: v * 0.0}),
        (NOMINAL, {"values": lambda v: v + 0.25}),
    ],
)  # fmt: skip
def test_a_margin_that_cannot_be_is_refused_by_name(joint, place, changes):
    name, margin = margin_of(joint, place)
    with np.errstate(invalid="ignore"):
        wrong = replace(margin, **{part: change(getattr(margin, part)) for part, change in changes.items()})
    with pytest.raises(ValueError, match=f"margin of {name} is not as it must be"):
        replace(joint, margins={**joint.margins, name: wrong}).check(KNOWN, "dlbcl")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c[1:], lambda c: c[:, 1:], lambda c: c[0], lambda c: c * np.nan, lambda c: c * 2.0,
        lambda c: c * 0.0, lambda c: -c, lambda c: np.ones_like(c), lambda c: c + np.tri(len(c), k=-1) * 0.01,
        lambda c: c - 0.01 * np.eye(len(c)), lambda c: np.eye(len(c)) * 2.0 - 1.0,
    ],
)  # fmt: skip
def test_a_correlation_that_cannot_be_is_refused(joint, change):
    joint.check(KNOWN, "dlbcl")
    with pytest.raises(ValueError, match="correlation is not as it must be"):
        replace(joint, correlation=change(joint.correlation)).check(KNOWN, "dlbcl")


@pytest.mark.parametrize("name", ["disease", "no_field", "menopausal_status"])
def test_a_predictor_that_the_disease_does_not_have_is_refused(joint, name):
    """The disease itself is always known; menopausal status has no meaning in lymphoma."""
    first = fields()[NUMBER].name
    others = {name if own == first else own: margin for own, margin in joint.margins.items()}
    with pytest.raises(ValueError, match=f"margin of {name} is not as it must be"):
        replace(joint, margins=others).check(KNOWN, "dlbcl")


@pytest.mark.parametrize("stored", ["x", ["x"], [None], None, {}, [True], [[1.0], [1.0, 2.0]], [10**400]])
def test_what_is_no_number_is_not_read(stored):
    with pytest.raises((ValueError, TypeError, OverflowError)):
        read_numbers(stored)
