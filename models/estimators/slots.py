"""Rows of a regression in slots: one per patient and interval entered, or per patient and outcome judged."""

from dataclasses import dataclass

import numpy as np

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from models.estimators.curves import IntArray
from models.estimators.transforms import LARGEST_MARGIN

LARGEST_HAZARD = 0.95


@dataclass(frozen=True)
class SlotRows:
    """Whose row, in which slot, its weight, and whether the event happened; each of shape (rows,).

    ``slots`` is the number of slots; rows stand in the order of patients.
    """

    slots: int
    patient: IntArray
    slot: IntArray
    weight: FloatArray
    event: FloatArray

    def __len__(self) -> int:
        return len(self.patient)

    def take(self, rows: BoolArray) -> "SlotRows":
        """Return some of the rows."""
        return SlotRows(self.slots, self.patient[rows], self.slot[rows], self.weight[rows], self.event[rows])

    def log_likelihood(self, scores: FloatArray) -> float:
        """Return the weighted log likelihood of log odds of shape (patients, slots)."""
        return float(self.by_patient(scores).sum())

    def by_patient(self, scores: FloatArray) -> FloatArray:
        """Return each patient's share of it, shape (patients,)."""
        margin = scores[self.patient, self.slot]
        shares = self.weight * (self.event * margin - np.logaddexp(0.0, margin))
        return np.bincount(self.patient, shares, len(scores)).astype(np.float64)


def chance(margins: FloatArray) -> FloatArray:
    """Return probabilities from log odds, which are kept within 30."""
    probability: FloatArray = 1.0 / (1.0 + np.exp(-np.clip(margins, -LARGEST_MARGIN, LARGEST_MARGIN)))
    return probability


def interval_edges(outcome: Outcome, *, count: int) -> FloatArray:
    """Return the interval ends: quantiles of the event times, then the end of follow-up.

    With few events there are fewer intervals, at least four, so that each has about five.
    """
    events = outcome.duration[outcome.event]
    count = min(count, max(4, len(events) // 5))
    inner = np.quantile(events, np.arange(1, count) / count)
    return np.unique(np.append(inner, outcome.duration.max()))


def person_intervals(outcome: Outcome, edges: FloatArray) -> SlotRows:
    """Return every interval that a patient entered and of which some was observed.

    Someone censored inside an interval counts there with the share of it that was observed.
    """
    last = np.searchsorted(edges, outcome.duration, side="left")
    patient = np.repeat(np.arange(len(outcome)), last + 1)
    interval = np.arange(len(patient)) - np.repeat(np.cumsum(last + 1) - (last + 1), last + 1)
    final = interval == last[patient]
    event = (final & outcome.event[patient]).astype(np.float64)
    starts = np.concatenate([[0.0], edges[:-1]])[last]
    lived = np.clip((outcome.duration - starts) / (edges[last] - starts), 0.0, 1.0)
    weight = np.where(final & ~outcome.event[patient], lived[patient], 1.0)
    return SlotRows(len(edges), patient, interval, weight, event)


def life_table(strata: IntArray, rows: SlotRows, score: FloatArray, *, strata_count: int) -> FloatArray:
    """Return each stratum's log odds per interval at a score of zero, shape (strata, intervals).

    ``strata`` and ``score`` (patients,) are every patient's; each person-interval counts its hazard ratio.
    Where few are at risk the estimate is drawn to the stratum's mean, as if two more persons with the mean
    hazard had been followed; a stratum without events is drawn to the mean of all.
    """
    exposed = rows.weight * np.exp(score[rows.patient])
    overall = rows.event.sum() / exposed.sum()
    base = np.empty((strata_count, rows.slots))
    for stratum in range(strata_count):
        inside = strata[rows.patient] == stratum
        at_risk = np.bincount(rows.slot[inside], exposed[inside], rows.slots)
        events = np.bincount(rows.slot[inside], rows.event[inside], rows.slots)
        mean = (events.sum() + 0.5 * overall) / (at_risk.sum() + 0.5)
        probability = np.minimum((events + 2.0 * mean) / (at_risk + 2.0), LARGEST_HAZARD)
        base[stratum] = np.log(probability / (1.0 - probability))
    return base
