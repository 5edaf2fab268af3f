"""Compiled sums over groups of leaves: margins and exact path-dependent SHAP values.

A row meets or misses each condition of a group. Where the group has a table, the pattern of met conditions
points at the group's SHAP values, tabulated once. A leaf with too many features for a table is computed when
asked. Both come from the same integral: a leaf's game has the worth ``value * prod(met or share)``, 1 for a
known feature that is met, 0 for a known one that is missed, its cover share for an unknown one, and its
Shapley values are, with the product over the other features,

    value * (met_i - share_i) * integral from 0 to 1 of prod(met_j * t + share_j * (1 - t)) dt.

The integrand is a polynomial of degree d - 1, so Gauss-Legendre quadrature with d/2 points is exact.

Many rows go through the groups together, a block at a time, so that the processor works on several rows at
once; a few rows go one by one, so that it works on several conditions at once. All kernels stand in one file
because numba's cache heeds changes in the file of the function that is called, not in those it calls.

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
WordArray = npt.NDArray[np.uint64]
IndexArray = npt.NDArray[np.uint32]
Float32Array = npt.NDArray[np.float32]
F = TypeVar("F", bound=Callable[..., Any])

BLOCK = 64
FEW = 6
WORD = 8
GATHER = np.uint64(0x0102040810204080)
"""Multiplied with eight bytes of 0 or 1, the first the lowest, it brings them as bits into the highest."""

LARGEST = np.finfo(np.float32).max

# The fields of a group, one row of :attr:`Groups.fields`.
BITS, CONDITION, WIDTH, FEATURE, TABLE, REACH, LEAF, END_LEAF, FIRST, END = range(10)
NO_TABLE = -1

# The fields of a test, one row of :attr:`Conditions.tests`, and of a need, one row of :attr:`Leaves.needs`.
COLUMN, MISSING, CODE, END_CODE = range(4)
SLOT, MASK, WANT = range(3)


class Conditions(NamedTuple):
    """What rows are asked: one entry a condition, those of a group together.

    A condition is met by ``lower <= x < upper`` in its column, or by a missing x if ``missing``. Each
    group has ``WORD`` conditions or a multiple of it, filled up with ones that are never met. A column beyond
    the features holds 1 where a row passes a test of its category: ``tests`` has the feature, whether missing
    passes, and where its codes start and end in ``allowed``, the last standing for every other code.
    """

    column: IndexArray
    lower: Float32Array
    upper: Float32Array
    missing: npt.NDArray[np.bool_]
    tests: IntArray
    allowed: npt.NDArray[np.bool_]


class Groups(NamedTuple):
    """Groups of leaves: a row of ``fields`` each, and the features of one group after the other."""

    fields: IntArray
    feature: IndexArray
    columns: int
    slots: int


class Leaves(NamedTuple):
    """Leaves of one group after the other, and what they need of their features.

    The needs of leaf i are those from ``start[i]`` to ``start[i + 1]``: the feature's place in its group, the
    bits of the pattern that count and what they must be; ``share`` is the cover share that follows.
    ``rules[0, n]`` and ``rules[1, n]`` hold the n points and weights of a quadrature.
    """

    value: FloatArray
    start: IntArray
    needs: IntArray
    share: FloatArray
    rules: FloatArray


def _compiled(function: F) -> F:
    """Compile, keep the machine code on disk where there is a place, and let other threads run meanwhile."""
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # neither this folder nor the user's cache can be written
        return cast(F, numba.njit(nogil=True, error_model="numpy")(function))


@_compiled
def quadrature_points(features: int) -> int:
    """Return how many points integrate the product over one feature fewer than these exactly."""
    return max(1, (features + 1) // 2)


@_compiled
def leaf_values(
    value: float, met: int, share: FloatArray, rules: FloatArray, ahead: FloatArray, into: FloatArray
) -> None:
    """Write one leaf's SHAP values, shape (d,), for features met or missed as the bits of ``met`` say."""
    d = len(share)
    points = quadrature_points(d)
    into[:] = 0.0
    for at in range(points):
        t = rules[0, points, at]
        product = rules[1, points, at] * value
        for j in range(d):
            ahead[j] = product
            product *= ((met >> j) & 1) * t + share[j] * (1.0 - t)
        product = 1.0
        for i in range(d):
            j = d - 1 - i
            into[j] += ahead[j] * product
            product *= ((met >> j) & 1) * t + share[j] * (1.0 - t)
    for j in range(d):
        into[j] *= ((met >> j) & 1) - share[j]


