"""The bundle's files: read back they answer the same, and no byte of them can change unnoticed."""

import io
import json
import pickle
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from features.cohort import Cohort
from features.errors import BundleRefused, InvalidCohort
from features.fingerprint import canonical_json, sha256
from models.bundle.manifest import FORMAT, MANIFEST, bundle_hash
from models.bundle.reading import read_bundle
from salvage import commands
from tests.lib.fitting import small_bundle
from tests.lib.patients import BREAST
from tests.models.bundle.hostile import (
    BACKGROUND,
    BOOSTER,
    BOUNDS,
    ENDPOINT,
    INTERVALS,
    MODEL,
    TREES,
    put,
)

FILES = (
    "protocol.json", "dictionary.json", "encoder.json", "provenance.json", "applicability.json",
    "completion.json", "likeness.json", "plans.json", "card.json",
    ENDPOINT, MODEL, TREES, BOOSTER, BACKGROUND, INTERVALS, BOUNDS,
)  # fmt: skip


def test_a_read_bundle_answers_as_the_written_one(bundle, folder):
    again = read_bundle(folder, expected_hash=bundle_hash(folder))
    for patient in (BREAST, {"disease": "colorectal_cancer"}, {"disease": "breast_cancer", "age": 33.3}):
        for horizon in (12.0, 24.0, 36.0):
            one = bundle.predict(bundle.validate(patient), horizon=horizon)
            assert again.predict(again.validate(patient), horizon=horizon) == one


def test_a_read_bundle_knows_where_it_comes_from(bundle, folder, cohort):
    again = read_bundle(folder)
    assert again.evidence == "synthetic"
    assert again.cohort_fingerprint == cohort.fingerprint()
    assert again.card == bundle.card
    assert again.protocol == bundle.protocol
    assert again.dictionary == bundle.dictionary
    assert again.endpoints[0].supported == bundle.endpoints[0].supported


def test_the_same_model_has_the_same_bytes_and_hash(bundle, cohort, tmp_path):
    fitted_again = small_bundle(cohort)
    assert fitted_again.files() == bundle.files()
    assert fitted_again.write(tmp_path / "again") == bundle.write(tmp_path / "first")


def test_reading_and_writing_again_changes_no_byte(folder, tmp_path):
    digest = read_bundle(folder).write(tmp_path / "again")
    assert digest == bundle_hash(folder)


def test_another_model_has_another_hash(bundle, tmp_path):
    (endpoint,) = bundle.endpoints
    longer = {disease: limit + 1.0 for disease, limit in endpoint.supported.items()}
    other = replace(bundle, endpoints=(replace(endpoint, supported=longer),))
    assert other.write(tmp_path / "other") != bundle.write(tmp_path / "first")


def test_a_bundle_holds_these_files_and_no_patients_name(bundle, folder, cohort):
    assert {path.name for path in folder.iterdir()} == {*FILES, MANIFEST}
    stored = b"".join(path.read_bytes() for path in folder.iterdir())
    assert not any(f'"{patient}"'.encode() in stored for patient in cohort.patients)


