"""Boosted trees as plain arrays: margins and exact path-dependent TreeSHAP, without xgboost.

Leaves are kept in groups with the conditions that a row must meet to reach them; a feature's splits on the
way to a group merge into one condition. models/trees/grouping.py makes the groups, models/trees/shap.py the sums.

Feature 0 may be the time interval. It is then treated as given, not as a player: a group belongs to the
intervals that its splits on time admit. One pass therefore explains every interval at once.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray
from models.npz import read_arrays
from models.trees import shap as treeshap
from models.trees.checks import require_trees
from models.trees.grouping import Group, plan
from models.trees.xgboost_json import Condition, base_margin, read_file

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]

__all__ = ["Trees", "average", "base_margin", "read_trees"]

MOST_ENTRIES = 1 << 24


@dataclass(frozen=True)
class Parts:
    """Groups of leaves as flat arrays without offsets, so that ensembles join by appending.

    ``group_*`` one entry a group: whether it has a table, how many conditions, features and leaves, and its
    time intervals. The others are in the order of the groups; models/trees/shap.py says what they mean.
    ``condition_test`` is the condition's place among the tests of categories, or -1.
    """

    group_tabled: BoolArray
    group_conditions: IntArray
    group_features: IntArray
    group_leaves: IntArray
    group_first: IntArray
    group_end: IntArray
    feature: IntArray
    condition_feature: IntArray
    condition_lower: npt.NDArray[np.float32]
    condition_upper: npt.NDArray[np.float32]
    condition_missing: BoolArray
    condition_test: IntArray
    leaf_value: FloatArray
    leaf_needs: IntArray
    need_slot: IntArray
    need_mask: IntArray
    need_want: IntArray
    need_share: FloatArray
    test_feature: IntArray
    test_missing: BoolArray
    test_codes: IntArray
    test_allowed: BoolArray


@dataclass(frozen=True)
class Trees:
    """A boosted ensemble over ``columns`` features, and over ``intervals`` values of time unless None."""

    columns: int
    intervals: int | None
    parts: Parts

    def margins(self, X: FloatArray, *, threads: int = 1) -> FloatArray:
        """Return the summed leaf values, shape (rows, intervals) or (rows,), without the base margin."""
        rows, at = self._rows(X), self._layout
        out = np.empty((len(rows), at.groups.slots))
        if at.tabled and len(rows) <= treeshap.FEW:
            treeshap.margins_of_few(at.conditions, at.groups, at.reach, rows, out)
        else:
            work = partial(treeshap.margins, at.conditions, at.groups, at.leaves, at.reach)
            _in_threads(work, rows, out, threads)
        return self._shaped(out, axis=1)

    def changes(self, X: FloatArray, columns: Sequence[int]) -> FloatArray:
        """Return by how much margins of rows differ from the first one's, shape as of :meth:`margins`.

        Rows may differ in these columns alone: only what asks for them is added.
        """
        rows, at = self._rows(X), self._layout
        out = np.empty((len(rows), at.groups.slots))
        treeshap.margins(at.conditions, at.asking(tuple(columns)), at.leaves, at.reach, rows, out)
        return self._shaped(out - out[0], axis=1)

    def contributions(self, X: FloatArray, *, threads: int = 1) -> FloatArray:
        """Return exact path-dependent SHAP values, shape (rows, intervals, columns) or (rows, columns).

        For each row and interval they sum to the margin less :meth:`expected`.
        """
        rows, at = self._rows(X), self._layout
        out = np.empty((len(rows), at.groups.slots, self.columns))
        if at.tabled and len(rows) <= treeshap.FEW:
            treeshap.contributions_of_few(at.conditions, at.groups, at.table, rows, out)
        else:
            work = partial(treeshap.contributions, at.conditions, at.groups, at.leaves, at.table)
            _in_threads(work, rows, out, threads)
        return self._shaped(out, axis=1)

    def expected(self) -> FloatArray:
        """Return the cover-weighted mean margin, shape (intervals,) or (); without the base margin."""
        return self._shaped(self._layout.expected.copy(), axis=0)

    def to_bytes(self) -> bytes:
        """Return the groups as an npz file; the tables follow from them."""
        file = io.BytesIO()
        shape = np.array([self.columns, -1 if self.intervals is None else self.intervals])
        np.savez(file, shape=shape, **{f.name: getattr(self.parts, f.name) for f in fields(Parts)})
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Trees":
        """Read what :meth:`to_bytes` wrote.

        Raises:
            ValueError: when these are no arrays of an ensemble.

        """
        stored = read_arrays(content)
        columns, intervals = map(int, stored.pop("shape").tolist())
        require_trees(stored, columns=columns, slots=1 if intervals < 0 else intervals)
        return cls(columns, None if intervals < 0 else intervals, Parts(**stored))

    def _rows(self, X: FloatArray) -> FloatArray:
        rows = np.ascontiguousarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.columns:
            raise ValueError(f"expected a matrix of {self.columns} columns, found shape {rows.shape}")
        return rows

    def _shaped(self, out: FloatArray, *, axis: int) -> FloatArray:
        return out.squeeze(axis) if self.intervals is None else out

    @cached_property
    def _layout(self) -> "Layout":
        return Layout.of(self.parts, self.columns, slots=1 if self.intervals is None else self.intervals)


@dataclass(frozen=True)
class Layout:
    """Groups as the compiled functions want them, and their tables.

    ``table`` holds per group and pattern of met conditions the SHAP value of each of its features, ``reach``
    the value of the leaf reached; ``expected`` is the mean margin; ``tabled`` tells that every group has its
    table.
    """

    conditions: treeshap.Conditions
    groups: treeshap.Groups
    leaves: treeshap.Leaves
    table: FloatArray
    reach: FloatArray
    expected: FloatArray
    tabled: bool
    _asking: dict[tuple[int, ...], treeshap.Groups] = field(default_factory=dict, repr=False, compare=False)

    def asking(self, columns: tuple[int, ...]) -> treeshap.Groups:
        """Return the groups that ask for any of these columns; found once and kept."""
        found = self._asking.get(columns)
        if found is None:
            groups, width = self.groups, self.groups.fields[:, treeshap.WIDTH]
            column = groups.target - np.repeat(groups.fields[:, treeshap.SPAN], width) * groups.columns
            asks = np.zeros(len(width), dtype=bool)
            asks[np.repeat(np.arange(len(width)), width)[np.isin(column, columns)]] = True
            kept = groups.by_span[asks[groups.by_span]]
            start = np.searchsorted(groups.fields[kept, treeshap.SPAN], np.arange(len(groups.spans) + 1))
            found = self._asking[columns] = groups._replace(by_span=kept, span_start=start)
        return found

    @classmethod
    def of(cls, parts: Parts, columns: int, *, slots: int) -> "Layout":
        """Lay out and tabulate."""
        arranged = _arranged(parts)
        patterns = np.where(arranged.group_tabled, 1 << np.minimum(arranged.group_conditions, 62), 0)
        conditions, asked = _conditions(arranged, columns)
        groups, leaves = _groups(arranged, patterns, asked, columns, slots=slots), _leaves(arranged)
        table = np.zeros(int((patterns * arranged.group_features).sum()))
        reach = np.zeros(int(patterns.sum()))
        treeshap.tabulate(groups, leaves, table, reach)
        tabled = bool(arranged.group_tabled.all())
        return cls(conditions, groups, leaves, table, reach, treeshap.expectation(groups, leaves), tabled)


def read_trees(model: bytes, *, columns: int, intervals: int | None) -> Trees:
    """Read xgboost's JSON model (one margin, gbtree or dart).

    With ``intervals``, feature 0 is time and features 1.. are the columns; without, features 0.. are.

    Raises:
        InvalidInput: the model has no trees or more than one margin.
    """
    slots, time = (1, None) if intervals is None else (intervals, 0)
    groups, bits = plan(read_file(model), time=time, intervals=slots, most=MOST_ENTRIES)
    return Trees(columns, intervals, _flat(groups, bits=bits, skip=0 if time is None else 1))


def average(weighted: Sequence[tuple[Trees, float]]) -> Trees:
    """Return the weighted sum of ensembles over the same columns and intervals as one ensemble."""
    first = weighted[0][0]
    joined: dict[str, list[npt.NDArray[np.generic]]] = {f.name: [] for f in fields(Parts)}
    tests = 0
    for trees, weight in weighted:
        own = {name: getattr(trees.parts, name) for name in joined}
        own["leaf_value"] = weight * own["leaf_value"]
        own["condition_test"] = np.where(own["condition_test"] < 0, -1, own["condition_test"] + tests)
        tests += len(own["test_feature"])
        for name, array in own.items():
            joined[name].append(array)
    parts = Parts(**{name: np.concatenate(arrays) for name, arrays in joined.items()})
    return Trees(first.columns, first.intervals, parts)


def _flat(groups: Sequence[Group], *, bits: int, skip: int) -> Parts:
    conditions = [c for group in groups for c in group.conditions]
    leaves = [leaf for group in groups for leaf in group.leaves]
    tests = {c: at for at, c in enumerate(dict.fromkeys(c for c in conditions if c.tests))}
    slots = [_slots(group) for group in groups]
    needs = [need for leaf in leaves for need in leaf.needs.values()]
    allowed = [_allowed(test) for test in tests]
    return Parts(
        group_tabled=np.array([len(g.conditions) <= bits for g in groups], dtype=bool),
        group_conditions=_ints(len(g.conditions) for g in groups),
        group_features=_ints(len(g.features) for g in groups),
        group_leaves=_ints(len(g.leaves) for g in groups),
        group_first=_ints(g.span[0] for g in groups),
        group_end=_ints(g.span[1] for g in groups),
        feature=_ints(f - skip for slot in slots for f in slot),
        condition_feature=_ints(c.feature - skip for c in conditions),
        condition_lower=np.array([c.lower for c in conditions], dtype=np.float32),
        condition_upper=np.array([c.upper for c in conditions], dtype=np.float32),
        condition_missing=np.array([c.missing for c in conditions], dtype=bool),
        condition_test=_ints(tests.get(c, -1) for c in conditions),
        leaf_value=np.array([leaf.value for leaf in leaves], dtype=np.float64),
        leaf_needs=_ints(len(leaf.needs) for leaf in leaves),
        need_slot=_ints(
            slot[f] for slot, g in zip(slots, groups, strict=True) for leaf in g.leaves for f in leaf.needs
        ),
        need_mask=_ints(need.mask for need in needs),
        need_want=_ints(need.want for need in needs),
        need_share=np.array([need.share for need in needs], dtype=np.float64),
        test_feature=_ints(test.feature - skip for test in tests),
        test_missing=np.array([test.missing for test in tests], dtype=bool),
        test_codes=_ints(map(len, allowed)),
        test_allowed=np.array(list(chain.from_iterable(allowed)), dtype=bool),
    )


def _slots(group: Group) -> dict[int, int]:
    return {feature: slot for slot, feature in enumerate(group.features)}


def _allowed(condition: Condition) -> list[bool]:
    """Return which codes meet a condition; the last entry stands for every code that no test names."""
    codes = max(max(named, default=-1) for named, _ in condition.tests) + 2
    return [all((code in named) == inside for named, inside in condition.tests) for code in range(codes)]


def _ints(values: Iterable[int]) -> IntArray:
    return np.fromiter(values, dtype=np.int64)


def _starts(counts: IntArray) -> IntArray:
    """Return where each part starts, and where the last one ends."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])


