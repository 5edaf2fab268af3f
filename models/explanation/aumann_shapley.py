"""Compiled arithmetic of an answer: scores, curves, intervals, and shares carried through the probability.

Every function goes through rows one by one and adds in a fixed order, so a patient's numbers are the same,
bit for bit, alone and among others.

A line from a background patient's scores to a patient's is cut into panels of eight Gauss-Legendre nodes,
doubled until the mean slopes give the whole change of every answer; what models/explanation/path.py does for any model,
here for those that slopes are known of in closed form. Answers run scale, outcome, time.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray
from models.compiled import compiled

IntArray = npt.NDArray[np.int64]

CURVE, NESTED = 0, 1
ON_LOG_HAZARD, ON_LOG_LOG, ON_LOG_ODDS = range(3)
EDGE = 1e-9
INSIDE = 1.0 - 2.0 * EDGE
LARGEST_MARGIN = 30.0
LEAST_ODDS, MOST_ODDS = 1.000001 * np.exp(-LARGEST_MARGIN), 0.999999 * np.exp(LARGEST_MARGIN)
FARTHEST = 4.0
TOLERANCE = 1e-7
MOST_PANELS = 64
PANEL = 8


class Lines(NamedTuple):
    """Where lines start: the background at given times, and how its model answers.

    ``scores`` has shape (lines, scores), ``shares`` (lines, scores, predictors), ``answers`` (lines,
    answers), ``weights`` (lines,); ``kind`` is CURVE or NESTED, ``link`` the outcomes' common link.
    ``lived`` (answers on a scale, scores) says how far a score counts: the share of an interval lived through
    by a time, 1 for an outcome and for those it is nested in. ``nodes`` and ``parts`` (8,) are one panel's.
    """

    kind: int
    link: int
    scores: FloatArray
    shares: FloatArray
    answers: FloatArray
    weights: FloatArray
    lived: FloatArray
    nodes: FloatArray
    parts: FloatArray


class Sums(NamedTuple):
    """A model's scores: ``stretch`` x (base + linear terms + the trees' contributions) + ``constant``.

    ``means`` has shape (strata, columns), ``coefficients`` (strata, 1 or scores, columns), ``base`` (strata,
    scores), ``stretch`` and ``constant`` (scores,).
    """

    means: FloatArray
    coefficients: FloatArray
    base: FloatArray
    stretch: FloatArray
    constant: FloatArray


class Said(NamedTuple):
    """What is said of a patient: a curve at ``months`` (months,), and probabilities at horizons behind them.

    ``lived`` (months and horizons, scores) is as in :class:`Lines`. ``owner`` (columns,) is the predictor
    that a column shows; what depends on the disease alone belongs to the predictor ``disease``. Intervals
    reach ``errors`` (outcomes,) times the root of the distance from ``means`` in ``scales`` (columns,).
    ``falls`` tells that curves fall, and ``levels`` where it is asked when they do; ``group`` (predictors,)
    is each predictor's, of ``groups``; ``reference`` (answers,) is what contributions start from.
    """

    months: FloatArray
    lived: FloatArray
    owner: IntArray
    disease: int
    means: FloatArray
    scales: FloatArray
    errors: FloatArray
    falls: bool
    levels: FloatArray
    group: IntArray
    groups: int
    reference: FloatArray


@compiled
def add_up(
    columns: FloatArray,
    X: FloatArray,
    strata: IntArray,
    model: Sums,
    said: Said,
    scores: FloatArray,
    shares: FloatArray,
) -> None:
    """Write scores (rows, scores) and shares by predictor (rows, scores, predictors).

    ``columns`` (rows, scores, columns) are the trees' contributions; a missing value adds no linear term.
    """
    shares[:] = 0.0
    for r in range(X.shape[0]):
        stratum = strata[r]
        for s in range(scores.shape[1]):
            linear = model.coefficients[stratum, min(s, model.coefficients.shape[1] - 1)]
            own = model.base[stratum, s] * model.stretch[s]
            total = model.constant[s] + own
            for c in range(X.shape[1]):
                share = columns[r, s, c]
                if not np.isnan(X[r, c]):
                    share += (X[r, c] - model.means[stratum, c]) * linear[c]
                share *= model.stretch[s]
                shares[r, s, said.owner[c]] += share
                total += share
            shares[r, s, said.disease] += own
            scores[r, s] = total


@compiled
def divide_shares(
    columns: FloatArray,
    stratum: FloatArray,
    constant: FloatArray,
    owner: IntArray,
    disease: int,
    scores: FloatArray,
    shares: FloatArray,
) -> None:
    """Write scores (rows, scores) and shares by predictor (rows, scores, predictors) from those by column.

    ``owner`` (columns,) is the predictor that a column shows; what depends on the disease alone belongs to
    the predictor ``disease``.
    """
    shares[:] = 0.0
    for r in range(columns.shape[0]):
        for s in range(columns.shape[1]):
            total = 0.0
            for c in range(columns.shape[2]):
                total += columns[r, s, c]
                shares[r, s, owner[c]] += columns[r, s, c]
            shares[r, s, disease] += stratum[r, s]
            scores[r, s] = total + stratum[r, s] + constant[s]


@compiled
def survive(margins: FloatArray, lived: FloatArray, out: FloatArray) -> None:
    """Write survival (rows, times) under log odds (rows, intervals) that held for the shares ``lived``."""
    hazard = np.empty(margins.shape[1])
    for r in range(margins.shape[0]):
        for s in range(margins.shape[1]):
            margin = max(-LARGEST_MARGIN, min(LARGEST_MARGIN, margins[r, s]))
            hazard[s] = np.log1p(np.exp(margin))
        for t in range(lived.shape[0]):
            total = 0.0
            for s in range(margins.shape[1]):
                total += hazard[s] * lived[t, s]
            out[r, t] = np.exp(-total)


@compiled
def on_link(link: int, probability: float) -> float:
    """Return a probability on the link's scale."""
    p = EDGE + INSIDE * probability
    if link == ON_LOG_HAZARD:
        return float(np.log(-np.log(p)))
    if link == ON_LOG_LOG:
        return float(np.log(-np.log(1.0 - p)))
    return float(np.log(p) - np.log1p(-p))


