"""Discrete-time hazards: follow-up cut into intervals, in each the log odds of the event as a sum.

The log odds of an interval are the disease's own baseline, plus a linear score of the columns, plus boosted
trees of the columns and the interval. The trees learn curved effects, interactions and hazards that are not
proportional; a hazard may fall to nearly nothing, so that a cured fraction remains. Within an interval the
hazard is constant, so a curve has a value at every time. Someone censored inside an interval counts there
with the share of it that was observed.

Assumption: censoring says nothing about prognosis given the columns.
Source: Brown, Biometrics 1975;31:863-872; Tutz and Schmid, Modeling Discrete Time-to-Event Data, 2016.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from models.estimators.curves import IntArray
from models.estimators.interface import Parts
from models.explanation.aumann_shapley import LARGEST_MARGIN, Sums, survive
from models.trees.ensemble import Trees

LARGEST_HAZARD = 0.95


@dataclass(frozen=True)
class HazardModel:
    """A fitted hazard model of one event: the probability of being free of it.

    ``edges`` are the intervals' ends in months, the first interval starting at 0; ``base`` has shape
    (strata, intervals) and holds baseline log odds; ``means`` and ``coefficients`` (strata, columns) are the
    linear score's, a missing value standing at the stratum's mean; ``chosen`` names what the fit chose.
    """

    outcome: str
    edges: FloatArray
    base: FloatArray
    means: FloatArray
    coefficients: FloatArray
    trees: Trees
    chosen: Mapping[str, float]

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Return the one outcome's name."""
        return (self.outcome,)

    @property
    def timed(self) -> bool:
        """Tell that the probability depends on time."""
        return True

    def terms(self, X: FloatArray, strata: IntArray) -> FloatArray:
        """Return each column's share of the linear score, shape (patients, columns)."""
        return linear_terms(X, strata, self.means, self.coefficients)

    def scores(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return the log odds of the event in each interval, shape (patients, intervals)."""
        linear = self.terms(X, strata).sum(axis=1, keepdims=True)
        margins: FloatArray = self.base[strata] + linear + self.trees.margins(X)
        return margins

    def score_changes(self, X: FloatArray, strata: IntArray, columns: Sequence[int]) -> FloatArray:
        """Return by how much scores of rows that differ in these columns alone differ from the first's."""
        linear = self.terms(X, strata)[:, columns].sum(axis=1)
        changes: FloatArray = (linear - linear[0])[:, None] + self.trees.changes(X, columns)
        return changes

    def parts(self, X: FloatArray, strata: IntArray, times: FloatArray) -> Parts:
        """Return the log odds split by column: linear terms exactly, trees by exact TreeSHAP."""
        columns = self.trees.contributions(X) + self.terms(X, strata)[:, None, :]
        return Parts(columns, self.base[strata], self.trees.expected())

    @cached_property
    def sums(self) -> Sums:
        """Return what the log odds are sums of, besides the trees."""
        unit = np.ones(len(self.edges))
        return Sums(self.means, self.coefficients[:, None, :], self.base, unit, self.trees.expected())

    def probabilities(self, scores: FloatArray, times: FloatArray) -> FloatArray:
        """Return survival, shape (patients, 1, times); flat beyond the last interval."""
        return survival_from_margins(scores, self.exposure(times))[:, None, :]

    def slopes(self, scores: FloatArray, times: FloatArray) -> FloatArray:
        """Return the derivatives of survival, shape (patients, 1, times, intervals)."""
        lived = self.exposure(times)
        survival = survival_from_margins(scores, lived)
        falls: FloatArray = -survival[:, :, None] * lived * chance(scores)[:, None, :]
        return falls[:, None]

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities, shape (patients, times)."""
        return survival_from_margins(self.scores(X, strata, times), self.exposure(times))

    def exposure(self, times: FloatArray) -> FloatArray:
        """Return the share of each interval lived through by each time, shape (times, intervals)."""
        return exposure(self.edges, times)

    def files(self) -> Mapping[str, bytes]:
        """Return the model as two files; the same model gives the same bytes."""
        plain = {
            "outcome": self.outcome,
            "edges": self.edges.tolist(),
            "base": self.base.tolist(),
            "means": self.means.tolist(),
            "coefficients": self.coefficients.tolist(),
            "chosen": dict(self.chosen),
        }
        return {
            "hazard.json": json.dumps(plain, indent=1, allow_nan=False).encode(),
            "trees.npz": self.trees.to_bytes(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "HazardModel":
        """Read what :meth:`files` wrote."""
        stored = json.loads(files["hazard.json"])
        return cls(
            stored["outcome"],
            edges=np.array(stored["edges"]),
            base=np.array(stored["base"]),
            means=np.array(stored["means"]),
            coefficients=np.array(stored["coefficients"]),
            trees=Trees.from_bytes(files["trees.npz"]),
            chosen=stored["chosen"],
        )


@dataclass(frozen=True)
class BoostedHazard:
    """How xgboost boosts the trees of a hazard model, with plain logistic loss.

    ``smallest_hessian`` and ``ridge`` act on events: xgboost's Hessian sums to about their number. With
    ``patience`` boosting stops when the held-out loss has not fallen for that many rounds. ``parallel`` trees
    a round, each on a share of the rows and, at every split, of the columns, make a boosted forest.
    """

    depth: int = 3
    learning_rate: float = 0.03
    rounds: int = 400
    smallest_hessian: float = 10.0
    ridge: float = 10.0
    parallel: int = 1
    row_share: float = 1.0
    column_share: float = 1.0
    patience: int = 30
    threads: int = 1

    def settings(self, seed: int) -> dict[str, object]:
        """Return xgboost's settings."""
        return {
            "objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist",
            "max_depth": self.depth, "eta": self.learning_rate, "min_child_weight": self.smallest_hessian,
            "lambda": self.ridge, "num_parallel_tree": self.parallel, "subsample": self.row_share,
            "colsample_bynode": self.column_share, "nthread": self.threads, "seed": seed, "base_score": 0.5,
        }  # fmt: skip


@dataclass(frozen=True)
class PersonIntervals:
    """One row per interval that a patient entered: whose, which, its weight, whether the event fell in it.

    Each array has shape (person-intervals,).
    """

    patient: IntArray
    interval: IntArray
    weight: FloatArray
    event: FloatArray

    def take(self, rows: BoolArray) -> "PersonIntervals":
        """Return these rows."""
        return PersonIntervals(self.patient[rows], self.interval[rows], self.weight[rows], self.event[rows])


def interval_edges(outcome: Outcome, *, count: int) -> FloatArray:
    """Return the interval ends: quantiles of the event times, then the end of follow-up.

    With few events there are fewer intervals, at least four, so that each has about five.
    """
    events = outcome.duration[outcome.event]
    count = min(count, max(4, len(events) // 5))
    inner = np.quantile(events, np.arange(1, count) / count)
    return np.unique(np.append(inner, outcome.duration.max()))


def exposure(edges: FloatArray, times: FloatArray) -> FloatArray:
    """Return the share of each interval lived through by each time, shape (times, intervals).

    >>> exposure(np.array([1.0, 3.0]), np.array([0.5, 2.0, 9.0])).tolist()
    [[0.5, 0.0], [1.0, 0.5], [1.0, 1.0]]
    """
    starts = np.concatenate([[0.0], edges[:-1]])
    lived: FloatArray = np.clip((times[:, None] - starts) / (edges - starts), 0.0, 1.0)
    return lived


def person_intervals(outcome: Outcome, edges: FloatArray) -> PersonIntervals:
    """Return every interval that a patient entered and of which some was observed."""
    last = np.searchsorted(edges, outcome.duration, side="left")
    patient = np.repeat(np.arange(len(outcome)), last + 1)
    interval = np.arange(len(patient)) - np.repeat(np.cumsum(last + 1) - (last + 1), last + 1)
    final = interval == last[patient]
    event = (final & outcome.event[patient]).astype(np.float64)
    lived = exposure(edges, outcome.duration)[np.arange(len(outcome)), last]
    weight = np.where(final & ~outcome.event[patient], lived[patient], 1.0)
    return PersonIntervals(patient, interval, weight, event)


def survival_from_margins(margins: FloatArray, exposed: FloatArray) -> FloatArray:
    """Return survival of shape (patients, times) from margins (patients, intervals) and exposure."""
    survived = np.empty((len(margins), len(exposed)))
    survive(np.ascontiguousarray(margins), np.ascontiguousarray(exposed), survived)
    return survived


def chance(margins: FloatArray) -> FloatArray:
    """Return the probability of the event in an interval entered, from its log odds."""
    found: FloatArray = 1.0 / (1.0 + np.exp(-np.clip(margins, -LARGEST_MARGIN, LARGEST_MARGIN)))
    return found


def linear_terms(X: FloatArray, strata: IntArray, means: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Return each column's share of a linear score, shape (patients, columns); zero where missing."""
    centred = X - means[strata]
    terms: FloatArray = np.where(np.isnan(centred), 0.0, centred) * coefficients[strata]
    return terms


def baseline(
    strata: IntArray, rows: PersonIntervals, score: FloatArray, *, strata_count: int, intervals: int
) -> FloatArray:
    """Return each stratum's log odds per interval at a score of zero, shape (strata, intervals).

    ``strata`` and ``score`` (patients,) are every patient's; each person-interval counts its hazard ratio.
    Where few are at risk the estimate is drawn to the stratum's mean, as if two more persons with the mean
    hazard had been followed; a stratum without events is drawn to the mean of all.
    """
    exposed = rows.weight * np.exp(score[rows.patient])
    overall = rows.event.sum() / exposed.sum()
    base = np.empty((strata_count, intervals))
    for stratum in range(strata_count):
        inside = strata[rows.patient] == stratum
        at_risk = np.bincount(rows.interval[inside], exposed[inside], intervals)
        events = np.bincount(rows.interval[inside], rows.event[inside], intervals)
        mean = (events.sum() + 0.5 * overall) / (at_risk.sum() + 0.5)
        probability = np.minimum((events + 2.0 * mean) / (at_risk + 2.0), LARGEST_HAZARD)
        base[stratum] = np.log(probability / (1.0 - probability))
    return base