@_compiled
def add_leaf(group: IntArray, leaves: Leaves, leaf: int, table: FloatArray, reach: FloatArray) -> None:
    """Add one leaf to its group's table of SHAP values and to the values that each pattern reaches."""
    start, end = leaves.start[leaf], leaves.start[leaf + 1]
    d, value, share = end - start, leaves.value[leaf], leaves.share[start:end]
    ahead, known = np.empty(d), np.empty((1 << d, d))
    for met in range(1 << d):
        leaf_values(value, met, share, leaves.rules, ahead, known[met])
    for pattern in range(1 << group[BITS]):
        met = 0
        for j in range(d):
            need = leaves.needs[start + j]
            met |= int((pattern & need[MASK]) == need[WANT]) << j
        at = group[TABLE] + pattern * group[WIDTH]
        for j in range(d):
            table[at + leaves.needs[start + j, SLOT]] += known[met, j]
        if met == (1 << d) - 1:
            reach[group[REACH] + pattern] += value


@_compiled
def tabulate(groups: Groups, leaves: Leaves, table: FloatArray, reach: FloatArray) -> None:
    """Fill the tables, zero before, of every group that has them."""
    for group in groups.fields:
        if group[TABLE] != NO_TABLE:
            for leaf in range(group[LEAF], group[END_LEAF]):
                add_leaf(group, leaves, leaf, table, reach)


@_compiled
def expectation(groups: Groups, leaves: Leaves) -> FloatArray:
    """Return the cover-weighted mean margin, shape (slots,)."""
    steps, out = np.zeros(groups.slots + 1), np.empty(groups.slots)
    for group in groups.fields:
        for leaf in range(group[LEAF], group[END_LEAF]):
            mean = leaves.value[leaf]
            for at in range(leaves.start[leaf], leaves.start[leaf + 1]):
                mean *= leaves.share[at]
            steps[group[FIRST]] += mean
            steps[group[END]] -= mean
    total = 0.0
    for slot in range(groups.slots):
        total += steps[slot]
        out[slot] = total
    return out


@_compiled
def load(rows: Float32Array, conditions: Conditions, block: Float32Array) -> None:
    """Copy rows into a block of shape (columns and tests, rows), infinity as the largest number."""
    columns = rows.shape[1]
    for r in range(len(rows)):
        for c in range(columns):
            x = rows[r, c]
            block[c, r] = LARGEST if x > LARGEST else x
    for at in range(len(conditions.tests)):
        test = conditions.tests[at]
        others = test[END_CODE] - test[CODE] - 1
        for r in range(len(rows)):
            x = rows[r, test[COLUMN]]
            if np.isnan(x):
                passed = test[MISSING] == 1
            else:
                passed = conditions.allowed[test[CODE] + (int(x) if 0.0 <= x < others else others)]
            block[columns + at, r] = 1.0 if passed else 0.0


@_compiled
def meets(x: np.float32, lower: np.float32, upper: np.float32, missing: bool) -> bool:
    """Say whether a value meets a condition."""
    return bool(((x >= lower) & (x < upper)) | ((x != x) & missing))


@_compiled
def find_met(row: Float32Array, conditions: Conditions, block: Float32Array) -> WordArray:
    """Return which conditions one row, shape (1, columns), meets: a word for every eight, a byte for each."""
    load(row, conditions, block)
    values, count = block[:, 0], len(conditions.column)
    seen, met = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.uint8)
    for k in range(count):
        seen[k] = values[conditions.column[k]]
    for k in range(count):
        met[k] = np.uint8(meets(seen[k], conditions.lower[k], conditions.upper[k], conditions.missing[k]))
    return met.view(np.uint64)


