"""What a bundle knows of patients, changed with its manifest: ranges, likeness, information, plans."""

import json

import pytest

from models.bundle.reading import read_bundle
from tests.models.bundle.hostile import put, put_nested, refuse

BREAST = "breast_cancer"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("ranges",), {}), (("ranges",), 7), (("ranges", BREAST), None), (("ranges", BREAST, "age"), [1.0]),
        (("ranges", BREAST, "age"), ["a", "b"]), (("ranges", BREAST, "age"), [0.0, 1e999]),
        (("ranges", "another"), {}), (("categories",), {}), (("categories", BREAST), []),
        (("categories", BREAST, "sex"), 7), (("categories", BREAST, "sex", "female"), "many"),
    ],
)  # fmt: skip
def test_ranges_and_counts_that_are_none_are_refused(folder, path, value):
    put_nested(folder, "applicability.json", path, value)
    refuse(folder)


@pytest.mark.parametrize("value", [{}, [], {BREAST: [0.0] * 201}, 7])
def test_a_likeness_of_other_diseases_is_refused(folder, value):
    put(folder, "likeness.json", json.dumps(value).encode())
    refuse(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((BREAST,), []), ((BREAST,), [0.0] * 200), ((BREAST, 0), "x"), ((BREAST, 0), 1e999),
        ((BREAST, 0), 1e9), ((BREAST,), None), (("another",), [0.0] * 201),
    ],
)  # fmt: skip
def test_a_likeness_that_is_none_is_refused(folder, path, value):
    put_nested(folder, "likeness.json", path, value)
    refuse(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((BREAST,), {}), (("another",), {}), ((BREAST, "means"), []), ((BREAST, "means", 0), 1e999),
        ((BREAST, "scales"), [[1.0]]), ((BREAST, "scales", 0), "x"), ((BREAST, "correlation"), []),
        ((BREAST, "correlation"), [[1.0]]), ((BREAST, "correlation", 0), [1.0]),
        ((BREAST, "correlation", 0, 0), 1e999), ((BREAST, "plausible"), []),
        ((BREAST, "plausible"), {"age": {}}),
    ],
)  # fmt: skip
def test_information_that_is_none_is_refused(folder, path, value):
    """Compiled sums look no further than they are told: a small correlation would be read beyond its end."""
    put_nested(folder, "information.json", path, value)
    refuse(folder)


def plausible(folder):
    """Return models of two tests, a number's and a category's, of the bundle's columns."""
    columns = len(json.loads((folder / "information.json").read_bytes())[BREAST]["means"])
    number = {"intercept": 1.0, "coefficients": [0.0] * columns, "residuals": [0.0] * 9, "range": [0.0, 5.0]}
    category = {"values": [0.0, 1.0], "intercepts": [0.0] * 2, "coefficients": [[0.0] * columns] * 2}
    return {"positive_lymph_nodes": number, "tumour_grade": category}


def test_plausible_values_of_the_bundle_s_columns_are_read(folder):
    put_nested(folder, "information.json", (BREAST, "plausible"), plausible(folder))
    assert read_bundle(folder).information.diseases[BREAST].plausible


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("positive_lymph_nodes", "coefficients"), [0.0]), (("positive_lymph_nodes", "coefficients", 0), "x"),
        (("positive_lymph_nodes", "residuals"), []), (("positive_lymph_nodes", "residuals", 0), 1e999),
        (("positive_lymph_nodes", "range"), [0.0]), (("positive_lymph_nodes", "range"), [5.0, 0.0]),
        (("positive_lymph_nodes", "intercept"), "x"), (("positive_lymph_nodes", "intercept"), None),
        (("tumour_grade", "values"), []), (("tumour_grade", "values"), [0.0, 1e9]),
        (("tumour_grade", "values"), [0.0]), (("tumour_grade", "intercepts"), [0.0]),
        (("tumour_grade", "coefficients"), [[0.0], [0.0]]), (("tumour_grade", "coefficients", 0, 0), 1e999),
        (("died",), {"values": [0.0], "intercepts": [0.0], "coefficients": []}), (("another",), {}),
    ],
)  # fmt: skip
def test_plausible_values_that_are_none_are_refused(folder, path, value):
    models = inner = plausible(folder)
    *way, last = path
    for step in way:
        inner = inner[step]
    inner[last] = value
    put_nested(folder, "information.json", (BREAST, "plausible"), models)
    refuse(folder)


@pytest.mark.parametrize(
    "value",
    [
        {"names": ["age"], "patterns": {}}, {"names": ["another"], "patterns": {}},
        {"names": 7, "patterns": {}},
        {"names": [], "patterns": {BREAST: [[[True], 3]]}}, {"names": [], "patterns": {BREAST: [[[], "x"]]}},
        {"names": [], "patterns": {BREAST: 7}}, {"names": [], "patterns": []},
    ],
)  # fmt: skip
def test_plans_that_are_none_are_refused(folder, value):
    put(folder, "plans.json", json.dumps(value).encode())
    refuse(folder)
