"""External evaluation: a registered model on a cohort of somebody else."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.cohort import Cohort
from features.endpoints import ENDPOINTS
from features.errors import InvalidCohort, Problem
from features.protocol import StudyProtocol
from models.bundle import read_bundle
from models.registry.settings import RegistrySettings
from models.registry.store import Registry
from models.registry.tracking import tracked_run
from training.bootstrap import Resampled
from training.evaluate import EVERYONE, Estimate, grid, score
from training.plan import TrainingPlan
from training.scope import in_scope

FEWEST_EVENTS = 10


@dataclass(frozen=True)
class External:
    """A registered version's metrics on a cohort; ``seen`` when the model was trained on this very cohort."""

    version: str
    seen: bool
    by_group: Mapping[str, Mapping[str, Estimate]]

    def as_dict(self) -> dict[str, Any]:
        """Return the metrics as plain JSON values."""
        return {
            group: {name: e.as_dict() for name, e in found.items()} for group, found in self.by_group.items()
        }


def evaluate_registered(
    name: str,
    version: str | None,
    *,
    read: Callable[[StudyProtocol], Cohort],
    settings: RegistrySettings,
    plan: TrainingPlan | None = None,
) -> External:
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
    outcome, stratum = ENDPOINTS[bundle.protocol.endpoint](cohort), bundle.strata(cohort)
    times = grid(bundle.protocol)
    curves = bundle.survival(cohort, times)
    groups = {EVERYONE: np.ones(len(cohort), dtype=bool)}
    groups |= {d: stratum == at for at, d in enumerate(bundle.protocol.diseases)}
    groups = {name: rows for name, rows in groups.items() if outcome.event[rows].sum() >= FEWEST_EVENTS}
    if not groups:
        remedy = f"give a cohort with at least {FEWEST_EVENTS}"
        raise InvalidCohort(
            "cohort to evaluate on", [Problem("events", "are too few to judge a model by", remedy)]
        )
    found = {
        group: score(
            curves[rows],
            outcome.take(rows),
            times,
            horizons=bundle.protocol.horizons,
            resampled=Resampled.draw(int(rows.sum()), samples=plan.bootstrap, seed=plan.seed),
        )
        for group, rows in groups.items()
    }
    seen = cohort.fingerprint() == bundle.cohort_fingerprint
    with tracked_run(settings, experiment=bundle.protocol.name) as run:
        run.log_tags({"evaluated": f"{name}/{version}", "seen_in_training": str(seen).lower()})
        run.log_parameters({"cohort_fingerprint": cohort.fingerprint(), "patients": len(cohort)})
        run.log_metrics({f"{g}.{metric}": e.value for g, by in found.items() for metric, e in by.items()})
    return External(version, seen, found)
