"""Registration: a fitted bundle is tracked in MLflow, published on the shelf, and promoted if it may be."""

import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.cohort import Cohort
from models.bundle.bundle import ModelBundle
from models.bundle.shelf import Shelf
from models.registry.settings import RegistrySettings
from models.registry.store import Registry
from models.registry.tracking import TrackedRun, environment, tracked_run
from training.evaluate import Evaluation
from training.figures import figures_of, shap_summary
from training.gate import GateVerdict
from training.plan import TrainingPlan

if TYPE_CHECKING:
    from training.tuning import TuningResult


@dataclass(frozen=True)
class Registered:
    """What a training run leaves behind."""

    name: str
    version: str
    bundle: str
    run_id: str
    evaluation: Evaluation
    verdict: GateVerdict

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "bundle": self.bundle,
            "run_id": self.run_id,
            "champion": self.verdict.passed,
            "gate": list(self.verdict.failures),
            "performance": self.evaluation.as_dict(),
        }


def register(
    bundle: ModelBundle,
    cohort: Cohort,
    evaluation: Evaluation,
    verdict: GateVerdict,
    tuned: "Mapping[str, TuningResult]",
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
        _log_trials(run, tuned)
        address = run.log_bundle(folder, bundle)
        tags = {"bundle": digest, "evidence": bundle.evidence, "cohort": bundle.cohort_fingerprint}
        tags["gate"] = "passed" if verdict.passed else "; ".join(verdict.failures)
        run.log_tags(tags)
        registry, shelf = Registry.open(settings), Shelf(settings.shelf, settings.keys)
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
            "cohort_fingerprint": bundle.cohort_fingerprint,
            "evidence": bundle.evidence,
            "python": platform.python_version(),
        }
        | {f"events.{name}": count for name, count in bundle.card.events.items()}
        | {
            f"{e.endpoint.name}.{name}": v
            for e in bundle.endpoints
            for name, v in e.model.hyperparameters.items()
        }
    )
    run.log_metrics(flat_metrics(evaluation))
    run.log_document({"cohorts": [source.as_dict() for source in cohort.provenance]}, "cohort.json")
    run.log_document(environment(), "environment.json")
    run.log_document(bundle.card.as_dict(), "card.json")
    for endpoint, evaluated in evaluation.endpoints.items():
        for name, figure in figures_of(evaluated):
            run.log_figure(figure, f"{endpoint}.{name}")
    run.log_figure(shap_summary(bundle, cohort), "shap_summary")


def _log_trials(run: TrackedRun, tuned: "Mapping[str, TuningResult]") -> None:
    """Log what a search found, and each of its trials as a run inside the run."""
    for endpoint, search in tuned.items():
        run.log_parameters({f"{endpoint}.{name}": value for name, value in search.as_dict().items()})
        for trial in search.trials:
            with run.child(f"{endpoint} trial {trial.number}") as child:
                child.log_parameters(trial.settings)
                child.log_metrics({"held_out_loss": trial.loss})


def flat_metrics(evaluation: Evaluation) -> Mapping[str, float]:
    """Return ``endpoint.group.model.metric`` with ``.low`` and ``.high`` where it has an interval."""
    return {
        f"{endpoint}.{group}.{model}.{metric}{end}": value
        for endpoint, evaluated in evaluation.endpoints.items()
        for group, models in evaluated.by_group.items()
        for model, metrics in models.items()
        for metric, estimate in metrics.items()
        for end, value in (("", estimate.value), (".low", estimate.low), (".high", estimate.high))
        if value is not None
    }
