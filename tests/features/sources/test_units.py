"""Units of a recipe's columns: what is declared is converted, what is not is asked about by row."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.errors import InvalidCohort, InvalidRecipe, Problem
from features.sources.build import build_cohort
from features.sources.recipe import parse_recipe

DECILITRES = [3.8, 4.1, None, 2.9]
EXTREME = [38.0] * 50 + [6.2]


def built(tmp_path: Path, entry: dict[str, Any], alb: list[float | None]) -> Cohort:
    declared = {
        "name": "ward", "title": "A ward", "evidence": "synthetic", "index_event": "first relapse",
        "source": {"citation": "made up", "terms": "none", "selection": ["made up"]}, "patient": "id",
        "fields": {"albumin": entry},
    }  # fmt: skip
    table = pd.DataFrame({"id": [f"p{row}" for row in range(len(alb))], "alb": alb})
    table.to_csv(tmp_path / "ward.csv", index=False)
    recipe = parse_recipe(declared, dictionary=load_dictionary())
    return build_cohort(recipe, source=tmp_path / "ward.csv")


def refused(tmp_path: Path, entry: dict[str, Any], alb: list[float | None]) -> Problem:
    with pytest.raises(InvalidCohort) as caught:
        built(tmp_path, entry, alb)
    (problem,) = caught.value.problems
    return problem


def test_a_column_without_a_unit_is_asked_about_with_its_rows_and_how_to_declare_it(tmp_path: Path):
    assert refused(tmp_path, {"column": "alb"}, DECILITRES) == Problem(
        "alb",
        "fits g/dL better than g/L: did you mean g/dL as albumin?",
        "declare it in the recipe as unit: g/dL, or as unit: g/L if the values are right",
        3,
        (1, 2, 4),
    )


def test_a_declared_unit_is_converted(tmp_path: Path):
    cohort = built(tmp_path, {"column": "alb", "unit": "g/dL"}, DECILITRES)
    assert cohort.values["albumin"].tolist()[:2] == pytest.approx([38.0, 41.0])


def test_a_rare_extreme_is_believed_where_the_unit_is_declared(tmp_path: Path):
    assert refused(tmp_path, {"column": "alb"}, EXTREME).examples == (51,)
    cohort = built(tmp_path, {"column": "alb", "unit": "g/L"}, EXTREME)
    cohort.write(tmp_path / "ward.parquet")
    assert Cohort.read(tmp_path / "ward.parquet").fingerprint() == cohort.fingerprint()


@pytest.mark.parametrize(
    ("unit", "alb", "fits"), [("g/L", [3.8, 4.1], "g/dL"), ("g/dL", [38.0, 41.0], "g/L")]
)
def test_a_declared_unit_that_the_column_contradicts_is_found(
    tmp_path: Path, unit: str, alb: list[float | None], fits: str
):
    problem = refused(tmp_path, {"column": "alb", "unit": unit}, alb)
    assert problem.problem == f"fits {fits} better than {unit}: did you mean {fits} as albumin?"
    assert problem.rows == 2


@pytest.mark.parametrize(
    ("name", "unit", "remedy"),
    [
        ("albumin", "mg/L", "use g/L, g/dL"),
        ("albumin", "days", "use g/L, g/dL"),
        ("sex", "g/L", "leave the unit out: the field has none"),
    ],
)
def test_an_unknown_unit_names_those_of_the_field(name: str, unit: str, remedy: str):
    with pytest.raises(InvalidRecipe) as caught:
        parse_recipe(
            {
                "name": "x", "title": "x", "evidence": "real", "index_event": "first relapse",
                "source": {"citation": "x", "terms": "x", "selection": ["x"]}, "patient": "id",
                "fields": {name: {"column": "c", "unit": unit}},
            },
            dictionary=load_dictionary(),
        )  # fmt: skip
    assert remedy in [problem.remedy for problem in caught.value.problems]
