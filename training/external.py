"""External evaluation: a registered model on a cohort of somebody else."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.cohort import Cohort
from features.endpoints import ENDPOINTS
from features.errors import InvalidCohort, Problem
from features.protocol import StudyProtocol
from models.bundle.bundle import ModelBundle
from models.bundle.reading import read_bundle
from models.registry.settings import RegistrySettings
from models.registry.store import Registry
from models.registry.tracking import tracked_run
from training.evaluate import groups_of, scale_of, scored_times
from training.kinds.registry import kind_of
from training.plan import TrainingPlan
from training.scope import in_scope
from training.scoring import FEWEST_EVENTS, Estimate


@dataclass(frozen=True)
class ExternalEvaluation:
    """A registered version's metrics on a cohort; ``seen`` when the model was trained on this very cohort."""

    version: str
    seen: bool
    endpoints: Mapping[str, Mapping[str, Mapping[str, Estimate]]]

    def as_dict(self) -> dict[str, Any]:
        return {
            endpoint: {
                group: {metric: e.as_dict() for metric, e in scores.items()}
                for group, scores in groups.items()
            }
            for endpoint, groups in self.endpoints.items()
        }


def evaluate_registered(
    name: str,
    version: str | None,
    *,
    read: Callable[[StudyProtocol], Cohort],
    settings: RegistrySettings,
    plan: TrainingPlan | None = None,
) -> ExternalEvaluation:
    """Fetch the version, score it on the cohort, and track the scores.

    Raises:
        NotFound: when there is no such model or version.
        InvalidCohort: when the cohort does not fit the model's protocol.

    """
    plan = plan or TrainingPlan()
    registry = Registry.open(settings)
    version = version or registry.champion(name)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = read_bundle(registry.download(name, version, Path(scratch)))
    cohort = in_scope(read(bundle.protocol), bundle.protocol)
    _require_events(cohort, bundle.protocol)
    by_endpoint = {name: _scored(bundle, cohort, name, plan) for name in bundle.protocol.endpoints}
    seen = cohort.fingerprint() == bundle.cohort_fingerprint
    with tracked_run(settings, experiment=bundle.protocol.name) as run:
        run.log_tags({"evaluated": f"{name}/{version}", "seen_in_training": str(seen).lower()})
        run.log_parameters({"cohort_fingerprint": cohort.fingerprint(), "patients": len(cohort)})
        run.log_metrics(
            {
                f"{endpoint}.{group}.{metric}": e.value
                for endpoint, groups in by_endpoint.items()
                for group, metrics in groups.items()
                for metric, e in metrics.items()
                if e.value is not None
            }
        )
    return ExternalEvaluation(version, seen, by_endpoint)


def _require_events(cohort: Cohort, protocol: StudyProtocol) -> None:
    """Raise InvalidCohort, naming every endpoint at fault, where there are too few events to judge by."""
    kinds = [kind_of(ENDPOINTS[name]) for name in protocol.endpoints]
    few = [k for k in kinds if k.times(k.endpoint.read(cohort)).event.sum() < FEWEST_EVENTS]
    if few:
        remedy = f"give a cohort with at least {FEWEST_EVENTS}"
        events = "events are too few to judge a model by"
        raise InvalidCohort("cohort to evaluate on", [Problem(k.endpoint.name, events, remedy) for k in few])


def _scored(
    bundle: ModelBundle, cohort: Cohort, name: str, plan: TrainingPlan
) -> Mapping[str, Mapping[str, Estimate]]:
    """Score one endpoint in everyone and in each disease with enough events."""
    kind, protocol, strata = kind_of(ENDPOINTS[name]), bundle.protocol, bundle.strata(cohort)
    outcome = kind.endpoint.read(cohort)
    predicted = bundle.probabilities(cohort, name, scored_times(protocol, kind.endpoint))
    scores = {}
    for group, rows in groups_of(kind, outcome, strata, protocol.diseases):
        known = outcome.take(rows)
        scale = scale_of(protocol, plan, kind, known, strata[rows])
        scores[group] = kind.score(predicted[rows], known, scale)
    return scores
