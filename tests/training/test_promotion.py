"""Promotion by hand, from the registry to the shelf."""

import shutil

import pytest

from features.errors import BundleRefused, NotFound
from models.bundle.manifest import bundle_hash
from models.bundle.shelf import Shelf
from models.registry.settings import RegistrySettings
from models.registry.store import Registry
from tests.models.registry.noise import NOISE
from training.promotion import promote_version

pytestmark = NOISE
NAME = "salvage-relapse-survival-synthetic"


@pytest.fixture
def elsewhere(trained, tmp_path):
    """The same registry, served from another machine's empty shelf."""
    return RegistrySettings(tmp_path, trained.settings.tracking_uri, None)


@pytest.fixture
def _champion_restored(trained):
    yield
    promote_version(NAME, trained.passed.version, settings=trained.settings)


@pytest.mark.usefixtures("_champion_restored")
def test_a_version_that_failed_the_gate_can_be_promoted_by_hand(trained):
    promote_version(NAME, "1", settings=trained.settings)
    assert Registry.open(trained.settings).champion(NAME) == "1"
    champion = Shelf(trained.settings.shelf).champion(NAME)
    assert (champion.version, champion.bundle) == ("1", trained.failed.bundle)


@pytest.mark.usefixtures("_champion_restored")
def test_promotion_fills_an_empty_shelf_from_the_registry(trained, elsewhere):
    promote_version(NAME, "1", settings=elsewhere)
    champion = Shelf(elsewhere.shelf).champion(NAME)
    assert champion.bundle == bundle_hash(champion.folder) == trained.failed.bundle


def test_promoting_the_champion_again_changes_nothing(trained):
    shelf = Shelf(trained.settings.shelf)
    before = shelf.champion(NAME)
    promote_version(NAME, before.version, settings=trained.settings)
    assert shelf.champion(NAME) == before


def test_an_unknown_version_is_not_promoted(trained, elsewhere):
    for name, version in ((NAME, "99"), ("salvage-nothing", "1")):
        with pytest.raises(NotFound):
            promote_version(name, version, settings=elsewhere)
    assert Registry.open(trained.settings).champion(NAME) == trained.passed.version
    assert not elsewhere.shelf.exists()


def test_a_shelf_that_holds_another_bundle_under_the_version_stops_the_promotion(trained, elsewhere):
    shelf = Shelf(elsewhere.shelf)
    shelf.root.joinpath(NAME).mkdir(parents=True)
    shutil.copytree(Shelf(trained.settings.shelf).find(NAME, "2").folder, shelf.root / NAME / "1")
    with pytest.raises(BundleRefused, match="already published with another bundle"):
        promote_version(NAME, "1", settings=elsewhere)
    assert Registry.open(trained.settings).champion(NAME) == trained.passed.version
