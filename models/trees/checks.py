"""Are these the arrays of an ensemble? Asked of every file before compiled code relies on it.

Compiled sums follow offsets, features and patterns without looking; whatever they follow is therefore
checked here once, when the file is read.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

KINDS = {
    bool: ("condition_missing",),
    np.float32: ("condition_lower", "condition_upper"),
    np.float64: ("leaf_value", "need_share"),
    np.int64: (
        "group_conditions", "group_features", "group_leaves", "group_first", "group_end", "feature",
        "condition_feature", "leaf_needs", "need_slot", "need_mask", "need_want",
    ),
}  # fmt: skip
ALIKE = ("group_", "condition_", "leaf_", "need_")
COUNTED = {
    "group_conditions": "condition_feature",
    "group_features": "feature",
    "group_leaves": "leaf_value",
    "leaf_needs": "need_slot",
}
MOST_COLUMNS, MOST_SLOTS, MOST_BITS = 100_000, 10_000, 8
MOST_ENTRIES = 1 << 29


def require_trees(parts: Mapping[str, Array], *, columns: int, slots: int) -> None:
    """Check the flat arrays of an ensemble over some columns and time slots.

    Raises:
        ValueError: naming what is not as it must be.

    """
    _require(0 < columns <= MOST_COLUMNS and 0 < slots <= MOST_SLOTS, "shape")
    for kind, names in KINDS.items():
        for name in names:
            _require(parts[name].dtype == kind and parts[name].ndim == 1, name)
    for start in ALIKE:
        _require(len({len(array) for name, array in parts.items() if name.startswith(start)}) == 1, start)
    for count, counted in COUNTED.items():
        counts, total = parts[count], len(parts[counted])
        _require(_within(counts, 0, total) and counts.sum() == total, count)
    _require_conditions(parts, columns)
    _require_groups(parts, columns, slots)
    _require_leaves(parts)


def _require_conditions(parts: Mapping[str, Array], columns: int) -> None:
    for name in ("feature", "condition_feature"):
        _require(_within(parts[name], 0, columns - 1), name)
    for name in ("condition_lower", "condition_upper"):
        _require(not np.isnan(parts[name]).any(), name)


def _require_groups(parts: Mapping[str, Array], columns: int, slots: int) -> None:
    """A group has few conditions, and at most as many features."""
    first, end = parts["group_first"], parts["group_end"]
    _require(
        _within(first, 0, slots) and _within(end, 0, slots) and bool((first <= end).all()), "group_first"
    )
    bits, width = parts["group_conditions"], parts["group_features"]
    _require(_within(bits, 0, MOST_BITS) and bool((width <= bits).all()), "group_conditions")
    entries = (1 << bits) * np.maximum(width, 1)
    spans = min(len(bits), slots * slots)
    _require(max(int(entries.sum()), spans * columns, slots * columns) <= MOST_ENTRIES, "group_conditions")


def _require_leaves(parts: Mapping[str, Array]) -> None:
    group = np.repeat(np.arange(len(parts["group_leaves"])), parts["group_leaves"])
    width, needs = parts["group_features"][group], parts["leaf_needs"]
    _require(_within(needs, 0, MOST_BITS) and bool((needs <= width).all()), "leaf_needs")
    slot = parts["need_slot"]
    _require(bool(((slot >= 0) & (slot < np.repeat(width, needs))).all()), "need_slot")
    share = parts["need_share"]
    _require(bool(((share >= 0.0) & (share <= 1.0)).all()), "need_share")
    _require(bool(np.isfinite(parts["leaf_value"]).all()), "leaf_value")


def _within(numbers: Array, least: int, most: int) -> bool:
    return bool(((numbers >= least) & (numbers <= most)).all())


def _require(fulfilled: bool, name: str) -> None:
    if not fulfilled:
        raise ValueError(f"trees: {name} is not as it must be")