def _arranged(parts: Parts) -> Parts:
    """Return the groups in the order of their shapes, those without tables last."""
    order = np.lexsort((parts.group_features, parts.group_conditions, ~parts.group_tabled))
    each: dict[str, npt.NDArray[Any]] = {}
    each |= {f.name: getattr(parts, f.name)[order] for f in fields(Parts) if f.name.startswith("group_")}
    leaves = _members(parts.group_leaves, order)
    own = {
        "condition_": _members(parts.group_conditions, order),
        "feature": _members(parts.group_features, order),
        "leaf_": leaves,
        "need_": _members(parts.leaf_needs, leaves),
    }
    for start, members in own.items():
        each |= {f.name: getattr(parts, f.name)[members] for f in fields(Parts) if f.name.startswith(start)}
    return replace(parts, **each)


def _members(counts: IntArray, order: IntArray) -> IntArray:
    """Return the places of what belongs to each of ``order``, one after the other."""
    chosen = counts[order]
    within = np.arange(chosen.sum()) - np.repeat(_starts(chosen)[:-1], chosen)
    return np.asarray(np.repeat(_starts(counts)[:-1][order], chosen) + within, dtype=np.int64)


def _conditions(parts: Parts, columns: int) -> tuple[treeshap.Conditions, IntArray]:
    """Return the different conditions, one that is never met behind them, and which one each group's is."""
    tested = parts.condition_test >= 0
    column = np.where(tested, columns + parts.condition_test, parts.condition_feature)
    lower = np.where(tested, np.float32(0.5), parts.condition_lower)
    stated = np.column_stack([column, lower, parts.condition_upper, parts.condition_missing])
    never = np.array([[0.0, np.inf, -np.inf, 0.0]])
    different, asked = np.unique(stated, axis=0, return_inverse=True)
    column, lower, upper, missing = np.vstack([different.reshape(-1, 4), never]).T
    codes = _starts(parts.test_codes)
    tests = np.column_stack([parts.test_feature, parts.test_missing, codes[:-1], codes[1:]])
    conditions = treeshap.Conditions(
        column=column.astype(np.uint32),
        lower=lower.astype(np.float32),
        upper=upper.astype(np.float32),
        missing=missing.astype(bool),
        tests=np.ascontiguousarray(tests),
        allowed=parts.test_allowed,
    )
    return conditions, asked.ravel()


