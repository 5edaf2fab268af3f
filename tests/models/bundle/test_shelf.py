"""The shelf: versions that never change, and a champion that is never half promoted."""

import json
import threading
from dataclasses import replace

import pytest

from features.errors import BundleRefused, NoChampion, NotFound
from models.bundle.manifest import MANIFEST, bundle_hash
from models.bundle.reading import read_bundle
from models.bundle.shelf import CHAMPION, Shelf

NAME = "salvage-test"
PATHS = ["../x", "..", ".", "/etc", "a/b", "", "A", "x" * 99, "x\n", ".hidden", "x\x00"]
VERSIONS = ["../1", "..", "", "1.0", "v1", "1/2", "1\n", "-1", "1" * 10]


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def written(bundle, tmp_path):
    bundle.write(tmp_path / "written")
    return tmp_path / "written"


@pytest.fixture
def other(bundle, tmp_path):
    """Another bundle than the one written."""
    (endpoint,) = bundle.endpoints
    shorter = replace(endpoint, supported=dict.fromkeys(endpoint.supported, 30.0))
    replace(bundle, endpoints=(shorter,)).write(tmp_path / "other")
    return tmp_path / "other"


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_published_bundle_is_a_complete_copy(shelf, written):
    shelved = shelf.publish(NAME, "1", written)
    assert shelved.folder == shelf.root / NAME / "1"
    assert shelved.bundle == bundle_hash(written)
    assert tree(shelved.folder) == tree(written)
    assert read_bundle(shelved.folder, expected_hash=shelved.bundle)
    assert shelf.find(NAME, "1") == shelved


def test_publishing_the_same_bundle_again_changes_nothing(shelf, written):
    first = shelf.publish(NAME, "1", written)
    before = tree(shelf.root)
    assert shelf.publish(NAME, "1", written) == first
    assert tree(shelf.root) == before


def test_another_bundle_under_the_same_version_is_refused(shelf, written, other):
    shelf.publish(NAME, "1", written)
    before = tree(shelf.root)
    with pytest.raises(BundleRefused, match="already published with another bundle"):
        shelf.publish(NAME, "1", other)
    assert tree(shelf.root) == before


def test_publishing_promotes_nothing(shelf, written):
    shelf.publish(NAME, "1", written)
    assert shelf.names() == ()
    with pytest.raises(NoChampion, match="salvage models promote salvage-test VERSION"):
        shelf.champion(NAME)


def test_a_promoted_version_is_the_champion(shelf, written, other):
    shelf.publish(NAME, "1", written)
    shelf.publish(NAME, "2", other)
    assert shelf.promote(NAME, "2").bundle == bundle_hash(other)
    assert shelf.champion(NAME) == shelf.find(NAME, "2")
    assert shelf.promote(NAME, "1") == shelf.champion(NAME)
    assert shelf.names() == (NAME,)


def test_the_pointer_names_the_bundle_it_was_promoted_with(shelf, written):
    shelf.publish(NAME, "1", written)
    shelf.promote(NAME, "1")
    pointer = json.loads((shelf.root / NAME / CHAMPION).read_bytes())
    assert pointer == {"version": "1", "bundle": bundle_hash(written)}


def test_a_version_replaced_behind_the_shelfs_back_no_longer_has_the_champions_hash(shelf, written, other):
    shelf.publish(NAME, "1", written)
    shelf.promote(NAME, "1")
    for path in other.iterdir():
        (shelf.root / NAME / "1" / path.name).write_bytes(path.read_bytes())
    champion = shelf.champion(NAME)
    with pytest.raises(BundleRefused, match=MANIFEST):
        read_bundle(champion.folder, expected_hash=champion.bundle)


def test_a_reader_never_sees_a_pointer_half_written(shelf, written, other):
    shelf.publish(NAME, "1", written)
    shelf.publish(NAME, "2", other)
    shelf.promote(NAME, "1")
    expected = {shelf.find(NAME, "1"), shelf.find(NAME, "2")}
    seen, done = {shelf.champion(NAME)}, threading.Event()

    def promote():
        for turn in range(60):
            shelf.promote(NAME, str(turn % 2 + 1))
        done.set()

    thread = threading.Thread(target=promote)
    thread.start()
    while not done.is_set():
        seen.add(shelf.champion(NAME))
    thread.join()
    assert seen <= expected
    assert {path.name for path in (shelf.root / NAME).iterdir()} == {"1", "1.sig", "2", "2.sig", CHAMPION}


def test_several_models_stand_side_by_side(shelf, written, other):
    for name, folder in (("salvage-b", written), ("salvage-a", other)):
        shelf.publish(name, "1", folder)
        shelf.promote(name, "1")
    assert shelf.names() == ("salvage-a", "salvage-b")
    assert shelf.champion("salvage-a").bundle == bundle_hash(other)


@pytest.mark.parametrize("name", PATHS)
def test_a_name_that_is_no_model_name_is_refused(shelf, written, name):
    with pytest.raises(NotFound):
        shelf.publish(name, "1", written)
    for ask in (shelf.champion, lambda n: shelf.find(n, "1"), lambda n: shelf.promote(n, "1")):
        with pytest.raises(NotFound):
            ask(name)
    assert not shelf.root.exists()
    assert {path.name for path in shelf.root.parent.iterdir()} == {"written"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_that_is_no_number_is_refused(shelf, written, version):
    shelf.publish(NAME, "1", written)
    before = tree(shelf.root.parent)
    for ask in (lambda v: shelf.publish(NAME, v, written), lambda v: shelf.find(NAME, v)):
        with pytest.raises(NotFound):
            ask(version)
    with pytest.raises(NotFound):
        shelf.promote(NAME, version)
    assert tree(shelf.root.parent) == before


def test_an_unknown_model_or_version_is_not_found(shelf, written):
    assert shelf.names() == ()
    with pytest.raises(NotFound, match="no model salvage-test"):
        shelf.champion(NAME)
    shelf.publish(NAME, "1", written)
    with pytest.raises(NotFound, match="no version 2 of model salvage-test"):
        shelf.promote(NAME, "2")
    assert not (shelf.root / NAME / CHAMPION).exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 1, "bundle": "x"}',
        b'{"version": "../1", "bundle": "x"}',
        b'{"version": "1"}',
    ],
)
def test_a_pointer_that_cannot_be_read_is_refused_and_mended_by_promoting(shelf, written, content):
    shelf.publish(NAME, "1", written)
    shelf.promote(NAME, "1")
    (shelf.root / NAME / CHAMPION).write_bytes(content)
    with pytest.raises(BundleRefused, match="run: salvage models promote salvage-test VERSION"):
        shelf.champion(NAME)
    assert shelf.promote(NAME, "1") == shelf.champion(NAME)
