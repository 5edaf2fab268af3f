"""A whole training run on a real MLflow store: what it tracks, registers, publishes and promotes."""

import json
import re
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from features.errors import InvalidCohort, NoChampion
from models.bundle.manifest import bundle_hash
from models.bundle.reading import read_bundle
from models.bundle.shelf import Shelf
from models.bundle.tables import score_cohort
from models.registry.settings import RegistrySettings
from models.registry.store import Registry
from tests.lib.fitting import PLAN, small_bundle
from tests.lib.patients import protocol
from tests.models.registry.noise import NOISE
from training.registration import flat_metrics
from training.run import train

pytestmark = NOISE
NAME = "salvage-relapse-survival-synthetic"


@pytest.fixture
def client(trained):
    mlflow.set_tracking_uri(trained.settings.tracking_uri)
    return MlflowClient(trained.settings.tracking_uri, trained.settings.tracking_uri)


@pytest.fixture
def run(trained, client):
    return client.get_run(trained.passed.run_id)


def test_progress_is_reported_step_by_step(trained):
    folds = tuple(f"evaluating on held-out patients: {done} of 3 folds done" for done in range(4))
    assert trained.progress == 2 * (*folds, "fitting on everyone", "tracking and registering")


def test_each_run_is_registered_under_the_next_version(trained):
    assert (trained.failed.name, trained.failed.version) == (NAME, "1")
    assert (trained.passed.name, trained.passed.version) == (NAME, "2")
    assert trained.failed.bundle != trained.passed.bundle


def test_the_run_finished_in_the_protocols_experiment(client, run):
    assert run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "relapse-survival"


def test_the_run_keeps_every_setting(run, trained, better_cohort):
    parameters = run.data.params
    assert {name: str(value) for name, value in PLAN.as_dict().items()}.items() <= parameters.items()
    assert parameters["protocol"] == "relapse-survival"
    assert parameters["patients"] == "400"
    died = int((better_cohort.values["died"] == 1.0).sum())
    assert parameters["events.overall_survival"] == str(died)
    assert parameters["cohort_fingerprint"] == better_cohort.fingerprint()
    assert parameters["evidence"] == "synthetic"
    assert float(parameters["overall_survival.cox_penalty"]) > 0
    weights = [float(parameters[f"overall_survival.weight_{kind}"]) for kind in ("ridge", "started", "free")]
    assert sum(weights) == pytest.approx(1.0)
    assert min(weights) >= 0.0


def test_the_run_keeps_every_metric_of_every_group_and_model(run, trained):
    assert run.data.metrics == pytest.approx(dict(flat_metrics(trained.passed.evaluation)))
    for group in ("all", *protocol().diseases):
        for model in ("model", "cox", "kaplan_meier"):
            for name in ("harrell_c", "uno_c.low", "uno_c.high", "integrated_brier", "ici_24.high"):
                assert f"overall_survival.{group}.{model}.{name}" in run.data.metrics
    assert not any(name.startswith("overall_survival.all.model.a_calibration.") for name in run.data.metrics)


def test_the_run_keeps_figures_that_are_pictures(client, run, tmp_path):
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "figures")}
    assert names == {
        "figures/overall_survival.survival_by_risk_group.png",
        "figures/overall_survival.calibration.png",
        "figures/shap_summary.png",
    }
    for name in names:
        picture = Path(client.download_artifacts(run.info.run_id, name, str(tmp_path)))
        assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_run_keeps_card_cohort_and_environment(run, better_cohort, tmp_path):
    def document(name):
        path = download_artifacts(run_id=run.info.run_id, artifact_path=name, dst_path=str(tmp_path))
        return json.loads(Path(path).read_bytes())

    assert document("card.json")["name"] == NAME
    assert document("cohort.json") == {"cohorts": [p.as_dict() for p in better_cohort.provenance]}
    assert "xgboost" in document("environment.json")


def test_the_run_and_the_version_carry_the_same_tags(client, run, trained, better_cohort):
    tags = dict(client.get_model_version(NAME, "2").tags)
    assert tags == {
        "bundle": trained.passed.bundle,
        "evidence": "synthetic",
        "cohort": better_cohort.fingerprint(),
        "gate": "passed",
    }
    assert tags.items() <= run.data.tags.items()
    assert client.get_model_version(NAME, "2").run_id == run.info.run_id


