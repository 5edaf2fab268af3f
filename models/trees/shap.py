"""Compiled sums over groups of leaves: margins and exact path-dependent SHAP values.

A row meets or misses each condition of a group, and the pattern of met conditions points at the group's SHAP
values (models/trees/tables.py).

Trees share conditions, so each is judged once a row. Many rows go through the groups together, a block at a
time, so that the processor works on several rows at once. A few rows go one by one: while some groups are
added, the tables of the next ones are fetched. Either way everything is added in the same order, so a row's
sums are the same, bit for bit, whatever rows come with it.
"""

import numpy as np

from features.dictionary import FloatArray
from models.compiled import compiled, prefetch
from models.trees.tables import (
    BITS,
    BITS_OF_TABLE,
    CONDITION,
    FEATURE,
    FOUR,
    REACH,
    ROOM,
    SPAN,
    TABLE,
    WIDTH,
    ByteArray,
    Conditions,
    Float32Array,
    Groups,
    IndexArray,
    IntArray,
    PlaceArray,
)  # fmt: skip

BLOCK = 64
FEW = 10
AHEAD = 32
MET = np.uint8(255)
I0, I1, I2, I3, I4, I5, I6, I7 = (np.uint64(at) for at in range(8))
ROOM_FOUR, ROOM_EIGHT = np.uint64(FOUR), np.uint64(8)

LARGEST = np.finfo(np.float32).max


@compiled
def load(rows: FloatArray, block: Float32Array) -> None:
    """Copy rows into a block of 32 bits, shape (columns, rows), infinity as the largest number."""
    for r in range(len(rows)):
        for c in range(rows.shape[1]):
            x = np.float32(rows[r, c])
            block[c, r] = LARGEST if x > LARGEST else x


@compiled
def meets(x: np.float32, lower: np.float32, upper: np.float32, missing: bool) -> bool:
    """Say whether a value meets a condition."""
    return bool(((x >= lower) & (x < upper)) | ((x != x) & missing))


@compiled
def judge_row(row: FloatArray, conditions: Conditions, block: Float32Array, met: ByteArray) -> None:
    """Write which conditions one row, shape (1, columns), meets, as bit k in ``met[k]`` (8, conditions)."""
    load(row, block)
    values, count = block[:, 0], len(conditions.column)
    seen = np.empty(count, dtype=np.float32)
    for c in range(count):
        seen[c] = values[conditions.column[c]]
    for c in range(count):
        is_met = meets(seen[c], conditions.lower[c], conditions.upper[c], conditions.missing[c])
        met[0, c] = np.uint8(is_met)
    for k in range(1, BITS_OF_TABLE):
        for c in range(count):
            met[k, c] = met[0, c] << np.uint8(k)


@compiled
def find_places(
    met: ByteArray,
    groups: Groups,
    first: int,
    count: int,
    start: int,
    width: int,
    table: FloatArray,
    place: PlaceArray,
) -> None:
    """Write where the patterns of some groups of one shape point in a table, and have those places fetched.

    ``met`` is flat; ``start`` is where the first group's entries start, ``width`` how many a pattern has.
    """
    asks, group = groups.asks, groups.fields[first]
    w, at, a = np.uint64(width), np.uint64(start), np.uint64(group[CONDITION])
    size = np.uint64(width << group[BITS])
    if group[ROOM] == FOUR:
        for g in range(count):
            pattern = met[asks[a]] | met[asks[a + I1]] | met[asks[a + I2]] | met[asks[a + I3]]
            place[g] = at + np.uint64(pattern) * w
            prefetch(table, place[g])
            at += size
            a += ROOM_FOUR
    else:
        for g in range(count):
            low = met[asks[a]] | met[asks[a + I1]] | met[asks[a + I2]] | met[asks[a + I3]]
            high = met[asks[a + I4]] | met[asks[a + I5]] | met[asks[a + I6]] | met[asks[a + I7]]
            place[g] = at + np.uint64(low | high) * w
            prefetch(table, place[g])
            at += size
            a += ROOM_EIGHT


