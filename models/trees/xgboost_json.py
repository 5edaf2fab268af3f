"""One boosted model as xgboost writes it in JSON: its trees, or a named refusal of what is not one margin.

Where a row goes at a split is xgboost's rule: left when the number is under the threshold, compared in 32
bits; a missing value goes to the split's default side. The encoder shows categories as columns, so a model
that splits on categories is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, log
from typing import Any, NoReturn

import numpy as np

from features.errors import InvalidInput, Problem

PER_NODE = ("split_indices", "split_conditions", "default_left", "sum_hessian")
LOG_LINK = frozenset({"survival:cox", "survival:aft", "count:poisson", "reg:gamma", "reg:tweedie"})
LOGIT_LINK = frozenset({"binary:logistic", "reg:logistic", "binary:logitraw"})


@dataclass(frozen=True, slots=True)
class Condition:
    """What a row must fulfil in one feature: ``lower <= x < upper``, or be missing where ``missing``."""

    feature: int
    lower: float = -inf
    upper: float = inf
    missing: bool = True

    def both(self, other: "Condition") -> "Condition":
        """Return the condition that this one and another of the same feature hold together."""
        return Condition(
            self.feature,
            max(self.lower, other.lower),
            min(self.upper, other.upper),
            self.missing and other.missing,
        )


@dataclass(frozen=True)
class Tree:
    """One tree, node by node; ``left`` is -1 at a leaf. ``cover`` is the training weight in each node."""

    left: Sequence[int]
    right: Sequence[int]
    feature: Sequence[int]
    number: Sequence[float]
    default_left: Sequence[int]
    cover: Sequence[float]

    def value(self, leaf: int) -> float:
        """Return a leaf's margin."""
        return self.number[leaf]

    def share(self, node: int, child: int) -> float:
        """Return the share of a node's cover in one child; an empty node is halved."""
        return self.cover[child] / self.cover[node] if self.cover[node] > 0.0 else 0.5

    def condition(self, node: int, *, left: bool) -> Condition:
        """Return what sends a row to one side of a split."""
        feature, missing = self.feature[node], bool(self.default_left[node]) == left
        threshold = self.number[node]
        if left:
            return Condition(feature, upper=threshold, missing=missing)
        return Condition(feature, lower=threshold, missing=missing)

    @cached_property
    def splits(self) -> list[int]:
        """Return the number of splits at and under each node."""
        order, waiting = [], [0]
        while waiting:
            node = waiting.pop()
            order.append(node)
            if self.left[node] != -1:
                waiting += (self.left[node], self.right[node])
        counts = [0] * len(self.left)
        for node in reversed(order):
            if self.left[node] != -1:
                counts[node] = 1 + counts[self.left[node]] + counts[self.right[node]]
        return counts


def read_file(model: bytes) -> list[Tree]:
    """Return the trees of a model that xgboost saved with save_raw("json").

    Raises:
        InvalidInput: the model is linear, of several classes or targets, splits on categories or has vectors
            in its leaves; or the bytes are no model.

    """
    learner = _learner(model)
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        _refuse("booster", f"{booster['name']} is not read", "train with booster gbtree")
    shape = learner["learner_model_param"]
    if int(shape["num_class"]) > 1 or int(shape.get("num_target", 1)) > 1:
        _refuse("objective", "the model has several margins", "train one model for each class or target")
    return [_tree(tree) for tree in booster["model"]["trees"]]


def base_margin(model: bytes) -> float:
    """Return the margin that xgboost adds to the trees' sum: its base score through the objective's link.

    With :meth:`models.trees.ensemble.Trees.expected` it adds up to the bias of xgboost's contributions.
    """
    learner = _learner(model)
    score = float(learner["learner_model_param"]["base_score"].strip("[]"))
    objective = learner["objective"]["name"]
    if objective in LOG_LINK:
        return log(score)
    return log(score / (1.0 - score)) if objective in LOGIT_LINK else score


def _learner(model: bytes) -> Any:
    try:
        return json.loads(model)["learner"]
    except (ValueError, KeyError, TypeError, RecursionError):
        _refuse("file", "these bytes are no model of xgboost in JSON", 'save it with save_raw("json")')


def _refuse(field: str, problem: str, remedy: str) -> NoReturn:
    raise InvalidInput("xgboost model", [Problem(field, problem, remedy)])


def _tree(stored: Mapping[str, Any]) -> Tree:
    if int(stored["tree_param"]["size_leaf_vector"]) > 1:
        _refuse("multi_strategy", "a leaf holds a vector", "train with one_output_per_tree, one target each")
    if stored["categories_nodes"]:
        _refuse("enable_categorical", "a split is on categories", "show each category as a column")
    _require_a_tree(stored)
    return Tree(
        left=stored["left_children"],
        right=stored["right_children"],
        feature=stored["split_indices"],
        number=_singles(stored["split_conditions"]),
        default_left=stored["default_left"],
        cover=_singles(stored["sum_hessian"]),
    )


def _require_a_tree(stored: Mapping[str, Any]) -> None:
    """Refuse arrays in which a way down could go round, meet another or leave them."""
    try:
        sound = _is_tree(stored)
    except (ValueError, TypeError, KeyError, OverflowError):
        sound = False
    if not sound:
        _refuse("trees", "the nodes are no tree", 'save it with save_raw("json")')


def _is_tree(stored: Mapping[str, Any]) -> bool:
    left, right = (np.asarray(stored[name], dtype=np.int64) for name in ("left_children", "right_children"))
    nodes, inner = len(left), left != -1
    if not nodes or any(len(stored[name]) != nodes for name in ("right_children", *PER_NODE)):
        return False
    children = np.concatenate([left[inner], right[inner]])
    inside = bool(((children > 0) & (children < nodes)).all())
    return inside and len(np.unique(children)) == len(children)


def _singles(numbers: Sequence[float]) -> list[float]:
    """Return the 32-bit numbers that decimals stand for."""
    singles: list[float] = np.asarray(numbers, dtype=np.float32).tolist()
    return singles
