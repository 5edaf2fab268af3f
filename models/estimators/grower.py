"""Growing trees on patients and intervals: a node holds some patients over a range of intervals.

A split on a column parts the patients, a split on time the range. Histograms add each patient once, with the
gradients of their intervals summed. Splits, missing values and leaf values follow xgboost's ``hist``. Where
something is sampled, whole patients are drawn.

Source: Chen and Guestrin, KDD 2016;785-794 (the gain of a split, histograms).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf, isnan

import numpy as np

from features.censoring import BoolArray
from features.dictionary import FloatArray
from models.compiled import compiled
from models.estimators.bins import MISSING, MOST_CUTS, TIME, Binned, CodeArray, blocks
from models.estimators.course import Course, Int32Array, add_leaf, sum_patients
from models.estimators.curves import IntArray
from models.estimators.hazard import BoostedHazard

SMALLEST_GAIN = 1e-6
NOBODY = np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class Sums:
    """Gradients and Hessians summed in bins (columns, bins, 2) and in intervals (intervals, 2)."""

    by_bin: FloatArray
    by_time: FloatArray

    def less(self, other: "Sums") -> "Sums":
        """Return what another node of the same parent has."""
        return Sums(self.by_bin - other.by_bin, self.by_time - other.by_time)


@dataclass(frozen=True)
class Split:
    """A split: values under the threshold go left, and missing ones if ``default_left``."""

    feature: int
    threshold: float
    default_left: bool


LEAF = Split(0, 0.0, default_left=False)


@dataclass
class Node:
    """Patients over the intervals from ``start`` to before ``end``; without a split it is a leaf.

    Once a tree's values are added its nodes hold no patients.
    """

    patients: Int32Array
    start: int
    end: int
    total: FloatArray
    value: float = 0.0
    split: Split = LEAF
    children: "tuple[Node, ...]" = ()

    def nodes(self) -> "Iterator[Node]":
        """Return this node and all under it, a node before its children."""
        yield self
        for child in self.children:
            yield from child.nodes()


@dataclass(frozen=True)
class Grower:
    """Grows the trees, each level by level."""

    binned: Binned
    course: Course
    how: BoostedHazard
    rng: np.random.Generator
    pool: ThreadPoolExecutor

    def boost(self, learning: BoolArray) -> list[Node]:
        """Return the trees up to the round in which the held-out loss was lowest; without it, all."""
        trees: list[Node] = []
        lowest, kept = inf, 0
        self.course.differentiate(learning, self.pool)
        for number in range(1, self.how.rounds + 1):
            grown = [self.grow(self._drawn(learning)) for _ in range(self.how.parallel)]
            for tree in grown:
                self._apply(tree)
            trees += grown
            loss = self.course.differentiate(learning, self.pool)
            if isnan(loss) or loss < lowest:
                lowest, kept = loss, number
            elif number - kept >= self.how.patience:
                break
        return trees[: kept * self.how.parallel]

    def grow(self, used: BoolArray) -> Node:
        """Grow one tree on the patients used; the others go along."""
        everyone = np.arange(len(used), dtype=np.int32)
        sums = self._sums(everyone, 0, self.course.intervals, used)
        root = Node(everyone, 0, self.course.intervals, sums.by_time.sum(axis=0))
        level = [(root, sums)]
        for depth in range(1, self.how.depth + 1):
            grown = [(node, sums) for node, sums in level if self._split(node, sums)]
            if depth == self.how.depth:
                break
            level = [pair for node, sums in grown for pair in self._summed(node, sums, used)]
        rate = np.float32(self.how.learning_rate) / np.float32(self.how.parallel)
        for node in root.nodes():
            weight = np.float32(-node.total[0] / (node.total[1] + self.how.ridge))
            node.value = float(rate * weight)
        return root

    def _split(self, node: Node, sums: Sums) -> bool:
        """Give the node its best split and children, if any split gains enough."""
        gain, feature, below, default_left, slope, curve = _best(
            sums.by_bin, self.binned.bins, sums.by_time, node.start, node.end, node.total,
            self._drawn_features(), self.how.ridge, self.how.smallest_hessian,
        )  # fmt: skip
        if gain <= SMALLEST_GAIN:
            return False
        node.split = Split(feature, self.binned.threshold(feature, below), default_left)
        left, codes = np.array([slope, curve]), self.binned.codes
        if feature == TIME:
            later = node.patients[np.diff(self.course.first)[node.patients] > below]
            node.children = (
                Node(node.patients, node.start, below, left),
                Node(later, below, node.end, node.total - left),
            )
        else:
            goes_left = _goes_left(codes, node.patients, feature - 1, below, default_left)
            node.children = (
                Node(node.patients[goes_left], node.start, node.end, left),
                Node(node.patients[~goes_left], node.start, node.end, node.total - left),
            )
        return True

    def _summed(self, node: Node, sums: Sums, used: BoolArray) -> list[tuple[Node, Sums]]:
        """Return the children with their sums: those of the smaller are added up, the other has the rest."""
        small, large = sorted(node.children, key=lambda child: len(child.patients))
        added = self._sums(small.patients, small.start, small.end, used)
        return [(small, added), (large, sums.less(added))]

    def _sums(self, patients: Int32Array, start: int, end: int, used: BoolArray) -> Sums:
        course, codes = self.course, self.binned.codes
        own = np.empty((len(patients), 2))

        def over_time(at: slice) -> FloatArray:
            by_time = np.zeros((course.intervals, 2))
            sum_patients(course, patients[at], used, start, end, own[at], by_time)
            return by_time

        def over_bins(columns: slice) -> None:
            _sum_bins(codes, patients, own, columns.start, columns.stop, by_bin)

        by_time = np.sum(list(self.pool.map(over_time, blocks(len(patients)))), axis=0)
        by_bin = np.zeros((codes.shape[1], MOST_CUTS + 2, 2))
        share = 1 + codes.shape[1] // self.how.threads
        list(self.pool.map(over_bins, blocks(codes.shape[1], share)))
        return Sums(by_bin, by_time)

    def _apply(self, tree: Node) -> None:
        """Add the leaves' values to their patients, whom the tree then lets go: they are many."""
        for node in tree.nodes():
            if not node.children:
                add_leaf(self.course, node.patients, node.start, node.end, node.value)
            node.patients = NOBODY

    def _drawn(self, learning: BoolArray) -> BoolArray:
        if self.how.row_share == 1.0:
            return learning
        drawn: BoolArray = learning & (self.rng.random(len(learning)) < self.how.row_share)
        return drawn

    def _drawn_features(self) -> BoolArray:
        features = len(self.binned.cuts) + 1
        if self.how.column_share == 1.0:
            return np.ones(features, dtype=bool)
        some = max(1, int(self.how.column_share * features))
        return np.isin(np.arange(features), self.rng.choice(features, some, replace=False))


