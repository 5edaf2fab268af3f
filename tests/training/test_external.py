"""External evaluation: a registered model on patients it never saw, and on those it did."""

import json
from dataclasses import replace

import mlflow
import numpy as np
import pytest

from features.endpoints import ENDPOINTS, overall_survival
from features.errors import InvalidCohort, NotFound
from models.bundle.reading import read_bundle
from models.bundle.shelf import Shelf
from tests.lib.patients import protocol, simulated_cohort
from tests.models.registry.noise import NOISE
from training.evaluate import scored_times
from training.external import evaluate_registered
from training.metrics import harrell_c, restricted_mean_risk
from training.plan import TrainingPlan

pytestmark = NOISE
NAME = "salvage-relapse-survival-synthetic"
PLAN = TrainingPlan(seed=1, bootstrap=10)


@pytest.fixture(scope="module")
def strangers():
    return simulated_cohort(300, seed=11)


@pytest.fixture(scope="module")
def found(trained, strangers):
    return evaluate_registered(NAME, None, read=lambda _: strangers, settings=trained.settings, plan=PLAN)


def test_the_champion_is_evaluated_when_no_version_is_named(found, trained):
    assert found.version == trained.passed.version


def test_strangers_were_not_seen_in_training(found):
    assert found.seen is False


def test_the_cohort_that_trained_the_model_is_said_to_be_seen(trained, better_cohort, cohort):
    for made, version, seen in ((better_cohort, "2", True), (cohort, "2", False), (cohort, "1", True)):
        again = evaluate_registered(
            NAME, version, read=lambda _, made=made: made, settings=trained.settings, plan=PLAN
        )
        assert (again.version, again.seen) == (version, seen)


def test_the_protocol_handed_to_the_reader_is_the_models_own(trained, strangers):
    asked = []

    def read(study):
        asked.append(study)
        return strangers

    evaluate_registered(NAME, "1", read=read, settings=trained.settings, plan=PLAN)
    assert asked == [protocol()]


def test_everyone_and_each_disease_are_scored(found):
    assert list(found.endpoints["overall_survival"]) == ["all", *protocol().diseases]
    for metrics in found.endpoints["overall_survival"].values():
        assert {"harrell_c", "uno_c", "integrated_brier", "ici_24", "observed_to_expected_60"} <= set(metrics)
        assert metrics["uno_c"].low <= metrics["uno_c"].high
    json.dumps(found.as_dict(), allow_nan=False)


def test_the_scores_are_those_of_the_served_bundle(found, trained, strangers):
    bundle = read_bundle(Shelf(trained.settings.shelf).champion(NAME).folder)
    times = scored_times(bundle.protocol, ENDPOINTS["overall_survival"])
    risk = restricted_mean_risk(bundle.probabilities(strangers, "overall_survival", times)[:, 0], times)
    expected = harrell_c(risk, overall_survival(strangers))
    assert found.endpoints["overall_survival"]["all"]["harrell_c"].value == pytest.approx(expected, abs=1e-12)


def test_the_model_generalises_to_patients_made_the_same_way(found):
    assert found.endpoints["overall_survival"]["all"]["uno_c"].low > 0.53
    assert found.endpoints["overall_survival"]["all"]["observed_to_expected_24"].value == pytest.approx(
        1.0, abs=0.25
    )


def test_a_disease_without_patients_is_left_out(trained, strangers):
    breast = strangers.take(np.array([d == "breast_cancer" for d in strangers.text("disease")]))
    found = evaluate_registered(NAME, "2", read=lambda _: breast, settings=trained.settings, plan=PLAN)
    assert list(found.endpoints["overall_survival"]) == ["all", "breast_cancer"]
    assert found.endpoints["overall_survival"]["all"] == found.endpoints["overall_survival"]["breast_cancer"]


def test_the_scores_are_tracked_as_a_run_of_their_own(found, trained, strangers):
    mlflow.set_tracking_uri(trained.settings.tracking_uri)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("relapse-survival").experiment_id
    runs = client.search_runs([experiment], f"params.cohort_fingerprint = '{strangers.fingerprint()}'")
    kept = [r for r in runs if r.data.tags["evaluated"] == f"{NAME}/2" and r.data.params["patients"] == "300"]
    assert len(kept) == 1
    assert kept[0].data.tags["seen_in_training"] == "false"
    assert kept[0].data.metrics["overall_survival.all.uno_c"] == pytest.approx(
        found.endpoints["overall_survival"]["all"]["uno_c"].value
    )


def test_an_unknown_model_or_version_is_not_found(trained, strangers):
    for name, version in (("salvage-nothing", None), (NAME, "99")):
        with pytest.raises(NotFound):
            evaluate_registered(name, version, read=lambda _: strangers, settings=trained.settings, plan=PLAN)


def test_a_cohort_outside_the_models_scope_is_refused(trained, strangers):
    other = replace(strangers, provenance=(replace(strangers.provenance[0], index_event="diagnosis"),))
    with pytest.raises(InvalidCohort, match="index_event"):
        evaluate_registered(NAME, "2", read=lambda _: other, settings=trained.settings, plan=PLAN)
