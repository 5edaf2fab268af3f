"""Boosting a hazard on a million patients: the trees of the person-interval table, without the table.

Every interval of a patient has the patient's columns, so they are written down once: binned
(:mod:`models.estimators.bins`), beside the log odds of the patient's intervals (:mod:`models.estimators.course`). A table would add
every person-interval to a histogram; here each patient is added once (:mod:`models.estimators.grower`). The sums, and so
the trees, are the same: given the same bins they are xgboost's, up to rounding, where nothing is sampled.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.errors import InvalidInput, Problem
from models.estimators.bins import Binned
from models.estimators.course import Course
from models.estimators.curves import IntArray
from models.estimators.grower import Grower, Node
from models.estimators.hazard import BoostedHazard
from models.trees.ensemble import Trees, read_trees


def boost_hazard(
    X: FloatArray,
    strata: IntArray,
    outcome: Outcome,
    *,
    edges: FloatArray,
    base: FloatArray,
    score: FloatArray,
    how: BoostedHazard,
    seed: int,
    held_out: BoolArray | None = None,
) -> Trees:
    """Return the trees that correct the log odds ``base[strata, interval] + score``.

    ``X`` (patients, columns) may have NaN; ``edges`` are the intervals' ends in months, ``base`` has shape
    (strata, intervals), ``score`` (patients,). Patients ``held_out`` (patients,) teach nothing: their loss
    says when to stop. The number of threads changes nothing in the trees.

    Raises:
        InvalidInput: infinite values, lengths that differ, follow-up beyond the last edge, or no event left.

    """
    learning = np.ones(len(X), dtype=bool) if held_out is None else ~held_out
    _require_sound(X, (strata, outcome.duration, score, learning), outcome, edges, learning)
    with ThreadPoolExecutor(how.threads) as pool:
        course = Course.of(strata, outcome, edges, base, score)
        grower = Grower(Binned.of(X, learning, pool), course, how, np.random.default_rng(seed), pool)
        trees = grower.boost(learning)
    return read_trees(_as_xgboost_writes(trees), columns=X.shape[1], intervals=len(edges))


def _as_xgboost_writes(trees: Sequence[Node]) -> bytes:
    """Return the trees as the part of xgboost's JSON model that says how to answer."""
    learner = {
        "learner_model_param": {"num_class": "0", "base_score": "5E-1"},
        "objective": {"name": "binary:logistic"},
        "gradient_booster": {"name": "gbtree", "model": {"trees": [_written(tree) for tree in trees]}},
    }
    return json.dumps({"learner": learner}).encode()


def _written(tree: Node) -> dict[str, Any]:
    nodes = list(tree.nodes())
    place = {id(node): at for at, node in enumerate(nodes)}
    children = [[place[id(child)] for child in node.children] or [-1, -1] for node in nodes]
    return {
        "tree_param": {"size_leaf_vector": "1"},
        "left_children": [left for left, _ in children],
        "right_children": [right for _, right in children],
        "split_indices": [node.split.feature for node in nodes],
        "split_conditions": [node.split.threshold if node.children else node.value for node in nodes],
        "default_left": [int(node.split.default_left) for node in nodes],
        "sum_hessian": [float(node.total[1]) for node in nodes],
        "categories": [], "categories_nodes": [], "categories_segments": [], "categories_sizes": [],
    }  # fmt: skip


def _require_sound(
    X: FloatArray,
    by_patient: Sequence[npt.NDArray[Any]],
    outcome: Outcome,
    edges: FloatArray,
    learning: BoolArray,
) -> None:
    problems = []
    if any(len(values) != len(X) for values in by_patient):
        problems.append(Problem("rows", "differ in number", "give one of everything a patient"))
    elif not (outcome.event & learning).any():
        problems.append(Problem("event", "never happens", "nothing can be learned without events"))
    if np.isinf(X).any():
        problems.append(Problem("X", "has infinite values", "make them missing"))
    if not (outcome.duration > 0.0).all() or outcome.duration.max() > edges[-1]:
        problems.append(
            Problem("duration", "lies outside the intervals", "let the edges span all follow-up from 0")
        )
    if problems:
        raise InvalidInput("hazards to boost", problems)
