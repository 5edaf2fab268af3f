"""What is no model of one margin on numbers is refused by name, before any of it is followed."""

import json

import numpy as np
import pytest
import xgboost

from features.errors import InvalidInput
from models.trees.ensemble import read_trees
from tests.models.trees.test_ensemble import boosted, made, read, trained, with_whole_numbers


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"booster": "gblinear"}, "booster"),
        ({"booster": "dart", "rate_drop": 0.4}, "booster"),
        ({"objective": "multi:softprob", "num_class": 2}, "objective"),
    ],
)
def test_models_without_one_margin_are_refused(options, field):
    X, label = np.ones((20, 2)), np.arange(20) % 2
    with pytest.raises(InvalidInput) as refused:
        read(trained(X, label, rounds=1, **options), 2)
    assert [problem.field for problem in refused.value.problems] == [field]


def test_models_with_vectors_in_their_leaves_are_refused():
    X, targets = np.random.default_rng(190).normal(size=(2, 40, 2))
    with pytest.raises(InvalidInput, match="several margins"):
        read(trained(X, targets, objective="reg:squarederror", multi_strategy="multi_output_tree"), 2)


def test_a_model_that_splits_on_categories_is_refused():
    """The encoder shows each category as a column, so no model of this project does."""
    rng = np.random.default_rng(200)
    X = np.column_stack([rng.integers(0, 8, 300), rng.normal(size=300)]).astype(np.float32)
    data = xgboost.DMatrix(X, label=X[:, 0] % 2, feature_types=["c", "q"], enable_categorical=True)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 2)
    with pytest.raises(InvalidInput) as refused:
        read(booster, 2)
    (problem,) = refused.value.problems
    assert (problem.field, problem.remedy) == ("enable_categorical", "show each category as a column")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\x80 no text", "ubj"])
def test_what_is_no_model_in_json_is_refused_with_the_remedy(content):
    if content == "ubj":
        content = bytes(trained(np.ones((20, 2)), np.arange(20) % 2, rounds=1).save_raw("ubj"))
    with pytest.raises(InvalidInput, match=r'save it with save_raw\("json"\)'):
        read_trees(content, columns=2, intervals=None)


@pytest.mark.parametrize(
    ("name", "node", "value"),
    [
        ("left_children", 0, 0), ("left_children", 1, 0), ("left_children", 1, 1), ("left_children", 0, 2),
        ("right_children", 0, 10**6), ("right_children", 0, -2), ("left_children", 0, 10**30),
        ("sum_hessian", None, []), ("right_children", None, []), ("left_children", None, []),
    ],
)  # fmt: skip
def test_nodes_that_are_no_tree_are_refused(name, node, value):
    X, label = with_whole_numbers(180, rows=300)
    document = json.loads(bytes(trained(X, label, max_depth=2, rounds=1).save_raw("json")))
    (tree,) = document["learner"]["gradient_booster"]["model"]["trees"]
    if node is None:
        tree[name] = value
    else:
        tree[name][node] = value
    with pytest.raises(InvalidInput, match="the nodes are no tree"):
        read_trees(json.dumps(document).encode(), columns=6, intervals=None)


@pytest.mark.parametrize("feature", [3, 10**6, -1])
def test_a_model_that_reads_another_column_is_refused(feature):
    """Compiled sums look no further: a column beyond the row would be somebody else's memory."""
    time, X, label = made(190, rows=300, columns=3)
    document = json.loads(bytes(boosted(time, X, label, depth=2, rounds=1).save_raw("json")))
    (tree,) = document["learner"]["gradient_booster"]["model"]["trees"]
    tree["split_indices"][0] = feature
    with pytest.raises(ValueError, match="is not as it must be"):
        read_trees(json.dumps(document).encode(), columns=3, intervals=None)