@compiled
def link_slope(link: int, probability: float) -> float:
    """Return the derivative of :func:`on_link`."""
    p = EDGE + INSIDE * probability
    if link == ON_LOG_HAZARD:
        return float(INSIDE / (p * np.log(p)))
    if link == ON_LOG_LOG:
        return float(-INSIDE / ((1.0 - p) * np.log(1.0 - p)))
    return INSIDE / (p * (1.0 - p))


@compiled
def off_link(link: int, value: float) -> float:
    """Return the probability that a value on the link's scale stands for, within [0, 1]."""
    if link == ON_LOG_HAZARD:
        p = np.exp(-np.exp(value))
    elif link == ON_LOG_LOG:
        p = -np.expm1(-np.exp(value))
    else:
        p = 1.0 / (1.0 + np.exp(-value))
    return float(max(0.0, min(1.0, (p - EDGE) / INSIDE)))


@compiled
def exponential(x: FloatArray, out: FloatArray) -> None:
    """Write exp(x) to a dozen digits for |x| up to 30, by steps that the processor takes for several at once.

    The Taylor series of degree 7 at x / 1024, squared ten times.
    """
    for i in range(len(x)):
        y = x[i] * (1.0 / 1024.0)
        e = 1.0 + y * (1.0 / 7.0)
        e = 1.0 + y * (1.0 / 6.0) * e
        e = 1.0 + y * (1.0 / 5.0) * e
        e = 1.0 + y * 0.25 * e
        e = 1.0 + y * (1.0 / 3.0) * e
        e = 1.0 + y * 0.5 * e
        e = 1.0 + y * e
        for _ in range(10):
            e *= e
        out[i] = e


@compiled
def follow_curve(lines: Lines, odds: FloatArray, steep: FloatArray, rise: FloatArray) -> None:
    """Write the two factors of survival's slopes, by time and by interval; ``lived`` is the third.

    Survival is one over the product of 1 + odds over the intervals lived through, the last one's factor to
    the power of the share lived of it.
    """
    times, used = lines.lived.shape[0], rise.shape[0]
    flat, rises = odds.ravel(), rise.ravel()
    for i in range(len(flat)):
        rises[i] = flat[i] / (1.0 + flat[i])
    for t in range(times):
        whole, product = 0, steep[times + t]
        product[:] = 1.0
        while whole < used and lines.lived[t, whole] == 1.0:
            for n in range(PANEL):
                product[n] *= 1.0 + odds[whole, n]
            whole += 1
        for n in range(PANEL):
            survival = 1.0 / product[n]
            if whole < used:
                survival *= np.exp(-lines.lived[t, whole] * np.log(1.0 + odds[whole, n]))
            steep[t, n] = -survival
            steep[times + t, n] = -survival * link_slope(lines.link, survival)


