"""A hostile bundle, whole by its own manifest and signed by nobody we asked, is refused and harms nothing."""

import io
import json
import os
import resource
import shutil
import struct
import zipfile

import numpy as np
import pytest

from features.errors import BundleRefused
from features.fingerprint import canonical_json, sha256
from models.bundle.bundle import MANIFEST, read_bundle
from models.npz import read_arrays
from models.trees.ensemble import Trees

TREES, HAZARD, BACKGROUND = (f"overall_survival.{n}" for n in ("trees.npz", "hazard.json", "background.npz"))


@pytest.fixture(scope="module")
def whole(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("soundness") / "bundle"
    bundle.write(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "bundle")


def put(folder, name, content):
    """Replace a file together with its hash in the manifest."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"][name] = sha256(content)
    (folder / MANIFEST).write_bytes(canonical_json(manifest))


def refuse(folder):
    """Read a folder that must be refused, without taking a gigabyte for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BundleRefused, match="do not fit together"):
        read_bundle(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000


def arrays_of(folder, name=TREES):
    return read_arrays((folder / name).read_bytes())


def packed(arrays, save=np.savez):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def changed(array, at, value):
    copy = array.copy()
    copy[at] = value
    return copy


def test_the_bundle_itself_is_sound(folder):
    put(folder, TREES, packed(arrays_of(folder)))
    assert read_bundle(folder).endpoints


LARGE = 1 << 62
PLACES = ["group_conditions", "group_features", "group_leaves", "leaf_needs", "test_codes"]
POINTERS = [
    "feature",
    "condition_feature",
    "condition_test",
    "need_slot",
    "group_first",
    "group_end",
    "test_feature",
]


@pytest.mark.parametrize("name", PLACES + POINTERS)
@pytest.mark.parametrize("value", [-2, 1 << 20, LARGE, -LARGE])
def test_a_place_outside_of_the_arrays_is_refused(folder, name, value):
    arrays = arrays_of(folder)
    if not len(arrays[name]):
        arrays |= {"test_feature": np.array([value]), "test_missing": np.array([True])}
        arrays |= {"test_codes": np.array([1]), "test_allowed": np.array([True])}
    put(folder, TREES, packed(arrays | {name: changed(arrays[name], 0, value)}))
    refuse(folder)


@pytest.mark.parametrize("name", ["leaf_value", "need_share", "condition_lower", "condition_upper"])
def test_what_is_no_number_in_the_trees_is_refused(folder, name):
    arrays = arrays_of(folder)
    put(folder, TREES, packed(arrays | {name: changed(arrays[name], 0, np.nan)}))
    refuse(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("leaf_value", lambda a: a[:-1]),
        ("leaf_value", lambda a: a.astype(np.float32)),
        ("leaf_value", lambda a: a.reshape(1, -1)),
        ("leaf_value", lambda a: a.astype(">f8")),
        ("leaf_value", lambda a: changed(a, 0, np.inf)),
        ("leaf_value", lambda a: a.astype(str)),
        ("need_share", lambda a: changed(a, 0, 1e300)),
        ("need_share", lambda a: changed(a, 0, -0.1)),
        ("group_tabled", lambda a: ~a),
        ("group_tabled", lambda a: a.astype(np.int8)),
        ("group_end", lambda a: a * 0),
        ("shape", lambda a: a + 1),
        ("shape", lambda a: a * 0),
        ("shape", lambda a: -a),
        ("shape", lambda a: np.array([1 << 40, 1 << 40])),
        ("shape", lambda a: np.array([1 << 40, -1])),
        ("shape", lambda a: np.array(["a", "b"])),
        ("shape", lambda a: np.array([1.5, np.nan])),
        ("shape", lambda a: np.array([], dtype=np.int64)),
    ],
)
def test_arrays_of_another_kind_or_shape_are_refused(folder, name, change):
    arrays = arrays_of(folder)
    arrays[name] = change(arrays[name])
    if name == "group_end":
        arrays["group_first"] = arrays["group_first"] + 1
    put(folder, TREES, packed(arrays))
    refuse(folder)


def test_missing_and_added_arrays_are_refused(folder):
    arrays = arrays_of(folder)
    put(folder, TREES, packed(arrays | {"another": np.zeros(1)}))
    refuse(folder)
    del arrays["leaf_value"]
    put(folder, TREES, packed(arrays))
    refuse(folder)


def test_tables_larger_than_any_model_needs_are_refused():
    """Few bytes in the file, a hundred gigabytes of tables."""
    groups, columns = 1_000_000, 8
    every = {"feature": np.tile(np.arange(8), groups), "condition_feature": np.tile(np.arange(8), groups)}
    ints = {"group_conditions": 8, "group_features": 8, "group_leaves": 0, "group_first": 0, "group_end": 1}
    every |= {name: np.full(groups, value) for name, value in ints.items()}
    every |= {
        name: np.zeros(0, dtype=np.int64) for name in ("leaf_needs", "need_slot", "need_mask", "need_want")
    }
    every |= {
        "leaf_value": np.zeros(0),
        "need_share": np.zeros(0),
        "group_tabled": np.ones(groups, dtype=bool),
    }
    every |= {name: np.zeros(groups * 8, dtype=np.float32) for name in ("condition_lower", "condition_upper")}
    every |= {"condition_missing": np.ones(groups * 8, dtype=bool), "condition_test": np.full(groups * 8, -1)}
    every |= {name: np.zeros(0, dtype=np.int64) for name in ("test_feature", "test_codes")}
    every |= {name: np.zeros(0, dtype=bool) for name in ("test_missing", "test_allowed")}
    with pytest.raises(ValueError, match="group_tabled is not as it must be"):
        Trees.from_bytes(packed(every | {"shape": np.array([columns, -1])}))


