"""The cohort: one validator for a table and for a patient, and what may be done with valid rows."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.cohort import PATIENT, Cohort, Provenance, concatenate
from features.dictionary import Field
from features.eligibility import Attrition
from features.errors import InvalidCohort, InvalidInput, InvalidRequest, Problem
from tests.features.fields import DICTIONARY, allowed
from tests.lib.patients import BREAST, one_patient, provenance, simulated_cohort, simulated_frame

SEEDS = st.integers(0, 2**32 - 1)
COLON = {"disease": "colorectal_cancer", "age": 61.5, "sex": "male", "bowel_obstruction": True}


def table(patients: int = 8, **cells: dict[int, object]) -> pd.DataFrame:
    """Return valid rows with some cells replaced, given by column and row number from 1."""
    frame = simulated_frame(patients, seed=5)
    for name, replaced in cells.items():
        frame[name] = [replaced.get(row, value) for row, value in enumerate(frame[name], start=1)]
    return frame.astype(object)


def read(frame: pd.DataFrame) -> Cohort:
    return Cohort.from_frame(frame, dictionary=DICTIONARY)


def table_problems(frame: pd.DataFrame) -> dict[tuple[str, str], tuple[int | None, tuple[int, ...]]]:
    with pytest.raises(InvalidCohort) as caught:
        read(frame)
    return {(p.field, p.problem): (p.rows, p.examples) for p in caught.value.problems}


def request_problems(patient: dict[str, object]) -> list[Problem]:
    with pytest.raises(InvalidRequest) as caught:
        one_patient(patient, dictionary=DICTIONARY)
    return list(caught.value.problems)


def from_source(recipe: str, *, evidence: str = "real", seed: int = 1) -> Cohort:
    stated = replace(provenance(20), recipe=recipe, evidence=evidence)
    return replace(simulated_cohort(20, seed=seed), provenance=(stated,))


def test_a_valid_table_becomes_a_cohort_of_its_rows():
    frame = table()
    cohort = read(frame)
    assert len(cohort) == 8
    assert cohort.patients == tuple(frame[PATIENT])
    assert cohort.text("disease") == frame["disease"].tolist()
    assert cohort.values["age"].tolist() == frame["age"].tolist()
    assert cohort.provenance == ()


def test_every_problem_of_a_table_is_named_at_once_with_rows_and_examples():
    frame = table(
        patient={2: None, 3: "same", 4: "same"},
        age=dict.fromkeys([1, 2, 3, 5, 6, 7, 8], 130),
        sex={6: "f"},
        positive_lymph_nodes={1: 2.5, 8: -1},
        died={4: 1},
    ).drop(columns="tumour_grade")
    assert table_problems(frame) == {
        ("tumour_grade", "is missing from the table"): (None, ()),
        ("age", "out of range"): (7, (1, 2, 3, 5, 6)),
        ("sex", "unknown category"): (1, (6,)),
        ("positive_lymph_nodes", "not a whole number"): (1, (1,)),
        ("positive_lymph_nodes", "out of range"): (1, (8,)),
        ("died", "wrong type"): (1, (4,)),
        ("patient", "is missing"): (1, (2,)),
        ("patient", "stands in several rows"): (2, (3, 4)),
    }


def test_a_table_without_patients_is_refused():
    problems = table_problems(table().drop(columns=PATIENT))
    assert problems == {("patient", "is missing from the table"): (None, ())}


@pytest.mark.parametrize("gap", [None, math.nan, pd.NA])
def test_a_row_without_a_patient_is_refused(gap: object):
    assert table_problems(table(patient={5: gap})) == {("patient", "is missing"): (1, (5,))}


def test_two_missing_patients_are_not_called_duplicates():
    assert table_problems(table(patient={1: None, 2: None})) == {("patient", "is missing"): (2, (1, 2))}


def test_every_row_of_a_repeated_patient_is_counted():
    problems = table_problems(table(patient=dict.fromkeys(range(2, 9), "same")))
    assert problems == {("patient", "stands in several rows"): (7, (2, 3, 4, 5, 6))}


def test_row_numbers_ignore_the_table_s_index():
    frame = table(age={3: 130}).set_index(np.full(8, 7))
    assert table_problems(frame) == {("age", "out of range"): (1, (3,))}


def test_a_column_outside_the_dictionary_slice_is_left_behind():
    cohort = Cohort.from_frame(table(), dictionary=DICTIONARY.slice(["age", "sex"]))
    assert set(cohort.values) == {"age", "sex"}


def test_a_value_for_another_disease_is_refused_in_a_table():
    frame = table(
        disease={1: "colorectal_cancer", 2: "breast_cancer"},
        menopausal_status=dict.fromkeys(range(1, 9)) | {1: "premenopausal", 2: "premenopausal"},
        tumour_size=dict.fromkeys(range(1, 9)),
    )
    for name in DICTIONARY.names:
        if DICTIONARY[name].applies_to and name != "menopausal_status":
            frame[name] = None
    assert table_problems(frame) == {
        ("menopausal_status", "does not apply to this disease"): (1, (1,)),
    }


@pytest.mark.parametrize("field", [f for f in DICTIONARY.fields if f.applies_to], ids=lambda f: f.name)
def test_a_value_for_another_disease_is_refused_in_a_request(field: Field):
    other = next(d for d in DICTIONARY["disease"].category_names if not field.applies(d))
    value = field.value(0.0)
    problem, *others = request_problems({"disease": other, field.name: value})
    assert others == []
    assert (problem.field, problem.problem) == (field.name, "does not apply to this disease")
    assert problem.remedy == "leave it out; it has a meaning only in " + ", ".join(field.applies_to)
    assert problem.rows is None
    one_patient({"disease": field.applies_to[0], field.name: value}, dictionary=DICTIONARY)


@pytest.mark.parametrize("patient", [BREAST, COLON], ids=["breast", "colorectal"])
def test_a_patient_is_a_cohort_of_one_that_gives_the_values_back(patient: dict[str, object]):
    cohort = one_patient(patient, dictionary=DICTIONARY)
    assert len(cohort) == 1
    given_back = {name: value for name, value in cohort.patient(0).items() if value is not None}
    assert given_back == patient


def test_a_patient_without_any_value_is_all_missing():
    cohort = one_patient({}, dictionary=DICTIONARY)
    assert set(cohort.patient(0).values()) == {None}


def test_a_request_names_every_problem_at_once():
    problems = request_problems(
        {
            "disease": "colorectal_cancer",
            "age": "old",
            "sex": "x",
            "positive_lymph_nodes": True,
            "menopausal_status": "premenopausal",
            "shoe_size": 44,
        }
    )
    assert {(p.field, p.problem, p.rows) for p in problems} == {
        ("shoe_size", "unknown field", None),
        ("age", "wrong type", None),
        ("sex", "unknown category", None),
        ("positive_lymph_nodes", "wrong type", None),
        ("menopausal_status", "does not apply to this disease", None),
    }
    assert len(problems) == 5


def test_a_refused_request_says_what_was_expected():
    (problem,) = request_problems({"age": -1})
    assert problem.remedy == "expected a number from 0 to 120 years"


SECRETS = ("Kowalska-1959", 77777.25, 10**20, -31337, ["Kowalska-1959"])


@pytest.mark.parametrize("secret", SECRETS, ids=str)
@pytest.mark.parametrize("field", DICTIONARY.fields, ids=lambda f: f.name)
def test_a_refused_value_is_never_repeated(field: Field, secret: object):
    patient = {field.name: secret}
    frame = table(**{field.name: {1: secret}})
    for refuse in (lambda: one_patient(patient, dictionary=DICTIONARY), lambda: read(frame)):
        with pytest.raises(InvalidInput) as caught:
            refuse()
        said = str(caught.value) + json.dumps([p.as_dict() for p in caught.value.problems])
        assert str(secret).strip("[]'") not in said


@given(SEEDS)
@settings(max_examples=20)
def test_a_table_and_a_patient_are_read_alike(seed: int):
    frame = simulated_frame(3, seed=seed)
    cohort = read(frame)
    for row, record in enumerate(frame.drop(columns=PATIENT).to_dict("records")):
        alone = one_patient(record, dictionary=DICTIONARY)
        assert alone.patient(0) == cohort.patient(row)


def test_take_keeps_the_rows_in_the_order_asked_for(cohort: Cohort):
    taken = cohort.take(np.array([5, 2]))
    assert taken.patients == (cohort.patients[5], cohort.patients[2])
    assert [taken.patient(0), taken.patient(1)] == [cohort.patient(5), cohort.patient(2)]
    assert taken.provenance == cohort.provenance


def test_take_accepts_a_mask(cohort: Cohort):
    old = cohort.values["age"] > 60
    taken = cohort.take(old)
    assert 0 < len(taken) == old.sum() < len(cohort)
    assert (taken.values["age"] > 60).all()


def test_taking_every_row_keeps_the_fingerprint(cohort: Cohort):
    assert cohort.take(np.arange(len(cohort))).fingerprint() == cohort.fingerprint()


@st.composite
def changed_cell(draw: st.DrawFn) -> tuple[Cohort, Cohort]:
    """Draw a cohort and its copy in which exactly one value differs."""
    before = simulated_cohort(6, seed=7)
    field = draw(st.sampled_from(DICTIONARY.fields))
    row = draw(st.integers(0, 5))
    old = before.values[field.name][row]
    read_one = st.none() | allowed(field)
    new = draw(read_one.map(lambda v: field.read([v]).numbers[0]).filter(lambda n: not same(n, old)))
    column = before.values[field.name].copy()
    column[row] = new
    return before, replace(before, values={**before.values, field.name: column})


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@given(changed_cell())
def test_the_fingerprint_changes_with_any_value(cohorts: tuple[Cohort, Cohort]):
    before, after = cohorts
    assert before.fingerprint() != after.fingerprint()


def test_the_fingerprint_changes_with_patients_their_order_and_the_fields():
    cohort = simulated_cohort(6)
    renamed = replace(cohort, patients=("x", *cohort.patients[1:]))
    swapped = cohort.take(np.array([1, 0, 2, 3, 4, 5]))
    narrower = replace(cohort, dictionary=DICTIONARY.slice(DICTIONARY.names[:-1]))
    shown = {c.fingerprint() for c in (cohort, renamed, swapped, narrower)}
    assert len(shown) == 4


def test_the_fingerprint_tells_two_fields_of_equal_values_apart():
    oestrogen, progesterone = (
        one_patient({name: 80.0}, dictionary=DICTIONARY.slice([name])).fingerprint()
        for name in ("oestrogen_receptor", "progesterone_receptor")
    )
    assert oestrogen != progesterone


def test_the_fingerprint_is_of_the_data_and_not_of_its_provenance():
    assert from_source("a").fingerprint() == from_source("b").fingerprint()


def test_a_whole_number_fingerprints_alike_however_it_was_written():
    one, other = table(age=dict.fromkeys(range(1, 9), 50)), table(age=dict.fromkeys(range(1, 9), 50.0))
    assert read(one).fingerprint() == read(other).fingerprint()


def test_the_readable_table_is_read_back_equal(cohort: Cohort):
    frame = cohort.to_frame()
    assert list(frame.columns) == [PATIENT, *DICTIONARY.names]
    assert set(frame["sex"]) == {"female", "male"}
    assert read(frame.astype(object)).fingerprint() == cohort.fingerprint()


def test_joined_patients_carry_the_name_of_their_recipe():
    joined = concatenate([from_source("ward", seed=1), from_source("trial", seed=2)])
    assert len(joined) == 40
    assert joined.patients[0] == "ward:p0"
    assert joined.patients[20] == "trial:p0"
    assert [p.recipe for p in joined.provenance] == ["ward", "trial"]


def test_joining_keeps_every_value_in_order():
    one, other = from_source("ward", seed=1), from_source("trial", seed=2)
    joined = concatenate([one, other])
    assert [joined.patient(i) for i in (0, 19)] == [one.patient(0), one.patient(19)]
    assert [joined.patient(i) for i in (20, 39)] == [other.patient(0), other.patient(19)]


def test_a_single_cohort_is_joined_unchanged():
    cohort = from_source("ward")
    assert concatenate([cohort]).patients == cohort.patients
    assert concatenate([cohort]).fingerprint() == cohort.fingerprint()


def test_a_field_that_one_cohort_lacks_is_missing_there():
    narrow = Cohort.from_frame(
        table(), dictionary=DICTIONARY.slice(["age", "sex"]), provenance=(provenance(8),)
    )
    joined = concatenate([from_source("ward"), narrow])
    assert joined.dictionary.names == DICTIONARY.names
    assert np.isnan(joined.values["died"][20:]).all()
    assert not np.isnan(joined.values["died"][:20]).any()
    assert joined.values["age"][20:].tolist() == narrow.values["age"].tolist()


def test_joining_the_same_source_twice_is_refused():
    with pytest.raises(InvalidCohort) as caught:
        concatenate([from_source("ward"), from_source("ward")])
    (problem,) = caught.value.problems
    assert (problem.field, problem.problem, problem.rows) == ("patient", "stands in several rows", 40)


@pytest.mark.parametrize(
    ("kinds", "evidence"),
    [(["real"], "real"), (["real", "real"], "real"), (["synthetic"], "synthetic"),
     (["real", "synthetic"], "synthetic")],
)  # fmt: skip
def test_a_cohort_is_real_only_when_every_part_is(kinds: list[str], evidence: str):
    parts = [from_source(f"s{i}", evidence=kind) for i, kind in enumerate(kinds)]
    assert concatenate(parts).evidence == evidence


def test_provenance_survives_json():
    stated = Provenance(
        "r", "real", "c", "t", "first relapse", ("one", "two"), Attrition(9).then("no relapse", 4)
    )
    assert Provenance.from_dict(json.loads(json.dumps(stated.as_dict()))) == stated


def test_text_of_a_category_leaves_gaps_empty():
    cohort = read(table(tumour_grade={1: "grade_2", 2: None}))
    assert cohort.text("tumour_grade")[:2] == ["grade_2", None]


def test_zero_fingerprints_alike_whatever_its_sign():
    one, other = table(age={1: 0.0}), table(age={1: -0.0})
    assert read(one).fingerprint() == read(other).fingerprint()


def test_a_patient_repeated_as_number_and_as_text_is_refused():
    with pytest.raises(InvalidCohort):
        read(table(patient={1: 7, 2: "7"}))


def test_a_column_that_stands_twice_is_refused():
    with pytest.raises(InvalidCohort):
        read(pd.concat([table(), table()[["age"]]], axis=1))


def test_a_cohort_of_unknown_origin_is_not_called_real():
    assert read(table()).evidence != "real"
