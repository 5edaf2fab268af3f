"""Following a recipe: hand-written files become cohorts, and every fault of a table is named with its row."""

import json
from pathlib import Path

import pandas as pd
import pytest

from features.cohort import Cohort
from features.errors import InvalidCohort, Problem
from features.sources.build import build_cohort
from features.sources.forms import MONTH
from features.sources.recipe import Recipe
from tests.features.sources.ward import COLON, ROW, build, recipe, rows

UNKNOWN = "code is not in the recipe"


def problems(folder: Path, table: pd.DataFrame, *, following: Recipe | None = None) -> list[Problem]:
    with pytest.raises(InvalidCohort) as caught:
        build(folder, table, following=following)
    return list(caught.value.problems)


def named(found: list[Problem]) -> list[tuple[str, str, int | None, tuple[int, ...]]]:
    return [(p.field, p.problem, p.rows, p.examples) for p in found]


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_hand_written_row_means_what_the_recipe_says(tmp_path: Path, kind: str):
    cohort = build(tmp_path, rows({}), kind=kind)
    patient = cohort.patient(0)
    assert cohort.patients == ("p1",)
    assert patient.pop("age") == pytest.approx(50 + 365 / 365.25)
    assert patient.pop("months_diagnosis_to_relapse") == pytest.approx(365 / MONTH)
    assert patient.pop("months_followed") == pytest.approx(730 / MONTH)
    assert patient == {
        "disease": "breast_cancer",
        "sex": "female",
        "menopausal_status": "postmenopausal",
        "positive_lymph_nodes": 3,
        "prior_chemotherapy": True,
        "died": True,
    }


WARD = rows(
    {},
    COLON | {"nodes": None, "chemo": None},
    {"relapsed": 0},
    {"relapsed": 9, "dead": 0},
    {"last_day": 365},
    {"age": 61.5, "dead": 0},
)


def test_csv_tsv_and_parquet_give_the_same_fingerprint(tmp_path: Path):
    cohorts = [build(tmp_path, WARD, kind=kind) for kind in ("csv", "tsv", "parquet")]
    assert len({cohort.fingerprint() for cohort in cohorts}) == 1
    assert len(cohorts[0]) == 3


def test_every_exclusion_is_counted_by_its_reason(tmp_path: Path):
    cohort = build(tmp_path, WARD)
    (stated,) = cohort.provenance
    assert stated.attrition.as_dict() == {
        "read": 6,
        "exclusions": [
            {"reason": "no relapse recorded", "excluded": 2},
            {"reason": "no follow-up after the index date", "excluded": 1},
        ],
        "kept": len(cohort),
    }
    assert cohort.patients == ("p1", "p2", "p6")


def test_the_provenance_is_the_recipe_s(tmp_path: Path):
    (stated,) = build(tmp_path, WARD).provenance
    assert (stated.recipe, stated.evidence, stated.source) == ("ward", "synthetic", "made for tests")
    assert (stated.index_event, stated.selection) == ("first relapse", ("made for tests",))


def test_a_built_cohort_is_written_and_read_back_equal(tmp_path: Path):
    cohort = build(tmp_path, WARD)
    cohort.write(tmp_path / "cohort.parquet")
    again = Cohort.read(tmp_path / "cohort.parquet")
    assert again.fingerprint() == cohort.fingerprint()
    assert again.provenance == cohort.provenance


def test_empty_cells_are_missing_and_no_fault(tmp_path: Path):
    gaps = dict.fromkeys(["site", "age", "sex", "meno", "nodes", "chemo", "dead"])
    patient = build(tmp_path, rows({}, gaps)).patient(1)
    assert patient.pop("months_followed") is not None
    assert patient.pop("months_diagnosis_to_relapse") is not None
    assert set(patient.values()) == {None}


def test_a_sum_with_a_missing_term_is_missing(tmp_path: Path):
    patient = build(tmp_path, rows({}, {"last_day": None})).patient(1)
    assert patient["months_followed"] is None
    assert patient["age"] is not None


def test_a_patient_of_unknown_follow_up_is_kept_for_the_endpoint_to_refuse(tmp_path: Path):
    cohort = build(tmp_path, rows({}, {"last_day": None}))
    assert cohort.provenance[0].attrition.kept == len(cohort) == 2


def test_every_missing_column_is_named_at_once(tmp_path: Path):
    found = problems(tmp_path, rows({}).drop(columns=["nodes", "id", "relapsed", "last_day"]))
    assert [p.field for p in found] == ["id", "last_day", "nodes", "relapsed"]
    assert {p.problem for p in found} == {"column is missing"}


def test_a_column_the_recipe_does_not_name_changes_nothing(tmp_path: Path):
    plain, wider = rows({}), rows({"surname": "Kowalska"})
    assert build(tmp_path, plain).fingerprint() == build(tmp_path, wider).fingerprint()


def test_an_unknown_code_of_inclusion_is_a_fault_and_no_exclusion(tmp_path: Path):
    found = problems(tmp_path, rows({}, {"relapsed": 7}, {"relapsed": 0}, {"relapsed": None}))
    assert named(found) == [("relapsed", UNKNOWN, 2, (2, 4))]
    assert found[0].remedy == "the recipe knows 1, 0, 9"


def test_unknown_codes_are_named_by_source_column_and_source_row(tmp_path: Path):
    table = rows({"relapsed": 0}, {"sex": "X"}, {}, {"chemo": 2}, {"sex": "f"})
    assert named(problems(tmp_path, table)) == [("sex", UNKNOWN, 2, (2, 5)), ("chemo", UNKNOWN, 1, (4,))]