@compiled
def add_each(
    table: FloatArray,
    place: PlaceArray,
    count: int,
    target: IndexArray,
    start: int,
    width: int,
    sums: FloatArray,
) -> None:
    """Add ``width`` entries from each place to their targets; fast where the width is a constant."""
    t, w = np.uint64(start), np.uint64(width)
    for g in range(count):
        at = place[g]
        for k in range(w):
            sums[target[t + k]] += table[at + k]
        t += w


@compiled
def add_placed(
    table: FloatArray,
    place: PlaceArray,
    count: int,
    target: IndexArray,
    start: int,
    width: int,
    sums: FloatArray,
) -> None:
    """Add ``width`` entries from each place to their targets."""
    if width == 1:
        add_each(table, place, count, target, start, 1, sums)
    elif width == 2:
        add_each(table, place, count, target, start, 2, sums)
    elif width == 3:
        add_each(table, place, count, target, start, 3, sums)
    elif width == 4:
        add_each(table, place, count, target, start, 4, sums)
    else:
        add_each(table, place, count, target, start, width, sums)


@compiled
def contributions_of_few(
    conditions: Conditions, groups: Groups, table: FloatArray, rows: FloatArray, out: FloatArray
) -> None:
    """Write SHAP values, shape (rows, slots, columns), row by row."""
    block = np.empty((groups.columns, 1), dtype=np.float32)
    met = np.empty((BITS_OF_TABLE, len(conditions.column)), dtype=np.uint8)
    place = np.empty(AHEAD, dtype=np.uint64)
    apart, sums = np.empty(len(groups.spans) * groups.columns), np.empty((groups.slots + 1, groups.columns))
    for r in range(len(rows)):
        judge_row(rows[r : r + 1], conditions, block, met)
        apart[:] = 0.0
        for run in range(len(groups.runs) - 1):
            for first in range(groups.runs[run], groups.runs[run + 1], AHEAD):
                count = min(AHEAD, groups.runs[run + 1] - first)
                group = groups.fields[first]
                find_places(met.ravel(), groups, first, count, group[TABLE], group[WIDTH], table, place)
                add_placed(table, place, count, groups.target, group[FEATURE], group[WIDTH], apart)
        sums[:] = 0.0
        for span in range(len(groups.spans)):
            start, end = groups.spans[span]
            for c in range(groups.columns):
                sums[start, c] += apart[span * groups.columns + c]
                sums[end, c] -= apart[span * groups.columns + c]
        out[r, 0] = sums[0]
        for slot in range(1, groups.slots):
            for c in range(groups.columns):
                out[r, slot, c] = out[r, slot - 1, c] + sums[slot, c]


@compiled
def margins_of_few(
    conditions: Conditions, groups: Groups, reach: FloatArray, rows: FloatArray, out: FloatArray
) -> None:
    """Write summed leaf values, shape (rows, slots), row by row."""
    block = np.empty((groups.columns, 1), dtype=np.float32)
    met = np.empty((BITS_OF_TABLE, len(conditions.column)), dtype=np.uint8)
    place = np.empty(AHEAD, dtype=np.uint64)
    apart, steps = np.empty(len(groups.spans)), np.empty(groups.slots + 1)
    for r in range(len(rows)):
        judge_row(rows[r : r + 1], conditions, block, met)
        apart[:] = 0.0
        for run in range(len(groups.runs) - 1):
            for first in range(groups.runs[run], groups.runs[run + 1], AHEAD):
                count = min(AHEAD, groups.runs[run + 1] - first)
                find_places(met.ravel(), groups, first, count, groups.fields[first, REACH], 1, reach, place)
                for g in range(count):
                    apart[groups.fields[first + g, SPAN]] += reach[place[g]]
        steps[:] = 0.0
        for span in range(len(groups.spans)):
            steps[groups.spans[span, 0]] += apart[span]
            steps[groups.spans[span, 1]] -= apart[span]
        total = 0.0
        for slot in range(groups.slots):
            total += steps[slot]
            out[r, slot] = total


@compiled
def judge_block(block: Float32Array, conditions: Conditions, met: ByteArray) -> None:
    """Write 255 where a row of a block meets a condition, 0 elsewhere, shape (conditions, rows)."""
    for c in range(len(conditions.column)):
        x, lower, upper = block[conditions.column[c]], conditions.lower[c], conditions.upper[c]
        missing = conditions.missing[c]
        for r in range(met.shape[1]):
            met[c, r] = MET if meets(x[r], lower, upper, missing) else np.uint8(0)