def _groups(
    parts: Parts, patterns: IntArray, asked: IntArray, columns: int, *, slots: int
) -> treeshap.Groups:
    """Return one row of fields a group, in the order that models/trees/shap.py names, and what goes with it."""
    bits, width = parts.group_conditions, parts.group_features
    room = np.where(bits <= treeshap.FOUR, treeshap.FOUR, treeshap.EIGHT)
    room = np.where(parts.group_tabled, room, bits)
    table = np.where(parts.group_tabled, _starts(patterns * width)[:-1], treeshap.NO_TABLE)
    ranges = np.column_stack([parts.group_first, parts.group_end])
    spans, span = np.unique(ranges, axis=0, return_inverse=True)
    span, leaf = span.ravel(), _starts(parts.group_leaves)
    columns_of_fields = (
        bits, room, _starts(room)[:-1], width, _starts(width)[:-1], table,
        _starts(patterns)[:-1], leaf[:-1], leaf[1:], span,
    )  # fmt: skip
    shape = np.column_stack([parts.group_tabled, bits, width])
    other = np.flatnonzero((shape[1:] != shape[:-1]).any(axis=1)) + 1
    return treeshap.Groups(
        fields=np.ascontiguousarray(np.column_stack(columns_of_fields), dtype=np.int64),
        runs=np.unique(np.concatenate([[0], other, [len(bits)]])),
        asked=_filled_up(asked, bits, room, parts.group_tabled),
        target=(np.repeat(span, width) * columns + parts.feature).astype(np.uint32),
        spans=spans,
        by_span=np.argsort(span, kind="stable"),
        span_start=np.searchsorted(np.sort(span), np.arange(len(spans) + 1)),
        columns=columns,
        slots=slots,
    )


