"""The registry, spoken to on a real MLflow store in SQLite."""

import pytest

from features.errors import BundleRefused, NotFound
from models.bundle.manifest import bundle_hash
from models.bundle.reading import read_bundle
from models.registry.settings import RegistrySettings
from models.registry.store import Registry
from models.registry.tracking import environment, tracked_run
from tests.models.registry.noise import NOISE

pytestmark = NOISE
NAME = "salvage-test"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return RegistrySettings.from_environment({"SALVAGE_HOME": str(tmp_path_factory.mktemp("registry"))})


@pytest.fixture(scope="module")
def written(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    bundle.write(folder)
    return folder


@pytest.fixture(scope="module")
def registered(settings, written, bundle):
    """A registry with two versions of one bundle, the first of them champion."""
    with tracked_run(settings, experiment="tests") as run:
        address = run.log_bundle(written, bundle)
        registry = Registry.open(settings)
        for tags in ({"gate": "passed"}, {"gate": "failed"}):
            registry.register(NAME, address, run_id=run.id, tags=tags)
        registry.promote(NAME, "1")
        empty = registry.client.create_registered_model("salvage-empty")
        registry.client.create_model_version(empty.name, f"runs:/{run.id}/nothing", run_id=run.id)
    return registry


def test_versions_are_listed_newest_first_with_their_tags(registered):
    found = [v for v in registered.versions() if v.name == NAME]
    assert [(v.version, v.champion, dict(v.tags)) for v in found] == [
        ("2", False, {"gate": "failed"}),
        ("1", True, {"gate": "passed"}),
    ]


def test_a_downloaded_version_is_the_registered_bundle(registered, written, tmp_path):
    folder = registered.download(NAME, "1", tmp_path)
    assert bundle_hash(folder) == bundle_hash(written)
    assert read_bundle(folder, expected_hash=bundle_hash(written)).evidence == "synthetic"


def test_promoting_takes_the_alias_from_the_version_before(registered):
    assert registered.champion(NAME) == "1"
    registered.promote(NAME, "2")
    assert registered.champion(NAME) == "2"
    assert [v.version for v in registered.versions() if v.champion] == ["2"]
    registered.promote(NAME, "1")


def test_a_model_without_champion_or_unknown_is_not_found(registered):
    for name in ("salvage-empty", "salvage-nothing"):
        with pytest.raises(NotFound, match=f"no champion of {name}"):
            registered.champion(name)


def test_an_unknown_version_is_neither_promoted_nor_fetched(registered, tmp_path):
    for name, version in ((NAME, "9"), ("salvage-nothing", "1")):
        with pytest.raises(NotFound, match=f"no version {version} of {name}"):
            registered.promote(name, version)
        with pytest.raises(NotFound, match=f"no version {version} of {name}"):
            registered.download(name, version, tmp_path)
    assert registered.champion(NAME) == "1"


def test_a_version_that_holds_no_bundle_is_refused(registered, settings, tmp_path):
    with tracked_run(settings, experiment="tests") as run:
        run.log_document({"no": "bundle"}, "notes/notes.json")
        client = registered.client
        client.create_registered_model("salvage-notes")
        made = client.create_model_version(
            "salvage-notes", f"{settings.artifacts.as_uri()}/{run.id}/artifacts/notes", run_id=run.id
        )
    with pytest.raises(BundleRefused, match="salvage-notes 1 in the registry holds no bundle"):
        registered.download("salvage-notes", str(made.version), tmp_path)


def test_a_run_left_by_an_error_is_marked_as_failed(settings):
    opened = []

    def fail_half_way():
        with tracked_run(settings, experiment="tests") as run:
            opened.append(run)
            run.log_metrics({"reached": 1.0})
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    kept = opened[0].client.get_run(opened[0].id)
    assert kept.info.status == "FAILED"
    assert kept.data.metrics == {"reached": 1.0}


def test_a_run_that_ends_well_is_finished_and_keeps_what_was_logged(settings):
    with tracked_run(settings, experiment="tests") as run:
        run.log_parameters({"seed": 7})
        run.log_metrics({"all.model.uno_c": 0.7})
        run.log_tags({"evidence": "synthetic"})
    kept = run.client.get_run(run.id)
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"seed": "7"}
    assert kept.data.metrics == {"all.model.uno_c": 0.7}
    assert kept.data.tags["evidence"] == "synthetic"


def test_the_parts_of_a_run_are_nested_in_it(settings):
    def fail(run):
        with run.child("trial 1"):
            raise RuntimeError("half way")

    with tracked_run(settings, experiment="tests") as run:
        with run.child("trial 0") as part:
            part.log_parameters({"depth": 3})
            part.log_metrics({"loss": 2.5})
        with pytest.raises(RuntimeError, match="half way"):
            fail(run)
    experiment = run.client.get_run(run.id).info.experiment_id
    query = f"tags.`mlflow.parentRunId` = '{run.id}'"
    kept = {found.info.run_name: found for found in run.client.search_runs([experiment], query)}
    assert {name: found.info.status for name, found in kept.items()} == {
        "trial 0": "FINISHED", "trial 1": "FAILED",
    }  # fmt: skip
    assert kept["trial 0"].data.params == {"depth": "3"}
    assert kept["trial 0"].data.metrics == {"loss": 2.5}
    assert run.client.get_run(run.id).data.metrics == {}


def test_the_run_that_mlflow_started_is_continued(settings):
    with tracked_run(settings, experiment="tests") as first:
        first.log_metrics({"one": 1.0})
    continued = RegistrySettings(settings.home, settings.tracking_uri, first.id)
    with tracked_run(continued, experiment="another name") as second:
        second.log_metrics({"two": 2.0})
    assert second.id == first.id
    assert first.client.get_run(first.id).data.metrics == {"one": 1.0, "two": 2.0}


def test_the_recorded_environment_names_installed_versions():
    recorded = environment()
    assert recorded["salvage-outcomes"]
    assert recorded["xgboost"].startswith("3.2.")
