"""A hostile bundle, whole by its own manifest and signed by nobody we asked, is refused and harms nothing."""

import io
import json
import os
import struct
import zipfile

import numpy as np
import pytest

from features.errors import BundleRefused
from models.bundle.reading import read_bundle
from models.npz import read_arrays
from models.trees.ensemble import Trees
from tests.models.bundle.hostile import (
    BACKGROUND,
    BOOSTER,
    BOUNDS,
    ENDPOINT,
    INTERVALS,
    MODEL,
    OS,
    TREES,
    arrays_of,
    changed,
    packed,
    put,
    put_nested,
    refuse,
)


def test_the_bundle_itself_is_sound(folder):
    put(folder, TREES, packed(arrays_of(folder)))
    assert read_bundle(folder).endpoints


LARGE = 1 << 62
PLACES = ["group_conditions", "group_features", "group_leaves", "leaf_needs"]
POINTERS = ["feature", "condition_feature", "need_slot", "group_first", "group_end"]


@pytest.mark.parametrize("name", PLACES + POINTERS)
@pytest.mark.parametrize("value", [-2, 1 << 20, LARGE, -LARGE])
def test_a_place_outside_of_the_arrays_is_refused(folder, name, value):
    arrays = arrays_of(folder)
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
        ("condition_missing", lambda a: a.astype(np.int8)),
        ("group_conditions", lambda a: a + 9),
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
    every |= {"leaf_value": np.zeros(0), "need_share": np.zeros(0)}
    every |= {name: np.zeros(groups * 8, dtype=np.float32) for name in ("condition_lower", "condition_upper")}
    every |= {"condition_missing": np.ones(groups * 8, dtype=bool)}
    with pytest.raises(ValueError, match="group_conditions is not as it must be"):
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


EDGES = "transform", "edges"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*EDGES, 0), -1.0), ((*EDGES, 0), 1e9), (EDGES, []), (EDGES, [[1.0]]), (EDGES, "x"),
        ((*EDGES, 0), None), (("transform",), {}), (("transform", "name"), "another"),
        (("transform", "name"), "cause_specific_hazards"), (("transform", "name"), "nested_odds"),
        (("transform",), {"name": "nested_odds", "outcomes": 1}),
        (("transform",), {"name": "nested_odds", "outcomes": 10**12}),
        (("transform",), {"name": "nested_odds", "outcomes": 0}),
        (("outcomes",), []), (("outcomes",), ["another"]), (("outcomes",), [OS, OS]), (("outcomes",), 7),
        (("base",), [[0.0]]), (("base", 0, 0), 1e999), (("base", 0, 0), float("nan")), (("base", 0), []),
        (("means",), []), (("means", 0, 0), "x"), (("means", 0, 0), 10**400), (("coefficients",), {}),
        (("coefficients", 0, 0, 0), float("-inf")), (("coefficients", 0, 0), []), (("coefficients", 0), []),
        (("stretch",), [1.0]), (("stretch", 0), 1e999), (("shift",), 0.0), (("shift", 0), "x"),
        (("penalties",), []), (("penalties", 0), 1e999), (("hyperparameters",), float("nan")),
    ],
)  # fmt: skip
def test_a_model_that_is_none_is_refused(folder, path, value):
    put_nested(folder, MODEL, path, value)
    refuse(folder)


def of_nested_odds(stored, scores):
    """Return a model document with another transform and every array of its shape."""
    strata, columns = np.array(stored["means"]).shape
    shapes = {"base": (strata, scores), "coefficients": (strata, 1, columns), "stretch": scores}
    arrays = {name: np.ones(shape).tolist() for name, shape in (shapes | {"shift": scores}).items()}
    return stored | arrays | {"transform": {"name": "nested_odds", "outcomes": 1}}


def test_a_model_without_time_is_refused_for_an_endpoint_with_time(folder):
    stored = of_nested_odds(json.loads((folder / MODEL).read_bytes()), 1)
    put(folder, MODEL, json.dumps(stored).encode())
    put(folder, TREES, None)
    put(folder, BOOSTER, None)
    with pytest.raises(BundleRefused, match="outcomes are not as they must be"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("estimator",), "another"), (("estimator",), "../cross_fitted"), (("estimator",), 7),
        (("estimator",), None), (("estimator",), ["cross_fitted"]),
        (("estimator",), "models.bundle.bundle:read_bundle"), (("estimator",), "xgboost_aft"),
        (("endpoint",), {}), (("endpoint",), "overall_survival"), (("endpoint", "extra"), 1),
        (("endpoint", "name"), "progression_free_survival"), (("endpoint", "name"), 7),
        (("endpoint", "title"), 7), (("endpoint", "title"), ["Overall survival"]),
        (("endpoint", "kind"), "competing_risks"), (("endpoint", "kind"), "response"),
        (("endpoint", "kind"), "another"), (("endpoint", "kind"), []),
        (("endpoint", "link"), "another"), (("endpoint", "link"), None), (("endpoint", "link"), []),
        (("endpoint", "falls"), False), (("endpoint", "falls"), "yes"), (("endpoint", "falls"), None),
        (("endpoint", "fields"), []), (("endpoint", "fields"), ["died"]), (("endpoint", "fields", 0), 7),
        (("endpoint", "fields"), "xy"[:1]), (("endpoint", "outcomes"), []), (("endpoint", "outcomes"), {}),
        (("endpoint", "outcomes", 0), {}), (("endpoint", "outcomes", 0, "name"), "another"),
        (("endpoint", "outcomes", 0, "label"), 7), (("endpoint", "outcomes", 0, "harm"), "yes"),
    ],
)  # fmt: skip
def test_a_declaration_that_is_none_is_refused(folder, path, value):
    put_nested(folder, ENDPOINT, path, value)
    refuse(folder)


