"""Nested outcomes as a regression: who is judged by which outcome, and scores that are sums of columns.

Each outcome is judged among those who have the next broader one; models/estimators/response.py says how
probabilities follow from the scores.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from features.censoring import BoolArray
from features.dictionary import FloatArray
from features.endpoints import ResponseOutcome
from features.errors import InvalidInput, NotFittable, Problem
from models.estimators.blending import stratum_means
from models.estimators.cox import MOST_DEVIATIONS
from models.estimators.curves import IntArray
from models.estimators.slots import SlotRows, chance

POOLING, ALMOST_FREE = 1.0, 0.01
FEW_PATIENTS = 10.0


@dataclass(frozen=True)
class NestedData:
    """Everyone's columns, as they are and standardised with missing values at zero, and their rows.

    ``reached`` is one number for each pattern of outcomes had and not had.
    """

    names: tuple[str, ...]
    X: FloatArray
    Z: FloatArray
    means: FloatArray
    scales: FloatArray
    strata: IntArray
    rows: SlotRows
    reached: IntArray

    @classmethod
    def prepare(cls, X: FloatArray, strata: IntArray, outcome: ResponseOutcome) -> "NestedData":
        """Read who is judged by what; the columns are standardised within their stratum.

        Raises:
            InvalidInput: infinite values, or patients with an outcome but without a broader one.

        """
        _require_finite(X)
        has, lacks = _implied(outcome)
        means = stratum_means(X, strata)
        centred = np.nan_to_num(X - means[strata], nan=0.0)
        scales = _scales(centred, np.maximum((~np.isnan(X)).sum(axis=0), 1))
        reached = has.sum(axis=1) * (len(outcome.names) + 1) + lacks.sum(axis=1)
        return cls(outcome.names, X, centred / scales, means, scales, strata, _rows(has, lacks), reached)


def _implied(outcome: ResponseOutcome) -> tuple[BoolArray, BoolArray]:
    """Return who has each outcome and who is known not to, shape (patients, outcomes).

    Who has an outcome has the broader ones; who lacks one lacks the stricter ones.
    """
    known = np.stack([o.known for o in outcome.parts], axis=1)
    event = np.stack([o.event for o in outcome.parts], axis=1)
    has = np.logical_or.accumulate(known & event, axis=1)
    lacks = np.logical_or.accumulate((known & ~event)[:, ::-1], axis=1)[:, ::-1]
    if (torn := np.flatnonzero((has & lacks).any(axis=1)) + 1).size:
        remedy = "order the outcomes from the strictest to the broadest, or correct them"
        fault = "is had without a broader one"
        problem = Problem.in_rows(", ".join(outcome.names), fault, remedy, torn.tolist())
        raise InvalidInput("outcomes", [problem])
    return has, lacks


def _rows(has: BoolArray, lacks: BoolArray) -> SlotRows:
    broader = np.column_stack([has[:, 1:], np.ones(len(has), dtype=bool)])
    patient, outcome = np.nonzero(broader & (has | lacks))
    event = has[patient, outcome].astype(np.float64)
    return SlotRows(has.shape[1], patient, outcome, np.ones(len(event)), event)


def _scales(centred: FloatArray, seen: IntArray) -> FloatArray:
    """Return each column's unit of penalty: its standard deviation, more where that rests on few patients.

    A flag that k patients have rests on about k (seen / kurtosis); ten or fewer at least double the penalty.
    A column that does not vary has an infinite unit.
    """
    second, fourth = (centred**2).sum(axis=0) / seen, (centred**4).sum(axis=0) / seen
    varying = second > 1e-18 * (1.0 + (centred**2).max(axis=0, initial=0.0))
    resting = np.divide(second**2 * seen, fourth, out=np.ones(len(second)), where=varying)
    return np.where(varying, np.sqrt(second * (1.0 + FEW_PATIENTS / resting)), np.inf)


def _require_finite(X: FloatArray) -> None:
    if (rows := np.flatnonzero(np.isinf(X).any(axis=1)) + 1).size:
        problem = Problem.in_rows("X", "is infinite", "make it missing or correct it", rows.tolist())
        raise InvalidInput("columns", [problem])


@dataclass(frozen=True)
class NestedLinear:
    """A regression on standardised columns.

    ``base`` has shape (strata, outcomes), ``slopes`` (strata, outcomes, columns).
    """

    base: FloatArray
    slopes: FloatArray

    def scores(self, data: NestedData) -> FloatArray:
        """Return every patient's scores, shape (patients, outcomes)."""
        linear: FloatArray = np.einsum("rc,rsc->rs", data.Z, self.slopes[data.strata], optimize=True)
        return self.base[data.strata] + linear


