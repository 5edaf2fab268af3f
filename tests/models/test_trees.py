"""Boosted trees as arrays, against xgboost itself and against Shapley values by brute force."""

import json
from itertools import combinations
from math import factorial

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from models.trees import read_trees

INTERVALS = 5


def made(seed, *, rows=800, columns=5, missing=0.15):
    """Return time, columns with missing values, and labels with curved, interacting, time-bound effects."""
    rng = np.random.default_rng(seed)
    time = rng.integers(0, INTERVALS, rows).astype(np.float32)
    X = rng.normal(size=(rows, columns)).astype(np.float32)
    X[:, -1] = np.round(X[:, -1])
    margin = np.sin(2 * X[:, 0]) + X[:, 1] * (time > 2) - 0.5 * X[:, 2] * X[:, 0] + 0.3 * time + X[:, -1]
    label = rng.random(rows) < 1 / (1 + np.exp(-margin))
    X[rng.random(X.shape) < missing] = np.nan
    return time, X, label


def boosted(time, X, label, *, depth, rounds=12, weight=None):
    """Train real xgboost with the margin starting at zero, time being feature 0."""
    settings = {
        "objective": "binary:logistic", "tree_method": "hist", "max_depth": depth, "eta": 0.4,
        "min_child_weight": 2.0, "lambda": 1.0, "nthread": 1, "seed": 0, "base_score": 0.5,
    }  # fmt: skip
    data = xgboost.DMatrix(np.column_stack([time, X]), label=label, weight=weight, nthread=1)
    return xgboost.train(settings, data, num_boost_round=rounds)


def asked(booster, time, X, **options):
    data = xgboost.DMatrix(np.column_stack([np.full(len(X), time), X]).astype(np.float32), nthread=1)
    return booster.predict(data, **options)


def arrays(booster, columns, intervals=INTERVALS):
    return read_trees(bytes(booster.save_raw("json")), columns=columns, intervals=intervals)


def dumped(booster):
    return json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]


def worth(tree, row, known, node=0):
    """Return a tree's expectation when these features of a row are known, by walking it."""
    left, right = tree["left_children"][node], tree["right_children"][node]
    if left == -1:
        return tree["split_conditions"][node]
    feature = tree["split_indices"][node]
    if feature in known:
        value = row[feature]
        if np.isnan(value):
            child = left if tree["default_left"][node] else right
        else:
            child = left if np.float32(value) < np.float32(tree["split_conditions"][node]) else right
        return worth(tree, row, known, child)
    cover = tree["sum_hessian"]
    return (
        cover[left] * worth(tree, row, known, left) + cover[right] * worth(tree, row, known, right)
    ) / cover[node]


def shapley(trees, row, players):
    """Return Shapley values of the walked expectation, time (feature 0) known to every coalition."""
    worths = {
        coalition: sum(worth(tree, row, {0, *coalition}) for tree in trees)
        for size in range(len(players) + 1)
        for coalition in combinations(players, size)
    }
    values = []
    for player in players:
        total = 0.0
        for coalition, without in worths.items():
            if player in coalition:
                continue
            joined = tuple(sorted((*coalition, player)))
            share = factorial(len(coalition)) * factorial(len(players) - len(coalition) - 1)
            total += share / factorial(len(players)) * (worths[joined] - without)
        values.append(total)
    return np.array(values), worths[()]


@pytest.mark.parametrize("depth", range(1, 7))
def test_margins_are_xgboosts(depth):
    time, X, label = made(depth)
    booster = boosted(time, X, label, depth=depth)
    margins = arrays(booster, X.shape[1]).margins(X)
    for interval in range(INTERVALS):
        expected = asked(booster, interval, X, output_margin=True)
        np.testing.assert_allclose(margins[:, interval], expected, atol=1e-5)


@pytest.mark.parametrize("depth", range(1, 7))
def test_without_splits_on_time_contributions_are_xgboosts(depth):
    _, X, label = made(10 + depth)
    booster = boosted(np.zeros(len(X)), X, label, depth=depth)
    trees = arrays(booster, X.shape[1])
    expected = asked(booster, 0.0, X, pred_contribs=True)
    assert np.isnan(X).any()
    assert np.abs(expected[:, 1:-1]).max() > 0.1
    for interval in range(INTERVALS):
        np.testing.assert_allclose(trees.contributions(X)[:, interval], expected[:, 1:-1], atol=1e-5)
        assert trees.expected()[interval] == pytest.approx(float(expected[0, -1]), abs=1e-5)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_with_splits_on_time_contributions_are_shapley_values_given_the_time(depth):
    time, X, label = made(20 + depth, rows=500, columns=4)
    booster = boosted(time, X, label, depth=depth, rounds=6)
    trees, walked = arrays(booster, 4), dumped(booster)
    assert any(0 in tree["split_indices"][: len(tree["left_children"])] for tree in walked)
    rows = np.vstack([X[:7], np.full((1, 4), np.nan, dtype=np.float32)])
    contributions, expected = trees.contributions(rows), trees.expected()
    for at, row in enumerate(rows):
        for interval in range(INTERVALS):
            values, empty = shapley(walked, np.append(np.float32(interval), row), (1, 2, 3, 4))
            np.testing.assert_allclose(contributions[at, interval], values, atol=1e-9)
            assert expected[interval] == pytest.approx(empty, abs=1e-9)


