"""Boosted trees as plain arrays: margins and exact path-dependent TreeSHAP, without xgboost.

Each leaf is kept with the distinct features on its path. A feature's splits on that path merge into one
interval, and the share of training cover that follows them merges into one fraction. A row meets or misses
each feature's interval, so it falls on one of 2^d patterns, and the leaf's SHAP values for every pattern are
tabulated once. Explaining a row is then a look-up and a sum per leaf.

Feature 0 is the time interval. It is treated as given, not as a player: a leaf simply belongs to the
intervals that its splits on time admit. One pass therefore explains every interval at once.

Source of the value function: Lundberg et al., Nature Machine Intelligence 2020;2:56-67 (path-dependent).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ROWS_AT_ONCE = 128


@dataclass(frozen=True)
class _Path:
    """The way to one leaf: per feature its interval, whether missing is admitted, its cover share."""

    lower: dict[int, float]
    upper: dict[int, float]
    missing: dict[int, bool]
    share: dict[int, float]

    def split(self, feature: int, threshold: float, *, left: bool, missing: bool, share: float) -> "_Path":
        lower, upper, admits, shares = (
            dict(self.lower),
            dict(self.upper),
            dict(self.missing),
            dict(self.share),
        )
        if left:
            upper[feature] = min(upper.get(feature, np.inf), threshold)
        else:
            lower[feature] = max(lower.get(feature, -np.inf), threshold)
        admits[feature] = admits.get(feature, True) and missing
        shares[feature] = shares.get(feature, 1.0) * share
        return _Path(lower, upper, admits, shares)


@dataclass(frozen=True)
class _Leaves:
    """Leaves with the same number ``d`` of features on their path.

    ``feature``, ``lower``, ``upper``, ``missing`` have shape (leaves, d); ``table`` has shape
    (leaves, 2^d, d); ``first`` and ``end`` bound the time intervals a leaf belongs to.
    """

    value: FloatArray
    share: FloatArray
    feature: IntArray
    lower: FloatArray
    upper: FloatArray
    missing: BoolArray
    table: FloatArray
    first: IntArray
    end: IntArray

    @cached_property
    def _bits(self) -> IntArray:
        return 1 << np.arange(self.feature.shape[1], dtype=np.int64)

    def pattern(self, rows: npt.NDArray[np.float32]) -> IntArray:
        """Return which features each row meets, as bits, shape (rows, leaves)."""
        x = rows[:, self.feature]
        met = np.where(np.isnan(x), self.missing, (x >= self.lower) & (x < self.upper))
        pattern: IntArray = met @ self._bits
        return pattern

    @property
    def full(self) -> int:
        """Return the pattern of a row that reaches the leaf."""
        return int((1 << self.feature.shape[1]) - 1)


@dataclass(frozen=True)
class Trees:
    """A boosted ensemble over ``columns`` features, and over ``intervals`` values of time in feature 0."""

    columns: int
    intervals: int
    groups: tuple[_Leaves, ...]

    def margins(self, X: FloatArray) -> FloatArray:
        """Return the summed leaf values, shape (rows, intervals); the base margin is the caller's."""
        rows = np.asarray(X, dtype=np.float32)
        steps = np.zeros((len(rows), self.intervals + 1))
        for part in _chunks(len(rows)):
            for leaves in self.groups:
                reached = np.where(leaves.pattern(rows[part]) == leaves.full, leaves.value, 0.0)
                for sign, at in ((1.0, leaves.first), (-1.0, leaves.end)):
                    np.add.at(steps[part].T, at, sign * reached.T)
        return np.cumsum(steps, axis=1)[:, :-1]

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return exact path-dependent SHAP values, shape (rows, intervals, columns).

        For each row and interval they sum to the margin less :meth:`expected`.
        """
        rows = np.asarray(X, dtype=np.float32)
        steps = np.zeros((len(rows), (self.intervals + 1) * self.columns))
        for leaves in self.groups:
            starts = (leaves.first[:, None] * self.columns + leaves.feature).ravel()
            ends = (leaves.end[:, None] * self.columns + leaves.feature).ravel()
            leaf = np.arange(len(leaves.value))
            for part in _chunks(len(rows)):
                shares = leaves.table[leaf, leaves.pattern(rows[part])].reshape(len(rows[part]), starts.size)
                for row, share in zip(steps[part], shares, strict=True):
                    row += np.bincount(starts, share, row.size) - np.bincount(ends, share, row.size)
        return np.cumsum(steps.reshape(len(rows), self.intervals + 1, self.columns), axis=1)[:, :-1]

    def expected(self) -> FloatArray:
        """Return the cover-weighted mean margin at each interval, shape (intervals,)."""
        steps = np.zeros(self.intervals + 1)
        for leaves in self.groups:
            mean = leaves.value * leaves.share.prod(axis=1)
            np.add.at(steps, leaves.first, mean)
            np.add.at(steps, leaves.end, -mean)
        return np.cumsum(steps)[:-1]


def read_trees(model: bytes, *, columns: int, intervals: int) -> Trees:
    """Read xgboost's JSON model (one margin, gbtree). Feature 0 is time, features 1.. the columns."""
    parsed = json.loads(model)
    paths: list[tuple[float, _Path]] = []
    for tree in parsed["learner"]["gradient_booster"]["model"]["trees"]:
        paths += _paths(tree)
    return _tabulate(paths, columns=columns, intervals=intervals)


