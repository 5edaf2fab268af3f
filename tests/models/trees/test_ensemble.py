"""Boosted trees as arrays, against xgboost itself and against Shapley values by brute force."""

import json
from itertools import combinations
from math import factorial

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InvalidInput
from models.trees import ensemble as trees_module
from models.trees.ensemble import Trees, read_trees
from models.trees.xgboost_json import base_margin

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
    """Return xgboost's own trees; their decimals stand for 32-bit numbers."""
    trees = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]
    singles = ("split_conditions", "sum_hessian")
    return [tree | {name: np.float32(tree[name]).tolist() for name in singles} for tree in trees]


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


def test_many_rows_are_answered_bit_for_bit_as_one_by_one():
    time, X, label = made(90, rows=300)
    trees = arrays(boosted(time, X, label, depth=3), X.shape[1])
    together, each = trees.contributions(X), [trees.contributions(X[at : at + 1])[0] for at in range(300)]
    np.testing.assert_array_equal(together, each)
    np.testing.assert_array_equal(trees.margins(X), [trees.margins(X[at : at + 1])[0] for at in range(300)])


ODD = (0, 11, 12, 13, 31, 32, 50, 63, 64, -1, -0.5, 0.5, 1.7, 11.9, 1e6, 2.0**25)


def with_whole_numbers(seed, *, rows=1500):
    """Return four fine and two whole numbers, of 12 and 4 values, some missing; and labels."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 6)).astype(np.float32)
    X[:, 4], X[:, 5] = rng.integers(0, 12, rows), rng.integers(0, 4, rows)
    margin = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 1.5 * np.isin(X[:, 4], [1, 3, 7])
    label = rng.random(rows) < 1 / (1 + np.exp(X[:, 1] * (X[:, 5] == 2) - margin))
    X[rng.random(X.shape) < 0.15] = np.nan
    return X, label


def trained(X, label, *, rounds=10, **options):
    settings = {"objective": "binary:logistic", "nthread": 1, "seed": 0} | options
    return xgboost.train(settings, xgboost.DMatrix(X, label=label, nthread=1), num_boost_round=rounds)


def read(booster, columns):
    return read_trees(bytes(booster.save_raw("json")), columns=columns, intervals=None)


def assert_explained_as_by_xgboost(booster, X):
    """Compare margins, contributions and bias, for many rows and for one at a time."""
    model, data = bytes(booster.save_raw("json")), xgboost.DMatrix(X, nthread=1)
    trees = read_trees(model, columns=X.shape[1], intervals=None)
    theirs, base = booster.predict(data, pred_contribs=True), base_margin(model)
    ours = trees.contributions(X)
    np.testing.assert_allclose(ours, theirs[:, :-1], atol=1e-5)
    np.testing.assert_allclose(trees.expected() + base, theirs[:, -1], atol=1e-5)
    np.testing.assert_allclose(trees.margins(X) + base, booster.predict(data, output_margin=True), atol=1e-5)
    np.testing.assert_allclose(ours.sum(axis=1) + trees.expected(), trees.margins(X), atol=1e-10)
    for at in range(20):
        np.testing.assert_array_equal(trees.contributions(X[at : at + 1])[0], ours[at])
        np.testing.assert_array_equal(trees.margins(X[at : at + 1]), trees.margins(X)[at : at + 1])


@pytest.mark.parametrize(
    "options",
    [
        {"max_depth": 4},
        {"max_depth": 5, "num_parallel_tree": 4, "subsample": 0.6, "colsample_bynode": 0.5},
        {"max_depth": 0, "grow_policy": "lossguide", "max_leaves": 100},
        {"max_depth": 3, "gamma": 1e6},
        {"max_depth": 4, "objective": "reg:squarederror"},
        {"max_depth": 4, "objective": "count:poisson"},
    ],
    ids=["plain", "forest", "lossguide", "single leaves", "squared error", "poisson"],
)
def test_all_kinds_of_trees_are_explained_as_by_xgboost(options):
    X, label = with_whole_numbers(100)
    booster = trained(X, label, **options)
    assert_explained_as_by_xgboost(booster, X)
    odd = X[: len(ODD)].copy()
    odd[:, 4] = ODD
    theirs = booster.predict(xgboost.DMatrix(odd, nthread=1), pred_contribs=True)[:, :-1]
    np.testing.assert_allclose(read(booster, 6).contributions(odd), theirs, atol=1e-5)


def many_features(depth):
    """Boost trees whose leaves may depend on any of sixteen columns."""
    X = np.random.default_rng(110).normal(size=(600, 16)).astype(np.float32)
    label = np.sin(X).sum(axis=1) + X[:, 0] * X[:, 1] > 0
    X[::7, ::3] = np.nan
    return X, trained(X, label, max_depth=depth, min_child_weight=0.01, colsample_bynode=0.4, rounds=4)


def test_leaves_that_depend_on_eight_features_are_explained_as_by_xgboost():
    X, booster = many_features(8)
    assert read(booster, 16).parts.leaf_needs.max() == 8
    assert_explained_as_by_xgboost(booster, X[:150])


def test_a_leaf_that_depends_on_more_is_refused_with_the_remedy():
    with pytest.raises(InvalidInput) as refused:
        read(many_features(12)[1], 16)
    (problem,) = refused.value.problems
    assert (problem.field, problem.remedy) == ("max_depth", "boost flatter trees")
    assert problem.problem == "a leaf depends on more than 8 features"


def test_small_tables_answer_as_large_ones(monkeypatch):
    time, X, label = made(120, rows=300)
    booster = boosted(time, X, label, depth=5)
    large = arrays(booster, X.shape[1])
    monkeypatch.setattr(trees_module, "MOST_ENTRIES", 1)
    small = arrays(booster, X.shape[1])
    assert (small.parts.group_leaves == 1).all()
    assert len(small.parts.group_leaves) > 2 * len(large.parts.group_leaves)
    np.testing.assert_allclose(small.contributions(X), large.contributions(X), atol=1e-12)
    np.testing.assert_allclose(small.margins(X), large.margins(X), atol=1e-12)
    np.testing.assert_allclose(small.expected(), large.expected(), atol=1e-12)


@pytest.mark.parametrize("copies", [1, 3])
def test_infinite_and_absurd_values_are_answered_like_the_largest_numbers(copies):
    X, label = with_whole_numbers(130)
    trees = read(trained(X, label, max_depth=4), 6)
    absurd = np.array([[np.inf] * 6, [-np.inf] * 6, [1e300] * 6, [-1e300] * 6] * copies)
    largest = np.clip(absurd, -3.4028235e38, 3.4028235e38)
    np.testing.assert_array_equal(trees.margins(absurd), trees.margins(largest))
    contributions = trees.contributions(absurd)
    np.testing.assert_array_equal(contributions, trees.contributions(largest))
    np.testing.assert_allclose(contributions.sum(axis=1) + trees.expected(), trees.margins(absurd))


@pytest.mark.parametrize("columns", [[0], [4], [1, 5]])
@pytest.mark.parametrize("entries", [1 << 24, 1])
def test_rows_that_differ_in_few_columns_have_the_same_contributions_together(monkeypatch, columns, entries):
    monkeypatch.setattr(trees_module, "MOST_ENTRIES", entries)
    X, label = with_whole_numbers(125)
    trees = read(trained(X, label, max_depth=4), 6)
    rows = np.repeat(X[:1], 12, axis=0)
    rows[1:, columns] = X[1:12, columns]
    assert np.ptp(trees.margins(rows)) > 0.01
    found = trees.contributions_apart(rows, tuple(columns))
    np.testing.assert_allclose(found, trees.contributions(rows), rtol=0, atol=1e-12)


def test_no_rows_have_no_answers(monkeypatch):
    X, label = with_whole_numbers(140, rows=300)
    booster = trained(X, label, max_depth=5)
    tabled = read(booster, 6)
    monkeypatch.setattr(trees_module, "MOST_ENTRIES", 1)
    for trees in (tabled, read(booster, 6)):
        assert trees.contributions(X[:0], threads=2).shape == (0, 6)
        assert trees.margins(X[:0], threads=2).shape == (0,)


def test_threads_change_nothing():
    time, X, label = made(150, rows=203)
    trees = arrays(boosted(time, X, label, depth=4), X.shape[1])
    for answer in (trees.contributions, trees.margins):
        np.testing.assert_array_equal(answer(X, threads=3), answer(X))


def test_other_columns_are_refused():
    X, label = with_whole_numbers(160, rows=300)
    with pytest.raises(ValueError, match="expected a matrix of 6 columns"):
        read(trained(X, label, max_depth=2), 6).contributions(X[:, :5])


def test_the_file_is_stable_and_gives_the_same_answers():
    X, label = with_whole_numbers(170)
    booster = trained(X, label, max_depth=5)
    trees = read(booster, 6)
    content = trees.to_bytes()
    again = Trees.from_bytes(content)
    assert again.to_bytes() == content == read(booster, 6).to_bytes()
    np.testing.assert_array_equal(again.contributions(X), trees.contributions(X))
    np.testing.assert_array_equal(again.margins(X), trees.margins(X))
