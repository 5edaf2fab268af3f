"""The dispatcher: one door for each input, the same cohort through any of them, and room for another."""

import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import salvage
from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.errors import InvalidCohort
from features.sources import doors
from features.sources.build import build_cohort
from features.sources.doors import DOORS
from features.sources.fhir import FhirRecipe
from features.sources.omop import OmopRecipe
from features.sources.recipe import Recipe, parse_recipe
from tests.features.sources.jsonl_door import JsonLinesDoor
from tests.features.sources.ward import COLON, RECIPE, declared, recipe, rows

TABLE = rows({}, COLON, {"relapsed": 0}, {"age": 61})
DRUGS = {"file": "drugs.csv", "key": "id", "start": "day", "index": "relapse_day", "window": {"from": 0}}


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, str]:
    """Return one table under every address that a recipe's doors read."""
    TABLE.to_csv(tmp_path / "ward.csv", index=False)
    TABLE.to_csv(tmp_path / "ward.tsv", index=False, sep="\t")
    TABLE.to_parquet(tmp_path / "ward.parquet")
    with pd.ExcelWriter(tmp_path / "ward.xlsx") as book:
        pd.DataFrame({"note": ["not this one"]}).to_excel(book, sheet_name="first", index=False)
        TABLE.to_excel(book, sheet_name="ward", index=False)
    connection = sqlite3.connect(tmp_path / "ward.db")
    TABLE.to_sql("ward", connection, index=False)
    connection.close()
    study = tmp_path / "study"
    study.mkdir()
    (study / "meta_study.txt").write_text("name: Ward\n")
    described = ["#" + "\t".join(["x"] * len(TABLE.columns))] * 2
    datatypes = ["NUMBER" if TABLE[c].dtype.kind == "i" else "STRING" for c in TABLE]
    head = [*described, "#" + "\t".join(datatypes), *described[:1]]
    text = TABLE.rename(columns={"id": "PATIENT_ID"}).to_csv(sep="\t", index=False, na_rep="")
    (study / "data_clinical_patient.txt").write_text("\n".join([*head, text]))
    samples = ["#x\tx", "#x\tx", "#STRING\tSTRING", "#x\tx", "PATIENT_ID\tSAMPLE_ID"]
    (study / "data_clinical_sample.txt").write_text("\n".join([*samples, "p1\ts1", ""]))
    files = ("ward.csv", "ward.tsv", "ward.parquet", "ward.xlsx#ward", "study")
    return {name: str(tmp_path / name) for name in files} | {
        "database": f"sqlite:///{tmp_path}/ward.db?table=ward",
        "query": f"sqlite:///{tmp_path}/ward.db#SELECT * FROM ward",
    }


NAMED = {
    "ward.csv": "file",
    "ward.tsv": "file",
    "ward.parquet": "file",
    "ward.xlsx#ward": "file",
    "study": "cBioPortal study",
    "database": "database",
    "query": "database",
}


@pytest.mark.parametrize(("name", "door"), NAMED.items())
def test_the_first_door_that_recognises_an_input_is_that_of_its_kind(sources, name, door):
    of_tables = [each for each in DOORS if each.follows is Recipe]
    assert next(each.name for each in of_tables if each.recognises(sources[name])) == door


@pytest.mark.parametrize("name", NAMED)
def test_every_door_gives_the_same_cohort(sources, name):
    patient = "PATIENT_ID" if name == "study" else "id"
    through_it = build_cohort(replace(recipe(), patient=patient), sources[name])
    assert through_it.fingerprint() == build_cohort(recipe(), sources["ward.csv"]).fingerprint()
    assert len(through_it) == 3


@pytest.mark.parametrize("given", [None, "ward.doc", "ward", "ward.xls"])
def test_an_input_that_no_door_reads_is_refused_with_what_every_door_takes(given):
    with pytest.raises(InvalidCohort) as refused:
        build_cohort(recipe(), given)
    (problem,) = refused.value.problems
    assert problem.field == "input"
    for door in DOORS:
        assert (door.inputs in problem.remedy) == (door.follows is Recipe)