def _paths(tree: Mapping[str, Any]) -> list[tuple[float, _Path]]:
    left, right = tree["left_children"], tree["right_children"]
    feature, threshold = tree["split_indices"], tree["split_conditions"]
    default_left, cover = tree["default_left"], tree["sum_hessian"]
    found = []
    waiting = [(0, _Path({}, {}, {}, {}))]
    while waiting:
        node, path = waiting.pop()
        if left[node] == -1:
            found.append((float(threshold[node]), path))
            continue
        for child, goes_left in ((left[node], True), (right[node], False)):
            share = cover[child] / cover[node]
            step = path.split(
                feature[node],
                float(np.float32(threshold[node])),
                left=goes_left,
                missing=bool(default_left[node]) == goes_left,
                share=share,
            )
            waiting.append((child, step))
    return found


def _tabulate(paths: list[tuple[float, _Path]], *, columns: int, intervals: int) -> Trees:
    by_length: dict[int, list[tuple[float, _Path]]] = {}
    for value, path in paths:
        by_length.setdefault(len(set(path.share) - {0}), []).append((value, path))
    groups = tuple(_group(d, members, intervals=intervals) for d, members in sorted(by_length.items()))
    return Trees(columns, intervals, groups)


def _group(d: int, members: list[tuple[float, _Path]], *, intervals: int) -> _Leaves:
    value = np.array([value for value, _ in members])
    features = [sorted(set(path.share) - {0}) for _, path in members]
    share = _stack([[p.share[f] for f in fs] for (_, p), fs in zip(members, features, strict=True)], d)
    first = [max(0, int(np.ceil(path.lower.get(0, 0.0)))) for _, path in members]
    end = [
        min(intervals, int(np.ceil(path.upper.get(0, np.inf)))) if 0 in path.upper else intervals
        for _, path in members
    ]
    return _Leaves(
        value=value,
        share=share,
        feature=_stack(features, d).astype(np.int64) - 1,
        lower=_stack(
            [[p.lower.get(f, -np.inf) for f in fs] for (_, p), fs in zip(members, features, strict=True)], d
        ),
        upper=_stack(
            [[p.upper.get(f, np.inf) for f in fs] for (_, p), fs in zip(members, features, strict=True)], d
        ),
        missing=_stack([[p.missing[f] for f in fs] for (_, p), fs in zip(members, features, strict=True)], d)
        == 1,
        table=_shap_tables(value, share),
        first=np.array(first, dtype=np.int64),
        end=np.maximum(np.array(end, dtype=np.int64), first),
    )


def _shap_tables(value: FloatArray, share: FloatArray) -> FloatArray:
    """Return each leaf's SHAP values for every pattern of features met, shape (leaves, 2^d, d).

    The leaf's game has the worth ``value * prod(met or share)``: 1 for a known feature that is met, 0 for a
    known one that is missed, its cover share for an unknown one.
    """
    leaves, d = share.shape
    patterns = (np.arange(2**d)[:, None] >> np.arange(d)) & 1
    table = np.zeros((leaves, 2**d, d))
    for player in range(d):
        others = [j for j in range(d) if j != player]
        total = np.zeros((leaves, 2**d))
        for known in range(2 ** (d - 1)):
            inside = [j for at, j in enumerate(others) if known >> at & 1]
            outside = [j for at, j in enumerate(others) if not known >> at & 1]
            weight = factorial(len(inside)) * factorial(len(outside)) / factorial(d)
            total += weight * share[:, outside].prod(axis=1)[:, None] * patterns[:, inside].prod(axis=1)
        table[:, :, player] = value[:, None] * total * (patterns[:, player] - share[:, player, None])
    return table


def _stack(rows: list[list[Any]], width: int) -> FloatArray:
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


def _chunks(rows: int) -> list[slice]:
    return [slice(at, at + ROWS_AT_ONCE) for at in range(0, rows, ROWS_AT_ONCE)]