@compiled
def _sum_bins(
    codes: CodeArray, patients: Int32Array, own: FloatArray, start: int, end: int, by_bin: FloatArray
) -> None:
    """Add each patient's sums to their bins of some columns."""
    for at in range(len(patients)):
        patient, slope, curve = patients[at], own[at, 0], own[at, 1]
        if curve > 0.0:
            for column in range(start, end):
                code = codes[patient, column]
                by_bin[column, code, 0] += slope
                by_bin[column, code, 1] += curve


@compiled
def _gain(slope: float, curve: float, ridge: float) -> np.float32:
    """Return by how much, twice, the best constant lowers a node's loss."""
    return np.float32(slope * slope / (curve + ridge))


@compiled
def _best(
    by_bin: FloatArray,
    bins: IntArray,
    by_time: FloatArray,
    start: int,
    end: int,
    total: FloatArray,
    allowed: BoolArray,
    ridge: float,
    smallest: float,
) -> tuple[np.float32, int, int, bool, float, float]:
    """Return the best split: gain, feature, bins to the left, whether missing goes there, and its sums."""
    best = (np.float32(0.0), 0, 0, False, 0.0, 0.0)
    if allowed[TIME]:
        gain, at, slope, curve = _scan(by_time, start, end - 1, 1, total, ridge, smallest)
        best = (gain, TIME, at + 1, False, slope, curve)
    for column in range(len(bins)):
        if not allowed[column + 1]:
            continue
        sums, last = by_bin[column], bins[column]
        gain, at, slope, curve = _scan(sums, 1, last + 1, 1, total, ridge, smallest)
        if gain > best[0]:
            best = (gain, column + 1, at, False, slope, curve)
        if sums[MISSING, 1] > SMALLEST_GAIN:
            gain, at, slope, curve = _scan(sums, last, 0, -1, total, ridge, smallest)
            if gain > best[0]:
                best = (gain, column + 1, at - 1, True, total[0] - slope, total[1] - curve)
    return best


@compiled
def _scan(
    sums: FloatArray, start: int, stop: int, step: int, total: FloatArray, ridge: float, smallest: float
) -> tuple[np.float32, int, float, float]:
    """Move bins one by one to one side; return the best gain, the bin moved last, and that side's sums."""
    whole = _gain(total[0], total[1], ridge)
    best = (np.float32(0.0), 0, 0.0, 0.0)
    slope = curve = 0.0
    for at in range(start, stop, step):
        slope += sums[at, 0]
        curve += sums[at, 1]
        other = total[1] - curve
        if min(curve, other) < smallest or min(curve, other) <= 0.0:
            continue
        gain = _gain(slope, curve, ridge) + _gain(total[0] - slope, other, ridge) - whole
        if gain > best[0]:
            best = (gain, at, slope, curve)
    return best


@compiled
def _goes_left(
    codes: CodeArray, patients: Int32Array, column: int, below: int, default_left: bool
) -> BoolArray:
    """Tell which patients a split on a column sends left."""
    left = np.empty(len(patients), dtype=np.bool_)
    for at in range(len(patients)):
        code = codes[patients[at], column]
        left[at] = default_left if code == MISSING else code <= below
    return left
