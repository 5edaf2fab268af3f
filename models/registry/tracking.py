"""Tracking: one MLflow run per fit, with everything that is needed to judge it later."""

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow
from matplotlib.figure import Figure
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from models.bundle.bundle import ModelBundle
from models.registry.flavor import signature
from models.registry.settings import RegistrySettings

LOADER = "models.registry.flavor"
DISTRIBUTION = "salvage-outcomes"


@dataclass(frozen=True)
class TrackedRun:
    """An open MLflow run."""

    client: MlflowClient
    id: str

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        self.client.log_batch(self.id, params=[Param(k, str(v)) for k, v in parameters.items()])

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.id, metrics=[Metric(k, v, now, 0) for k, v in metrics.items()])

    def log_tags(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self.client.set_tag(self.id, key, value)

    def log_figure(self, figure: Figure, name: str) -> None:
        self.client.log_figure(self.id, figure, f"figures/{name}.png")

    def log_document(self, document: Mapping[str, Any], name: str) -> None:
        self.client.log_dict(self.id, dict(document), name)

    def log_bundle(self, folder: Path, bundle: ModelBundle) -> str:
        with warnings.catch_warnings():
            # an example would be a patient's values among the artifacts; the signature says what is needed
            warnings.filterwarnings("ignore", ".*input example was not provided", UserWarning)
            logged = mlflow.pyfunc.log_model(
                name="bundle",
                loader_module=LOADER,
                data_path=str(folder),
                pip_requirements=[f"{DISTRIBUTION}=={metadata.version(DISTRIBUTION)}"],
                signature=signature(bundle),
            )
        address: str = logged.model_uri
        return address

    @contextmanager
    def child(self, name: str) -> Iterator["TrackedRun"]:
        """Open a run nested in this one, for the parameters and metrics of a part, such as a search's trial.

        A run left by an error is marked as failed.
        """
        experiment = self.client.get_run(self.id).info.experiment_id
        made = self.client.create_run(experiment, run_name=name, tags={MLFLOW_PARENT_RUN_ID: self.id})
        ended = "FAILED"
        try:
            yield TrackedRun(self.client, made.info.run_id)
            ended = "FINISHED"
        finally:
            self.client.set_terminated(made.info.run_id, ended)


@contextmanager
def tracked_run(settings: RegistrySettings, *, experiment: str) -> Iterator[TrackedRun]:
    """Open a run; inside ``mlflow run`` continue the run it started.

    A run left by an error is marked as failed.
    """
    connect(settings)
    client = MlflowClient()
    if settings.run_id is None:
        started = mlflow.start_run(experiment_id=_experiment(client, settings, experiment))
    else:
        started = mlflow.start_run(run_id=settings.run_id)
    with started as run:
        yield TrackedRun(client, run.info.run_id)


def connect(settings: RegistrySettings) -> None:
    """Point MLflow at the settings' store, making the default one's folder when it is new."""
    settings.home.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(settings.tracking_uri)
    mlflow.set_registry_uri(settings.tracking_uri)


def prepare_store(settings: RegistrySettings) -> None:
    """Make the tables of a new database, which takes MLflow seconds; a tracking server keeps its own.

    Raises:
        MlflowException: when the database cannot be used.

    """
    if not settings.tracking_uri.startswith(("http:", "https:")):
        connect(settings)
        client = MlflowClient()
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)


def environment() -> dict[str, str]:
    """Return the versions of every installed distribution, for the record."""
    return {d.name: d.version for d in sorted(metadata.distributions(), key=lambda d: d.name.lower())}


def _experiment(client: MlflowClient, settings: RegistrySettings, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        known: str = experiment.experiment_id
        return known
    local = settings.tracking_uri.startswith("sqlite:")
    made: str = client.create_experiment(name, settings.artifacts.as_uri() if local else None)
    return made
