"""The dictionary: what each type of field allows, refuses and gives back."""

import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dictionary import KNOWN, TYPES, Column, Dictionary, Field, load_dictionary
from features.errors import InvalidDictionary
from tests.features.fields import DICTIONARY, FIELDS, field_and_values

NUMBER = {"label": "X", "group": "disease", "type": "number", "known": "index", "minimum": 0, "maximum": 1}
CATEGORY = {
    "label": "X",
    "group": "disease",
    "type": "category",
    "known": "diagnosis",
    "categories": {"a": {"label": "A"}},
}


def fault_of(name: str, value: object) -> str | None:
    faults = DICTIONARY[name].read([value]).faults
    assert all(rows == (0,) for rows in faults.values())
    return next(iter(faults), None)


def declaration_problems(**entry: Any) -> set[tuple[str, str]]:
    with pytest.raises(InvalidDictionary) as caught:
        Dictionary.from_dict({"x": entry})
    return {(problem.field, problem.problem) for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("age", 0, 0.0),
        ("age", 120, 120.0),
        ("age", 61.5, 61.5),
        ("age", np.int64(61), 61.0),
        ("age", np.float32(61.5), 61.5),
        ("positive_lymph_nodes", 0, 0.0),
        ("positive_lymph_nodes", 100, 100.0),
        ("positive_lymph_nodes", 4.0, 4.0),
        ("prior_chemotherapy", True, 1.0),
        ("prior_chemotherapy", False, 0.0),
        ("prior_chemotherapy", np.True_, 1.0),
        ("sex", "female", 0.0),
        ("sex", "male", 1.0),
        ("tumour_grade", "grade_3", 2.0),
    ],
)
def test_an_allowed_value_becomes_its_number(name: str, value: object, number: float):
    column = DICTIONARY[name].read([value])
    assert column.numbers.tolist() == [number]
    assert column.faults == {}


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("age", True, "wrong type"),
        ("age", np.False_, "wrong type"),
        ("age", "61", "wrong type"),
        ("age", [61], "wrong type"),
        ("age", {"years": 61}, "wrong type"),
        ("age", Decimal(61), "wrong type"),
        ("age", 61 + 0j, "wrong type"),
        ("age", math.nan, "not a finite number"),
        ("age", math.inf, "not a finite number"),
        ("age", -math.inf, "not a finite number"),
        ("age", 10**400, "not a finite number"),
        ("age", -0.1, "out of range"),
        ("age", math.nextafter(120, 121), "out of range"),
        ("positive_lymph_nodes", True, "wrong type"),
        ("positive_lymph_nodes", "4", "wrong type"),
        ("positive_lymph_nodes", 4.5, "not a whole number"),
        ("positive_lymph_nodes", math.nan, "not a finite number"),
        ("positive_lymph_nodes", math.inf, "not a finite number"),
        ("positive_lymph_nodes", 10**400, "not a finite number"),
        ("positive_lymph_nodes", 10**30, "out of range"),
        ("positive_lymph_nodes", -1, "out of range"),
        ("prior_chemotherapy", 1, "wrong type"),
        ("prior_chemotherapy", 0.0, "wrong type"),
        ("prior_chemotherapy", "true", "wrong type"),
        ("prior_chemotherapy", math.nan, "wrong type"),
        ("prior_chemotherapy", 10**400, "wrong type"),
        ("sex", "Female", "unknown category"),
        ("sex", "", "unknown category"),
        ("sex", 0, "unknown category"),
        ("sex", True, "unknown category"),
        ("sex", math.nan, "unknown category"),
        ("sex", ["female"], "unknown category"),
    ],
)
def test_a_refused_value_is_missing_and_named(name: str, value: object, fault: str):
    assert fault_of(name, value) == fault
    assert math.isnan(DICTIONARY[name].read([value]).numbers[0])


@given(FIELDS)
def test_none_is_missing_and_no_fault(field: Field):
    column = field.read([None])
    assert np.isnan(column.numbers).all()
    assert column.faults == {}


def test_faults_give_the_position_of_every_row_by_kind():
    column = DICTIONARY["age"].read([61, "x", None, 200, True, -1, math.nan])
    assert column.faults == {"wrong type": (1, 4), "out of range": (3, 5), "not a finite number": (6,)}
    np.testing.assert_array_equal(column.numbers, [61.0, *[math.nan] * 6])


@given(field_and_values())
def test_value_reverses_read(drawn: tuple[Field, list[Any]]):
    field, values = drawn
    column = field.read(values)
    assert column.faults == {}
    returned = [field.value(number) for number in column.numbers.tolist()]
    assert returned == values
    assert [type(value) for value in returned] == [type(value) for value in values]


GAPS = st.none()
WORDS = st.sampled_from([*DICTIONARY["sex"].category_names, *DICTIONARY["tumour_grade"].category_names, "x"])
TYPED = {
    "float64": GAPS | st.floats(allow_nan=False) | st.floats(0, 100),
    "Int64": GAPS | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 100),
    "int64": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 100),
    "boolean": GAPS | st.booleans(),
    "bool": st.booleans(),
    "string": GAPS | WORDS | st.text(max_size=3),
    "category": GAPS | WORDS,
    "object": GAPS | WORDS | st.booleans() | st.integers() | st.floats(allow_nan=False),
}


