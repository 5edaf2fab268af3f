"""A small fit for tests: the real procedure on few patients."""

from features.cohort import Cohort
from features.protocol import StudyProtocol
from models.bundle.bundle import ModelBundle
from tests.lib.patients import protocol
from training.evaluate import Evaluation, evaluate, predict_held_out
from training.fit import Outcomes, bundle_from, fit_models, read_outcomes
from training.plan import TrainingPlan
from training.report import model_card
from training.split import split_for
from training.workers import IN_THIS_PROCESS, Workers

PLAN = TrainingPlan(seed=3, evaluation_folds=3, inner_folds=3, repeats=1, bootstrap=20, background=40)


def small_evaluation(
    cohort: Cohort, study: StudyProtocol | None = None, workers: Workers = IN_THIS_PROCESS
) -> tuple[Outcomes, Evaluation]:
    """Evaluate the procedure on held-out patients of a small cohort."""
    study = study or protocol()
    outcomes = read_outcomes(cohort, study)
    split = split_for(cohort, outcomes, protocol=study, plan=PLAN)
    held_out = predict_held_out(cohort, outcomes, split, protocol=study, plan=PLAN, workers=workers)
    return outcomes, evaluate(held_out, protocol=study, plan=PLAN)


def small_bundle(cohort: Cohort, study: StudyProtocol | None = None) -> ModelBundle:
    """Fit and bundle a small cohort."""
    study = study or protocol()
    outcomes, evaluation = small_evaluation(cohort, study)
    fitted = fit_models(cohort, outcomes, protocol=study, plan=PLAN)
    card = model_card(cohort, outcomes, evaluation, protocol=study, plan=PLAN)
    return bundle_from(fitted, cohort, outcomes, protocol=study, plan=PLAN, card=card)
