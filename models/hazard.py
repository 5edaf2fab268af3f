"""The boosted discrete-time hazard model.

Follow-up is cut into intervals; within one the hazard is constant, so a curve has a value at every time.
The log odds of dying in an interval are the stratum's own life-table log odds plus boosted trees of the
columns and the interval, so hazards need not be proportional. Someone censored inside an interval counts
there with the share of it that was observed.

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
from models.survival import IntArray
from models.trees import Trees, read_trees

LARGEST_MARGIN = 15.0


@dataclass(frozen=True)
class HazardModel:
    """A fitted hazard model.

    ``edges`` are the intervals' ends in months, the first interval starting at 0; ``base`` has shape
    (strata, intervals) and holds life-table log odds; ``booster`` is xgboost's own JSON.
    """

    edges: FloatArray
    base: FloatArray
    booster: bytes
    columns: int

    @cached_property
    def trees(self) -> Trees:
        """Return the booster as arrays."""
        return read_trees(self.booster, columns=self.columns, intervals=len(self.edges))

    def margins(self, X: FloatArray, strata: IntArray) -> FloatArray:
        """Return the log odds of dying in each interval, shape (patients, intervals)."""
        return np.clip(self.base[strata] + self.trees.margins(X), -LARGEST_MARGIN, LARGEST_MARGIN)

    def exposure(self, times: FloatArray) -> FloatArray:
        """Return the share of each interval lived through by each time, shape (times, intervals)."""
        return exposure(self.edges, times)

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities, shape (patients, times); flat beyond the last interval."""
        return survival_from_margins(self.margins(X, strata), self.exposure(times))

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the booster as plain JSON values."""
        return {"edges": self.edges.tolist(), "base": self.base.tolist(), "columns": self.columns}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], *, booster: bytes) -> "HazardModel":
        """Read what :meth:`as_dict` wrote, with the booster beside it."""
        return cls(np.array(stored["edges"]), np.array(stored["base"]), booster, stored["columns"])


@dataclass(frozen=True)
class BoostedHazard:
    """Fits :class:`HazardModel`. Without sampling, so the same data give the same booster."""

    intervals: int = 20
    depth: int = 3
    learning_rate: float = 0.04
    rounds: int = 150
    smallest_hessian: float = 8.0
    ridge: float = 5.0
    threads: int = 1

    def fit(self, X: FloatArray, strata: IntArray, outcome: Outcome) -> HazardModel:
        """Fit on one row per patient; the person-interval table is made here."""
        import xgboost  # noqa: PLC0415  takes seconds to load and is never needed to answer

        edges = interval_edges(outcome, count=self.intervals)
        patient, interval, weight, died = person_intervals(outcome, edges)
        base = _life_table_log_odds(strata, patient, interval, weight, died, len(edges))
        rows = np.column_stack([interval, X[patient]]).astype(np.float32)
        data = xgboost.DMatrix(
            rows, label=died, weight=weight, base_margin=base[strata[patient], interval], nthread=self.threads
        )
        settings = {
            "objective": "binary:logistic", "tree_method": "hist", "max_depth": self.depth,
            "eta": self.learning_rate, "min_child_weight": self.smallest_hessian, "lambda": self.ridge,
            "nthread": self.threads, "seed": 0, "base_score": 0.5,
        }  # fmt: skip
        booster = xgboost.train(settings, data, num_boost_round=self.rounds)
        return HazardModel(edges, base, bytes(booster.save_raw("json")), X.shape[1])


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
    return np.clip((times[:, None] - starts) / (edges - starts), 0.0, 1.0)


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


def _life_table_log_odds(
    strata: IntArray, patient: IntArray, interval: IntArray, weight: FloatArray, died: FloatArray, count: int
) -> FloatArray:
    """Return each stratum's log odds of dying per interval, drawn to its mean where few are at risk."""
    base = np.empty((int(strata.max()) + 1, count))
    for stratum in range(len(base)):
        rows = strata[patient] == stratum
        at_risk = np.bincount(interval[rows], weight[rows], count)
        deaths = np.bincount(interval[rows], died[rows], count)
        mean = deaths.sum() / at_risk.sum()
        hazard = (deaths + 2.0 * mean) / (at_risk + 2.0)
        base[stratum] = np.log(hazard / (1.0 - hazard))
    return base
