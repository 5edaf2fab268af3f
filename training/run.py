"""One training run: from a cohort to a registered model, told in ten calls."""

import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.cohort import Cohort
from features.endpoints import ENDPOINTS
from features.protocol import StudyProtocol
from models.bundle import ModelBundle, strata
from models.registry.settings import RegistrySettings
from models.registry.store import Registry
from models.registry.tracking import TrackedRun, environment, tracked_run
from models.shelf import Shelf
from training import report
from training.evaluate import Evaluation, evaluate, predict_held_out
from training.fit import bundle_from, fit_model
from training.gate import Verdict, judge
from training.plan import TrainingPlan
from training.scope import in_scope, with_every_disease
from training.split import split_by_patient


@dataclass(frozen=True)
class Registered:
    """What a training run leaves behind."""

    name: str
    version: str
    bundle: str
    run_id: str
    evaluation: Evaluation
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """Return what was registered, and how it did, as plain JSON values."""
        return {
            "name": self.name,
            "version": self.version,
            "bundle": self.bundle,
            "run_id": self.run_id,
            "champion": self.verdict.passed,
            "gate": list(self.verdict.failures),
            "performance": self.evaluation.as_dict(),
        }


def train(
    cohort: Cohort,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
    settings: RegistrySettings,
    report_progress: Callable[[str], None] = lambda _: None,
) -> Registered:
    """Fit, evaluate on held-out patients, track, judge and register; promote when the gate is passed."""
    cohort = with_every_disease(in_scope(cohort, protocol), protocol)
    outcome = ENDPOINTS[protocol.endpoint](cohort)
    split = split_by_patient(
        strata(cohort, protocol.diseases), outcome, folds=plan.evaluation_folds, seed=plan.seed
    )
    report_progress("evaluating on held-out patients")
    held_out = predict_held_out(cohort, outcome, split, protocol=protocol, plan=plan)
    evaluation = evaluate(held_out, protocol=protocol, plan=plan)
    report_progress("fitting on everyone")
    fitted = fit_model(cohort, outcome, protocol=protocol, plan=plan)
    card = report.model_card(cohort, outcome, evaluation, protocol=protocol, plan=plan)
    bundle = bundle_from(fitted, cohort, outcome, protocol=protocol, plan=plan, card=card)
    report_progress("tracking and registering")
    return _register(bundle, cohort, evaluation, judge(evaluation), plan=plan, settings=settings)


def _register(
    bundle: ModelBundle,
    cohort: Cohort,
    evaluation: Evaluation,
    verdict: Verdict,
    *,
    plan: TrainingPlan,
    settings: RegistrySettings,
) -> Registered:
    """Log everything, register the bundle, publish it, and promote it when the verdict allows."""
    name = bundle.card.name
    with (
        tempfile.TemporaryDirectory() as scratch,
        tracked_run(settings, experiment=bundle.protocol.name) as run,
    ):
        folder = Path(scratch) / "bundle"
        digest = bundle.write(folder)
        _log(run, bundle, cohort, evaluation, plan=plan)
        address = run.log_bundle(folder, bundle)
        tags = {"bundle": digest, "evidence": bundle.evidence, "cohort": bundle.cohort_fingerprint}
        tags["gate"] = "passed" if verdict.passed else "; ".join(verdict.failures)
        run.log_tags(tags)
        registry, shelf = Registry.open(settings), Shelf(settings.shelf)
        version = registry.register(name, address, run_id=run.id, tags=tags)
        shelf.publish(name, version, folder)
        if verdict.passed:
            registry.promote(name, version)
            shelf.promote(name, version)
    return Registered(name, version, digest, run.id, evaluation, verdict)


def _log(
    run: TrackedRun, bundle: ModelBundle, cohort: Cohort, evaluation: Evaluation, *, plan: TrainingPlan
) -> None:
    run.log_parameters(
        plan.as_dict()
        | {
            "protocol": bundle.protocol.name,
            "patients": bundle.card.patients,
            "events": bundle.card.events,
            "cohort_fingerprint": bundle.cohort_fingerprint,
            "evidence": bundle.evidence,
            "python": platform.python_version(),
        }
        | dict(bundle.model.chosen)
    )
    run.log_metrics(flat_metrics(evaluation))
    run.log_document({"cohorts": [source.as_dict() for source in cohort.provenance]}, "cohort.json")
    run.log_document(environment(), "environment.json")
    run.log_document(bundle.card.as_dict(), "card.json")
    run.log_figure(report.survival_by_risk_group(evaluation), "survival_by_risk_group")
    run.log_figure(report.calibration_plot(evaluation), "calibration")
    run.log_figure(report.shap_summary(bundle, cohort), "shap_summary")


def flat_metrics(evaluation: Evaluation) -> Mapping[str, float]:
    """Return ``group.model.metric`` with ``.low`` and ``.high`` beside it where there is an interval."""
    return {
        f"{group}.{model}.{metric}{end}": value
        for group, models in evaluation.by_group.items()
        for model, metrics in models.items()
        for metric, estimate in metrics.items()
        for end, value in (("", estimate.value), (".low", estimate.low), (".high", estimate.high))
        if value is not None
    }