def header(shape, descr="<f8"):
    said = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(said)) + said


def zipped(members, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


HOSTILE = {
    "nothing": lambda: b"",
    "no archive": lambda: b"PK\x03\x04garbage",
    "an empty archive": lambda: zipped({}),
    "a zip bomb": lambda: zipped({"shape.npy": header((1 << 25,)) + bytes(1 << 28)}, zipfile.ZIP_DEFLATED),
    "compressed by numpy": lambda: packed({"shape": np.zeros(2, dtype=int)}, np.savez_compressed),
    "a huge shape": lambda: zipped({"shape.npy": header((1 << 40,)) + bytes(16)}),
    "a shape that overflows": lambda: zipped({"shape.npy": header((1 << 32, 1 << 32)) + bytes(16)}),
    "a negative shape": lambda: zipped({"shape.npy": header((-1,)) + bytes(16)}),
    "a shape in words": lambda: zipped({"shape.npy": header(("a",)) + bytes(16)}),
    "items of no size": lambda: zipped({"shape.npy": header((1 << 60,), "<U0")}),
    "objects": lambda: packed({"shape": np.array([print], dtype=object)}),
    "a pickle": lambda: b"\x80\x04\x95\x10\x00\x00\x00",
    "no array": lambda: zipped({"shape.npy": b"x" * 100}),
    "a version to come": lambda: zipped({"shape.npy": b"\x93NUMPY\x09\x00" + bytes(100)}),
    "a header without end": lambda: zipped({"shape.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100)}),
    "a header without bottom": lambda: zipped({"shape.npy": header("(" * 5000)}),
    "a header that is code": lambda: zipped({"shape.npy": header("__import__('os').abort()")}),
    "the same name twice": lambda: zipped(
        {"shape.npy": header((1,)) + bytes(8), "shape": header((1,)) + bytes(8)}
    ),
    "too many arrays": lambda: zipped({f"{at}.npy": header((1,)) + bytes(8) for at in range(101)}),
    "a member of another place": lambda: zipped({"../../shape.npy": header((1,)) + bytes(8)}),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("file", [TREES, BACKGROUND])
def test_a_hostile_file_of_arrays_is_refused(folder, name, file):
    put(folder, file, HOSTILE[name]())
    refuse(folder)


def test_every_truncated_file_of_arrays_is_refused(folder):
    content = (folder / BACKGROUND).read_bytes()
    for length in range(0, len(content), max(1, len(content) // 50)):
        with pytest.raises(ValueError):  # noqa: PT011  whatever is missing first is said
            read_arrays(content[:length])


def nested(document, path, value):
    *way, last = path
    inner = document
    for step in way:
        inner = inner[step]
    inner[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("edges", 0), -1.0), (("edges", 0), 1e9), (("edges",), []), (("edges",), [[1.0]]), (("edges",), "x"),
        (("edges", 0), None),
        (("base",), [[0.0]]), (("base", 0, 0), 1e999), (("base", 0, 0), float("nan")), (("base", 0), []),
        (("means",), []), (("means", 0, 0), "x"), (("means", 0, 0), 10**400), (("coefficients",), {}),
        (("coefficients", 0, 0), float("-inf")), (("coefficients", 0, 0), []), (("chosen",), float("nan")),
    ],
)  # fmt: skip
def test_a_hazard_that_is_none_is_refused(folder, path, value):
    document = json.loads((folder / HAZARD).read_bytes())
    put(folder, HAZARD, json.dumps(nested(document, path, value)).encode())
    refuse(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("matrix", lambda a: a[:, :-1]), ("matrix", lambda a: a[:-1]),
        ("matrix", lambda a: changed(a, (0, 0), np.inf)),
        ("matrix", lambda a: a.astype(str)), ("strata", lambda a: a + 1000), ("strata", lambda a: a - 1000),
        ("strata", lambda a: a.astype(float)), ("weights", lambda a: changed(a, 0, np.nan)),
        ("weights", lambda a: a[0]),
    ],
)  # fmt: skip
def test_a_background_of_other_columns_or_diseases_is_refused(folder, name, change):
    arrays = arrays_of(folder, BACKGROUND)
    put(folder, BACKGROUND, packed(arrays | {name: change(arrays[name])}))
    refuse(folder)


def test_an_empty_background_is_refused(folder):
    put(folder, BACKGROUND, packed({name: a[:0] for name, a in arrays_of(folder, BACKGROUND).items()}))
    refuse(folder)


@pytest.mark.parametrize(
    "name", ["protocol.json", "dictionary.json", "encoder.json", "provenance.json", HAZARD]
)
@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"7", b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"NaN"]
)
def test_a_document_that_is_none_is_refused(folder, name, content):
    put(folder, name, content)
    refuse(folder)


@pytest.mark.parametrize("value", [{}, {"breast_cancer": 12}, {"nothing": 12.0}, "x", 7, None])
def test_a_follow_up_of_other_diseases_is_refused(folder, value):
    document = json.loads((folder / "provenance.json").read_bytes())
    document["supported"]["overall_survival"] = value
    put(folder, "provenance.json", json.dumps(document).encode())
    refuse(folder)


def test_a_pipe_and_a_device_in_a_files_place_are_not_waited_for(folder):
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        (folder / HAZARD).unlink()
        make(folder / HAZARD)
        with pytest.raises(BundleRefused, match="cannot be read"):
            read_bundle(folder)
