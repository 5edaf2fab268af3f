"""Drawing unknown values given the known ones, compiled.

Means over draws are exact as far as fixed deviates allow: each of them is a set of evenly spaced normal
quantiles in another order, made uncorrelated with those before it.
"""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray
from features.encoder import Encoder
from models.compiled import compiled
from models.estimators.curves import IntArray
from models.patient.gaussian import expect, factor, regression
from models.patient.joint import NORMAL, JointDistribution, normal_quantiles

ONE, SEVERAL = 8, 24
"""Draws for one unknown number, and for several unknown values."""
MIDDLES = normal_quantiles((np.arange(9) + 0.5) / 9)
SMALLEST = 1e-6


class Drawing(NamedTuple):
    """A joint distribution as compiled code takes it, p running over predictors.

    Predictor p's knots are those from ``first[p]`` to ``first[p + 1]``: its ``values`` (knots,), their
    ``scores`` and ``edges``, and the numbers ``shown`` (knots, width) that they have in the columns
    ``columns[p, :widths[p]]``. ``discrete`` (predictors,) tells categories and flags, whose values must be
    among the knots. ``deviates`` (draws, predictors) are fixed, ``single`` (draws,) those of one predictor.
    """

    correlation: FloatArray
    first: IntArray
    values: FloatArray
    scores: FloatArray
    edges: FloatArray
    shown: FloatArray
    columns: IntArray
    widths: IntArray
    discrete: npt.NDArray[np.bool_]
    deviates: FloatArray
    single: FloatArray


def drawing_of(joint: JointDistribution, encoder: Encoder) -> Drawing:
    """Lay out a distribution of an encoder's predictors."""
    knots = [len(margin.values) for margin in joint.margins.values()]
    shown = [encoder.show(name, margin.values) for name, margin in joint.margins.items()]
    widths = np.array([len(columns) for columns, _ in shown], dtype=np.int64)
    width = int(widths.max(initial=0))
    return Drawing(
        joint.correlation,
        np.cumsum([0, *knots]).astype(np.int64),
        _joined([margin.values for margin in joint.margins.values()]),
        _joined([margin.scores for margin in joint.margins.values()]),
        _joined([margin.edges for margin in joint.margins.values()]),
        np.concatenate(
            [np.zeros((0, width)), *(np.pad(by, ((0, 0), (0, width - by.shape[1]))) for _, by in shown)]
        ),
        np.array([[*c, *[0] * (width - len(c))] for c, _ in shown], dtype=np.int64).reshape(-1, width or 1),
        widths,
        np.array([encoder.dictionary[n].type in ("category", "flag") for n in joint.margins], dtype=bool),
        spread_deviates(SEVERAL, len(joint.margins)),
        spread_deviates(ONE, 1)[:, 0],
    )


@compiled
def score(joint: Drawing, V: FloatArray, Z: FloatArray) -> None:
    """Write scores (patients, predictors) of values of the same shape, NaN where unknown or never seen."""
    for r in range(V.shape[0]):
        for p in range(V.shape[1]):
            value, a, b = V[r, p], joint.first[p], joint.first[p + 1]
            Z[r, p] = np.nan
            if joint.discrete[p]:
                for k in range(a, b):
                    if joint.values[k] == value:
                        Z[r, p] = joint.scores[k]
            elif not np.isnan(value):
                k = a
                while k < b and joint.values[k] < value:
                    k += 1
                if k in (a, b):
                    Z[r, p] = joint.scores[min(k, b - 1)]
                else:
                    share = (value - joint.values[k - 1]) / (joint.values[k] - joint.values[k - 1])
                    Z[r, p] = joint.scores[k - 1] + share * (joint.scores[k] - joint.scores[k - 1])


@compiled
def draw(
    joint: Drawing, deviates: FloatArray, z: FloatArray, x: FloatArray, out: FloatArray, drawn: FloatArray
) -> None:
    """Write complete rows (draws, columns) of a row ``x`` (columns,) with scores ``z``, NaN where unknown.

    ``drawn`` (draws, unknown) takes the scores drawn by the first of ``deviates`` (draws, at least unknown).
    """
    blank = np.flatnonzero(np.isnan(z))
    mean, covariance = np.empty(len(z)), np.empty((len(z), len(z)))
    expect(z, joint.correlation, mean, covariance)
    lower = factor(covariance, blank)
    for m in range(out.shape[0]):
        out[m] = x
        for i in range(len(blank)):
            p = blank[i]
            deviate = mean[p]
            for j in range(i + 1):
                deviate += lower[i, j] * deviates[m, j]
            drawn[m, i] = deviate
            k = joint.first[p]
            while deviate >= joint.edges[k]:
                k += 1
            put(joint, p, k, out[m])


class Told(NamedTuple):
    """What known values tell of unknown ones, in scores.

    ``unknown`` (unknown,) and ``known`` (known,) are places among the drawn predictors, ``means`` (unknown,
    known) what each known value adds to each unknown one's mean, ``drawn`` (rows, unknown) the scores drawn.
    """

    unknown: IntArray
    known: IntArray
    means: FloatArray
    drawn: FloatArray


