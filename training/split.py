"""Splitting by patient: every patient is held out once, by a model that never saw them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.censoring import Outcome
from features.endpoints import CompetingOutcome, ResponseOutcome
from models.estimators.curves import IntArray
from models.estimators.folds import stratified_folds


@dataclass(frozen=True)
class Split:
    """Each patient's fold, shape (patients,)."""

    fold: IntArray
    folds: int

    def parts(self) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
        """Return (train, held out) for each fold."""
        return [(self.fold != held_out, self.fold == held_out) for held_out in range(self.folds)]


def split_by_patient(strata: IntArray, outcome: Outcome, *, folds: int, seed: int) -> Split:
    """Assign patients to folds, balanced by disease, event and length of follow-up.

    A cohort holds one row a patient, which its validation enforces, so no patient stands on both sides.
    """
    return Split(stratified_folds(strata, outcome, folds=folds, seed=seed), folds)


def as_times(outcome: Outcome | CompetingOutcome | ResponseOutcome) -> Outcome:
    """Return any outcome as times to an event: the first of competing ones; a response at time one."""
    if isinstance(outcome, CompetingOutcome):
        return outcome.any_event()
    if isinstance(outcome, ResponseOutcome):
        return Outcome(np.ones(len(outcome)), outcome.parts[-1].event & outcome.parts[-1].known)
    return outcome
