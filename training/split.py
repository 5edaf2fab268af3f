"""Splitting by patient: every patient is held out once, by a model that never saw them."""

from dataclasses import dataclass

from features.censoring import BoolArray, Outcome
from features.cohort import Cohort
from features.endpoints import ENDPOINTS
from features.protocol import StudyProtocol
from models.bundle.bundle import strata
from models.estimators.curves import IntArray
from models.estimators.folds import stratified_folds
from training.fit import Outcomes
from training.kinds.registry import kind_of
from training.plan import TrainingPlan


@dataclass(frozen=True)
class PatientSplit:
    """Each patient's fold, shape (patients,)."""

    fold: IntArray
    folds: int

    def parts(self) -> list[tuple[BoolArray, BoolArray]]:
        """Return (train, held out) for each fold."""
        return [(self.fold != held_out, self.fold == held_out) for held_out in range(self.folds)]


def split_by_patient(strata: IntArray, outcome: Outcome, *, folds: int, seed: int) -> PatientSplit:
    """Assign patients to folds, balanced by disease, event and length of follow-up.

    A cohort holds one row a patient, which its validation enforces, so no patient stands on both sides.
    """
    return PatientSplit(stratified_folds(strata, outcome, folds=folds, seed=seed), folds)


def split_for(
    cohort: Cohort, outcomes: Outcomes, *, protocol: StudyProtocol, plan: TrainingPlan
) -> PatientSplit:
    """Assign patients to the plan's evaluation folds, balanced by the leading endpoint."""
    leading = ENDPOINTS[protocol.endpoints[0]]
    return split_by_patient(
        strata(cohort, protocol.diseases),
        kind_of(leading).times(outcomes[leading.name]),
        folds=plan.evaluation_folds,
        seed=plan.seed,
    )