def test_a_feature_split_several_times_on_one_path_is_one_player():
    rng = np.random.default_rng(31)
    X = rng.normal(size=(600, 2)).astype(np.float32)
    label = np.abs(X[:, 0]) + 0.1 * X[:, 1] > 0.7
    booster = boosted(np.zeros(600), X, label, depth=5, rounds=4)
    repeated = [tree["split_indices"].count(1) for tree in dumped(booster)]
    assert max(repeated) > 2
    expected = asked(booster, 0.0, X, pred_contribs=True)[:, 1:-1]
    np.testing.assert_allclose(arrays(booster, 2).contributions(X)[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_contributions_and_expected_add_up_to_the_margins(depth):
    time, X, label = made(40 + depth)
    weight = np.random.default_rng(depth).uniform(0.2, 1.0, len(X))
    trees = arrays(boosted(time, X, label, depth=depth, weight=weight), X.shape[1])
    np.testing.assert_allclose(
        trees.contributions(X).sum(axis=2) + trees.expected(), trees.margins(X), rtol=0, atol=1e-10
    )


@pytest.fixture(scope="module")
def fitted():
    time, X, label = made(50, columns=3)
    booster = boosted(time, X, label, depth=4)
    thresholds = sorted({t for tree in dumped(booster) for t in tree["split_conditions"]})
    return booster, arrays(booster, 3), thresholds


@settings(deadline=None)
@given(st.data())
def test_values_on_a_threshold_go_where_xgboost_sends_them(fitted, data):
    booster, trees, thresholds = fitted
    value = st.one_of(st.sampled_from(thresholds), st.floats(-4, 4, width=32), st.just(np.nan))
    row = np.array([[data.draw(value) for _ in range(3)]], dtype=np.float32)
    interval = data.draw(st.integers(0, INTERVALS - 1))
    margins = trees.margins(row)
    assert margins[0, interval] == pytest.approx(
        float(asked(booster, interval, row, output_margin=True)[0]), abs=1e-5
    )
    total = trees.contributions(row)[0].sum(axis=1) + trees.expected()
    np.testing.assert_allclose(total, margins[0], rtol=0, atol=1e-10)


def test_leaves_with_splits_on_time_alone_contribute_nothing():
    time, X, label = made(60)
    booster = boosted(time, np.zeros_like(X), label, depth=3)
    trees = arrays(booster, X.shape[1])
    assert np.ptp(trees.expected()) > 0.1
    assert (trees.contributions(X) == 0.0).all()
    np.testing.assert_allclose(trees.margins(X), np.broadcast_to(trees.expected(), (len(X), INTERVALS)))
    expected = [asked(booster, t, X[:1], output_margin=True)[0] for t in range(INTERVALS)]
    np.testing.assert_allclose(trees.expected(), expected, atol=1e-5)


def test_a_single_leaf_is_its_value_for_everyone():
    X = np.random.default_rng(70).normal(size=(30, 2)).astype(np.float32)
    booster = boosted(
        np.zeros(30), X, np.arange(30) % 3 == 0, depth=0 + 1, rounds=1, weight=np.full(30, 0.01)
    )
    trees = arrays(booster, 2)
    assert dumped(booster)[0]["left_children"] == [-1]
    np.testing.assert_allclose(trees.margins(X), asked(booster, 0, X, output_margin=True)[0], atol=1e-6)
    assert (trees.contributions(X) == 0.0).all()


def test_a_column_without_splits_contributes_nothing():
    time, X, label = made(80)
    X[:, 3] = 1.0
    trees = arrays(boosted(time, X, label, depth=3), X.shape[1])
    contributions = trees.contributions(X)
    assert (contributions[:, :, 3] == 0.0).all()
    assert (np.abs(contributions[:, :, [0, 1, 2, 4]]).max(axis=(0, 1)) > 0.05).all()


def test_many_rows_are_answered_as_one_by_one():
    time, X, label = made(90, rows=300)
    trees = arrays(boosted(time, X, label, depth=3), X.shape[1])
    together, each = trees.contributions(X), [trees.contributions(X[at : at + 1])[0] for at in range(300)]
    np.testing.assert_allclose(together, each, atol=1e-12)
    np.testing.assert_allclose(
        trees.margins(X), [trees.margins(X[at : at + 1])[0] for at in range(300)], atol=1e-12
    )
