"""Compiled sums over groups of leaves: margins and exact path-dependent SHAP values.

A row meets or misses each condition of a group. Where the group has a table, the pattern of met conditions
points at the group's SHAP values, tabulated once. A leaf with too many features for a table is computed when
asked. Both come from the same integral: a leaf's game has the worth ``value * prod(met or share)``, 1 for a
known feature that is met, 0 for a known one that is missed, its cover share for an unknown one, and its
Shapley values are, with the product over the other features,

    value * (met_i - share_i) * integral from 0 to 1 of prod(met_j * t + share_j * (1 - t)) dt.

The integrand is a polynomial of degree d - 1, so Gauss-Legendre quadrature with d/2 points is exact.

Sources: Owen, Management Science 1972;18:64-79 (the integral); Lundberg et al., Nature Machine Intelligence
2020;2:56-67 (the path-dependent game).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray

IntArray = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]
F = TypeVar("F", bound=Callable[..., Any])

BLOCK = 64
FEW = 6
LARGEST = np.finfo(np.float32).max

# The fields of a group, one row of :attr:`Layout.groups`.
BITS, CONDITION, WIDTH, FEATURE, TABLE, REACH, LEAF, END_LEAF, FIRST, END = range(10)
NO_TABLE = -1


class Layout(NamedTuple):
    """Groups as flat arrays, ready for the kernels.

    ``condition_*`` one entry a condition, met by ``lower <= x < upper``, or by a missing x if ``missing``.
    ``column`` may lie beyond the features: such a column holds 1 where a row meets a test of its category.
    ``groups`` has one row a group; ``feature`` the features of each group; ``need_*`` one entry for each
    feature of each leaf, ``slot`` being the feature's place in its group. ``points`` and ``weights`` hold the
    quadrature rules, one row for each number of points. ``category_*`` describe the tests: ``allowed`` has an
    entry a code and a last one for every other code.
    """

    condition_column: IntArray
    condition_lower: Float32Array
    condition_upper: Float32Array
    condition_missing: npt.NDArray[np.bool_]
    groups: IntArray
    feature: IntArray
    leaf_value: FloatArray
    leaf_need: IntArray
    need_slot: IntArray
    need_mask: IntArray
    need_want: IntArray
    need_share: FloatArray
    category_column: IntArray
    category_missing: npt.NDArray[np.bool_]
    category_start: IntArray
    category_allowed: npt.NDArray[np.bool_]
    points: FloatArray
    weights: FloatArray
    columns: int
    slots: int


def _compiled(function: F) -> F:
    """Compile, keep the machine code on disk, and let other threads run meanwhile."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))