@compiled
def follow_nested(lines: Lines, odds: FloatArray, steep: FloatArray, rise: FloatArray) -> None:
    """Write the two factors of nested outcomes' slopes, by outcome and by score; the last is the broadest.

    Log odds are held at +-30, where the slope is 0.
    """
    outcomes = rise.shape[0]
    for n in range(PANEL):
        probability = 1.0
        for back in range(outcomes):
            o = outcomes - 1 - back
            rest = 1.0 / (1.0 + odds[o, n])
            probability *= odds[o, n] * rest
            steep[o, n] = probability
            steep[outcomes + o, n] = probability * link_slope(lines.link, probability)
            rise[o, n] = rest if LEAST_ODDS < odds[o, n] < MOST_ODDS else 0.0


@compiled
def mean_slopes(
    lines: Lines, line: int, change: FloatArray, panels: int, room: FloatArray, slopes: FloatArray
) -> None:
    """Write the mean slopes along one line, shape (answers, scores), by some panels of nodes.

    ``room`` has shape (3, scores, nodes).
    """
    used, count = len(change), slopes.shape[0]
    margins, odds, rise = room[0], room[1], room[2]
    steep, at, w = np.empty((count, PANEL)), np.empty(PANEL), np.empty(PANEL)
    slopes[:] = 0.0
    for panel in range(panels):
        for n in range(PANEL):
            at[n], w[n] = (panel + lines.nodes[n]) / panels, lines.parts[n] / panels
        for s in range(used):
            start, step = lines.scores[line, s], change[s]
            for n in range(PANEL):
                margins[s, n] = max(-LARGEST_MARGIN, min(LARGEST_MARGIN, start + at[n] * step))
        exponential(margins.ravel(), odds.ravel())
        if lines.kind == CURVE:
            follow_curve(lines, odds, steep, rise)
        else:
            follow_nested(lines, odds, steep, rise)
        for a in range(count):
            x0, x1, x2, x3 = steep[a, 0] * w[0], steep[a, 1] * w[1], steep[a, 2] * w[2], steep[a, 3] * w[3]
            x4, x5, x6, x7 = steep[a, 4] * w[4], steep[a, 5] * w[5], steep[a, 6] * w[6], steep[a, 7] * w[7]
            for s in range(used):
                low = (x0 * rise[s, 0] + x1 * rise[s, 1]) + (x2 * rise[s, 2] + x3 * rise[s, 3])
                high = (x4 * rise[s, 4] + x5 * rise[s, 5]) + (x6 * rise[s, 6] + x7 * rise[s, 7])
                slopes[a, s] += low + high
    half = lines.lived.shape[0]
    for a in range(count):
        for s in range(used):
            slopes[a, s] *= lines.lived[a % half, s]


@compiled
def give_the_change(
    lines: Lines, line: int, change: FloatArray, answers: FloatArray, slopes: FloatArray
) -> bool:
    """Tell whether mean slopes give what each answer changes along a line; NaN does not."""
    for a in range(len(answers)):
        gained = 0.0
        for s in range(len(change)):
            gained += slopes[a, s] * change[s]
        if not abs(gained - (answers[a] - lines.answers[line, a])) < TOLERANCE:
            return False
    return True


@compiled
def find_slopes(
    lines: Lines, line: int, change: FloatArray, answers: FloatArray, room: FloatArray, slopes: FloatArray
) -> None:
    """Write mean slopes along one line that give the change of every answer, or the best found."""
    panels = 1
    mean_slopes(lines, line, change, panels, room, slopes)
    while panels < MOST_PANELS and not give_the_change(lines, line, change, answers, slopes):
        panels *= 2
        mean_slopes(lines, line, change, panels, room, slopes)


@compiled
def scores_used(lines: Lines) -> int:
    """Return how many scores any answer depends on; those behind are of intervals that no time reaches."""
    used: int = lines.scores.shape[1]
    while used > 1 and lines.lived[:, used - 1].max() == 0.0:
        used -= 1
    return used