def _filled_up(asked: IntArray, bits: IntArray, room: IntArray, tabled: BoolArray) -> npt.NDArray[np.uint32]:
    """Return each group's conditions in the room it has, shifted by their bit where it has a table."""
    count = int(asked.max(initial=-1)) + 2
    place = np.arange(room.sum()) - np.repeat(_starts(room)[:-1], room)
    whole = np.full(len(place), count - 1)
    whole[place < np.repeat(bits, room)] = asked
    return (whole + np.where(np.repeat(tabled, room), place * count, 0)).astype(np.uint32)


def _leaves(parts: Parts) -> treeshap.Leaves:
    needs = np.column_stack([parts.need_slot, parts.need_mask, parts.need_want])
    rules = _quadrature(int(parts.leaf_needs.max(initial=1)))
    start = _starts(parts.leaf_needs)
    return treeshap.Leaves(parts.leaf_value, start, np.ascontiguousarray(needs), parts.need_share, rules)


def _quadrature(most: int) -> FloatArray:
    """Return points and weights of Gauss and Legendre on [0, 1], shape (2, rules, points).

    Rule n holds n points; the last is exact for a leaf of ``most`` features.
    """
    count = treeshap.quadrature_points(most)
    rules = np.zeros((2, count + 1, count))
    for n in range(1, count + 1):
        at, weight = np.polynomial.legendre.leggauss(n)
        rules[:, n, :n] = (at + 1.0) / 2.0, weight / 2.0
    return rules


def _in_threads(
    work: Callable[[FloatArray, FloatArray], None], rows: FloatArray, out: FloatArray, threads: int
) -> None:
    """Do the work on equal parts of the rows, one thread each."""
    if threads <= 1 or len(rows) <= threads:
        work(rows, out)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, np.array_split(rows, threads), np.array_split(out, threads)))
