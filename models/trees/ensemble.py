"""Boosted trees as plain arrays: margins and exact path-dependent TreeSHAP, without xgboost.

Leaves are kept in groups with the conditions that a row must meet to reach them; a feature's splits on the
way to a group merge into one condition. models/trees/grouping.py makes the groups, models/trees/layout.py
lays them out, models/trees/shap.py adds them up.

Feature 0 may be the number of a slot, an interval of time or an outcome. It is then given, not a player: a
group belongs to the slots that its splits on feature 0 admit, so one pass explains every slot at once.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray
from models.npz import read_arrays
from models.trees import shap
from models.trees.checks import require_trees
from models.trees.grouping import Group, plan
from models.trees.layout import GroupArrays, Layout
from models.trees.xgboost_json import read_file

IntArray = npt.NDArray[np.int64]

MOST_ENTRIES = 1 << 24


@dataclass(frozen=True)
class Trees:
    """A boosted ensemble over ``columns`` features, and over ``intervals`` values of time unless None."""

    columns: int
    intervals: int | None
    parts: GroupArrays

    def margins(self, X: FloatArray, *, threads: int = 1) -> FloatArray:
        """Return the summed leaf values, shape (rows, intervals) or (rows,), without the base margin."""
        rows, at = self._rows(X), self._layout
        out = np.empty((len(rows), at.groups.slots))
        if len(rows) <= shap.FEW:
            shap.margins_of_few(at.conditions, at.groups, at.reach, rows, out)
        else:
            work = partial(shap.margins, at.conditions, at.groups, at.reach)
            _in_threads(work, rows, out, threads)
        return self._shaped(out, axis=1)

    def contributions(self, X: FloatArray, *, threads: int = 1) -> FloatArray:
        """Return exact path-dependent SHAP values, shape (rows, intervals, columns) or (rows, columns).

        For each row and interval they sum to the margin less :meth:`expected`.
        """
        rows, at = self._rows(X), self._layout
        out = np.empty((len(rows), at.groups.slots, self.columns))
        if len(rows) <= shap.FEW:
            shap.contributions_of_few(at.conditions, at.groups, at.table, rows, out)
        else:
            work = partial(shap.contributions, at.conditions, at.groups, at.table)
            _in_threads(work, rows, out, threads)
        return self._shaped(out, axis=1)

    def contributions_apart(self, X: FloatArray, columns: tuple[int, ...]) -> FloatArray:
        """Return the same for rows that differ in these columns alone; what asks for none is added once."""
        rows, at = self._rows(X), self._layout
        first, out = (np.empty((n, at.groups.slots, self.columns)) for n in (1, len(rows)))
        shap.contributions_of_few(at.conditions, at.groups, at.table, rows[:1], first)
        shap.contributions(at.conditions, at.asking(columns), at.table, rows, out)
        return self._shaped(first + (out - out[0]), axis=1)

    def expected(self) -> FloatArray:
        """Return the cover-weighted mean margin, shape (intervals,) or (); without the base margin."""
        return self._shaped(self._layout.expected.copy(), axis=0)

    def to_bytes(self) -> bytes:
        """Return the groups as an npz file; the tables follow from them."""
        file = io.BytesIO()
        shape = np.array([self.columns, -1 if self.intervals is None else self.intervals])
        np.savez(file, shape=shape, **{f.name: getattr(self.parts, f.name) for f in fields(GroupArrays)})
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
        return cls(columns, None if intervals < 0 else intervals, GroupArrays(**stored))

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


def read_trees(model: bytes, *, columns: int, intervals: int | None) -> Trees:
    """Tabulate xgboost's JSON model (one margin, splits on numbers).

    With ``intervals``, feature 0 is the slot and features 1.. are the columns; without, features 0.. are.

    Raises:
        InvalidInput: the model is not one margin on numbers, or a leaf depends on over eight features.
        ValueError: it reads other columns.

    """
    slots, time = (1, None) if intervals is None else (intervals, 0)
    groups = plan(read_file(model), time=time, intervals=slots, most=MOST_ENTRIES)
    parts = _flat(groups, skip=0 if time is None else 1)
    require_trees(vars(parts), columns=columns, slots=slots)
    return Trees(columns, intervals, parts)


def tabulate(models: Sequence[tuple[bytes | None, int]], *, columns: int) -> Trees:
    """Tabulate several JSON models side by side, each with its number of slots; None has no trees.

    Raises:
        InvalidInput, ValueError: as :func:`read_trees`.

    """
    groups: list[Group] = []
    first = 0
    for model, slots in models:
        trees = [] if model is None else read_file(model)
        own = plan(trees, time=0, intervals=slots, most=MOST_ENTRIES)
        groups += [replace(g, span=(g.span[0] + first, g.span[1] + first)) for g in own]
        first += slots
    parts = _flat(groups, skip=1)
    require_trees(vars(parts), columns=columns, slots=first)
    return Trees(columns, first, parts)


def _flat(groups: Sequence[Group], *, skip: int) -> GroupArrays:
    conditions = [c for group in groups for c in group.conditions]
    leaves = [leaf for group in groups for leaf in group.leaves]
    slots = [_slots(group) for group in groups]
    needs = [need for leaf in leaves for need in leaf.needs.values()]
    return GroupArrays(
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
        leaf_value=np.array([leaf.value for leaf in leaves], dtype=np.float64),
        leaf_needs=_ints(len(leaf.needs) for leaf in leaves),
        need_slot=_ints(
            slot[f] for slot, g in zip(slots, groups, strict=True) for leaf in g.leaves for f in leaf.needs
        ),
        need_mask=_ints(need.mask for need in needs),
        need_want=_ints(need.want for need in needs),
        need_share=np.array([need.share for need in needs], dtype=np.float64),
    )


def _slots(group: Group) -> dict[int, int]:
    return {feature: slot for slot, feature in enumerate(group.features)}


def _ints(values: Iterable[int]) -> IntArray:
    return np.fromiter(values, dtype=np.int64)


def _in_threads(
    work: Callable[[FloatArray, FloatArray], None], rows: FloatArray, out: FloatArray, threads: int
) -> None:
    """Do the work on equal parts of the rows, one thread each."""
    if threads <= 1 or len(rows) <= threads:
        work(rows, out)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, np.array_split(rows, threads), np.array_split(out, threads)))
