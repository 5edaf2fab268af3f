"""From scores to probabilities: hazards of intervals, hazards of several causes, nested odds.

An additive model's scores are log odds. Compiled code follows them to probabilities, here, and to the slopes
of these, in models/explanation/aumann_shapley.py. Rows are computed one by one, so a patient's numbers are
the same, bit for bit, alone and among others.

Within an interval a hazard is constant, so a curve has a value at every time. With several causes a cause's
share of those who leave an interval is its share of the total hazard; incidences and event-free survival
follow in closed form and sum to one (Prentice et al., Biometrics 1978;34:541-554).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray
from models.compiled import compiled

IntArray = npt.NDArray[np.int64]

CURVE, NESTED, INCIDENCE = range(3)
LARGEST_MARGIN = 30.0


class Steps(NamedTuple):
    """How probabilities at some times follow from scores, as compiled code takes it.

    ``lived`` has shape (times, intervals): the share of each interval lived through by a time; for nested
    odds (outcomes, outcomes): 1 for an outcome and for the broader ones. ``score`` and ``share`` (causes,
    intervals) tell which score holds a cause's hazard in an interval, and which part of that hazard falls in
    it, as a cause with few events has longer intervals of its own.
    """

    kind: int
    lived: FloatArray
    score: IntArray
    share: FloatArray


@compiled
def hazard_of(margin: float) -> float:
    """Return the cumulative hazard of an interval, log(1 + odds), log odds being kept within 30."""
    return float(np.log1p(np.exp(max(-LARGEST_MARGIN, min(LARGEST_MARGIN, margin)))))


@compiled
def survive(scores: FloatArray, lived: FloatArray, out: FloatArray) -> None:
    """Write survival, shape (rows, times), from log odds of shape (rows, intervals)."""
    hazard = np.empty(scores.shape[1])
    for r in range(scores.shape[0]):
        for s in range(scores.shape[1]):
            hazard[s] = hazard_of(scores[r, s])
        for t in range(lived.shape[0]):
            total = 0.0
            for s in range(scores.shape[1]):
                total += hazard[s] * lived[t, s]
            out[r, t] = np.exp(-total)


@compiled
def nest(scores: FloatArray, out: FloatArray) -> None:
    """Write nested outcomes' probabilities, shape (rows, outcomes); the last is the broadest."""
    for r in range(scores.shape[0]):
        probability = 1.0
        for back in range(scores.shape[1]):
            o = scores.shape[1] - 1 - back
            probability *= 1.0 / (1.0 + np.exp(-max(-LARGEST_MARGIN, min(LARGEST_MARGIN, scores[r, o]))))
            out[r, o] = probability


@compiled
def accumulate(steps: Steps, scores: FloatArray, out: FloatArray) -> None:
    """Write each cause's incidence, shape (rows, causes, times)."""
    causes, intervals = steps.score.shape
    rate, total = np.empty((causes, intervals)), np.empty(intervals)
    for r in range(scores.shape[0]):
        share_out(steps, scores[r], rate, total)
        for t in range(steps.lived.shape[0]):
            passed = 0.0
            out[r, :, t] = 0.0
            for e in range(intervals):
                hazard = total[e] * steps.lived[t, e]
                left = -np.exp(-passed) * np.expm1(-hazard)
                for c in range(causes):
                    out[r, c, t] += rate[c, e] / total[e] * left
                passed += hazard
            for c in range(causes):
                out[r, c, t] = min(out[r, c, t], 1.0)


@compiled
def share_out(steps: Steps, scores: FloatArray, rate: FloatArray, total: FloatArray) -> None:
    """Write one row's cumulative hazards by cause and interval, and the sums over causes."""
    total[:] = 0.0
    for c in range(rate.shape[0]):
        for e in range(rate.shape[1]):
            rate[c, e] = steps.share[c, e] * hazard_of(scores[steps.score[c, e]])
            total[e] += rate[c, e]


@compiled
def follow(steps: Steps, scores: FloatArray, out: FloatArray) -> None:
    """Write probabilities, shape (rows, outcomes, times), from scores of shape (rows, scores)."""
    if steps.kind == CURVE:
        survive(scores, steps.lived, out[:, 0])
    elif steps.kind == NESTED:
        nest(scores, out[:, :, 0])
    else:
        accumulate(steps, scores, out)


class Transform(Protocol):
    """How the probabilities of one kind of endpoint follow from scores."""

    name: ClassVar[str]

    @property
    def outcomes(self) -> int:
        """Return the number of probabilities at each time."""
        ...

    @property
    def scores(self) -> int:
        """Return the number of scores."""
        ...

    @property
    def timed(self) -> bool: ...

    def at(self, times: FloatArray) -> Steps:
        """Return the transform at some times, in months, as compiled code takes it."""
        ...

    def check(self) -> None:
        """Raise ValueError, naming the part, where the transform is no sound one."""
        ...

    def as_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class IntervalHazards:
    """Survival from the log odds of the event in each interval; ``edges`` are the ends, in months."""

    edges: FloatArray
    name: ClassVar[str] = "interval_hazards"
    outcomes: ClassVar[int] = 1
    timed: ClassVar[bool] = True

    @property
    def scores(self) -> int:
        return len(self.edges)

    def at(self, times: FloatArray) -> Steps:
        """Return the transform at some times; survival is flat beyond the last interval."""
        own = np.arange(len(self.edges))[None]
        return Steps(CURVE, exposure(self.edges, times), own, np.ones(own.shape))

    def check(self) -> None:
        """Raise ValueError where the edges do not rise from above zero."""
        _require_edges(self.edges)

    def as_dict(self) -> dict[str, Any]:
        """Return the edges."""
        return {"name": self.name, "edges": self.edges.tolist()}