@compiled
def carry(lines: Lines, scores: FloatArray, shares: FloatArray, answers: FloatArray, out: FloatArray) -> None:
    """Write each predictor's contribution to each answer, shape (rows, answers, predictors).

    ``scores`` (rows, scores) and ``shares`` (rows, scores, predictors) are the patients', ``answers`` (rows,
    answers) what they are answered.
    """
    used, count = scores_used(lines), answers.shape[1]
    change, room, slopes = np.empty(used), np.empty((3, used, PANEL)), np.empty((count, used))
    total = np.empty((count, used))
    for r in range(scores.shape[0]):
        total[:] = 0.0
        out[r] = 0.0
        for line in range(lines.scores.shape[0]):
            for s in range(used):
                change[s] = scores[r, s] - lines.scores[line, s]
            find_slopes(lines, line, change, answers[r], room, slopes)
            for a in range(count):
                for s in range(used):
                    slope = lines.weights[line] * slopes[a, s]
                    total[a, s] += slope
                    for p in range(out.shape[2]):
                        out[r, a, p] -= slope * lines.shares[line, s, p]
        for a in range(count):
            for s in range(used):
                for p in range(out.shape[2]):
                    out[r, a, p] += total[a, s] * shares[r, s, p]


@compiled
def find_ends(
    probability: FloatArray, reach: FloatArray, links: IntArray, low: FloatArray, high: FloatArray
) -> None:
    """Write the ends of intervals (rows, outcomes, times) that reach so far on the link (rows, outcomes)."""
    for r in range(probability.shape[0]):
        for o in range(probability.shape[1]):
            for t in range(probability.shape[2]):
                middle = probability[r, o, t]
                value = on_link(links[o], middle)
                one, other = off_link(links[o], value - reach[r, o]), off_link(links[o], value + reach[r, o])
                low[r, o, t] = min(middle, one, other)
                high[r, o, t] = max(middle, one, other)


@compiled
def measure_distance(X: FloatArray, means: FloatArray, scales: FloatArray, out: FloatArray) -> None:
    """Write each row's mean squared standardised column, a missing one counting 1; models/uncertainty/intervals.py."""
    for r in range(X.shape[0]):
        total = 1.0
        for c in range(X.shape[1]):
            z = (X[r, c] - means[c]) / scales[c]
            z = max(-FARTHEST, min(FARTHEST, z))
            total += 1.0 if np.isnan(X[r, c]) else z * z
        out[r] = total / (1.0 + X.shape[1])


@compiled
def draw_on(curve: FloatArray, falling: bool) -> None:
    """Make curves (rows, outcomes, months) fall, or rise, throughout: survival never rises."""
    for r in range(curve.shape[0]):
        for o in range(curve.shape[1]):
            for t in range(1, curve.shape[2]):
                before = curve[r, o, t - 1]
                curve[r, o, t] = min(before, curve[r, o, t]) if falling else max(before, curve[r, o, t])


@compiled
def fallen_to(months: FloatArray, curve: FloatArray, levels: FloatArray, out: FloatArray) -> None:
    """Write when survival (rows, outcomes, months) falls to each level (rows, outcomes, levels).

    It is 1 at month 0 and straight between months; NaN where it does not fall so far.
    """
    for r in range(curve.shape[0]):
        for o in range(curve.shape[1]):
            for at in range(len(levels)):
                out[r, o, at] = np.nan
                month, left = 0.0, 1.0
                for t in range(len(months)):
                    right = curve[r, o, t]
                    if right <= levels[at]:
                        share = 1.0 if left == right else (left - levels[at]) / (left - right)
                        out[r, o, at] = month + share * (months[t] - month)
                        break
                    month, left = months[t], right


@compiled
def sum_groups(contributions: FloatArray, group: IntArray, out: FloatArray) -> None:
    """Write the sums (rows, answers, groups) of predictors' contributions (rows, answers, predictors)."""
    out[:] = 0.0
    for r in range(contributions.shape[0]):
        for a in range(contributions.shape[1]):
            for p in range(contributions.shape[2]):
                out[r, a, group[p]] += contributions[r, a, p]


@compiled
def nest(scores: FloatArray, out: FloatArray) -> None:
    """Write nested outcomes' probabilities (rows, outcomes, 1) from log odds; the last is the broadest."""
    for r in range(scores.shape[0]):
        probability = 1.0
        for back in range(scores.shape[1]):
            o = scores.shape[1] - 1 - back
            probability *= 1.0 / (1.0 + np.exp(-max(-LARGEST_MARGIN, min(LARGEST_MARGIN, scores[r, o]))))
            out[r, o, 0] = probability


@compiled
def answer(kind: int, scores: FloatArray, lived: FloatArray, out: FloatArray) -> None:
    """Write probabilities (rows, outcomes, times) from scores."""
    if kind == CURVE:
        survive(scores, lived, out[:, 0])
    else:
        nest(scores, out)


