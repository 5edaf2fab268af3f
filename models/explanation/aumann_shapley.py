"""Aumann-Shapley integration: shares of the scores carried through the probability and its link.

Each predictor's share of the scores, as far as it differs from a background patient's, is multiplied with the
mean slope of the probability along the straight line between the two patients' scores, and averaged over the
weighted background. A line is cut into panels of eight Gauss-Legendre nodes, doubled until the mean slopes
give the whole change of every answer. Answers run scale, outcome, time.

Every row is computed by itself and in a fixed order, so its numbers are the same, bit for bit, alone and
among others.

Source: Aumann and Shapley, Values of Non-Atomic Games, 1974; Sundararajan, Taly and Yan, ICML 2017.
"""

from typing import NamedTuple

import numpy as np

from features.dictionary import FloatArray
from models.compiled import compiled
from models.estimators.curves import IntArray
from models.estimators.links import link_slope
from models.estimators.transforms import (
    CURVE,
    INCIDENCE,
    LARGEST_MARGIN,
    Steps,
    share_out,
)

LEAST_ODDS, MOST_ODDS = 1.000001 * np.exp(-LARGEST_MARGIN), 0.999999 * np.exp(LARGEST_MARGIN)
TOLERANCE = 1e-7
MOST_PANELS = 64
PANEL = 8


def gauss_legendre(nodes: int) -> tuple[FloatArray, FloatArray]:
    """Return nodes in (0, 1) and their weights, which sum to one."""
    at, weight = np.polynomial.legendre.leggauss(nodes)
    return (at + 1.0) / 2.0, weight / 2.0


NODES, SHARES = gauss_legendre(PANEL)


class Lines(NamedTuple):
    """Where lines start, the background at given times, and how its model answers.

    ``scores`` has shape (lines, scores), ``shares`` (lines, scores, predictors), ``answers`` (lines,
    answers), ``weights`` (lines,) and ``reference`` (answers,), the weighted mean answers; ``link`` is the
    outcomes' common link. ``nodes`` and ``parts`` (8,) are one panel's.
    """

    steps: Steps
    link: int
    scores: FloatArray
    shares: FloatArray
    answers: FloatArray
    weights: FloatArray
    reference: FloatArray
    nodes: FloatArray
    parts: FloatArray


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
    lived = lines.steps.lived
    times, used = lived.shape[0], rise.shape[0]
    flat, rises = odds.ravel(), rise.ravel()
    for i in range(len(flat)):
        rises[i] = flat[i] / (1.0 + flat[i])
    for t in range(times):
        whole, product = 0, steep[times + t]
        product[:] = 1.0
        while whole < used and lived[t, whole] == 1.0:
            for n in range(PANEL):
                product[n] *= 1.0 + odds[whole, n]
            whole += 1
        for n in range(PANEL):
            survival = 1.0 / product[n]
            if whole < used:
                survival *= np.exp(-lived[t, whole] * np.log(1.0 + odds[whole, n]))
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
def add_incidence_slopes(lines: Lines, margins: FloatArray, weight: float, slopes: FloatArray) -> None:
    """Add the weighted slopes of incidences at one node, by answer and by score.

    A higher hazard of a cause in an interval lets fewer reach the later ones, moves more out of this one, and
    gives the cause a larger part of these.
    """
    steps = lines.steps
    causes, intervals = steps.score.shape
    rate, total = np.empty((causes, intervals)), np.empty(intervals)
    left, staying = np.empty(intervals), np.empty(intervals)
    share_out(steps, margins, rate, total)
    times, half = steps.lived.shape[0], causes * steps.lived.shape[0]
    for t in range(times):
        passed, last = 0.0, 0
        for e in range(intervals):
            hazard = total[e] * steps.lived[t, e]
            before = np.exp(-passed)
            left[e] = -before * np.expm1(-hazard)
            staying[e] = before - left[e]
            passed += hazard
            last = e + 1 if steps.lived[t, e] > 0.0 else last
        for c in range(causes):
            incidence = 0.0
            for e in range(last):
                incidence += rate[c, e] / total[e] * left[e]
            on_scale, later = weight * link_slope(lines.link, incidence), 0.0
            for back in range(last):
                e = last - 1 - back
                part = rate[c, e] / total[e]
                moved = steps.lived[t, e] * (part * staying[e] - later)
                gained = left[e] / total[e]
                for k in range(causes):
                    s = steps.score[k, e]
                    if abs(margins[s]) <= LARGEST_MARGIN:
                        by_hazard = moved + gained * ((1.0 if k == c else 0.0) - part)
                        by_score = by_hazard * steps.share[k, e] / (1.0 + np.exp(-margins[s]))
                        slopes[c * times + t, s] += weight * by_score
                        slopes[half + c * times + t, s] += on_scale * by_score
                later += part * left[e]


