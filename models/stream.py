"""Boosting a hazard on a million patients: the trees of the person-interval table, without the table.

Every interval of a patient has the patient's columns, so they are written down once: binned, a byte each. A
node of a tree holds some patients over a range of intervals; a split on a column parts the patients, a split
on time the range. Its histograms add each patient once, with the gradients of their intervals summed, where a
table adds every person-interval. The sums, and so the trees, are the same.

Splits, missing values, leaf values and stopping follow xgboost's ``hist``: given the same bins the trees are
xgboost's, up to rounding, where nothing is sampled. Where something is, whole patients are drawn.

Source: Chen and Guestrin, KDD 2016;785-794 (the gain of a split, missing values, histograms).
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.errors import InvalidInput, Problem
from models.curves import IntArray
from models.hazard import BoostedHazard, PersonIntervals, baseline
from models.trees import Trees, read_trees
from models.treeshap import _compiled as compiled

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
CodeArray = npt.NDArray[np.uint8]

TIME, MISSING = 0, 0
MOST_CUTS = 254
MOST_SAMPLED = 200_000
BLOCK = 1 << 16
SMALLEST_GAIN = 1e-6
SMALLEST_HESSIAN = np.float32(1e-16)
LARGEST = float(np.finfo(np.float32).max)


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


def life_table(strata: IntArray, outcome: Outcome, *, edges: FloatArray, score: FloatArray) -> FloatArray:
    """Return :func:`models.hazard.baseline` of the person-interval table, shape (strata, intervals).

    What it needs of the table are the hazard ratios at risk and the events of each stratum and interval.
    """
    count, intervals = int(strata.max()) + 1, len(edges)
    last, weight = _last_intervals(outcome, edges)
    ratio, cell = np.exp(score), strata * intervals + last
    ended, seen, events = (
        np.bincount(cell, values, count * intervals).reshape(count, intervals).astype(np.float64)
        for values in (ratio, ratio * weight, outcome.event)
    )
    stayed = ended.sum(axis=1, keepdims=True) - np.cumsum(ended, axis=1)
    rows = PersonIntervals(
        patient=np.repeat(np.arange(count), intervals),
        interval=np.tile(np.arange(intervals), count),
        weight=(stayed + seen).ravel(),
        event=events.ravel(),
    )
    return baseline(np.arange(count), rows, np.zeros(count), strata_count=count, intervals=intervals)


@dataclass(frozen=True)
class Binned:
    """Columns as bins: ``codes`` (patients, columns) are 0 where missing, else one more than the cuts passed.

    ``cuts`` has one rising array a column; a value equal to a cut has passed it.
    """

    codes: CodeArray
    cuts: tuple[Float32Array, ...]

    @classmethod
    def of(cls, X: FloatArray, learning: BoolArray, pool: ThreadPoolExecutor) -> "Binned":
        """Cut each column at the values of those learning, at quantiles of a sample where there are many."""
        known = np.flatnonzero(learning)
        cuts = tuple(pool.map(_cuts, X[known[:: max(1, len(known) // MOST_SAMPLED)]].T))
        ends = np.cumsum([0, *map(len, cuts)])
        joined = np.concatenate([np.empty(0, dtype=np.float32), *cuts])
        codes = np.empty(X.shape, dtype=np.uint8)
        list(pool.map(lambda at: _bin(X[at], joined, ends, codes[at]), _blocks(len(X))))
        return cls(codes, cuts)

    @property
    def bins(self) -> IntArray:
        """Return how many bins each column has, the missing values' not counted."""
        return np.array([len(cuts) + 1 for cuts in self.cuts])

    def threshold(self, feature: int, below: int) -> float:
        """Return the value under which the first ``below`` bins of a feature lie."""
        if feature == TIME:
            return float(below)
        cuts = self.cuts[feature - 1]
        if below == 0:
            return -LARGEST
        return float(cuts[below - 1]) if below <= len(cuts) else LARGEST


class Course(NamedTuple):
    """The person-intervals, those of a patient side by side from ``first`` (patients + 1,) on.

    ``weight`` (patients,) is the share observed of a patient's last interval, one where the ``event`` ended
    it; ``margin``, ``gradient`` and ``hessian`` have shape (person-intervals,).
    """

    intervals: int
    first: IntArray
    weight: Float32Array
    event: BoolArray
    margin: Float32Array
    gradient: Float32Array
    hessian: Float32Array

    @classmethod
    def of(
        cls, strata: IntArray, outcome: Outcome, edges: FloatArray, base: FloatArray, score: FloatArray
    ) -> "Course":
        """Start every interval that a patient entered at its base and score."""
        last, weight = _last_intervals(outcome, edges)
        first = np.concatenate([[0], np.cumsum(last + 1)])
        numbers = np.zeros((3, first[-1]), dtype=np.float32)
        course = cls(len(edges), first, weight.astype(np.float32), outcome.event, *numbers)
        _start(course, strata, base, score)
        return course

    def differentiate(self, learning: BoolArray, pool: ThreadPoolExecutor) -> float:
        """Renew the gradients of those learning; return the others' mean loss, NaN if there are none."""
        parts = pool.map(lambda at: _differentiate(self, at.start, at.stop, learning), _blocks(len(learning)))
        loss, weight = np.sum(list(parts), axis=0)
        return float(loss / weight) if weight > 0.0 else nan


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
    """Patients over the intervals from ``start`` to before ``end``; without a split it is a leaf."""

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
            _sum_patients(course, patients[at], used, start, end, own[at], by_time)
            return by_time

        def over_bins(columns: slice) -> None:
            _sum_bins(codes, patients, own, columns.start, columns.stop, by_bin)

        by_time = np.sum(list(self.pool.map(over_time, _blocks(len(patients)))), axis=0)
        by_bin = np.zeros((codes.shape[1], MOST_CUTS + 2, 2))
        share = 1 + codes.shape[1] // self.how.threads
        list(self.pool.map(over_bins, _blocks(codes.shape[1], share)))
        return Sums(by_bin, by_time)

    def _apply(self, tree: Node) -> None:
        for node in tree.nodes():
            if not node.children:
                _add(self.course, node.patients, node.start, node.end, node.value)

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


