"""One training run: from a cohort to a registered model."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from features.cohort import Cohort
from features.protocol import StudyProtocol
from models.registry.settings import RegistrySettings
from training.evaluate import evaluate, predict_held_out
from training.fit import bundle_from, fit_models, read_outcomes
from training.gate import judge
from training.plan import TrainingPlan
from training.report import model_card, sample_sizes, size_warnings
from training.scope import in_scope, with_every_disease
from training.split import split_for
from training.support import require_support
from training.workers import IN_THIS_PROCESS, Workers

if TYPE_CHECKING:
    from training.registration import Registered


def train(
    cohort: Cohort,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
    settings: RegistrySettings,
    workers: Workers = IN_THIS_PROCESS,
    report_progress: Callable[[str], None] = lambda _: None,
    report_warning: Callable[[str], None] = lambda _: None,
) -> "Registered":
    """Fit, evaluate on held-out patients, track, judge and register; promote when the gate is passed.

    While models are fitted a thread loads MLflow and prepares its store. Whatever the ``workers``, the same
    cohort and plan give the same bundle.

    Raises:
        InvalidCohort: when the cohort does not fit the protocol or a disease is not followed to a horizon;
            then nothing has been fitted or written.
        NotFittable: when an endpoint has too few events to learn from.
        WorkerLost: when a worker process ended before its fit was done.

    """
    cohort = with_every_disease(in_scope(cohort, protocol), protocol)
    outcomes = read_outcomes(cohort, protocol)
    notes = require_support(cohort, outcomes, protocol=protocol, at_risk=plan.smallest_at_risk)
    for warning in (*notes, *size_warnings(sample_sizes(cohort, outcomes, protocol=protocol))):
        report_warning(warning)
    split = split_for(cohort, outcomes, protocol=protocol, plan=plan)

    def report_fold(done: int) -> None:
        report_progress(f"evaluating on held-out patients: {done} of {split.folds} folds done")

    with ThreadPoolExecutor(1) as aside:
        store = aside.submit(_prepare_store, settings)
        report_fold(0)
        fit = workers.start(
            fit_models, cohort, outcomes, protocol=protocol, plan=plan
        )  # first, as it is longest
        held_out = predict_held_out(
            cohort, outcomes, split, protocol=protocol, plan=plan, workers=workers, advance=report_fold
        )
        evaluation = evaluate(held_out, protocol=protocol, plan=plan)
        report_progress("fitting on everyone")
        fitted = fit()
        card = model_card(cohort, outcomes, evaluation, protocol=protocol, plan=plan)
        bundle = bundle_from(fitted, cohort, outcomes, protocol=protocol, plan=plan, card=card)
        report_progress("tracking and registering")
        store.result()
    from training.registration import register  # noqa: PLC0415  loads MLflow, as the thread has by now

    return register(bundle, cohort, evaluation, judge(evaluation), fitted.tuned, plan=plan, settings=settings)


def _prepare_store(settings: RegistrySettings) -> None:
    from models.registry.tracking import prepare_store  # noqa: PLC0415  loads MLflow, which takes seconds

    prepare_store(settings)