@compiled
def mean_slopes(
    lines: Lines, line: int, change: FloatArray, panels: int, room: FloatArray, slopes: FloatArray
) -> None:
    """Write the mean slopes along one line, shape (answers, scores), by some panels of nodes.

    ``room`` has shape (3, scores, nodes).
    """
    slopes[:] = 0.0
    if lines.steps.kind == INCIDENCE:
        at = np.empty(len(change))
        for panel in range(panels):
            for n in range(PANEL):
                node = (panel + lines.nodes[n]) / panels
                for s in range(len(change)):
                    at[s] = lines.scores[line, s] + node * change[s]
                add_incidence_slopes(lines, at, lines.parts[n] / panels, slopes)
    else:
        add_factored_slopes(lines, line, change, panels, room, slopes)


@compiled
def add_factored_slopes(
    lines: Lines, line: int, change: FloatArray, panels: int, room: FloatArray, slopes: FloatArray
) -> None:
    """Add slopes that are a factor of the answer, one of the score, and ``lived``; as :func:`mean_slopes`."""
    used, count = len(change), slopes.shape[0]
    margins, odds, rise = room[0], room[1], room[2]
    steep, at, w = np.empty((count, PANEL)), np.empty(PANEL), np.empty(PANEL)
    for panel in range(panels):
        for n in range(PANEL):
            at[n], w[n] = (panel + lines.nodes[n]) / panels, lines.parts[n] / panels
        for s in range(used):
            start, step = lines.scores[line, s], change[s]
            for n in range(PANEL):
                margins[s, n] = max(-LARGEST_MARGIN, min(LARGEST_MARGIN, start + at[n] * step))
        exponential(margins.ravel(), odds.ravel())
        if lines.steps.kind == CURVE:
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
    half = lines.steps.lived.shape[0]
    for a in range(count):
        for s in range(used):
            slopes[a, s] *= lines.steps.lived[a % half, s]


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
    """Write mean slopes along one line that give the change of every answer, or the best reached."""
    panels = 1
    mean_slopes(lines, line, change, panels, room, slopes)
    while panels < MOST_PANELS and not give_the_change(lines, line, change, answers, slopes):
        panels *= 2
        mean_slopes(lines, line, change, panels, room, slopes)


@compiled
def scores_used(lines: Lines) -> int:
    """Return how many scores any answer depends on; those of intervals beyond every time come last."""
    used: int = lines.scores.shape[1]
    if lines.steps.kind == CURVE:
        while used > 1 and lines.steps.lived[:, used - 1].max() == 0.0:
            used -= 1
    return used


@compiled
def carry(
    lines: Lines, scores: FloatArray, shares: FloatArray, answers: FloatArray, out: FloatArray
) -> float:
    """Write each predictor's contribution to each answer, shape (rows, answers, predictors).

    ``scores`` (rows, scores) and ``shares`` (rows, scores, predictors) are the patients', ``answers`` (rows,
    answers) what they are answered. Returns by how much reference and contributions miss an answer at most,
    NaN where any of them is.
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
    return largest_miss(lines, answers, out)


@compiled
def largest_miss(lines: Lines, answers: FloatArray, contributions: FloatArray) -> float:
    """Return by how much reference and contributions miss an answer at most, NaN where any of them is."""
    missed = 0.0
    for r in range(answers.shape[0]):
        for a in range(answers.shape[1]):
            total = lines.reference[a]
            for p in range(contributions.shape[2]):
                total += contributions[r, a, p]
            apart = abs(total - answers[r, a])
            if np.isnan(apart):
                return float(apart)
            missed = max(missed, apart)
    return missed


@compiled
def sum_groups(contributions: FloatArray, group: IntArray, out: FloatArray) -> None:
    """Write sums (rows, answers, groups) of contributions (rows, answers, predictors), in groups by row."""
    out[:] = 0.0
    for r in range(contributions.shape[0]):
        for a in range(contributions.shape[1]):
            for p in range(contributions.shape[2]):
                out[r, a, group[r, p]] += contributions[r, a, p]