def _last_intervals(outcome: Outcome, edges: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return each patient's last interval, and its weight: the share observed, one for an event."""
    last = np.searchsorted(edges, outcome.duration, side="left")
    starts = np.concatenate([[0.0], edges[:-1]])[last]
    lived = (outcome.duration - starts) / (edges[last] - starts)
    return last, np.where(outcome.event, 1.0, lived)


def _cuts(column: FloatArray) -> Float32Array:
    """Return where a column is cut: at every value but the lowest, or at quantiles where values are many.

    >>> _cuts(np.array([2.0, 1.0, np.nan, 4.0, 2.0])).tolist()
    [2.0, 4.0]
    """
    values = column[~np.isnan(column)].astype(np.float32)
    distinct = np.unique(values)
    if len(distinct) <= MOST_CUTS + 1:
        return distinct[1:]
    shares = np.arange(1, MOST_CUTS + 1) / (MOST_CUTS + 1)
    return np.unique(np.quantile(values, shares, method="inverted_cdf"))


def _blocks(count: int, size: int = BLOCK) -> Iterator[slice]:
    return (slice(at, min(at + size, count)) for at in range(0, count, size))


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


@compiled
def _bin(X: FloatArray, cuts: Float32Array, ends: IntArray, codes: CodeArray) -> None:
    """Write each value's bin: the number of cuts at or below it, found by halving, and one."""
    for row in range(X.shape[0]):
        for column in range(X.shape[1]):
            value = np.float32(X[row, column])
            if np.isnan(value):
                codes[row, column] = MISSING
                continue
            low, count = ends[column], ends[column + 1] - ends[column]
            while count > 0:
                half = (count + 1) // 2
                low = low + half if cuts[low + half - 1] <= value else low
                count -= half
            codes[row, column] = low - ends[column] + 1


@compiled
def _start(course: Course, strata: IntArray, base: FloatArray, score: FloatArray) -> None:
    for patient in range(len(strata)):
        zero = course.first[patient]
        for row in range(zero, course.first[patient + 1]):
            course.margin[row] = base[strata[patient], row - zero] + score[patient]


@compiled
def _differentiate(course: Course, begin: int, end: int, learning: BoolArray) -> tuple[float, float]:
    """Write the log loss's derivatives of patients learning; return the others' weighted loss and weight."""
    nothing, one, loss, weights = np.float32(0.0), np.float32(1.0), 0.0, 0.0
    for patient in range(begin, end):
        last = course.first[patient + 1] - 1
        for row in range(course.first[patient], last + 1):
            weight = course.weight[patient] if row == last else one
            happened = one if row == last and course.event[patient] else nothing
            probability = one / (one + np.exp(-course.margin[row]))
            if learning[patient]:
                course.gradient[row] = (probability - happened) * weight
                course.hessian[row] = max(probability * (one - probability), SMALLEST_HESSIAN) * weight
            else:
                found = probability if happened == one else one - probability
                loss -= float(weight * np.log(max(found, SMALLEST_HESSIAN)))
                weights += float(weight)
    return loss, weights


@compiled
def _sum_patients(
    course: Course,
    patients: Int32Array,
    used: BoolArray,
    start: int,
    end: int,
    own: FloatArray,
    by_time: FloatArray,
) -> None:
    """Add up each used patient's intervals of the range, and each interval's patients."""
    for at in range(len(patients)):
        patient = patients[at]
        own[at] = 0.0
        if not used[patient]:
            continue
        zero = course.first[patient]
        for row in range(zero + start, min(zero + end, course.first[patient + 1])):
            own[at, 0] += course.gradient[row]
            own[at, 1] += course.hessian[row]
            by_time[row - zero, 0] += course.gradient[row]
            by_time[row - zero, 1] += course.hessian[row]


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


@compiled
def _add(course: Course, patients: Int32Array, start: int, end: int, value: float) -> None:
    """Add a leaf's value to its person-intervals."""
    step = np.float32(value)
    for patient in patients:
        zero = course.first[patient]
        for row in range(zero + start, min(zero + end, course.first[patient + 1])):
            course.margin[row] += step