def test_an_outcome_declared_twice_is_refused(folder):
    document = json.loads((folder / ENDPOINT).read_bytes())
    document["endpoint"]["outcomes"] *= 2
    put(folder, ENDPOINT, json.dumps(document).encode())
    refuse(folder)


def test_an_estimator_that_is_not_installed_is_refused_with_what_is(folder):
    put_nested(folder, ENDPOINT, ("estimator",), "weibull")
    with pytest.raises(BundleRefused) as refused:
        read_bundle(folder)
    problem = "estimators: weibull is no estimator of the kind survival here"
    remedy = "install the package that adds it, or use cox, cross_fitted, xgboost_aft"
    assert f"{problem}; {remedy}" in str(refused.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("means",), []), (("means", 0), 1e999), (("means", 0), None), (("scales", 0), 0.0),
        (("scales", 0), -1.0), (("scales", 0), "x"), (("scales",), [[1.0]]), (("errors",), [0.1, 0.1]),
        (("errors", 0), -0.1), (("errors", 0), 1e999), (("inflation", 0, 0), -1.0), (("inflation",), []),
        (("errors", 0, 0, 0), -0.1), (("errors", 0, 0, 0), 1e999), (("errors", 0, 0), [0.1]),
        (("errors",), []),
        (("times",), []), (("times", 0), 1e9), (("times", 0), "x"), (("times",), 12.0),
        (("centres",), []), (("centres", 0, 0, 0), 1e999), (("centres", 0, 0, 0), None),
        (("spreads",), []), (("spreads", 0, 0, 0), 0.0), (("spreads", 0, 0, 0), float("nan")),
    ],
)  # fmt: skip
def test_intervals_that_are_none_are_refused(folder, path, value):
    put_nested(folder, INTERVALS, path, value)
    refuse(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("level",), 0.0), (("level",), 1.0), (("level",), "x"), (("level",), None), (("chances",), []),
        (("chances", 0), 1.5), (("chances", 0), -0.1), (("chances", 0), "x"), (("chances",), 0.1),
        (("limits",), []), (("limits", 0), 1e999), (("limits", 0), "x"), (("diseases",), []),
        (("diseases", 0), "another"), (("diseases", 0), "colorectal_cancer"), (("diseases",), 7),
    ],
)  # fmt: skip
def test_bounds_that_are_none_are_refused(folder, path, value):
    put_nested(folder, BOUNDS, path, value)
    refuse(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("matrix", lambda a: a[:, :-1]), ("matrix", lambda a: a[:-1]),
        ("matrix", lambda a: changed(a, (0, 0), np.inf)),
        ("matrix", lambda a: a.astype(str)), ("strata", lambda a: a + 1000), ("strata", lambda a: a - 1000),
        ("strata", lambda a: a.astype(float)), ("weights", lambda a: changed(a, 0, np.nan)),
        ("weights", lambda a: a[0]), ("weights", lambda a: a * 2.0), ("weights", lambda a: -a),
        ("weights", lambda a: np.append(a[1:] * 0.0 - 1.0, 1.0 + len(a) - 1.0)),
        ("strata", lambda a: a * 0), ("weights", lambda a: a / a.sum()), ("shares", lambda a: a[:1]),
        ("shares", lambda a: a * 2.0), ("shares", lambda a: changed(a * 0.0, 0, 1.0)),
        ("shares", lambda a: changed(a, 0, np.nan)), ("shares", lambda a: a.astype(str)),
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
    "name",
    [
        "protocol.json", "dictionary.json", "encoder.json", "provenance.json", "applicability.json",
        "completion.json", "likeness.json", "plans.json", "card.json", ENDPOINT, MODEL, BOOSTER, INTERVALS,
        BOUNDS,
    ],
)  # fmt: skip
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
        (folder / MODEL).unlink()
        make(folder / MODEL)
        with pytest.raises(BundleRefused, match="cannot be read"):
            read_bundle(folder)