def test_the_gate_decides_who_is_champion(client, trained):
    assert not trained.failed.verdict.passed
    assert trained.passed.verdict.passed
    assert "is below cox's" in client.get_model_version(NAME, "1").tags["gate"]
    assert str(client.get_model_version_by_alias(NAME, "champion").version) == "2"
    assert [(v.version, v.champion) for v in Registry.open(trained.settings).versions()] == [
        ("2", True),
        ("1", False),
    ]


def test_the_shelf_has_both_versions_and_serves_the_champion(trained):
    shelf = Shelf(trained.settings.shelf)
    assert shelf.find(NAME, "1").bundle == trained.failed.bundle
    champion = shelf.champion(NAME)
    assert (champion.version, champion.bundle) == ("2", trained.passed.bundle)
    bundle = read_bundle(champion.folder, expected_hash=champion.bundle)
    assert bundle.card.performance["endpoints"] == trained.passed.evaluation.as_dict()


def test_the_same_cohort_and_plan_give_the_same_bundle_byte_for_byte(trained, better_cohort, tmp_path):
    assert small_bundle(better_cohort).write(tmp_path / "again") == trained.passed.bundle


def test_mlflow_answers_a_table_as_the_bundle_does(client, trained, cohort):
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    table = cohort.to_frame().drop(columns=["patient", "months_followed", "died"])
    table = table.astype({"positive_lymph_nodes": "float64"})
    answered = loaded.predict(table)
    bundle = read_bundle(Shelf(trained.settings.shelf).champion(NAME).folder)
    assert list(answered.columns) == [f"overall_survival_{h}_months" for h in (12, 24, 36, 60)]
    np.testing.assert_array_equal(answered.to_numpy(), score_cohort(bundle, cohort))


def test_mlflow_answers_when_only_the_disease_is_known(client, cohort):
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    answered = loaded.predict(cohort.to_frame()[["disease"]].head(3))
    assert answered.shape == (3, 4)
    assert answered["overall_survival_12_months"].between(0, 1).all()


def test_mlflow_refuses_a_table_that_breaks_the_dictionary(client, cohort):
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    table = cohort.to_frame()[["disease", "age"]].head(3)
    with pytest.raises(InvalidCohort, match="age: out of range"):
        loaded.predict(table.assign(age=[50.0, 500.0, 60.0]))


def test_mlflow_refuses_a_table_without_the_disease(client, cohort):
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    with pytest.raises(MlflowException, match="disease"):
        loaded.predict(cohort.to_frame()[["age"]].head(3))


def test_the_registered_model_holds_no_pickle_and_no_code(client, tmp_path):
    folder = Registry(client).download(NAME, "2", tmp_path)
    assert bundle_hash(folder)
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert not suffixes & {".pkl", ".pickle", ".joblib", ".py", ".cloudpickle"}


def test_the_summary_is_plain_json(trained):
    summary = json.loads(json.dumps(trained.failed.as_dict(), allow_nan=False))
    assert summary["champion"] is False
    assert summary["version"] == "1"
    assert re.fullmatch("[0-9a-f]{64}", summary["bundle"])
    assert len(summary["gate"]) == len(trained.failed.verdict.failures) > 0


def test_a_store_that_cannot_be_prepared_is_an_error_before_anything_is_published(cohort, tmp_path):
    settings = RegistrySettings.from_environment({"SALVAGE_HOME": str(tmp_path / "home")})
    with pytest.raises(MlflowException, match="nonsense"):
        train(
            cohort, protocol=protocol(), plan=PLAN, settings=replace(settings, tracking_uri="nonsense://here")
        )
    assert not settings.shelf.exists()


def test_a_cohort_outside_the_protocol_leaves_no_run_and_no_folder(cohort, tmp_path):
    settings = RegistrySettings.from_environment({"SALVAGE_HOME": str(tmp_path / "untouched")})
    other = replace(cohort, provenance=(replace(cohort.provenance[0], index_event="diagnosis"),))
    with pytest.raises(InvalidCohort, match="index_event"):
        train(other, protocol=protocol(), plan=PLAN, settings=settings)
    assert not (tmp_path / "untouched").exists()


def test_a_model_that_never_passed_has_no_champion_on_the_shelf(trained, tmp_path):
    shelf = Shelf(tmp_path / "shelf")
    shelf.publish(NAME, "1", Shelf(trained.settings.shelf).find(NAME, "1").folder)
    with pytest.raises(NoChampion):
        shelf.champion(NAME)