class NestedRegression:
    """The penalised likelihood of a logistic regression in cells, one cell an outcome in a stratum.

    A cell's coefficients are those shared by all, its outcome's own and (see :func:`_groups`) its stratum's
    own, each with the same ridge penalty; its intercept is free but drawn weakly to the outcome's mean.
    Parameters are the intercepts (cells,) and then the coefficients (groups, columns).
    """

    def __init__(self, data: NestedData, train: BoolArray) -> None:
        self.shape = len(data.means), len(data.names)
        rows = data.rows.take(train[data.rows.patient])
        cell = data.strata[rows.patient] * self.shape[1] + rows.slot
        order = np.argsort(cell, kind="stable")
        self.Z, self.event, cell = data.Z[rows.patient[order]], rows.event[order], cell[order]
        self.groups = _groups(*self.shape, max(1, data.Z.shape[1]))
        ends = np.searchsorted(cell, np.arange(len(self.groups) + 1))
        self.cells = [slice(*pair) for pair in pairwise(ends)]
        self.pooling = _pooling(*self.shape)

    def fit(self, penalty: float, start: FloatArray | None = None) -> FloatArray:
        """Return the parameters that maximise it, by Newton's method with step halving."""
        at = np.zeros(len(self.cells) + self.groups.shape[1] * self.Z.shape[1]) if start is None else start
        value = self._value(at, penalty)
        for _ in range(50):
            gradient, hessian = self._derivatives(at, penalty)
            direction, length = np.linalg.solve(hessian, gradient), 1.0
            while (reached := self._value(at + length * direction, penalty)) < value - 1e-9:
                length /= 2
            gained, at, value = reached - value, at + length * direction, reached
            if gained < 1e-7:
                return at
        raise NotFittable("the logistic regression did not converge in 50 steps; drop a predictor")

    def linear(self, at: FloatArray) -> NestedLinear:
        """Return parameters as each cell's intercept and coefficients."""
        base, own = self._split(at)
        return NestedLinear(base.reshape(self.shape), (self.groups @ own).reshape(*self.shape, -1))

    def _split(self, at: FloatArray) -> tuple[FloatArray, FloatArray]:
        count = len(self.cells)
        return at[:count], at[count:].reshape(self.groups.shape[1], -1)

    def _margin(self, at: FloatArray) -> FloatArray:
        base, own = self._split(at)
        slopes = self.groups @ own
        return np.concatenate(
            [b + self.Z[rows] @ slope for rows, b, slope in zip(self.cells, base, slopes, strict=True)]
        )

    def _value(self, at: FloatArray, penalty: float) -> float:
        margin, (base, own) = self._margin(at), self._split(at)
        gained = self.event @ margin - np.logaddexp(0.0, margin).sum()
        return float(gained - 0.5 * base @ self.pooling @ base - 0.5 * penalty * (own**2).sum())

    def _derivatives(self, at: FloatArray, penalty: float) -> tuple[FloatArray, FloatArray]:
        """Return the gradient and the negative Hessian."""
        probability, (base, own) = chance(self._margin(at)), self._split(at)
        missed, weight = self.event - probability, probability * (1.0 - probability)
        missed_by_column = np.stack([self.Z[rows].T @ missed[rows] for rows in self.cells])
        by_column = np.stack([self.Z[rows].T @ weight[rows] for rows in self.cells])
        by_pair = np.stack([(self.Z[rows].T * weight[rows]) @ self.Z[rows] for rows in self.cells])
        total = np.array([[missed[rows].sum(), weight[rows].sum()] for rows in self.cells])
        gradient = [
            total[:, 0] - self.pooling @ base,
            (self.groups.T @ missed_by_column - penalty * own).ravel(),
        ]
        groups, size = self.groups, own.size
        slopes = np.einsum("cg,ch,cij->gihj", groups, groups, by_pair, optimize=True).reshape(size, size)
        mixed = (groups[:, :, None] * by_column[:, None, :]).reshape(len(groups), size)
        corner = np.diag(total[:, 1]) + self.pooling
        return np.concatenate(gradient), np.block(
            [[corner, mixed], [mixed.T, slopes + penalty * np.eye(size)]]
        )


def _groups(strata: int, outcomes: int, columns: int) -> FloatArray:
    """Return which groups of coefficients a cell has, shape (cells, groups): everyone's, and its own two.

    A stratum has its own only where all strata's are not too many, as in the Cox model.
    """
    cell = np.arange(strata * outcomes)
    none = np.empty((len(cell), 0))
    by_outcome = np.eye(outcomes)[cell % outcomes] if outcomes > 1 else none
    by_stratum = np.eye(strata)[cell // outcomes] if 1 < strata <= MOST_DEVIATIONS / columns else none
    return np.hstack([np.ones((len(cell), 1)), by_outcome, by_stratum])


def _pooling(strata: int, outcomes: int) -> FloatArray:
    """Return the penalty that draws an outcome's intercepts to their mean, shape (cells, cells)."""
    apart = np.eye(strata) - 1.0 / strata
    return POOLING * np.kron(apart, np.eye(outcomes)) + ALMOST_FREE * np.eye(strata * outcomes)