@compiled
def answer_on_both_scales(lines: Lines, scores: FloatArray, out: FloatArray) -> None:
    """Write what is explained (rows, answers): probabilities and behind them their links."""
    half = lines.lived.shape[0]
    flat = np.empty((scores.shape[0], half))
    shape = (scores.shape[0], 1, half) if lines.kind == CURVE else (scores.shape[0], half, 1)
    answer(lines.kind, scores, lines.lived, flat.reshape(shape))
    for r in range(scores.shape[0]):
        for a in range(half):
            out[r, a] = flat[r, a]
            out[r, half + a] = on_link(lines.link, flat[r, a])


@compiled
def lay_out(
    curve: FloatArray,
    stated: FloatArray,
    ends: FloatArray,
    answers: FloatArray,
    contributions: FloatArray,
    grouped: FloatArray,
    out: FloatArray,
) -> None:
    """Write every number of a row one behind the other, outcome by outcome.

    Of each outcome: probabilities ``stated`` (rows, outcomes, horizons), each with its ``ends`` (2, ...), the
    ``curve`` (rows, outcomes, months), and on either scale the answer, contributions and sums by group.
    """
    outcomes = stated.shape[1]
    for r in range(out.shape[0]):
        at = 0
        for o in range(outcomes):
            for t in range(stated.shape[2]):
                out[r, at] = stated[r, o, t]
                out[r, at + 1] = ends[0, r, o, t]
                out[r, at + 2] = ends[1, r, o, t]
                at += 3
            for t in range(curve.shape[2]):
                out[r, at] = curve[r, o, t]
                at += 1
            for scale in range(2):
                a = scale * outcomes + o
                out[r, at] = answers[r, a]
                at += 1
                for p in range(contributions.shape[2]):
                    out[r, at] = contributions[r, a, p]
                    at += 1
                for g in range(grouped.shape[2]):
                    out[r, at] = grouped[r, a, g]
                    at += 1


@compiled
def say(
    columns: FloatArray,
    X: FloatArray,
    strata: IntArray,
    model: Sums,
    lines: Lines,
    said: Said,
    scores: FloatArray,
    out: FloatArray,
    fallen: FloatArray,
) -> float:
    """Write scores, every number of a statement (rows, numbers), and when outcomes fall to levels.

    ``columns`` are the trees' contributions. Answers are explained at one time. Returns by how much
    contributions miss an answer at most; NaN where any of them is.
    """
    rows, count, months = X.shape[0], lines.answers.shape[1], len(said.months)
    outcomes, predictors = count // 2, lines.shares.shape[2]
    shares = np.empty((rows, lines.scores.shape[1], predictors))
    add_up(columns, X, strata, model, said, scores, shares)
    answers, contributions = np.empty((rows, count)), np.empty((rows, count, predictors))
    answer_on_both_scales(lines, scores, answers)
    carry(lines, scores, shares, answers, contributions)
    grouped = np.empty((rows, count, said.groups))
    sum_groups(contributions, said.group, grouped)
    drawn = np.empty((rows, outcomes, len(said.lived) if lines.kind == CURVE else 1))
    answer(lines.kind, scores, said.lived, drawn)
    curve, stated = drawn[:, :, :months].copy(), drawn[:, :, months:].copy()
    draw_on(curve, said.falls)
    if said.falls:
        fallen_to(said.months, curve, said.levels, fallen)
    reach, size = np.empty((rows, outcomes)), np.empty(rows)
    measure_distance(X, said.means, said.scales, size)
    for r in range(rows):
        for o in range(outcomes):
            reach[r, o] = np.sqrt(size[r]) * said.errors[o]
    ends, links = np.empty((2, *stated.shape)), np.full(outcomes, lines.link)
    find_ends(stated, reach, links, ends[0], ends[1])
    lay_out(curve, stated, ends, answers, contributions, grouped, out)
    return missed(said.reference, contributions, answers)


@compiled
def missed(reference: FloatArray, contributions: FloatArray, answers: FloatArray) -> float:
    """Return by how much contributions miss an answer at most; NaN where any of them is."""
    most = 0.0
    for r in range(answers.shape[0]):
        for a in range(answers.shape[1]):
            total = reference[a]
            for p in range(contributions.shape[2]):
                total += contributions[r, a, p]
            apart = abs(total - answers[r, a])
            most = apart if not apart <= most else most
            if np.isnan(most):
                return most
    return most
