"""Which unit a number is in: what is asked, what cannot be told, and that no usual value is questioned."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from features.cohort import Cohort, read_patient
from features.dictionary import OUT_OF_RANGE, Dictionary, Field, load_dictionary
from features.dictionary_page import CREATININE
from features.errors import InvalidCohort, InvalidDictionary, InvalidRequest
from features.units import alike, factors, likeliest_unit, rows_in_question, suspected_unit, unit_question

DICTIONARY = load_dictionary()
ALBUMIN = DICTIONARY["albumin"]
JUDGED = [field for field in DICTIONARY.fields if field.usual]
PAIRS = [
    (field, unit) for field in JUDGED for unit, by in field.conversions.items() if not math.isclose(by, 1.0)
]

# fmt: off
TYPICAL = [
    # field                        typical   in       is told in another unit
    ("albumin",                       38.0, "g/dL",   True),
    ("haemoglobin",                   11.8, "g/L",    True),
    ("haemoglobin",                   11.8, "mmol/L", False),
    ("platelets",                    220.0, "/uL",    True),
    ("white_cells",                    6.5, "/uL",    True),
    ("neutrophils",                    4.6, "/uL",    True),
    ("lymphocytes",                    1.2, "/uL",    True),
    ("bilirubin",                      9.0, "mg/dL",  True),
    ("creatinine_clearance",          82.0, "mL/s",   True),
    ("ldh",                          220.0, "ukat/L", True),
    ("aspartate_aminotransferase",    26.0, "ukat/L", True),
    ("c_reactive_protein",             9.0, "mg/dL",  False),
    ("tumour_burden",                 70.0, "cm",     False),
    ("largest_lesion",                36.0, "cm",     False),
    ("tumour_volume",                 20.0, "mm3",    True),
    ("months_diagnosis_to_relapse",   40.0, "days",   True),
    ("months_diagnosis_to_relapse",   40.0, "weeks",  False),
    ("months_diagnosis_to_relapse",   40.0, "years",  False),
]
# fmt: on


def usual(field: Field) -> st.SearchStrategy[float]:
    assert field.usual is not None
    return st.floats(*field.usual, allow_nan=False)


def problems_of(**patient: object) -> dict[str, str]:
    try:
        read_patient(patient, dictionary=DICTIONARY)
    except InvalidRequest as error:
        return {problem.field: problem.problem for problem in error.problems}
    return {}


@pytest.mark.parametrize(("name", "typical", "unit", "told"), TYPICAL)
def test_a_typical_value_in_another_unit_is_told_or_known_to_be_alike(
    name: str, typical: float, unit: str, told: bool
):
    field = DICTIONARY[name]
    number = typical / field.conversions[unit]
    asked = problems_of(**{name: number})
    assert (asked == {name: f"fits {unit} better than {field.unit}: did you mean {unit}?"}) is told
    both = alike(field, unit)
    assert told or (both is not None and both[0] <= number <= both[1])


def test_every_laboratory_field_and_other_unit_stands_in_the_table():
    times = {f.name for f in JUDGED if f.unit == "months"} - {"months_diagnosis_to_relapse"}
    assert {(f.name, u) for f, u in PAIRS if f.name not in times} == {(n, u) for n, _, u, _ in TYPICAL}


@given(st.data(), st.sampled_from(PAIRS))
def test_a_usual_value_in_another_unit_is_asked_about_unless_it_is_alike(
    data: st.DataObject, pair: tuple[Field, str]
):
    field, unit = pair
    number = data.draw(usual(field)) / field.conversions[unit]
    both = alike(field, unit)
    cannot_tell = both is not None and math.nextafter(both[0], 0.0) <= number <= math.nextafter(
        both[1], math.inf
    )
    back = number * field.conversions[unit]
    rounded = field.usual is not None and not field.usual[0] <= back <= field.usual[1]
    assert cannot_tell or rounded or suspected_unit(field, number) is not None


@given(st.data(), st.sampled_from(JUDGED))
def test_no_usual_value_is_questioned(data: st.DataObject, field: Field):
    value = data.draw(usual(field))
    assert suspected_unit(field, value) is None
    assert unit_question(field, value) is None


@given(st.sampled_from(JUDGED), st.floats(allow_nan=False))
def test_a_number_that_is_usual_in_no_unit_stays_what_it_was(field: Field, value: float):
    assert field.usual is not None
    low, high = field.usual
    fits = [low <= value * by <= high for by in factors(field).values()]
    assert (suspected_unit(field, value) is not None) is (any(fits) and not fits[0])


@pytest.mark.parametrize("value", [0, -3.8, math.inf, math.nan, 10**400, True, "3.8", None, [3.8]])
def test_what_is_no_measurement_is_not_questioned(value: object):
    assert unit_question(ALBUMIN, value) is None


@pytest.mark.parametrize("kind", [int, np.int64, np.float32])
def test_every_type_of_number_is_questioned(kind: type):
    assert unit_question(ALBUMIN, kind(4)) is not None


def test_a_field_without_a_usual_range_is_not_questioned():
    field = DICTIONARY["cea"]
    assert suspected_unit(field, 1e6) is None
    assert likeliest_unit(field, 3.0) is None


def test_the_question_takes_the_place_of_out_of_range():
    assert problems_of(haemoglobin=121.0) == {"haemoglobin": "fits g/L better than g/dL: did you mean g/L?"}
    assert problems_of(haemoglobin=1e6) == {"haemoglobin": OUT_OF_RANGE}


def test_of_several_units_the_likeliest_is_asked_about():
    assert suspected_unit(DICTIONARY["months_followed"], 1200.0) == "days"
    assert suspected_unit(DICTIONARY["haemoglobin"], 2.0) == "mmol/L"


@pytest.mark.parametrize(("number", "unit"), [(38.0, "g/L"), (3.8, "g/dL"), (1000.0, None)])
def test_the_unit_of_a_number_without_one_is_told_by_its_size(number: float, unit: str | None):
    assert likeliest_unit(ALBUMIN, number) == unit


def test_the_field_declared_the_other_way_round_asks_the_other_way_round():
    declared = ALBUMIN.as_dict() | {"unit": "g/dL", "minimum": 0.1, "maximum": 10, "usual": [1, 6.5]}
    own = Dictionary.from_dict({"albumin": declared | {"conversions": {"g/L": 0.1}}})["albumin"]
    assert (suspected_unit(own, 38.0), suspected_unit(own, 3.8)) == ("g/L", None)


class TestRangeSeenInTraining:
    def test_it_takes_the_place_of_the_usual_range(self):
        bilirubin = DICTIONARY["bilirubin"]
        assert suspected_unit(bilirubin, 1.2) is None
        assert suspected_unit(bilirubin, 1.2, seen=(4.0, 80.0)) == "mg/dL"
        assert suspected_unit(bilirubin, 5.0, seen=(4.0, 80.0)) is None

    def test_a_cohort_read_in_another_unit_asks_of_a_value_in_the_declared_one(self):
        assert suspected_unit(ALBUMIN, 38.0, seen=(2.1, 5.2)) == "g/dL"
        assert suspected_unit(ALBUMIN, 3.8, seen=(2.1, 5.2)) is None
        assert suspected_unit(ALBUMIN, 90.0, seen=(2.1, 5.2)) is None


def cohort_of(albumin: list[float], *, stated: bool = False) -> Cohort:
    frame = pd.DataFrame({"patient": [str(at) for at in range(len(albumin))], "albumin": albumin})
    return Cohort.from_frame(frame, dictionary=DICTIONARY.slice(["albumin"]), units_stated=stated)


class TestColumns:
    def test_a_column_in_another_unit_is_one_problem_with_its_rows(self):
        with pytest.raises(InvalidCohort) as caught:
            cohort_of([3.8, 4.1, math.nan, 41.0, 3.3])
        (problem,) = caught.value.problems
        assert problem.problem == "fits g/dL better than g/L: did you mean g/dL?"
        assert (problem.rows, problem.examples) == (3, (1, 2, 5))
        assert problem.remedy.startswith("multiply by 10 if they are in g/dL")

    def test_rare_extremes_are_believed_where_the_unit_is_stated(self):
        column = [38.0] * 60 + [5.9, 6.1]
        assert len(cohort_of(column, stated=True)) == 62
        with pytest.raises(InvalidCohort):
            cohort_of(column)

    @pytest.mark.parametrize("column", [[3.8] * 3, [38.0] * 30 + [3.8, 3.9]])
    def test_several_in_twenty_are_not_believed(self, column: list[float]):
        with pytest.raises(InvalidCohort):
            cohort_of(column, stated=True)

    @given(st.data(), st.sampled_from(JUDGED), st.booleans())
    def test_no_usual_column_is_questioned(self, data: st.DataObject, field: Field, stated: bool):
        series = pd.Series(data.draw(st.lists(usual(field), max_size=20)), dtype=float)
        column = field.read_series(series)
        assert rows_in_question(field, series, column, stated=stated) == (column, {})

    def test_rows_out_of_range_are_asked_about_once(self):
        haemoglobin, series = DICTIONARY["haemoglobin"], pd.Series([118, "x", None, 1e6, 11], dtype=object)
        column, units = rows_in_question(haemoglobin, series, haemoglobin.read_series(series), stated=False)
        assert units == {"g/L": (0,)}
        assert column.faults == {"wrong type": (1,), OUT_OF_RANGE: (3,)}

    def test_a_cohort_file_with_a_rare_extreme_is_read_again(self, tmp_path: Path):
        built = cohort_of([38.0] * 60 + [5.9], stated=True)
        built.write(tmp_path / "c.parquet")
        assert Cohort.read(tmp_path / "c.parquet").fingerprint() == built.fingerprint()


class TestDeclarations:
    def test_the_documented_declaration_asks_its_question(self):
        creatinine = Dictionary.from_dict(yaml.safe_load(CREATININE))["creatinine"]
        assert suspected_unit(creatinine, 0.9) == "mg/dL"
        assert suspected_unit(creatinine, 80.0) is None

    @pytest.mark.parametrize(
        "wrong",
        [
            {"usual": [60, 10]}, {"usual": [0, 60]}, {"usual": [10, 600]}, {"usual": [10]}, {"usual": "wide"},
            {"usual": ["a", "b"]}, {"conversions": {"g/dL": 0}}, {"conversions": {"g/dL": "ten"}},
            {"conversions": ["g/dL"]},
        ],
        ids=str,
    )  # fmt: skip
    def test_an_unusable_one_is_refused(self, wrong: dict[str, object]):
        with pytest.raises(InvalidDictionary):
            Dictionary.from_dict({"albumin": ALBUMIN.as_dict() | wrong})

    def test_usual_ranges_lie_within_the_limits(self):
        assert all(f.usual and (f.minimum or 0) <= f.usual[0] < f.usual[1] <= f.maximum for f in JUDGED)
