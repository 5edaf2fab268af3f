"""Folds: each patient held out once, balanced by disease and outcome."""

from typing import Any

import numpy as np
import numpy.typing as npt

from features.censoring import Outcome

IntArray = npt.NDArray[np.int64]


def stratified_folds(strata: npt.NDArray[Any], outcome: Outcome, *, folds: int, seed: int) -> IntArray:
    """Return each patient's fold, balanced by stratum, event and third of follow-up.

    One row is one patient, so no patient stands in two folds.
    """
    rng = np.random.default_rng(seed)
    assigned = np.empty(len(outcome), dtype=np.int64)
    thirds = np.searchsorted(np.quantile(outcome.duration, [1 / 3, 2 / 3]), outcome.duration)
    keys = np.stack([strata, outcome.event.astype(np.int64), thirds], axis=1)
    offset = 0
    for key in np.unique(keys, axis=0):
        rows = rng.permutation(np.flatnonzero((keys == key).all(axis=1)))
        assigned[rows] = (np.arange(len(rows)) + offset) % folds
        offset += len(rows)
    return assigned