@dataclass(frozen=True)
class CauseSpecificHazards:
    """Incidences of competing causes from the log odds of each in intervals of its own."""

    edges: tuple[FloatArray, ...]
    name: ClassVar[str] = "cause_specific_hazards"
    timed: ClassVar[bool] = True

    @property
    def outcomes(self) -> int:
        return len(self.edges)

    @property
    def scores(self) -> int:
        """Return the number of intervals of all causes."""
        return sum(map(len, self.edges))

    @cached_property
    def union(self) -> FloatArray:
        """Return the ends, in months, of the intervals in which no cause's hazard changes."""
        return np.unique(np.concatenate(self.edges))

    def at(self, times: FloatArray) -> Steps:
        """Return the transform at some times; incidences are flat beyond the last interval."""
        starts = np.cumsum([0, *map(len, self.edges)])
        own, share = np.empty((2, len(self.edges), len(self.union)))
        for cause, edges in enumerate(self.edges):
            place = np.minimum(np.searchsorted(edges, self.union), len(edges) - 1)
            passed = np.diff(exposure(edges, self.union), axis=0, prepend=0.0)
            own[cause], share[cause] = starts[cause] + place, passed[np.arange(len(place)), place]
        return Steps(INCIDENCE, exposure(self.union, times), own.astype(np.int64), share)

    def check(self) -> None:
        """Raise ValueError where there are no two causes or the edges do not rise from above zero."""
        if len(self.edges) < 2:
            raise ValueError("causes are not as they must be")
        for edges in self.edges:
            _require_edges(edges)

    def as_dict(self) -> dict[str, Any]:
        """Return each cause's edges."""
        return {"name": self.name, "edges": [edges.tolist() for edges in self.edges]}


@dataclass(frozen=True)
class NestedOdds:
    """Probabilities of nested outcomes from the log odds of each among those who have the next broader."""

    outcomes: int
    name: ClassVar[str] = "nested_odds"
    timed: ClassVar[bool] = False

    @property
    def scores(self) -> int:
        return self.outcomes

    def at(self, times: FloatArray) -> Steps:
        """Return the transform; times do not matter."""
        broader = np.triu(np.ones((self.outcomes, self.outcomes)))
        return Steps(NESTED, broader, np.zeros((1, 1), dtype=np.int64), np.ones((1, 1)))

    def check(self) -> None:
        """Raise ValueError where there is no outcome."""
        if self.outcomes < 1:
            raise ValueError("outcomes are not as they must be")

    def as_dict(self) -> dict[str, Any]:
        """Return the number of outcomes."""
        return {"name": self.name, "outcomes": self.outcomes}


def read_transform(stored: Mapping[str, Any]) -> Transform:
    """Read what a transform's ``as_dict`` wrote."""
    if stored["name"] == IntervalHazards.name:
        return IntervalHazards(np.array(stored["edges"]))
    if stored["name"] == CauseSpecificHazards.name:
        return CauseSpecificHazards(tuple(np.array(edges) for edges in stored["edges"]))
    if stored["name"] == NestedOdds.name:
        return NestedOdds(int(stored["outcomes"]))
    raise ValueError(f"no transform is called {stored['name']}")


def probabilities(transform: Transform, scores: FloatArray, times: FloatArray) -> FloatArray:
    """Return probabilities, shape (patients, outcomes, times); one time where they do not depend on it."""
    return probabilities_after(transform.at(times), scores)


def probabilities_after(steps: Steps, scores: FloatArray) -> FloatArray:
    """Return the same by a transform at times that are settled."""
    outcomes = steps.lived.shape[0] if steps.kind == NESTED else len(steps.score)
    out = np.empty((len(scores), outcomes, 1 if steps.kind == NESTED else len(steps.lived)))
    follow(steps, np.ascontiguousarray(scores), out)
    return out


def exposure(edges: FloatArray, times: FloatArray) -> FloatArray:
    """Return the share of each interval lived through by each time, shape (times, intervals).

    >>> exposure(np.array([1.0, 3.0]), np.array([0.5, 2.0, 9.0])).tolist()
    [[0.5, 0.0], [1.0, 0.5], [1.0, 1.0]]
    """
    starts = np.concatenate([[0.0], edges[:-1]])
    lived: FloatArray = np.clip((times[:, None] - starts) / (edges - starts), 0.0, 1.0)
    return lived


def _require_edges(edges: FloatArray) -> None:
    rising = edges.ndim == 1 and len(edges) > 0 and edges[0] > 0.0 and bool((np.diff(edges) > 0.0).all())
    if not rising or not np.isfinite(edges).all():
        raise ValueError("edges are not as they must be")