def test_a_bundle_is_not_written_over_another(bundle, folder):
    with pytest.raises(FileExistsError):
        bundle.write(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused_by_name(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(BundleRefused) as refused:
        read_bundle(folder)
    assert str(refused.value) == f"bundle: {name} was changed; restore the bundle"


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleRefused) as refused:
        read_bundle(folder)
    assert str(refused.value) == f"bundle: {name} is missing; restore the bundle"


@pytest.mark.parametrize("name", ["extra.json", "model.pkl", ".hidden"])
def test_an_added_file_is_refused_by_name(folder, name):
    (folder / name).write_bytes(b"{}")
    with pytest.raises(BundleRefused) as refused:
        read_bundle(folder)
    assert str(refused.value) == f"bundle: {name} does not belong to it; restore the bundle"


def test_a_folder_in_a_files_place_is_refused_by_name(folder):
    (folder / MODEL).unlink()
    (folder / MODEL).mkdir()
    with pytest.raises(BundleRefused, match=re.escape(f"bundle: {MODEL} cannot be read; restore the bundle")):
        read_bundle(folder)


def test_every_fault_is_named_at_once(folder):
    (folder / MODEL).unlink()
    (folder / "card.json").write_bytes(b"{}")
    (folder / "notes").mkdir()
    with pytest.raises(BundleRefused) as refused:
        read_bundle(folder)
    faults = f"{MODEL} is missing, notes does not belong to it, card.json was changed"
    assert faults in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe"])
def test_an_unreadable_manifest_is_refused(folder, content):
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(BundleRefused, match=r"manifest\.json is missing or unreadable"):
        read_bundle(folder)


def test_a_missing_manifest_is_refused(folder):
    (folder / MANIFEST).unlink()
    with pytest.raises(BundleRefused, match=r"manifest\.json is missing or unreadable"):
        read_bundle(folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(BundleRefused, match=r"manifest\.json is missing or unreadable"):
        read_bundle(tmp_path / "nowhere")


def test_a_bundle_with_another_hash_than_expected_is_refused(folder):
    with pytest.raises(BundleRefused, match=r"manifest\.json is not the one that was registered"):
        read_bundle(folder, expected_hash="0" * 64)


def test_a_file_changed_together_with_the_manifest_is_refused_by_the_expected_hash(folder):
    registered = bundle_hash(folder)
    card = json.loads((folder / "card.json").read_bytes())
    put(folder, "card.json", json.dumps(card | {"evidence": "real"}).encode())
    assert read_bundle(folder).card.evidence == "real"
    with pytest.raises(BundleRefused, match=r"manifest\.json is not the one that was registered"):
        read_bundle(folder, expected_hash=registered)


@pytest.mark.parametrize("version", [FORMAT - 1, FORMAT + 1, None, str(FORMAT)])
def test_another_format_is_refused_with_the_command_that_renews_it(folder, version):
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(canonical_json(manifest | {"format": version}))
    with pytest.raises(BundleRefused) as refused:
        read_bundle(folder)
    command = "salvage fit --protocol relapse-survival --cohort FILE"
    assert str(refused.value) == f"bundle: format {version} is not 6; renew it with: {command}"


FOURTH = ("hazard.json", "trees.npz", "background.npz", "intervals.json", "bounds.json")


def of_format_4(folder, protocol):
    """Leave a bundle's protocol and put the files of format 4 beside it, whole by their manifest."""
    for path in folder.iterdir():
        path.unlink()
    files = {f"overall_survival.{name}": b"{}" for name in FOURTH}
    files |= {} if protocol is None else {"protocol.json": protocol}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    manifest = {"format": 4, "files": {name: sha256(content) for name, content in files.items()}}
    (folder / MANIFEST).write_bytes(canonical_json(manifest))


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (b'{"name": "dlbcl-salvage"}', "dlbcl-salvage"), (None, "NAME"), (b"", "NAME"), (b"[]", "NAME"),
        (b"[" * 100_000, "NAME"), (b'{"name": 7}', "NAME"), (b'{"name": null}', "NAME"),
        (b'{"name": "x; rm -rf ~"}', "NAME"), (b'{"name": "$(id)"}', "NAME"), (b'{"name": "--seed"}', "NAME"),
        (b'{"name": "x\\nfit"}', "NAME"),
    ],
)  # fmt: skip
def test_a_bundle_of_format_4_is_refused_with_the_command_that_renews_it(folder, protocol, name):
    of_format_4(folder, protocol)
    with pytest.raises(BundleRefused) as refused:
        read_bundle(folder)
    command = f"salvage fit --protocol {name} --cohort FILE"
    assert str(refused.value) == f"bundle: format 4 is not 6; renew it with: {command}"


def test_the_command_that_renews_a_bundle_is_one(tmp_path):
    """It is understood as it is named, up to the cohort's file, which is not there."""
    missing = str(tmp_path / "cohort.parquet")
    told = ["fit", "--protocol", "relapse-survival", "--cohort", missing]
    error = CliRunner().invoke(commands(), told).exception
    assert isinstance(error, InvalidCohort)
    assert str(error) == f"{missing}: file: does not exist; check the path"


def test_no_file_is_a_pickle(folder):
    assert {path.suffix for path in folder.iterdir()} == {".json", ".npz"}
    for path in folder.glob("*.json"):
        json.loads(path.read_bytes())
    with np.load(folder / BACKGROUND, allow_pickle=False) as arrays:
        kinds = {name: arrays[name].dtype.kind for name in arrays}
    assert kinds == {"matrix": "f", "strata": "i", "weights": "f", "shares": "f"}


class Detonator:
    """Leaves a trace when unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (type(self.trace).touch, (self.trace,))


def test_a_pickle_smuggled_into_the_arrays_is_not_run(folder, tmp_path):
    trace = tmp_path / "exploded"
    arrays = io.BytesIO()
    np.savez(arrays, matrix=np.array([Detonator(trace)], dtype=object), strata=np.zeros(1, dtype=np.int64))
    pickle.loads(pickle.dumps(Detonator(trace)))
    assert trace.exists()  # the trap works
    trace.unlink()
    put(folder, BACKGROUND, arrays.getvalue())
    with pytest.raises(BundleRefused, match="allow_pickle"):
        read_bundle(folder)
    assert not trace.exists()


def test_a_copied_bundle_is_the_same_bundle(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert bundle_hash(tmp_path / "copy") == bundle_hash(folder)
    one = Cohort.from_patient(BREAST, dictionary=read_bundle(folder).dictionary)
    assert read_bundle(tmp_path / "copy").predict(one) == read_bundle(folder).predict(one)
