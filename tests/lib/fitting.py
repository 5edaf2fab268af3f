"""A small fit for tests: the real procedure on few patients."""

from features.censoring import Outcome
from features.cohort import Cohort
from features.endpoints import overall_survival
from models.bundle import ModelBundle, strata
from tests.lib.patients import protocol
from training.evaluate import Evaluation, evaluate, predict_held_out
from training.fit import bundle_from, fit_model
from training.plan import TrainingPlan
from training.report import model_card
from training.split import split_by_patient

PLAN = TrainingPlan(seed=3, evaluation_folds=3, inner_folds=3, bootstrap=20, background=40)


def small_evaluation(cohort: Cohort) -> tuple[Outcome, Evaluation]:
    """Evaluate the procedure on held-out patients of a small cohort."""
    study = protocol()
    outcome = overall_survival(cohort)
    split = split_by_patient(
        strata(cohort, study.diseases), outcome, folds=PLAN.evaluation_folds, seed=PLAN.seed
    )
    held_out = predict_held_out(cohort, outcome, split, protocol=study, plan=PLAN)
    return outcome, evaluate(held_out, protocol=study, plan=PLAN)


def small_bundle(cohort: Cohort) -> ModelBundle:
    """Fit and bundle a small cohort."""
    study = protocol()
    outcome, evaluation = small_evaluation(cohort)
    fitted = fit_model(cohort, outcome, protocol=study, plan=PLAN)
    card = model_card(cohort, outcome, evaluation, protocol=study, plan=PLAN)
    return bundle_from(fitted, cohort, outcome, protocol=study, plan=PLAN, card=card)