@_compiled
def pattern_of(word: np.uint64) -> int:
    """Return which conditions of a group are met, as bits, from the word that has a byte for each."""
    return int((word * GATHER) >> np.uint64(56))


@_compiled
def contributions_of_few(
    conditions: Conditions, groups: Groups, table: FloatArray, rows: Float32Array, out: FloatArray
) -> None:
    """Write SHAP values, shape (rows, slots, columns), row by row; every leaf has a table."""
    block = np.empty((groups.columns + len(conditions.tests), 1), dtype=np.float32)
    fields, feature = groups.fields, groups.feature
    out[:] = 0.0
    for r in range(len(rows)):
        words = find_met(rows[r : r + 1], conditions, block)
        for g in range(len(fields)):
            width, first, end, name = fields[g, WIDTH], fields[g, FIRST], fields[g, END], fields[g, FEATURE]
            at = fields[g, TABLE] + pattern_of(words[g]) * width
            for k in range(width):
                out[r, first, feature[name + k]] += table[at + k]
            if end < groups.slots:
                for k in range(width):
                    out[r, end, feature[name + k]] -= table[at + k]
        for slot in range(1, groups.slots):
            for c in range(groups.columns):
                out[r, slot, c] += out[r, slot - 1, c]


@_compiled
def margins_of_few(
    conditions: Conditions, groups: Groups, reach: FloatArray, rows: Float32Array, out: FloatArray
) -> None:
    """Write summed leaf values, shape (rows, slots), row by row; every leaf has a table."""
    block = np.empty((groups.columns + len(conditions.tests), 1), dtype=np.float32)
    steps, fields = np.empty(groups.slots + 1), groups.fields
    for r in range(len(rows)):
        words = find_met(rows[r : r + 1], conditions, block)
        steps[:] = 0.0
        for g in range(len(fields)):
            value = reach[fields[g, REACH] + pattern_of(words[g])]
            steps[fields[g, FIRST]] += value
            steps[fields[g, END]] -= value
        total = 0.0
        for slot in range(groups.slots):
            total += steps[slot]
            out[r, slot] = total


@_compiled
def find_patterns(block: Float32Array, conditions: Conditions, group: IntArray, pattern: IndexArray) -> None:
    """Write which conditions of a group each row of a block meets, as bits."""
    pattern[:] = 0
    for k in range(group[BITS]):
        at = group[CONDITION] + k
        x, missing = block[conditions.column[at]], conditions.missing[at]
        lower, upper = conditions.lower[at], conditions.upper[at]
        for r in range(len(pattern)):
            pattern[r] |= np.uint32(meets(x[r], lower, upper, missing)) << np.uint32(k)


@_compiled
def add_looked_up(
    table: FloatArray, group: IntArray, feature: IndexArray, pattern: IndexArray, sums: FloatArray
) -> None:
    """Add the tabulated SHAP values of one group to sums of shape (columns, block)."""
    width = np.uint32(group[WIDTH])
    for r in range(len(pattern)):
        pattern[r] *= width
    for k in range(width):
        total, values = sums[feature[group[FEATURE] + k]], table[group[TABLE] + k :]
        for r in range(len(pattern)):
            total[r] += values[pattern[r]]


@_compiled
def add_long_leaf(
    block: Float32Array,
    conditions: Conditions,
    group: IntArray,
    feature: IndexArray,
    leaves: Leaves,
    room: FloatArray,
    sums: FloatArray,
) -> None:
    """Add one untabulated leaf's SHAP values for the rows of a block; ``room`` is (4, features, rows)."""
    d, n, leaf = group[WIDTH], room.shape[2], group[LEAF]
    met, ahead, into, product = room[0], room[1], room[2], room[3, 0]
    share = leaves.share[leaves.start[leaf] : leaves.start[leaf + 1]]
    points = quadrature_points(d)
    for j in range(d):
        at = group[CONDITION] + j
        x, missing = block[conditions.column[at]], conditions.missing[at]
        lower, upper = conditions.lower[at], conditions.upper[at]
        for r in range(n):
            met[j, r] = 1.0 if meets(x[r], lower, upper, missing) else 0.0
            into[j, r] = 0.0
    for q in range(points):
        t = leaves.rules[0, points, q]
        product[:] = leaves.rules[1, points, q] * leaves.value[leaf]
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
        total = sums[feature[group[FEATURE] + j]]
        for r in range(n):
            total[r] += into[j, r] * (met[j, r] - share[j])