def test_a_password_in_an_address_that_no_door_reads_is_not_repeated():
    with pytest.raises(InvalidCohort) as refused:
        build_cohort(recipe(), "postgresql:/someone:s3cret@host/db")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("standard", [FhirRecipe(evidence="real"), OmopRecipe(evidence="real")])
def test_a_standard_needs_an_input_and_names_its_own_kinds_alone(standard):
    with pytest.raises(InvalidCohort) as refused:
        build_cohort(standard)
    (problem,) = refused.value.problems
    (door,) = (door for door in DOORS if isinstance(standard, door.follows))
    assert problem.remedy == f"add --input with {door.inputs}"


def test_a_recipe_with_related_files_says_which_a_single_table_lacks(sources):
    entry = declared() | {"related": {"drugs": DRUGS}}
    with pytest.raises(InvalidCohort) as refused:
        build_cohort(parse_recipe(entry, dictionary=load_dictionary()), sources["database"])
    (problem,) = refused.value.problems
    assert (problem.field, problem.problem) == ("drugs", "table is missing")
    assert "drugs.csv" in problem.remedy


def test_related_files_are_found_beside_a_sheet(sources, tmp_path):
    pd.DataFrame({"id": ["p1"], "day": [400]}).to_csv(tmp_path / "drugs.csv", index=False)
    entry = declared() | {"related": {"drugs": DRUGS}}
    entry["fields"]["plan_surgery"] = {"related": "drugs", "constant": True, "without": False}
    cohort = build_cohort(parse_recipe(entry, dictionary=load_dictionary()), sources["ward.xlsx#ward"])
    assert cohort.values["plan_surgery"].tolist() == [1.0, 0.0, 0.0]


# --- another door: one new file (jsonl_door.py) and one line (its entry in DOORS) -------------------------


@pytest.fixture
def one_more_door(monkeypatch):
    monkeypatch.setattr(doors, "DOORS", (*DOORS, JsonLinesDoor()))


def test_one_more_door_serves_the_command_after_one_file_and_one_line(one_more_door, sources, tmp_path):
    TABLE.to_json(tmp_path / "ward.jsonl", orient="records", lines=True)
    (tmp_path / "ward.yaml").write_text(RECIPE)
    arguments = ["--recipe", tmp_path / "ward.yaml", "--input", tmp_path / "ward.jsonl"]
    written = tmp_path / "ward-cohort.parquet"
    built = CliRunner().invoke(
        salvage.commands(), ["cohort", "build", *map(str, arguments), "--out", str(written)]
    )
    assert built.exit_code == 0, built.output
    assert Cohort.read(written).fingerprint() == build_cohort(recipe(), sources["ward.csv"]).fingerprint()


def test_one_more_door_is_named_where_an_input_is_refused(one_more_door):
    with pytest.raises(InvalidCohort, match=r"a \.jsonl file"):
        build_cohort(recipe(), "ward.doc")
    with pytest.raises(InvalidCohort) as before:
        build_cohort(FhirRecipe(evidence="real"), "ward.jsonl")
    assert ".jsonl file" not in str(before.value)


@dataclass(frozen=True)
class RegisterRecipe:
    """The recipe of a made standard, which leaves nothing open."""

    name: str = "register"
    public: str | None = "register:national"


class RegisterDoor:
    """A made standard, whose door gives the whole cohort."""

    name = "register"
    inputs = "a register's address"
    follows = RegisterRecipe

    def recognises(self, source: str) -> bool:
        """Tell by the beginning."""
        return source.startswith("register:")

    def read(self, recipe: RegisterRecipe, source: str) -> Cohort:
        """Return a cohort of one."""
        return Cohort.of_one({"age": 61.0}, dictionary=load_dictionary().slice(["age"]))


def test_a_standard_brings_a_recipe_of_its_own_and_other_recipes_never_reach_its_door(monkeypatch):
    monkeypatch.setattr(doors, "DOORS", (RegisterDoor(), *DOORS))
    assert build_cohort(RegisterRecipe()).values["age"].tolist() == [61.0]
    with pytest.raises(InvalidCohort, match="input"):
        build_cohort(recipe(), "register:national")