def complete_one(
    joint: Drawing, z: FloatArray, x: FloatArray, gaps: IntArray
) -> tuple[FloatArray, FloatArray, Told]:
    """Return one patient's complete rows (rows, columns), their weights, and what known values tell.

    ``gaps`` are the unknown scores. One unknown category or flag has a row for each value.
    """
    known = np.flatnonzero(~np.isnan(z))
    means = regression(joint.correlation, known, gaps) * z[known]
    if len(gaps) == 1 and joint.discrete[gaps[0]]:
        centre, mean, spread = expected_row(joint, z, x)
        p = int(gaps[0])
        knots, weights = plausible_knots(joint, p, mean[p], spread[p])
        rows = np.repeat(centre[None], len(knots), axis=0)
        rows[:, joint.columns[p, : joint.widths[p]]] = joint.shown[knots, : joint.widths[p]]
        return rows, weights, Told(gaps, known, means, joint.scores[knots][:, None])
    deviates = joint.single[:, None] if len(gaps) == 1 else joint.deviates
    rows, drawn = np.empty((len(deviates), len(x))), np.empty((len(deviates), len(gaps)))
    draw(joint, deviates, z, x, rows, drawn)
    return rows, np.full(len(rows), 1.0 / len(rows)), Told(gaps, known, means, drawn)


def draw_each(joint: Drawing, z: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a row's draws for several unknown values (draws, columns), and their scores (draws, unknown)."""
    rows, drawn = np.empty((len(joint.deviates), len(x))), np.empty((len(joint.deviates), len(blanks(z))))
    draw(joint, joint.deviates, z, x, rows, drawn)
    return rows, drawn


def blanks(z: FloatArray) -> IntArray:
    """Return the places of unknown scores."""
    return np.flatnonzero(np.isnan(z))


def expected_row(joint: Drawing, z: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a row with unknown values as expected, and the scores' means and standard deviations."""
    mean, covariance, row = np.empty(len(z)), np.empty((len(z), len(z))), x.copy()
    expect(z, joint.correlation, mean, covariance)
    put_expected(joint, z, mean, row)
    return row, mean, np.sqrt(np.maximum(np.diag(covariance), 0.0))


@compiled
def put_expected(joint: Drawing, z: FloatArray, mean: FloatArray, row: FloatArray) -> None:
    """Write each unknown predictor's value at its mean score into a row (columns,)."""
    for p in range(len(z)):
        if np.isnan(z[p]):
            k = joint.first[p]
            while mean[p] >= joint.edges[k]:
                k += 1
            put(joint, p, k, row)


def plausible_knots(joint: Drawing, p: int, mean: float, spread: float) -> tuple[IntArray, FloatArray]:
    """Return the knots of predictor p that stand for its values, and their weights, which sum to one.

    A category or flag has all of its knots, a number nine equally likely ones.
    """
    first, end = int(joint.first[p]), int(joint.first[p + 1])
    edges = joint.edges[first:end]
    if joint.discrete[p]:
        below = [NORMAL.cdf((edge - mean) / max(spread, SMALLEST)) for edge in edges.tolist()]
        return np.arange(first, end), np.diff(below, prepend=0.0)
    knots = first + np.searchsorted(edges, mean + spread * MIDDLES, side="right")
    return np.minimum(knots, end - 1), np.full(len(MIDDLES), 1.0 / len(MIDDLES))


@compiled
def put(joint: Drawing, p: int, k: int, row: FloatArray) -> None:
    """Write predictor p's value at a knot into its columns of a row."""
    for c in range(joint.widths[p]):
        row[joint.columns[p, c]] = joint.shown[k, c]


@compiled
def average(values: FloatArray, weights: FloatArray, first: IntArray, out: FloatArray) -> None:
    """Add up weighted runs of rows (rows, columns), which begin at ``first`` (runs,), to ``out``."""
    for run in range(len(first)):
        end = first[run + 1] if run + 1 < len(first) else len(values)
        for r in range(first[run], end):
            for c in range(values.shape[1]):
                out[run, c] += weights[r] * values[r, c]


def spread_deviates(draws: int, columns: int) -> FloatArray:
    """Return normal deviates (draws, columns), each column evenly spaced quantiles in another order.

    Three quarters as many columns as draws are made uncorrelated with those before them. Orders come from
    integer arithmetic and sums have one order, so the deviates are the same everywhere.
    """
    even = normal_quantiles((np.arange(draws) + 0.5) / draws)
    even /= np.sqrt((even**2).mean())
    made = np.empty((draws, columns))
    for column in range(columns):
        numbers = np.arange(draws, dtype=np.uint64) + np.uint64(column * draws)
        made[:, column] = even[np.argsort(_mixed(numbers), kind="stable")] if column else even
        if 0 < column < 3 * draws // 4:
            orthogonalise(made, column)
    return made


@compiled
def orthogonalise(deviates: FloatArray, column: int) -> None:
    """Make a column uncorrelated with those before it, of mean 0 and variance 1."""
    own = deviates[:, column].copy()
    for before in range(column):
        product = 0.0
        for m in range(len(own)):
            product += own[m] * deviates[m, before] / len(own)
        for m in range(len(own)):
            own[m] -= product * deviates[m, before]
    mean, squares = 0.0, 0.0
    for m in range(len(own)):
        mean += own[m] / len(own)
    for m in range(len(own)):
        squares += (own[m] - mean) ** 2 / len(own)
    for m in range(len(own)):
        deviates[m, column] = (own[m] - mean) / sqrt(squares)


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return well-mixed integers. Source: SplitMix64, Steele, Lea and Flood, OOPSLA 2014."""
    with np.errstate(over="ignore"):
        z = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
        return mixed


def _joined(parts: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate([np.zeros(0), *parts])
