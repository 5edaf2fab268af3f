"""Reshaping: several rows a patient, brought side by side without losing or inventing any."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.errors import InvalidCohort
from features.sources.forms import MONTH
from features.sources.recipe import Recipe, parse_recipe
from tests.features.sources.ward import build, declared

RECURRENCE, DEATH = 1, 2


def long_recipe(**changes: Any) -> Recipe:
    entry = declared() | {
        "reshape": {"by": "etype", "codes": {1: "recurrence", 2: "death"}, "columns": ["time", "status"]},
        "include": [
            {"column": "recurrence_status", "keep": [1], "leave_out": [0], "reason": "no recurrence recorded"}
        ],
        "fields": {
            "disease": {"constant": "colorectal_cancer"},
            "sex": {"column": "sex", "codes": {"M": "male", "F": "female"}},
            "months_diagnosis_to_relapse": {"column": "recurrence_time", "unit": "days"},
            "months_followed": {
                "sum": [
                    {"column": "death_time", "unit": "days"},
                    {"column": "recurrence_time", "unit": "days", "subtract": True},
                ]
            },
            "died": {"column": "death_status", "codes": {0: False, 1: True}},
        },
    }
    return parse_recipe(entry | changes, dictionary=load_dictionary())


def long_table(*events: tuple[object, str, object, float, int]) -> pd.DataFrame:
    return pd.DataFrame(list(events), columns=["id", "sex", "etype", "time", "status"])


TRIAL = (
    ("a", "M", RECURRENCE, 100, 1),
    ("b", "F", DEATH, 500, 0),
    ("a", "M", DEATH, 400, 1),
    ("b", "F", RECURRENCE, 100, 0),
    ("c", "F", RECURRENCE, 200, 1),
    ("c", "F", DEATH, 900, 0),
)


def reshaped(folder: Path, *events: tuple[object, str, object, float, int]) -> Cohort:
    return build(folder, long_table(*events), following=long_recipe())


def problems(folder: Path, *events: tuple[object, str, object, float, int]) -> list[tuple[object, ...]]:
    with pytest.raises(InvalidCohort) as caught:
        reshaped(folder, *events)
    return [(p.field, p.problem, p.rows, p.examples) for p in caught.value.problems]


def test_each_patient_becomes_one_row_of_all_their_events(tmp_path: Path):
    cohort = reshaped(tmp_path, *TRIAL)
    assert cohort.patients == ("a", "c")
    assert cohort.text("sex") == ["male", "female"]
    assert cohort.values["months_diagnosis_to_relapse"] * MONTH == pytest.approx([100, 200])
    assert cohort.values["months_followed"] * MONTH == pytest.approx([300, 700])
    assert cohort.values["died"].tolist() == [1.0, 0.0]


def test_patients_and_not_rows_are_counted_as_read(tmp_path: Path):
    attrition = reshaped(tmp_path, *TRIAL).provenance[0].attrition
    assert (attrition.read, attrition.kept) == (3, 2)
    assert [(e.reason, e.excluded) for e in attrition.exclusions] == [
        ("no recurrence recorded", 1),
        ("no follow-up after the index date", 0),
    ]


def test_the_order_of_rows_does_not_matter(tmp_path: Path):
    by_patient = sorted(TRIAL, key=lambda event: event[0])
    assert reshaped(tmp_path, *by_patient).fingerprint() == reshaped(tmp_path, *TRIAL).fingerprint()


def test_an_unknown_event_code_and_a_repeated_pair_are_named_together(tmp_path: Path):
    table = (*TRIAL, ("d", "M", 7, 300, 1), ("c", "F", DEATH, 901, 1), ("e", "M", None, 300, 1))
    assert problems(tmp_path, *table) == [
        ("etype", "code is not in the recipe", 2, (7, 9)),
        ("id", "stands twice with the same etype", 2, (6, 8)),
    ]


def test_a_patient_without_the_event_of_inclusion_is_a_fault(tmp_path: Path):
    table = (*TRIAL, ("d", "M", DEATH, 300, 1))
    assert problems(tmp_path, *table) == [("recurrence_status", "code is not in the recipe", 1, (7,))]


def test_a_patient_without_the_later_event_has_no_follow_up_value(tmp_path: Path):
    cohort = reshaped(tmp_path, *TRIAL, ("d", "M", RECURRENCE, 300, 1))
    assert cohort.patient(2)["months_followed"] is None
    assert cohort.patient(2)["died"] is None


def test_a_row_without_a_patient_is_named_by_its_source_row(tmp_path: Path):
    table = (*TRIAL, (None, "M", RECURRENCE, 300, 1))
    assert problems(tmp_path, *table) == [("id", "is missing", 1, (7,))]


def test_a_negative_duration_points_at_the_patient_s_first_source_row(tmp_path: Path):
    table = (*TRIAL, ("d", "M", RECURRENCE, 300, 1), ("d", "M", DEATH, 299, 1))
    assert problems(tmp_path, *table) == [("months_followed", "out of range", 1, (7,))]


def test_the_long_columns_are_asked_for_and_the_made_ones_are_not(tmp_path: Path):
    table = long_table(*TRIAL).drop(columns=["etype", "time"])
    with pytest.raises(InvalidCohort) as caught:
        build(tmp_path, table, following=long_recipe())
    assert [p.field for p in caught.value.problems] == ["etype", "time"]


def test_a_column_that_reshaping_would_make_twice_is_refused(tmp_path: Path):
    table = long_table(*TRIAL).assign(recurrence_time=5)
    with pytest.raises(InvalidCohort, match="recurrence_time"):
        build(tmp_path, table, following=long_recipe())


def test_rows_of_one_patient_that_disagree_are_refused(tmp_path: Path):
    table = (("a", "M", RECURRENCE, 100, 1), ("a", "F", DEATH, 400, 1))
    assert problems(tmp_path, *table)[0][0] == "sex"
