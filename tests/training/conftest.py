"""What the training tests share: one evaluation, and one registry with two real training runs."""

from dataclasses import dataclass

import pytest

from features.cohort import Cohort
from models.registry.settings import RegistrySettings
from tests.lib.fitting import PLAN, small_evaluation
from tests.lib.patients import protocol, simulated_cohort
from training.evaluate import Evaluation
from training.registration import Registered
from training.run import train
from training.workers import start_workers


@dataclass(frozen=True)
class Trained:
    """A deployment's home after two runs: the first failed the gate, the second passed it."""

    settings: RegistrySettings
    failed: Registered
    passed: Registered
    progress: tuple[str, ...]


@pytest.fixture(scope="session")
def evaluation(cohort: Cohort) -> Evaluation:
    """The procedure's evaluation on the made patients."""
    return small_evaluation(cohort)[1]


@pytest.fixture(scope="session")
def better_cohort() -> Cohort:
    """Made patients on whom the model beats both baselines in both diseases."""
    return simulated_cohort(seed=11)


@pytest.fixture(scope="session")
def trained(cohort: Cohort, better_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train twice into a fresh home: in this process, then by two workers.

    Tests that use it carry NOISE, as this is where MLflow is loaded.
    """
    home = tmp_path_factory.mktemp("home")
    settings = RegistrySettings.from_environment({"SALVAGE_HOME": str(home)})
    steps: list[str] = []
    registered = []
    for jobs, patients in enumerate((cohort, better_cohort), start=1):
        with start_workers(jobs) as workers:
            registered.append(
                train(
                    patients,
                    protocol=protocol(),
                    plan=PLAN,
                    settings=settings,
                    workers=workers,
                    report_progress=steps.append,
                )
            )
    return Trained(settings, *registered, tuple(steps))