def assert_same_column(read: Column, expected: Column) -> None:
    np.testing.assert_array_equal(read.numbers, expected.numbers)
    assert read.faults == expected.faults


@pytest.mark.parametrize("dtype", TYPED)
@given(data=st.data(), field=FIELDS)
def test_a_table_s_column_is_read_as_its_values_are(dtype: str, data: st.DataObject, field: Field):
    values = data.draw(st.lists(TYPED[dtype], max_size=12))
    assert_same_column(field.read_series(pd.Series(values, dtype=dtype)), field.read(values))


@given(field_and_values())
def test_allowed_values_survive_a_table(drawn: tuple[Field, list[Any]]):
    field, values = drawn
    inferred = pd.DataFrame({"x": pd.Series(values, dtype=object).infer_objects()})["x"]
    assert_same_column(field.read_series(inferred), field.read(values))


@pytest.mark.parametrize("gap", [math.nan, None, pd.NA, pd.NaT])
def test_every_gap_a_table_knows_is_missing(gap: object):
    column = DICTIONARY["age"].read_series(pd.Series([61, gap], dtype=object))
    np.testing.assert_array_equal(column.numbers, [61.0, math.nan])
    assert column.faults == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("age", "a number from 0 to 120 years"),
        ("positive_lymph_nodes", "a whole number from 0 to 100 nodes"),
        ("died", "true or false"),
        ("sex", "one of female, male"),
    ],
)
def test_a_field_says_what_it_expects(name: str, words: str):
    assert DICTIONARY[name].expected == words


def test_a_field_knows_the_diseases_it_applies_to():
    assert DICTIONARY["menopausal_status"].applies("breast_cancer")
    assert not DICTIONARY["menopausal_status"].applies("colorectal_cancer")
    assert DICTIONARY["age"].applies("colorectal_cancer")


def test_the_dictionary_survives_json():
    stored = json.loads(json.dumps(DICTIONARY.as_dict(), allow_nan=False))
    assert Dictionary.from_dict(stored) == DICTIONARY


def test_a_slice_keeps_the_order_asked_for():
    part = DICTIONARY.slice(["sex", "age"])
    assert part.names == ("sex", "age")
    assert "died" not in part
    assert part["age"] is DICTIONARY["age"]


def test_every_disease_a_field_applies_to_is_declared():
    diseases = set(DICTIONARY["disease"].category_names)
    assert all(set(field.applies_to or ()) <= diseases for field in DICTIONARY.fields)


def test_the_dictionary_is_read_once():
    assert load_dictionary() is load_dictionary()


@pytest.mark.parametrize("key", ["label", "group", "type", "known"])
def test_a_declaration_lacking_a_key_is_refused(key: str):
    entry = {name: value for name, value in NUMBER.items() if name != key}
    assert ("x", f"has no {key}") in declaration_problems(**entry)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (NUMBER | {"colour": "red"}, "has the unknown key colour"),
        (NUMBER | {"name": "y"}, "has the unknown key name"),
        (NUMBER | {"type": "float"}, "has no usable type"),
        (NUMBER | {"known": "sometime"}, "does not say when it is known"),
        (NUMBER | {"categories": {"a": {"label": "A"}}}, "categories and type disagree"),
        (CATEGORY | {"categories": {}}, "categories and type disagree"),
        ({k: v for k, v in NUMBER.items() if k != "maximum"}, "has no range"),
        ({k: v for k, v in NUMBER.items() if k != "minimum"} | {"type": "integer"}, "has no range"),
    ],
)
def test_a_contradictory_declaration_is_refused_for_that_alone(entry: dict[str, Any], problem: str):
    assert declaration_problems(**entry) == {("x", problem)}


def test_every_faulty_declaration_is_named_at_once():
    declared = {"x": NUMBER | {"known": "later"}, "fine": NUMBER, "y": CATEGORY | {"type": "word"}}
    with pytest.raises(InvalidDictionary) as caught:
        Dictionary.from_dict(declared)
    assert [(p.field, p.problem) for p in caught.value.problems] == [
        ("x", "does not say when it is known"),
        ("y", "has no usable type"),
        ("y", "categories and type disagree"),
    ]


def test_a_refused_declaration_says_what_to_use():
    with pytest.raises(InvalidDictionary) as caught:
        Dictionary.from_dict({"x": NUMBER | {"type": "float", "known": "later"}})
    assert [p.remedy for p in caught.value.problems] == [
        "use one of " + ", ".join(TYPES),
        "use one of " + ", ".join(KNOWN),
    ]


@pytest.mark.parametrize(
    "entry",
    [
        NUMBER | {"minimum": 2},
        NUMBER | {"minimum": "low"},
        NUMBER | {"maximum": None},
        NUMBER | {"scale": "square"},
        NUMBER | {"scale": "log", "minimum": -5},
        CATEGORY | {"categories": {"a": {}}},
        CATEGORY | {"categories": ["a", "b"]},
    ],
    ids=["empty range", "bound is text", "no bound", "unknown scale", "log below -1", "no label", "a list"],
)
def test_a_declaration_that_cannot_be_used_is_refused(entry: dict[str, Any]):
    assert declaration_problems(**entry)