def test_a_code_in_a_row_left_out_is_not_judged(tmp_path: Path):
    cohort = build(tmp_path, rows({}, {"relapsed": 0, "sex": "X", "age": "unknown"}))
    assert cohort.patients == ("p1",)


def test_a_repeated_and_a_missing_patient_are_named_together(tmp_path: Path):
    table = rows({"id": "a"}, {"id": None}, {"id": "a"}, {"id": "b"})
    assert named(problems(tmp_path, table)) == [
        ("id", "is missing", 1, (2,)),
        ("id", "stands in several rows", 2, (1, 3)),
    ]


def test_a_patient_repeated_in_a_row_left_out_is_still_repeated(tmp_path: Path):
    table = rows({"id": "a"}, {"id": "a", "relapsed": 0})
    assert named(problems(tmp_path, table)) == [("id", "stands in several rows", 2, (1, 2))]


def test_a_negative_duration_is_refused_with_its_source_row(tmp_path: Path):
    table = rows({"relapsed": 0}, {}, {"last_day": 364}, {"relapse_day": -1})
    assert named(problems(tmp_path, table)) == [
        ("months_diagnosis_to_relapse", "out of range", 1, (4,)),
        ("months_followed", "out of range", 1, (3,)),
    ]


def test_text_in_a_sum_is_named_by_its_source_column(tmp_path: Path):
    table = rows({}, {"last_day": "alive"}, {"last_day": "lost"})
    assert named(problems(tmp_path, table)) == [("last_day", "is not a number", 2, (2, 3))]


def test_text_in_a_plain_column_is_named_by_its_field(tmp_path: Path):
    found = problems(tmp_path, rows({"nodes": "three"}, {"nodes": "four"}))
    assert named(found) == [("positive_lymph_nodes", "wrong type", 2, (1, 2))]


BLAMED = "one word in a CSV column makes pandas read the column as text, so right rows are blamed too"


@pytest.mark.parametrize(("column", "field"), [("nodes", "positive_lymph_nodes"), ("chemo", "chemo")])
def test_one_word_among_numbers_is_the_only_row_named(tmp_path: Path, column: str, field: str):
    (problem,) = problems(tmp_path, rows({}, {column: "unknown"}, {}))
    assert (problem.field, problem.rows, problem.examples) == (field, 1, (2,))


@pytest.mark.parametrize("column", ["nodes", "chemo"])
def test_a_word_among_the_numbers_of_a_row_left_out_harms_nobody(tmp_path: Path, column: str):
    assert len(build(tmp_path, rows({}, {"relapsed": 0, column: "unknown"}, {}))) == 2


def test_every_kind_of_fault_is_named_at_once_and_counts_every_row(tmp_path: Path):
    faulty = {"sex": "X", "nodes": 2.5, "chemo": 5}
    table = rows({"relapsed": 0}, {}, *[faulty] * 7, {"last_day": 1, "nodes": 400})
    assert named(problems(tmp_path, table)) == [
        ("sex", UNKNOWN, 7, (3, 4, 5, 6, 7)),
        ("positive_lymph_nodes", "not a whole number", 7, (3, 4, 5, 6, 7)),
        ("positive_lymph_nodes", "out of range", 1, (10,)),
        ("chemo", UNKNOWN, 7, (3, 4, 5, 6, 7)),
        ("months_followed", "out of range", 1, (10,)),
    ]


def test_a_value_for_another_disease_is_refused(tmp_path: Path):
    (problem,) = problems(tmp_path, rows({}, COLON | {"meno": "pre"}))
    assert (problem.field, problem.problem, problem.rows) == (
        "menopausal_status", "does not apply to this disease", 1,
    )  # fmt: skip


@pytest.mark.parametrize("column", [name for name in ROW if name != "id"])
def test_a_refused_table_never_repeats_a_value(tmp_path: Path, column: str):
    found = problems(tmp_path, rows({}, {column: "Kowalska-1959"}))
    assert "Kowalska" not in json.dumps([p.as_dict() for p in found])


def test_nobody_left_is_an_empty_cohort_with_its_attrition(tmp_path: Path):
    cohort = build(tmp_path, rows({"relapsed": 0}))
    assert len(cohort) == cohort.provenance[0].attrition.kept == 0


def test_a_recipe_without_a_public_source_asks_for_a_file():
    with pytest.raises(InvalidCohort, match=r"input: is needed by this recipe; add --input with .*a file"):
        build_cohort(recipe())


def test_an_identifier_keeps_its_leading_zeros(tmp_path: Path):
    assert build(tmp_path, rows({"id": "007"}, {"id": "010"})).patients == ("007", "010")


def test_identifiers_that_differ_by_a_leading_zero_are_two_patients(tmp_path: Path):
    assert len(build(tmp_path, rows({"id": "007"}, {"id": "7"}))) == 2


@pytest.mark.parametrize("code", ["None", "null"])
def test_a_code_that_looks_like_a_gap_means_the_same_in_csv_and_parquet(tmp_path: Path, code: str):
    following = recipe(prior_chemotherapy={"column": "chemo", "codes": {code: False, "Yes": True}})
    table = rows({"chemo": code}, {"chemo": "Yes"})
    shown = [
        build(tmp_path, table, kind=kind, following=following).values["prior_chemotherapy"].tolist()
        for kind in ("parquet", "csv")
    ]
    assert shown == [[0.0, 1.0], [0.0, 1.0]]


def test_a_value_for_another_disease_is_named_by_its_source_row(tmp_path: Path):
    (problem,) = problems(tmp_path, rows({"relapsed": 0}, {}, COLON | {"meno": "pre"}))
    assert problem.examples == (3,)
