"""Cross-fitting any estimator by refitting it without each fold in turn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from features.dictionary import FloatArray
from features.endpoints import EndpointOutcome
from models.estimators.curves import IntArray
from models.estimators.interface import CrossFit, Model

M = TypeVar("M", bound=Model)
O = TypeVar("O", bound=EndpointOutcome)  # noqa: E741  the outcome


@dataclass(frozen=True)
class HeldOutRefits:
    """Predictions of training patients by the refits that never saw them.

    ``folds`` holds each repeat's fold of each patient, (patients,); the members stand repeat by repeat.
    """

    members: Sequence[Model]
    folds: Sequence[IntArray]
    X: FloatArray
    strata: IntArray

    def probabilities(self, rows: IntArray, times: FloatArray) -> FloatArray:
        """Return the mean probabilities of some patients over repeats, shape (rows, outcomes, times)."""
        total: FloatArray | None = None
        each = len(self.members) // len(self.folds)
        for repeat, fold in enumerate(self.folds):
            for out in range(each):
                inside = np.flatnonzero(fold[rows] == out)
                if not inside.size:
                    continue
                some = rows[inside]
                predicted = self.members[repeat * each + out].predict(self.X[some], self.strata[some], times)
                total = np.zeros((len(rows), *predicted.shape[1:])) if total is None else total
                total[inside] += predicted / len(self.folds)
        return np.empty((0, 0, len(times))) if total is None else total


def cross_fit_by_refitting(
    fit: Callable[[FloatArray, IntArray, O], M],
    X: FloatArray,
    strata: IntArray,
    outcome: O,
    *,
    folds: Sequence[IntArray],
) -> CrossFit[M]:
    """Fit on everyone, and again without each fold; ``folds`` has one array (patients,) a repeat."""
    count = int(folds[0].max()) + 1
    members = tuple(
        fit(X[kept], strata[kept], outcome.take(kept))  # type: ignore[arg-type]
        for fold in folds
        for kept in (np.flatnonzero(fold != out) for out in range(count))
    )
    held_out = HeldOutRefits(members, folds, X, strata)
    return CrossFit(fit(X, strata, outcome), members, held_out, 1.0 / count)