@_compiled
def quadrature_points(features: int) -> int:
    """Return how many points integrate the product over one feature fewer than these exactly."""
    return max(1, (features + 1) // 2)


@_compiled
def leaf_values(
    value: float,
    met: FloatArray,
    share: FloatArray,
    points: FloatArray,
    weights: FloatArray,
    ahead: FloatArray,
    into: FloatArray,
) -> None:
    """Write one leaf's SHAP values, shape (d,), for features met (1) or missed (0)."""
    d = len(share)
    into[:] = 0.0
    for at in range(len(points)):
        t = points[at]
        product = weights[at] * value
        for j in range(d):
            ahead[j] = product
            product *= met[j] * t + share[j] * (1.0 - t)
        product = 1.0
        for i in range(d):
            j = d - 1 - i
            into[j] += ahead[j] * product
            product *= met[j] * t + share[j] * (1.0 - t)
    for j in range(d):
        into[j] *= met[j] - share[j]


@_compiled
def leaf_table(layout: Layout, leaf: int) -> FloatArray:
    """Return one leaf's SHAP values for every pattern of its features met, shape (2^d, d)."""
    start, end = layout.leaf_need[leaf], layout.leaf_need[leaf + 1]
    d = end - start
    n = quadrature_points(d)
    met, ahead, known = np.zeros(d), np.zeros(d), np.empty((1 << d, d))
    share = layout.need_share[start:end]
    points, weights = layout.points[n, :n], layout.weights[n, :n]
    for q in range(1 << d):
        for j in range(d):
            met[j] = (q >> j) & 1
        leaf_values(layout.leaf_value[leaf], met, share, points, weights, ahead, known[q])
    return known


@_compiled
def add_leaf(layout: Layout, group: IntArray, leaf: int, table: FloatArray, reach: FloatArray) -> None:
    """Add one leaf to its group's table of SHAP values and to the values that each pattern reaches."""
    start, end = layout.leaf_need[leaf], layout.leaf_need[leaf + 1]
    known = leaf_table(layout, leaf)
    for p in range(1 << group[BITS]):
        q = 0
        for j in range(end - start):
            if (p & layout.need_mask[start + j]) == layout.need_want[start + j]:
                q |= 1 << j
        at = group[TABLE] + p * group[WIDTH]
        for j in range(end - start):
            table[at + layout.need_slot[start + j]] += known[q, j]
        if q == len(known) - 1:
            reach[group[REACH] + p] += layout.leaf_value[leaf]


@_compiled
def tabulate(layout: Layout, table: FloatArray, reach: FloatArray) -> None:
    """Fill the tables, zero before, of every group that has them."""
    for group in layout.groups:
        if group[TABLE] != NO_TABLE:
            for leaf in range(group[LEAF], group[END_LEAF]):
                add_leaf(layout, group, leaf, table, reach)


@_compiled
def expectation(layout: Layout) -> FloatArray:
    """Return the cover-weighted mean margin, shape (slots,)."""
    steps = np.zeros(layout.slots + 1)
    for group in layout.groups:
        for leaf in range(group[LEAF], group[END_LEAF]):
            mean = layout.leaf_value[leaf]
            for at in range(layout.leaf_need[leaf], layout.leaf_need[leaf + 1]):
                mean *= layout.need_share[at]
            steps[group[FIRST]] += mean
            steps[group[END]] -= mean
    return np.cumsum(steps)[: layout.slots]


@_compiled
def load(rows: Float32Array, layout: Layout, block: Float32Array) -> None:
    """Copy rows into a block of shape (columns and tests, rows), infinity as the largest number."""
    for r in range(len(rows)):
        for c in range(layout.columns):
            x = rows[r, c]
            block[c, r] = LARGEST if x > LARGEST else x
    for at in range(len(layout.category_column)):
        start, end = layout.category_start[at], layout.category_start[at + 1]
        others = end - start - 1
        for r in range(len(rows)):
            x = rows[r, layout.category_column[at]]
            if np.isnan(x):
                met = layout.category_missing[at]
            else:
                code = int(x) if 0.0 <= x < others else others
                met = layout.category_allowed[start + code]
            block[layout.columns + at, r] = 1.0 if met else 0.0


@_compiled
def find_patterns(block: Float32Array, layout: Layout, group: IntArray, n: int, pattern: IntArray) -> None:
    """Write which conditions of a group each row of a block meets, as bits."""
    pattern[:n] = 0
    for k in range(group[BITS]):
        at = group[CONDITION] + k
        x = block[layout.condition_column[at]]
        lower, upper = layout.condition_lower[at], layout.condition_upper[at]
        missing, bit = layout.condition_missing[at], np.int64(1 << k)
        for r in range(n):
            met = ((x[r] >= lower) & (x[r] < upper)) | ((x[r] != x[r]) & missing)
            pattern[r] |= bit if met else np.int64(0)


@_compiled
def meets(x: np.float32, layout: Layout, at: int) -> bool:
    """Say whether a value meets one condition."""
    inside = (x >= layout.condition_lower[at]) & (x < layout.condition_upper[at])
    return bool(inside | ((x != x) & layout.condition_missing[at]))


@_compiled
def find_pattern(block: Float32Array, layout: Layout, group: IntArray, r: int) -> int:
    """Return which conditions of a group one row of a block meets, as bits."""
    pattern = 0
    for k in range(group[BITS]):
        at = group[CONDITION] + k
        pattern |= int(meets(block[layout.condition_column[at], r], layout, at)) << k
    return pattern


@_compiled
def add_long_leaf(
    block: Float32Array, layout: Layout, group: IntArray, n: int, room: FloatArray, sums: FloatArray
) -> None:
    """Add one untabulated leaf's SHAP values for the rows of a block; ``room`` is (3, most, block)."""
    d, leaf = group[WIDTH], group[LEAF]
    met, ahead, into = room[0], room[1], room[2]
    share = layout.need_share[layout.leaf_need[leaf] : layout.leaf_need[leaf + 1]]
    points = quadrature_points(d)
    product = np.empty(n)
    for j in range(d):
        at = group[CONDITION] + j
        x = block[layout.condition_column[at]]
        for r in range(n):
            met[j, r] = 1.0 if meets(x[r], layout, at) else 0.0
            into[j, r] = 0.0
    for q in range(points):
        t = layout.points[points, q]
        product[:] = layout.weights[points, q] * layout.leaf_value[leaf]
        for j in range(d):
            rest = share[j] * (1.0 - t)
            for r in range(n):
                ahead[j, r] = product[r]
                product[r] *= met[j, r] * t + rest
        product[:] = 1.0
        for i in range(d):
            j = d - 1 - i
            rest = share[j] * (1.0 - t)
            for r in range(n):
                into[j, r] += ahead[j, r] * product[r]
                product[r] *= met[j, r] * t + rest
    for j in range(d):
        total = sums[layout.feature[group[FEATURE] + j]]
        for r in range(n):
            total[r] += into[j, r] * (met[j, r] - share[j])


@_compiled
def add_looked_up(
    table: FloatArray, layout: Layout, group: IntArray, n: int, pattern: IntArray, sums: FloatArray
) -> None:
    """Add the tabulated SHAP values of one group to sums of shape (columns, block)."""
    width = group[WIDTH]
    for r in range(n):
        pattern[r] = group[TABLE] + pattern[r] * width
    for k in range(width):
        total = sums[layout.feature[group[FEATURE] + k]]
        for r in range(n):
            total[r] += table[pattern[r] + k]


@_compiled
def contributions(rows: Float32Array, layout: Layout, table: FloatArray, out: FloatArray) -> None:
    """Write SHAP values, shape (rows, slots, columns)."""
    size = min(BLOCK, len(rows))
    block = np.empty((layout.columns + len(layout.category_column), size), dtype=np.float32)
    sums = np.empty((layout.slots + 1, layout.columns, size))
    apart = np.zeros((layout.columns, size))
    room = np.empty((3, layout.points.shape[0] * 2, size))
    pattern = np.empty(size, dtype=np.int64)
    for start in range(0, len(rows), size):
        n = min(size, len(rows) - start)
        load(rows[start : start + n], layout, block)
        sums[:] = 0.0
        for g in range(len(layout.groups)):
            group = layout.groups[g]
            bounded = group[END] < layout.slots
            into = apart if bounded else sums[group[FIRST]]
            if group[TABLE] == NO_TABLE:
                add_long_leaf(block, layout, group, n, room, into)
            else:
                find_patterns(block, layout, group, n, pattern)
                add_looked_up(table, layout, group, n, pattern, into)
            if bounded:
                for k in range(group[WIDTH]):
                    c = layout.feature[group[FEATURE] + k]
                    for r in range(n):
                        sums[group[FIRST], c, r] += apart[c, r]
                        sums[group[END], c, r] -= apart[c, r]
                        apart[c, r] = 0.0
        for r in range(n):
            for c in range(layout.columns):
                total = 0.0
                for slot in range(layout.slots):
                    total += sums[slot, c, r]
                    out[start + r, slot, c] = total


@_compiled
def contributions_of_few(rows: Float32Array, layout: Layout, table: FloatArray, out: FloatArray) -> None:
    """Write SHAP values row by row, for fewer rows than fill a block; every leaf has a table."""
    block = np.empty((layout.columns + len(layout.category_column), len(rows)), dtype=np.float32)
    load(rows, layout, block)
    out[:] = 0.0
    for r in range(len(rows)):
        for g in range(len(layout.groups)):
            group = layout.groups[g]
            width, first, end = group[WIDTH], group[FIRST], group[END]
            at = group[TABLE] + find_pattern(block, layout, group, r) * width
            for k in range(width):
                out[r, first, layout.feature[group[FEATURE] + k]] += table[at + k]
            if end < layout.slots:
                for k in range(width):
                    out[r, end, layout.feature[group[FEATURE] + k]] -= table[at + k]
        for slot in range(1, layout.slots):
            out[r, slot] += out[r, slot - 1]


@_compiled
def margins(rows: Float32Array, layout: Layout, reach: FloatArray, out: FloatArray) -> None:
    """Write summed leaf values, shape (rows, slots)."""
    size = min(BLOCK, len(rows))
    block = np.empty((layout.columns + len(layout.category_column), size), dtype=np.float32)
    sums = np.empty((layout.slots + 1, size))
    value, pattern = np.empty(size), np.empty(size, dtype=np.int64)
    for start in range(0, len(rows), size):
        n = min(size, len(rows) - start)
        load(rows[start : start + n], layout, block)
        sums[:] = 0.0
        for g in range(len(layout.groups)):
            group = layout.groups[g]
            if group[TABLE] == NO_TABLE:
                value[:n] = layout.leaf_value[group[LEAF]]
                for at in range(group[CONDITION], group[CONDITION] + group[BITS]):
                    x = block[layout.condition_column[at]]
                    for r in range(n):
                        value[r] = value[r] if meets(x[r], layout, at) else 0.0
            else:
                find_patterns(block, layout, group, n, pattern)
                for r in range(n):
                    value[r] = reach[group[REACH] + pattern[r]]
            for r in range(n):
                sums[group[FIRST], r] += value[r]
                sums[group[END], r] -= value[r]
        for r in range(n):
            total = 0.0
            for slot in range(layout.slots):
                total += sums[slot, r]
                out[start + r, slot] = total