@compiled
def find_patterns(met: ByteArray, groups: Groups, group: IntArray, pattern: ByteArray) -> None:
    """Write which conditions of a group each row of a block meets, as bits."""
    pattern[:] = np.uint8(0)
    for k in range(group[BITS]):
        own, bit = met[groups.asks[group[CONDITION] + k] - k * len(met)], np.uint8(1 << k)
        for r in range(len(pattern)):
            pattern[r] |= own[r] & bit


@compiled
def add_looked_up(
    table: FloatArray,
    group: IntArray,
    groups: Groups,
    pattern: ByteArray,
    place: PlaceArray,
    sums: FloatArray,
) -> None:
    """Add the tabulated SHAP values of one group to sums of shape (columns, block)."""
    width, start = np.uint64(group[WIDTH]), np.uint64(group[TABLE])
    for r in range(len(pattern)):
        place[r] = start + np.uint64(pattern[r]) * width
    for k in range(width):
        total = sums[groups.target[group[FEATURE] + k] - group[SPAN] * groups.columns]
        for r in range(len(pattern)):
            total[r] += table[place[r] + k]


@compiled
def contributions(
    conditions: Conditions,
    groups: Groups,
    table: FloatArray,
    rows: FloatArray,
    out: FloatArray,
) -> None:
    """Write SHAP values, shape (rows, slots, columns), a block of rows at a time."""
    size, slots = max(1, min(BLOCK, len(rows))), groups.slots
    block = np.empty((groups.columns, size), dtype=np.float32)
    met = np.empty((len(conditions.column), size), dtype=np.uint8)
    sums, apart = np.empty((slots + 1, groups.columns, size)), np.empty((groups.columns, size))
    pattern, place = np.empty(size, dtype=np.uint8), np.empty(size, dtype=np.uint64)
    for start in range(0, len(rows), size):
        n = min(size, len(rows) - start)
        load(rows[start : start + n], block)
        judge_block(block, conditions, met)
        sums[:] = 0.0
        for span in range(len(groups.spans)):
            apart[:] = 0.0
            for at in range(groups.span_start[span], groups.span_start[span + 1]):
                group = groups.fields[groups.by_span[at]]
                find_patterns(met, groups, group, pattern)
                add_looked_up(table, group, groups, pattern, place, apart)
            first, end = groups.spans[span]
            for c in range(groups.columns):
                for r in range(n):
                    sums[first, c, r] += apart[c, r]
                    sums[end, c, r] -= apart[c, r]
        for r in range(n):
            for c in range(groups.columns):
                total = 0.0
                for slot in range(slots):
                    total += sums[slot, c, r]
                    out[start + r, slot, c] = total


@compiled
def margins(
    conditions: Conditions,
    groups: Groups,
    reach: FloatArray,
    rows: FloatArray,
    out: FloatArray,
) -> None:
    """Write summed leaf values, shape (rows, slots), a block of rows at a time."""
    size = max(1, min(BLOCK, len(rows)))
    block = np.empty((groups.columns, size), dtype=np.float32)
    met = np.empty((len(conditions.column), size), dtype=np.uint8)
    sums, apart = np.empty((groups.slots + 1, size)), np.empty(size)
    pattern = np.empty(size, dtype=np.uint8)
    for start in range(0, len(rows), size):
        n = min(size, len(rows) - start)
        load(rows[start : start + n], block)
        judge_block(block, conditions, met)
        sums[:] = 0.0
        for span in range(len(groups.spans)):
            apart[:] = 0.0
            for at in range(groups.span_start[span], groups.span_start[span + 1]):
                group = groups.fields[groups.by_span[at]]
                find_patterns(met, groups, group, pattern)
                known = reach[group[REACH] :]
                for r in range(size):
                    apart[r] += known[pattern[r]]
            first, end = groups.spans[span]
            for r in range(n):
                sums[first, r] += apart[r]
                sums[end, r] -= apart[r]
        for r in range(n):
            total = 0.0
            for slot in range(groups.slots):
                total += sums[slot, r]
                out[start + r, slot] = total
