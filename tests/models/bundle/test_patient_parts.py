"""What a bundle knows of patients, changed with its manifest: ranges, likeness, completion, plans."""

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


JOINT = BREAST, "joint"
MARGINS = *JOINT, "margins"
AGE, GRADE, SEX = (*MARGINS, "age"), (*MARGINS, "tumour_grade"), (*MARGINS, "sex")
NO_MARGIN = {"values": [], "scores": [], "edges": []}
ONE = {"values": [1.0], "scores": [0.0], "edges": []}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((BREAST,), {}), ((BREAST,), None), ((BREAST,), []), (("another",), {}),
        ((BREAST, "low"), []), ((BREAST, "low"), None), ((BREAST, "low"), {}), ((BREAST, "low"), "x"),
        ((BREAST, "low", 0), "x"), ((BREAST, "low", 0), "1.0"), ((BREAST, "low", 0), 1e9),
        ((BREAST, "low", 0), -1e999), ((BREAST, "low", 0), float("nan")), ((BREAST, "low", 0), [0.0]),
        ((BREAST, "low", 0), None), ((BREAST, "high"), [1.0]),
        ((BREAST, "high", 0), 1e999), ((BREAST, "high", 0), -1e9), ((BREAST, "high", 0), None),
        ((BREAST, "high", 0), 10**400), (JOINT, {}), (JOINT, None), (JOINT, []), (MARGINS, []),
        (MARGINS, {}), (MARGINS, 7), (AGE, {}), (AGE, None), (AGE, NO_MARGIN), (AGE, ONE),
    ],
)  # fmt: skip
def test_a_completion_that_is_none_is_refused(folder, path, value):
    put_nested(folder, "completion.json", path, value)
    refuse(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*AGE, "values"), []), ((*AGE, "values"), None), ((*AGE, "values"), {}), ((*AGE, "values", 0), "x"),
        ((*AGE, "values", 0), None), ((*AGE, "values", 0), 1e999), ((*AGE, "values", 0), float("nan")),
        ((*AGE, "values", 0), -1.0), ((*AGE, "values", 0), 1e9), ((*AGE, "values", 0), 0.5),
        ((*AGE, "values", 1), 1.0), ((*AGE, "values", -1), 119.0), ((*AGE, "scores"), [0.0]),
        ((*AGE, "scores", 0), "x"), ((*AGE, "scores", 0), 9.0), ((*AGE, "scores", 0), -1e300),
        ((*AGE, "scores", 0), 1e999), ((*AGE, "edges"), []), ((*AGE, "edges"), {}), ((*AGE, "edges"), 7),
        ((*AGE, "edges", 0), 9.0), ((*AGE, "edges", -1), -9.0), ((*AGE, "edges", 0), "x"),
        ((*AGE, "edges", 0), -1e300), ((*AGE, "edges", -1), 1e300), ((*AGE, "edges", -1), 1e999),
        ((*AGE, "edges", 3), float("nan")), ((*AGE, "edges", 3), [0.0]), ((*AGE, "edges", 3), None),
        ((*GRADE, "values", 0), 9.0), ((*GRADE, "values", 0), -1.0), ((*GRADE, "values", 0), 0.5),
        ((*GRADE, "values", 0), 1.0), ((*GRADE, "values", 0), 1e9), ((*GRADE, "values", 0), 3.0),
        ((*SEX, "values", 0), 1.0), ((*SEX, "values", 0), 2.0),
    ],
)  # fmt: skip
def test_a_margin_that_is_none_is_refused(folder, path, value):
    """Compiled code looks for values and edges as far as it must: those that do not rise lead nowhere.

    Of numbers and categories none stands that training did not see in the disease: nobody was of grade 4,
    no man has breast cancer, and one who is 119 years old is beyond the border.
    """
    put_nested(folder, "completion.json", path, value)
    refuse(folder)


@pytest.mark.parametrize("name", ["died", "another", "prior_levamisole", "disease"])
def test_a_margin_of_no_predictor_of_the_disease_is_refused(folder, name):
    """In the place of another's, so that the correlation has the right size."""
    document = json.loads((folder / "completion.json").read_bytes())
    margins = document[BREAST]["joint"]["margins"]
    document[BREAST]["joint"]["margins"] = {
        name if own == "prior_chemotherapy" else own: margin for own, margin in margins.items()
    }
    put(folder, "completion.json", json.dumps(document).encode())
    refuse(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: [], lambda c: None, lambda c: {}, lambda c: [[1.0]], lambda c: c[:-1], lambda c: c[0],
        lambda c: [row[:-1] for row in c], lambda c: [[x for row in c for x in row]], lambda c: [c],
        lambda c: [[*c[0][:-1], "x"], *c[1:]], lambda c: [[1e999, *c[0][1:]], *c[1:]],
        lambda c: [[float("nan"), *c[0][1:]], *c[1:]], lambda c: [[2.0, *c[0][1:]], *c[1:]],
        lambda c: [[c[0][0], c[0][1] + 0.1, *c[0][2:]], *c[1:]],
        lambda c: [[1.0] * len(c)] * len(c), lambda c: [[0.0] * len(c)] * len(c),
        lambda c: [[1.0 if i == j else -0.5 for i in range(len(c))] for j in range(len(c))],
        lambda c: [[1.0 if i == j else 1.5 for i in range(len(c))] for j in range(len(c))],
    ],
)  # fmt: skip
def test_a_correlation_that_is_none_is_refused(folder, change):
    """Compiled sums look no further than they are told: a small one would be read beyond its end."""
    document = json.loads((folder / "completion.json").read_bytes())
    document[BREAST]["joint"]["correlation"] = change(document[BREAST]["joint"]["correlation"])
    put(folder, "completion.json", json.dumps(document).encode())
    refuse(folder)


def test_another_completion_that_can_be_is_read(folder):
    """So refusals are of what is wrong: uncorrelated predictors and a narrower border are not."""
    document = json.loads((folder / "completion.json").read_bytes())
    joint = document[BREAST]["joint"]
    count = len(joint["correlation"])
    joint["correlation"] = [[1 if i == j else 0 for i in range(count)] for j in range(count)]
    put(folder, "completion.json", json.dumps(document).encode())
    read = read_bundle(folder)
    assert read.answer({"disease": BREAST})
    assert read.completion.diseases[BREAST].joint.correlation.dtype == float


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
