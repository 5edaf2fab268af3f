"""The course of boosting: log odds and gradients of every interval that a patient entered.

A patient's intervals lie side by side, so that a patient and a range of intervals need no table to be found.
"""

from concurrent.futures import ThreadPoolExecutor
from math import nan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from models.compiled import compiled
from models.estimators.bins import Float32Array, blocks
from models.estimators.curves import IntArray
from models.estimators.hazard import PersonIntervals, baseline

Int32Array = npt.NDArray[np.int32]

SMALLEST_HESSIAN = np.float32(1e-16)


class Course(NamedTuple):
    """The person-intervals, those of a patient side by side from ``first`` (patients + 1,) on.

    ``weight`` (patients,) is the share observed of a patient's last interval, one where the ``event`` ended
    it; ``margin``, ``gradient`` and ``hessian`` have shape (person-intervals,).
    """

    intervals: int
    first: IntArray
    weight: Float32Array
    event: BoolArray
    margin: Float32Array
    gradient: Float32Array
    hessian: Float32Array

    @classmethod
    def of(
        cls, strata: IntArray, outcome: Outcome, edges: FloatArray, base: FloatArray, score: FloatArray
    ) -> "Course":
        """Start every interval that a patient entered at its base and score."""
        last, weight = last_intervals(outcome, edges)
        first = np.concatenate([[0], np.cumsum(last + 1)])
        numbers = np.zeros((3, first[-1]), dtype=np.float32)
        course = cls(len(edges), first, weight.astype(np.float32), outcome.event, *numbers)
        _start(course, strata, base, score)
        return course

    def differentiate(self, learning: BoolArray, pool: ThreadPoolExecutor) -> float:
        """Renew the gradients of those learning; return the others' mean loss, NaN if there are none."""
        parts = pool.map(lambda at: _differentiate(self, at.start, at.stop, learning), blocks(len(learning)))
        loss, weight = np.sum(list(parts), axis=0)
        return float(loss / weight) if weight > 0.0 else nan


def life_table(strata: IntArray, outcome: Outcome, *, edges: FloatArray, score: FloatArray) -> FloatArray:
    """Return :func:`models.estimators.hazard.baseline` of the person-interval table, shape (strata, intervals).

    What it needs of the table are the hazard ratios at risk and the events of each stratum and interval.
    """
    count, intervals = int(strata.max()) + 1, len(edges)
    last, weight = last_intervals(outcome, edges)
    ratio, cell = np.exp(score), strata * intervals + last
    ended, seen, events = (
        np.bincount(cell, values, count * intervals).reshape(count, intervals).astype(np.float64)
        for values in (ratio, ratio * weight, outcome.event)
    )
    stayed = ended.sum(axis=1, keepdims=True) - np.cumsum(ended, axis=1)
    rows = PersonIntervals(
        patient=np.repeat(np.arange(count), intervals),
        interval=np.tile(np.arange(intervals), count),
        weight=(stayed + seen).ravel(),
        event=events.ravel(),
    )
    return baseline(np.arange(count), rows, np.zeros(count), strata_count=count, intervals=intervals)


def last_intervals(outcome: Outcome, edges: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return each patient's last interval, and its weight: the share observed, one for an event."""
    last = np.searchsorted(edges, outcome.duration, side="left")
    starts = np.concatenate([[0.0], edges[:-1]])[last]
    lived = (outcome.duration - starts) / (edges[last] - starts)
    return last, np.where(outcome.event, 1.0, lived)


@compiled
def _start(course: Course, strata: IntArray, base: FloatArray, score: FloatArray) -> None:
    for patient in range(len(strata)):
        zero = course.first[patient]
        for row in range(zero, course.first[patient + 1]):
            course.margin[row] = base[strata[patient], row - zero] + score[patient]


@compiled
def _differentiate(course: Course, begin: int, end: int, learning: BoolArray) -> tuple[float, float]:
    """Write the log loss's derivatives of patients learning; return the others' weighted loss and weight."""
    nothing, one, loss, weights = np.float32(0.0), np.float32(1.0), 0.0, 0.0
    for patient in range(begin, end):
        last = course.first[patient + 1] - 1
        for row in range(course.first[patient], last + 1):
            weight = course.weight[patient] if row == last else one
            happened = one if row == last and course.event[patient] else nothing
            probability = one / (one + np.exp(-course.margin[row]))
            if learning[patient]:
                course.gradient[row] = (probability - happened) * weight
                course.hessian[row] = max(probability * (one - probability), SMALLEST_HESSIAN) * weight
            else:
                found = probability if happened == one else one - probability
                loss -= float(weight * np.log(max(found, SMALLEST_HESSIAN)))
                weights += float(weight)
    return loss, weights


@compiled
def sum_patients(
    course: Course,
    patients: Int32Array,
    used: BoolArray,
    start: int,
    end: int,
    own: FloatArray,
    by_time: FloatArray,
) -> None:
    """Add up each used patient's intervals of the range, and each interval's patients."""
    for at in range(len(patients)):
        patient = patients[at]
        own[at] = 0.0
        if not used[patient]:
            continue
        zero = course.first[patient]
        for row in range(zero + start, min(zero + end, course.first[patient + 1])):
            own[at, 0] += course.gradient[row]
            own[at, 1] += course.hessian[row]
            by_time[row - zero, 0] += course.gradient[row]
            by_time[row - zero, 1] += course.hessian[row]


@compiled
def add_leaf(course: Course, patients: Int32Array, start: int, end: int, value: float) -> None:
    """Add a leaf's value to its person-intervals."""
    step = np.float32(value)
    for patient in patients:
        zero = course.first[patient]
        for row in range(zero + start, min(zero + end, course.first[patient + 1])):
            course.margin[row] += step
