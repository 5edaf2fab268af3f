"""The boosted discrete-time hazard model, started from a Cox model.

Follow-up is cut into intervals; within one the hazard is constant, so a curve has a value at every time.
The log odds of dying in an interval are the stratum's own baseline, plus the Cox model's score, plus boosted
trees of the columns and the interval. The trees thus learn only what the Cox model misses: curved effects,
interactions and hazards that are not proportional; where they find nothing, the Cox model remains. Someone
censored inside an interval counts there with the share of it that was observed.

Assumption: censoring says nothing about prognosis given the columns.
Source: Brown, Biometrics 1975;31:863-872; Tutz and Schmid, Modeling Discrete Time-to-Event Data, 2016.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from models.cox import CoxModel
from models.curves import IntArray
from models.trees import Trees, read_trees

LARGEST_HAZARD = 0.95


@dataclass(frozen=True)
class HazardModel:
    """A fitted hazard model.

    ``edges`` are the intervals' ends in months, the first interval starting at 0; ``base`` has shape
    (strata, intervals) and holds baseline log odds; ``booster`` is xgboost's own JSON; ``start`` is the Cox
    model whose score the trees add to.
    """

    edges: FloatArray
    base: FloatArray
    booster: bytes
    start: CoxModel

    @cached_property
    def trees(self) -> Trees:
        """Return the booster as arrays."""
        return read_trees(self.booster, columns=self.start.means.shape[1], intervals=len(self.edges))

    def margins(self, X: FloatArray, strata: IntArray) -> FloatArray:
        """Return the log odds of dying in each interval, shape (patients, intervals)."""
        score = self.start.terms(X, strata).sum(axis=1, keepdims=True)
        margins: FloatArray = self.base[strata] + score + self.trees.margins(X)
        return margins

    def exposure(self, times: FloatArray) -> FloatArray:
        """Return the share of each interval lived through by each time, shape (times, intervals)."""
        return exposure(self.edges, times)

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities, shape (patients, times); flat beyond the last interval."""
        return survival_from_margins(self.margins(X, strata), self.exposure(times))

    def as_dict(self) -> dict[str, Any]:
        """Return intervals and baseline as plain JSON values; booster and start are stored beside them."""
        return {"edges": self.edges.tolist(), "base": self.base.tolist()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], *, booster: bytes, start: CoxModel) -> "HazardModel":
        """Read what :meth:`as_dict` wrote, with the booster and the Cox model beside it."""
        return cls(np.array(stored["edges"]), np.array(stored["base"]), booster, start)


@dataclass(frozen=True)
class BoostedHazard:
    """Fits :class:`HazardModel`. Without sampling, so the same data give the same booster.

    ``smallest_hessian`` and ``ridge`` act on events: xgboost's Hessian sums to about their number.
    """

    intervals: int = 20
    depth: int = 3
    learning_rate: float = 0.03
    rounds: int = 100
    smallest_hessian: float = 20.0
    ridge: float = 20.0
    threads: int = 1

    def fit(self, X: FloatArray, strata: IntArray, outcome: Outcome, *, start: CoxModel) -> HazardModel:
        """Fit on one row per patient; the person-interval table is made here."""
        import xgboost  # noqa: PLC0415  takes seconds to load and is never needed to answer

        edges = interval_edges(outcome, count=self.intervals)
        patient, interval, weight, died = person_intervals(outcome, edges)
        score = start.terms(X, strata).sum(axis=1)
        base = _baseline(strata[patient], interval, weight * np.exp(score[patient]), died, len(edges))
        data = xgboost.DMatrix(
            np.column_stack([interval, X[patient]]).astype(np.float32),
            label=died,
            weight=weight,
            base_margin=base[strata[patient], interval] + score[patient],
            nthread=self.threads,
        )
        settings = {
            "objective": "binary:logistic", "tree_method": "hist", "max_depth": self.depth,
            "eta": self.learning_rate, "min_child_weight": self.smallest_hessian, "lambda": self.ridge,
            "nthread": self.threads, "seed": 0, "base_score": 0.5,
        }  # fmt: skip
        booster = xgboost.train(settings, data, num_boost_round=self.rounds)
        return HazardModel(edges, base, bytes(booster.save_raw("json")), start)


def interval_edges(outcome: Outcome, *, count: int) -> FloatArray:
    """Return the interval ends: quantiles of the event times, then the end of follow-up."""
    inner = np.quantile(outcome.duration[outcome.event], np.arange(1, count) / count)
    return np.unique(np.append(inner, outcome.duration.max()))


def exposure(edges: FloatArray, times: FloatArray) -> FloatArray:
    """Return the share of each interval lived through by each time, shape (times, intervals).

    >>> exposure(np.array([1.0, 3.0]), np.array([0.5, 2.0, 9.0])).tolist()
    [[0.5, 0.0], [1.0, 0.5], [1.0, 1.0]]
    """
    starts = np.concatenate([[0.0], edges[:-1]])
    lived: FloatArray = np.clip((times[:, None] - starts) / (edges - starts), 0.0, 1.0)
    return lived


def person_intervals(
    outcome: Outcome, edges: FloatArray
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Return patient, interval, weight and event of every interval that a patient entered."""
    last = np.searchsorted(edges, outcome.duration, side="left")
    patient = np.repeat(np.arange(len(outcome)), last + 1)
    interval = np.arange(len(patient)) - np.repeat(np.cumsum(last + 1) - (last + 1), last + 1)
    final = interval == last[patient]
    died = (final & outcome.event[patient]).astype(np.float64)
    lived = exposure(edges, outcome.duration)[np.arange(len(outcome)), last]
    weight = np.where(final & ~outcome.event[patient], lived[patient], 1.0)
    return patient, interval, weight, died


def survival_from_margins(margins: FloatArray, exposed: FloatArray) -> FloatArray:
    """Return survival of shape (patients, times) from margins (patients, intervals) and exposure."""
    survived: FloatArray = np.exp(-np.logaddexp(0.0, margins) @ exposed.T)
    return survived


def _baseline(
    strata: IntArray, interval: IntArray, exposed: FloatArray, died: FloatArray, count: int
) -> FloatArray:
    """Return each stratum's log odds of dying per interval at a score of zero, shape (strata, intervals).

    ``exposed`` is each person-interval's weight times its hazard ratio. Where few are at risk the estimate is
    drawn to the stratum's mean, as if two more persons with the mean hazard had been followed.
    """
    base = np.empty((int(strata.max()) + 1, count))
    for stratum in range(len(base)):
        rows = strata == stratum
        at_risk = np.bincount(interval[rows], exposed[rows], count)
        deaths = np.bincount(interval[rows], died[rows], count)
        mean = deaths.sum() / at_risk.sum()
        probability = np.minimum((deaths + 2.0 * mean) / (at_risk + 2.0), LARGEST_HAZARD)
        base[stratum] = np.log(probability / (1.0 - probability))
    return base