@_compiled
def contributions(
    conditions: Conditions,
    groups: Groups,
    leaves: Leaves,
    table: FloatArray,
    rows: Float32Array,
    out: FloatArray,
) -> None:
    """Write SHAP values, shape (rows, slots, columns), a block of rows at a time."""
    size, slots, feature = max(1, min(BLOCK, len(rows))), groups.slots, groups.feature
    block = np.empty((groups.columns + len(conditions.tests), size), dtype=np.float32)
    sums, apart = np.empty((slots + 1, groups.columns, size)), np.zeros((groups.columns, size))
    room = np.empty((4, 2 * leaves.rules.shape[1], size))
    pattern = np.empty(size, dtype=np.uint32)
    for start in range(0, len(rows), size):
        n = min(size, len(rows) - start)
        load(rows[start : start + n], conditions, block)
        sums[:] = 0.0
        for g in range(len(groups.fields)):
            group = groups.fields[g]
            bounded = group[END] < slots
            into = apart if bounded else sums[group[FIRST]]
            if group[TABLE] == NO_TABLE:
                add_long_leaf(block, conditions, group, feature, leaves, room[:, :, :n], into)
            else:
                find_patterns(block, conditions, group, pattern[:n])
                add_looked_up(table, group, feature, pattern[:n], into)
            if bounded:
                for k in range(group[WIDTH]):
                    c = feature[group[FEATURE] + k]
                    for r in range(n):
                        sums[group[FIRST], c, r] += apart[c, r]
                        sums[group[END], c, r] -= apart[c, r]
                        apart[c, r] = 0.0
        for r in range(n):
            for c in range(groups.columns):
                total = 0.0
                for slot in range(slots):
                    total += sums[slot, c, r]
                    out[start + r, slot, c] = total


@_compiled
def reach_long_leaf(
    block: Float32Array, conditions: Conditions, group: IntArray, leaves: Leaves, value: FloatArray
) -> None:
    """Write the value of an untabulated leaf where a row of a block reaches it, else 0."""
    value[:] = leaves.value[group[LEAF]]
    for at in range(group[CONDITION], group[CONDITION] + group[BITS]):
        x, missing = block[conditions.column[at]], conditions.missing[at]
        lower, upper = conditions.lower[at], conditions.upper[at]
        for r in range(len(value)):
            value[r] = value[r] if meets(x[r], lower, upper, missing) else 0.0


@_compiled
def margins(
    conditions: Conditions,
    groups: Groups,
    leaves: Leaves,
    reach: FloatArray,
    rows: Float32Array,
    out: FloatArray,
) -> None:
    """Write summed leaf values, shape (rows, slots), a block of rows at a time."""
    size = max(1, min(BLOCK, len(rows)))
    block = np.empty((groups.columns + len(conditions.tests), size), dtype=np.float32)
    sums = np.empty((groups.slots + 1, size))
    value, pattern = np.empty(size), np.empty(size, dtype=np.uint32)
    for start in range(0, len(rows), size):
        n = min(size, len(rows) - start)
        load(rows[start : start + n], conditions, block)
        sums[:] = 0.0
        for g in range(len(groups.fields)):
            group = groups.fields[g]
            if group[TABLE] == NO_TABLE:
                reach_long_leaf(block, conditions, group, leaves, value[:n])
            else:
                find_patterns(block, conditions, group, pattern[:n])
                known = reach[group[REACH] :]
                for r in range(n):
                    value[r] = known[pattern[r]]
            for r in range(n):
                sums[group[FIRST], r] += value[r]
                sums[group[END], r] -= value[r]
        for r in range(n):
            total = 0.0
            for slot in range(groups.slots):
                total += sums[slot, r]
                out[start + r, slot] = total
