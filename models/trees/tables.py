"""Tables of SHAP values: a group's values for every pattern of met conditions, made once.

A leaf's game has the worth ``value * prod(met or share)``, 1 for a known feature that is met, 0 for a known
one that is missed, its cover share for an unknown one. Its Shapley values are, with the product over the
other features,

    value * (met_i - share_i) * integral from 0 to 1 of prod(met_j * t + share_j * (1 - t)) dt.

The integrand is a polynomial of degree d - 1, so Gauss-Legendre quadrature with d/2 points is exact.

Sources: Owen, Management Science 1972;18:64-79 (the integral); Lundberg et al., Nature Machine Intelligence
2020;2:56-67 (the path-dependent game).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray
from models.compiled import compiled

IntArray = npt.NDArray[np.int64]
ByteArray = npt.NDArray[np.uint8]
IndexArray = npt.NDArray[np.uint32]
PlaceArray = npt.NDArray[np.uint64]
Float32Array = npt.NDArray[np.float32]

BITS_OF_TABLE = 8
FOUR, EIGHT = 4, 8

# The fields of a group, one row of :attr:`Groups.fields`.
BITS, ROOM, CONDITION, WIDTH, FEATURE, TABLE, REACH, LEAF, END_LEAF, SPAN = range(10)

# The fields of a need, one row of :attr:`Leaves.needs`.
SLOT, MASK, WANT = range(3)


class Conditions(NamedTuple):
    """What rows must fulfil, each condition once; the last one is never met.

    A condition is met by ``lower <= x < upper`` in its column, or by a missing x if ``missing``.
    """

    column: IndexArray
    lower: Float32Array
    upper: Float32Array
    missing: npt.NDArray[np.bool_]


class Groups(NamedTuple):
    """Groups of leaves: a row of ``fields`` each, those of one shape together.

    ``runs`` holds the first group of each shape and, at last, their number. ``asks`` has the conditions of
    one group after the other, that of bit k as condition + k * number of conditions, filled up to four or
    eight by the one that is never met. ``target`` has the features of one group after the other,
    as span * columns + feature. ``spans`` (spans, 2) are ranges of slots, and ``by_span`` the groups of one
    span after the other, which start at ``span_start``.
    """

    fields: IntArray
    runs: IntArray
    asks: IndexArray
    target: IndexArray
    spans: IntArray
    by_span: IntArray
    span_start: IntArray
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


@compiled
def quadrature_points(features: int) -> int:
    """Return how many points integrate the product over one feature fewer than these exactly."""
    return max(1, (features + 1) // 2)


@compiled
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


@compiled
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


@compiled
def tabulate(groups: Groups, leaves: Leaves, table: FloatArray, reach: FloatArray) -> None:
    """Fill every group's tables, zero before."""
    for group in groups.fields:
        for leaf in range(group[LEAF], group[END_LEAF]):
            add_leaf(group, leaves, leaf, table, reach)


@compiled
def expectation(groups: Groups, leaves: Leaves) -> FloatArray:
    """Return the cover-weighted mean margin, shape (slots,)."""
    steps, out = np.zeros(groups.slots + 1), np.empty(groups.slots)
    for group in groups.fields:
        for leaf in range(group[LEAF], group[END_LEAF]):
            mean = leaves.value[leaf]
            for at in range(leaves.start[leaf], leaves.start[leaf + 1]):
                mean *= leaves.share[at]
            steps[groups.spans[group[SPAN], 0]] += mean
            steps[groups.spans[group[SPAN], 1]] -= mean
    total = 0.0
    for slot in range(groups.slots):
        total += steps[slot]
        out[slot] = total
    return out
