"""Mean slopes along straight lines between scores: what Aumann and Shapley's value multiplies shares with.

The line from a background patient's scores to a patient's is cut into panels of eight Gauss-Legendre nodes.
One panel is nearly always enough. Slopes are taken as right when they give the whole change of every answer;
where they do not, panels double for that background patient alone.

Source: Aumann and Shapley, Values of Non-Atomic Games, 1974; Sundararajan, Taly and Yan, ICML 2017.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from features.dictionary import FloatArray
from models.estimators.curves import IntArray
from models.estimators.hazard import HazardModel
from models.estimators.interface import EndpointModel
from models.estimators.links import Link
from models.estimators.response import ResponseModel
from models.explanation.aumann_shapley import CURVE, MOST_PANELS, NESTED, TOLERANCE

AT_ONCE = 1024
Known = HazardModel | ResponseModel


def gauss_legendre(nodes: int) -> tuple[FloatArray, FloatArray]:
    """Return nodes in (0, 1) and their weights, which sum to one."""
    at, weight = np.polynomial.legendre.leggauss(nodes)
    return (at + 1.0) / 2.0, weight / 2.0


NODES, SHARES = gauss_legendre(8)


class Answers(Protocol):
    """Whatever is explained: slopes of its answers, by scores, integrated over given nodes."""

    def integrate(
        self, starts: FloatArray, change: FloatArray, nodes: FloatArray, shares: FloatArray
    ) -> FloatArray:
        """Return the sum over nodes of share x slopes at starts + node x change.

        ``starts`` and ``change`` have shape (lines, scores); the result (answers, lines, scores).
        """
        ...


def mean_slopes(answers: Answers, starts: FloatArray, end: FloatArray, rise: FloatArray) -> FloatArray:
    """Return mean slopes along each line, shape (answers, lines, scores).

    Lines run from ``starts`` (lines, scores) to ``end`` (scores,); ``rise`` (lines, answers) is what each
    answer changes along them, by which the slopes are judged. Where 512 nodes do not reach it, the best found
    is returned: whoever shows contributions checks their sum.
    """
    change = end - starts
    slopes = answers.integrate(starts, change, NODES, SHARES)
    waiting, panels = _wrong(slopes, change, rise, np.arange(len(starts))), 2
    while waiting.size and panels <= MOST_PANELS:
        nodes = ((np.arange(panels)[:, None] + NODES) / panels).ravel()
        shares = np.tile(SHARES, panels) / panels
        for rows in _blocks(waiting, len(nodes)):
            slopes[:, rows] = answers.integrate(starts[rows], change[rows], nodes, shares)
        waiting, panels = _wrong(slopes, change, rise, waiting), panels * 2
    return slopes


def _wrong(slopes: FloatArray, change: FloatArray, rise: FloatArray, rows: IntArray) -> IntArray:
    """Return those of ``rows`` whose slopes do not give the rise; NaN is wrong."""
    part = slopes if len(rows) == len(change) else slopes[:, rows]
    gained = (part[:, :, None, :] @ change[rows][:, :, None])[:, :, 0, 0]
    right = np.abs(gained - rise[rows].T) < TOLERANCE
    return rows[~right.all(axis=0)]


def _blocks(rows: IntArray, nodes: int) -> Iterator[IntArray]:
    size = max(1, AT_ONCE // nodes)
    return (rows[start : start + size] for start in range(0, len(rows), size))


@dataclass(frozen=True)
class BothScales:
    """Any model's probabilities and their links at the given times; answers run scale, outcome, time."""

    model: EndpointModel
    times: FloatArray
    links: tuple[Link, ...]

    def integrate(
        self, starts: FloatArray, change: FloatArray, nodes: FloatArray, shares: FloatArray
    ) -> FloatArray:
        """Integrate the model's own slopes."""
        lines, scores = starts.shape
        along = (starts[:, None] + nodes[:, None] * change[:, None]).reshape(-1, scores)
        probability, slopes = (
            self.model.probabilities(along, self.times),
            self.model.slopes(along, self.times),
        )
        factor = np.stack([link.slope(probability[:, at]) for at, link in enumerate(self.links)], axis=1)
        factor = factor.reshape(lines, len(nodes), -1).transpose(0, 2, 1)
        weights = np.concatenate([np.broadcast_to(shares, factor.shape), shares * factor], axis=1)
        steep = slopes.reshape(lines, len(nodes), -1, scores)
        halves = np.split(weights, 2, axis=1)
        found = [np.einsum("brn,bnrs->rbs", half, steep, optimize=True) for half in halves]
        return np.concatenate(found)


def known_slopes(model: Known, times: FloatArray) -> tuple[int, FloatArray]:
    """Return the kind of a model that models/explanation/aumann_shapley.py knows the slopes of, and how far each score counts.

    The latter has the shape (answers on a scale, scores).
    """
    if isinstance(model, HazardModel):
        return CURVE, model.exposure(times)
    return NESTED, np.triu(np.ones((len(model.outcomes), len(model.outcomes))))
