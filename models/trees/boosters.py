"""Boosted trees as xgboost leaves them: what a fit works with, and what a bundle keeps for xgboost to read.

Rows are a patient's columns behind the number of a slot (an interval of time, or an outcome), so one booster
gives every slot its margin. Blocks stand side by side: competing risks have one a cause.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray
from models.trees.ensemble import Trees, tabulate
from models.trees.xgboost_json import Tree, base_margin, read_file

AT_ONCE = 1 << 18
SLOT = 0
SAME = 1e-5


@dataclass(frozen=True)
class Block:
    """Weighted boosters over the same slots: JSON models of xgboost, each with the weight of its margins."""

    slots: int
    members: tuple[tuple[bytes, float], ...]

    @cached_property
    def loaded(self) -> list[tuple[Any, float]]:
        """Return the members as xgboost's own objects."""
        import xgboost  # noqa: PLC0415  takes seconds to load and is never needed to answer

        return [
            (xgboost.Booster({"nthread": 1}, model_file=bytearray(model)), weight)
            for model, weight in self.members
        ]

    def merged(self) -> bytes:
        """Return one JSON model whose trees are all members', their leaves multiplied by the weights.

        A block without members has none.
        """
        (first, weight), *others = self.members
        if not others and weight == 1.0:
            return first
        document = json.loads(first)
        booster = document["learner"]["gradient_booster"]["model"]
        trees = [tree for model, weight in self.members for tree in _weighted(model, weight)]
        for number, tree in enumerate(trees):
            tree["id"] = number
        booster["trees"], booster["tree_info"] = trees, [0] * len(trees)
        booster["iteration_indptr"] = list(range(len(trees) + 1))
        booster["gbtree_model_param"] = {"num_parallel_tree": "1", "num_trees": str(len(trees))}
        document["learner"]["attributes"] = {}
        return json.dumps(document).encode()

    def __getstate__(self) -> dict[str, Any]:
        return {"slots": self.slots, "members": self.members}


@dataclass(frozen=True)
class Boosters:
    """Blocks of boosters over the same ``columns``; their slots follow one another."""

    columns: int
    blocks: tuple[Block, ...]

    @property
    def slots(self) -> int:
        """Return the number of slots of all blocks."""
        return sum(block.slots for block in self.blocks)

    def margins(self, X: FloatArray) -> FloatArray:
        """Return the weighted sums of margins, shape (rows, slots), in xgboost's own 32 bits."""
        out = np.zeros((len(X), self.slots))
        first = 0
        for block in self.blocks:
            own = out[:, first : first + block.slots]
            for rows, table in slot_tables(X, block.slots):
                for booster, weight in block.loaded:
                    margin = booster.inplace_predict(table, predict_type="margin")
                    own[rows] += weight * margin.reshape(-1, block.slots)
            first += block.slots
        return out

    def tabulate(self) -> Trees:
        """Return the trees as tables that answer and explain."""
        models = [(block.merged() if block.members else None, block.slots) for block in self.blocks]
        return tabulate(models, columns=self.columns)

    def check(self, tables: Trees) -> None:
        """Raise ValueError where the boosters are not those of the tables.

        They must read no other columns, and give a patient of whom nothing is known the same margins.
        """
        nothing = np.full((1, self.columns), np.nan)
        own = np.concatenate([_margins_of_missing(block, self.columns) for block in self.blocks])
        if not np.allclose(own, tables.margins(nothing)[0], rtol=0.0, atol=SAME):
            raise ValueError("boosters are not as they must be")

    @classmethod
    def none(cls, columns: int, slots: int) -> "Boosters":
        """Return a block without trees, whose margins are zero."""
        return cls(columns, (Block(slots, ()),))


def weighted_sum(weighted: Sequence[tuple[Boosters, float]]) -> Boosters | None:
    """Return the weighted sum of boosters of one block each; None where none has weight."""
    kept = [(boosters, weight) for boosters, weight in weighted if weight > 0.0]
    if not kept:
        return None
    members = [
        (model, weight * own)
        for boosters, weight in kept
        for block in boosters.blocks
        for model, own in block.members
    ]
    first = kept[0][0]
    return Boosters(first.columns, (Block(first.blocks[0].slots, tuple(members)),))


def side_by_side(parts: Sequence[Boosters]) -> Boosters:
    """Return boosters whose slots follow one another."""
    return Boosters(parts[0].columns, tuple(block for part in parts for block in part.blocks))


def slot_tables(X: FloatArray, slots: int) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Yield some rows at a time, each repeated for every slot with the slot's number as first column."""
    size = max(1, AT_ONCE // slots)
    for start in range(0, len(X), size):
        rows = slice(start, min(start + size, len(X)))
        table = np.empty(((rows.stop - rows.start) * slots, X.shape[1] + 1), dtype=np.float32)
        table[:, 0] = np.tile(np.arange(slots), rows.stop - rows.start)
        table[:, 1:] = np.repeat(X[rows], slots, axis=0)
        yield rows, table


def _margins_of_missing(block: Block, columns: int) -> FloatArray:
    """Return a block's margins of a row whose columns are all missing, shape (slots,)."""
    margins = np.zeros(block.slots)
    for model, weight in block.members:
        margins += weight * base_margin(model)
        for tree in read_file(model):
            if not 0 <= min(tree.feature) <= max(tree.feature) <= columns:
                raise ValueError("boosters are not as they must be")
            _follow_missing(tree, weight, margins)
    return margins


def _follow_missing(tree: Tree, weight: float, margins: FloatArray) -> None:
    """Add a tree's leaves that each slot reaches; the columns' splits send it their default way."""
    waiting = [(0, 0, len(margins))]
    while waiting:
        node, first, end = waiting.pop()
        left, right = tree.left[node], tree.right[node]
        if left == -1:
            margins[first:end] += weight * tree.value(node)
        elif tree.feature[node] == SLOT:
            under = ceil(max(first, min(end, tree.number[node])))
            waiting += [(left, first, under), (right, under, end)]
        else:
            waiting.append((left if tree.default_left[node] else right, first, end))


def _weighted(model: bytes, weight: float) -> list[dict[str, Any]]:
    """Return a model's trees with leaves multiplied by a weight, rounded to 32 bits."""
    trees: list[dict[str, Any]] = json.loads(model)["learner"]["gradient_booster"]["model"]["trees"]
    for tree in trees:
        leaf = np.array(tree["left_children"]) == -1
        for name in ("split_conditions", "base_weights"):
            values = np.array(tree[name], dtype=np.float32)
            values[leaf] *= np.float32(weight)
            tree[name] = values.tolist()
    return trees
