"""Groups of leaves laid out for compiled code, and their tables."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray
from models.trees import tables

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Parts:
    """Groups of leaves as flat arrays without offsets, so that ensembles join by appending.

    ``group_*`` one entry a group: how many conditions, features and leaves, and its slots. The others are in
    the order of the groups; models/trees/tables.py says what they mean.
    """

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
    leaf_value: FloatArray
    leaf_needs: IntArray
    need_slot: IntArray
    need_mask: IntArray
    need_want: IntArray
    need_share: FloatArray


@dataclass(frozen=True)
class Layout:
    """Groups as the compiled functions want them, and their tables.

    ``table`` holds per group and pattern of met conditions the SHAP value of each of its features, ``reach``
    the value of the leaf reached; ``expected`` is the mean margin.
    """

    conditions: tables.Conditions
    groups: tables.Groups
    table: FloatArray
    reach: FloatArray
    expected: FloatArray
    _asking: dict[tuple[int, ...], tables.Groups] = field(default_factory=dict, repr=False, compare=False)

    def asking(self, columns: tuple[int, ...]) -> tables.Groups:
        """Return the groups that ask for any of these columns; found once and kept."""
        found = self._asking.get(columns)
        if found is None:
            groups, width = self.groups, self.groups.fields[:, tables.WIDTH]
            column = groups.target - np.repeat(groups.fields[:, tables.SPAN], width) * groups.columns
            asks = np.zeros(len(width), dtype=bool)
            asks[np.repeat(np.arange(len(width)), width)[np.isin(column, columns)]] = True
            kept = groups.by_span[asks[groups.by_span]]
            start = np.searchsorted(groups.fields[kept, tables.SPAN], np.arange(len(groups.spans) + 1))
            found = self._asking[columns] = groups._replace(by_span=kept, span_start=start)
        return found

    @classmethod
    def of(cls, parts: Parts, columns: int, *, slots: int) -> "Layout":
        """Lay out and tabulate."""
        arranged = _arranged(parts)
        patterns = 1 << arranged.group_conditions
        conditions, asked = _conditions(arranged)
        groups, leaves = _groups(arranged, patterns, asked, columns, slots=slots), _leaves(arranged)
        table = np.zeros(int((patterns * arranged.group_features).sum()))
        reach = np.zeros(int(patterns.sum()))
        tables.tabulate(groups, leaves, table, reach)
        return cls(conditions, groups, table, reach, tables.expectation(groups, leaves))


def _starts(counts: IntArray) -> IntArray:
    """Return where each part starts, and where the last one ends."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])


def _arranged(parts: Parts) -> Parts:
    """Return the groups in the order of their shapes."""
    order = np.lexsort((parts.group_features, parts.group_conditions))
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


def _conditions(parts: Parts) -> tuple[tables.Conditions, IntArray]:
    """Return the different conditions, one that is never met behind them, and which one each group's is."""
    stated = np.column_stack(
        [parts.condition_feature, parts.condition_lower, parts.condition_upper, parts.condition_missing]
    )
    never = np.array([[0.0, np.inf, -np.inf, 0.0]])
    different, asked = np.unique(stated, axis=0, return_inverse=True)
    column, lower, upper, missing = np.vstack([different.reshape(-1, 4), never]).T
    conditions = tables.Conditions(
        column=column.astype(np.uint32),
        lower=lower.astype(np.float32),
        upper=upper.astype(np.float32),
        missing=missing.astype(bool),
    )
    return conditions, asked.ravel()


def _groups(parts: Parts, patterns: IntArray, asked: IntArray, columns: int, *, slots: int) -> tables.Groups:
    """Return one row of fields a group, in the order of models/trees/tables.py, and what goes with it."""
    bits, width = parts.group_conditions, parts.group_features
    room = np.where(bits <= tables.FOUR, tables.FOUR, tables.EIGHT)
    table = _starts(patterns * width)[:-1]
    ranges = np.column_stack([parts.group_first, parts.group_end])
    spans, span = np.unique(ranges, axis=0, return_inverse=True)
    span, leaf = span.ravel(), _starts(parts.group_leaves)
    columns_of_fields = (
        bits, room, _starts(room)[:-1], width, _starts(width)[:-1], table,
        _starts(patterns)[:-1], leaf[:-1], leaf[1:], span,
    )  # fmt: skip
    shape = np.column_stack([bits, width])
    other = np.flatnonzero((shape[1:] != shape[:-1]).any(axis=1)) + 1
    return tables.Groups(
        fields=np.ascontiguousarray(np.column_stack(columns_of_fields), dtype=np.int64),
        runs=np.unique(np.concatenate([[0], other, [len(bits)]])),
        asked=_filled_up(asked, bits, room),
        target=(np.repeat(span, width) * columns + parts.feature).astype(np.uint32),
        spans=spans,
        by_span=np.argsort(span, kind="stable"),
        span_start=np.searchsorted(np.sort(span), np.arange(len(spans) + 1)),
        columns=columns,
        slots=slots,
    )


def _filled_up(asked: IntArray, bits: IntArray, room: IntArray) -> npt.NDArray[np.uint32]:
    """Return each group's conditions in the room it has, shifted by their bit."""
    count = int(asked.max(initial=-1)) + 2
    place = np.arange(room.sum()) - np.repeat(_starts(room)[:-1], room)
    whole = np.full(len(place), count - 1)
    whole[place < np.repeat(bits, room)] = asked
    shifted: npt.NDArray[np.uint32] = (whole + place * count).astype(np.uint32)
    return shifted


def _leaves(parts: Parts) -> tables.Leaves:
    needs = np.column_stack([parts.need_slot, parts.need_mask, parts.need_want])
    rules = _quadrature(int(parts.leaf_needs.max(initial=1)))
    start = _starts(parts.leaf_needs)
    return tables.Leaves(parts.leaf_value, start, np.ascontiguousarray(needs), parts.need_share, rules)


def _quadrature(most: int) -> FloatArray:
    """Return points and weights of Gauss and Legendre on [0, 1], shape (2, rules, points).

    Rule n holds n points; the last is exact for a leaf of ``most`` features.
    """
    count = tables.quadrature_points(most)
    rules = np.zeros((2, count + 1, count))
    for n in range(1, count + 1):
        at, weight = np.polynomial.legendre.leggauss(n)
        rules[:, n, :n] = (at + 1.0) / 2.0, weight / 2.0
    return rules
