"""Recipes: what may be declared, and every mistake in one named at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from features.dictionary import load_dictionary
from features.errors import InvalidRecipe, NotFound, Problem
from features.sources.forms import DAYS_IN
from features.sources.recipe import Recipe, load_recipe, parse_recipe, recipe_names
from tests.features.sources.ward import RECIPE, declared

SHIFTED = {"column": "age", "unit": "years"}


def with_field(name: str, mapped: object) -> dict[str, Any]:
    entry = declared()
    entry["fields"][name] = mapped
    return entry


def parsed(entry: dict[str, Any]) -> Recipe:
    return parse_recipe(entry, dictionary=load_dictionary())


def problems(entry: dict[str, Any]) -> list[Problem]:
    with pytest.raises(InvalidRecipe) as caught:
        parsed(entry)
    return list(caught.value.problems)


@pytest.mark.parametrize("name", recipe_names())
def test_a_ready_recipe_is_real_and_tells_its_index_event_and_survival(name: str):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.evidence == "real"
    assert recipe.index_event
    assert {"months_followed", "died"} <= set(recipe.fields)


def test_a_recipe_is_loaded_from_a_file(tmp_path: Path):
    path = tmp_path / "ward.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    assert load_recipe(str(path)) == parsed(declared())


def test_an_unknown_recipe_is_not_found_and_the_ready_ones_are_named():
    with pytest.raises(NotFound, match="no recipe elsewhere; ready ones: bc-dlbcl, cibmtr"):
        load_recipe("elsewhere")


@pytest.mark.parametrize(
    ("unit", "days"), [("days", 1), ("weeks", 7), ("months", 30.4375), ("years", 365.25)]
)
def test_a_unit_of_time_is_so_many_days(unit: str, days: float):
    assert DAYS_IN[unit] == days


def test_a_recipe_names_each_column_it_reads_once():
    assert parsed(declared()).columns == (
        "id", "relapsed", "site", "age", "relapse_day", "sex", "meno", "nodes", "chemo", "last_day", "dead",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: [", "is not YAML"),
        ("name: !!python/object:os.system {}", "is not YAML"),
        ("- a list", "is not a mapping"),
        ("only words", "is not a mapping"),
        ("", "is not a mapping"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, problem: str):
    path = tmp_path / "ward.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(str(path))
    assert [(p.field, p.problem) for p in caught.value.problems] == [("file", problem)]


@pytest.mark.parametrize("key", ["name", "title", "evidence", "source", "index_event", "patient", "fields"])
def test_a_missing_key_is_named(key: str):
    entry = declared()
    del entry[key]
    assert [(p.field, p.problem) for p in problems(entry)] == [(key, "is missing")]


@pytest.mark.parametrize("key", ["citation", "terms", "selection"])
def test_a_missing_key_of_the_source_is_named(key: str):
    entry = declared()
    del entry["source"][key]
    assert [(p.field, p.problem) for p in problems(entry)] == [(f"source.{key}", "is missing")]


@pytest.mark.parametrize("key", ["include", "reshape"])
def test_inclusion_and_reshaping_may_be_left_out(key: str):
    entry = declared()
    entry.pop(key, None)
    assert parsed(entry).columns[0] == "id"


@pytest.mark.parametrize(
    ("mistaken", "field", "problem"),
    [
        (lambda: declared() | {"colour": "red"}, "recipe.colour", "is an unknown key"),
        (lambda: declared() | {"evidence": "perhaps"}, "evidence", "is neither real nor synthetic"),
        (lambda: with_field("shoe_size", {"column": "x"}), "shoe_size", "is not in the dictionary"),
        (lambda: with_field("age", {}), "age", "is not mapped"),
        (lambda: with_field("age", None), "age", "is not mapped"),
        (lambda: with_field("age", "age"), "age", "is not mapped"),
        (lambda: with_field("age", {"column": "a", "constant": 5}), "age", "is not mapped"),
        (lambda: with_field("age", {"column": "a", "round": 1}), "age.round", "is an unknown key"),
        (
            lambda: with_field("age", {"column": "a", "unit": "decades"}),
            "age",
            "has the unknown unit decades",
        ),
        (
            lambda: with_field("age", {"sum": [SHIFTED, {"column": "b", "unit": "fortnights"}]}),
            "age",
            "has the unknown unit fortnights",
        ),
        (
            lambda: with_field("positive_lymph_nodes", {"column": "n", "unit": "days"}),
            "positive_lymph_nodes",
            "is not a time",
        ),
        (
            lambda: with_field("sex", {"column": "s", "codes": {"M": "male", "W": "woman"}}),
            "sex",
            "maps a code to 'woman', which is no category",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named_alone(mistaken: Callable[[], dict[str, Any]], field: str, problem: str):
    assert [(p.field, p.problem) for p in problems(mistaken())] == [(field, problem)]


@pytest.mark.parametrize("left_out", ["column", "keep", "leave_out", "reason"])
def test_an_incomplete_rule_of_inclusion_is_refused(left_out: str):
    entry = declared()
    del entry["include"][0][left_out]
    (problem,) = problems(entry)
    assert (problem.field, problem.problem) == (f"include.{left_out}", "is missing or of the wrong form")


def test_an_unknown_key_of_a_rule_of_inclusion_is_refused():
    entry = declared()
    entry["include"][0]["colour"] = "red"
    assert [(p.field, p.problem) for p in problems(entry)] == [("include.colour", "is an unknown key")]


def test_every_mistake_is_named_at_once():
    entry = with_field("shoe_size", {"column": "x"}) | {"evidence": "perhaps", "include": ["x"]}
    entry["source"]["colour"] = "red"
    entry["fields"]["age"] = {"column": "a", "unit": "decades"}
    entry["fields"]["sex"]["codes"] |= {"W": "woman", "X": "other"}
    assert [p.field for p in problems(entry)] == [
        "source.colour", "evidence", "include", "age", "sex", "sex", "shoe_size",
    ]  # fmt: skip


def test_a_mistake_says_what_would_be_right():
    (problem,) = problems(with_field("sex", {"column": "s", "codes": {"W": "woman"}}))
    assert problem.remedy == "expected one of female, male"


def test_a_recipe_survives_being_written_as_yaml():
    assert parsed(yaml.safe_load(yaml.safe_dump(declared()))) == parsed(declared())


def test_a_misspelt_subtraction_is_refused_and_never_added():
    entry = with_field("age", {"sum": [SHIFTED, {"column": "b", "unit": "days", "substract": True}]})
    assert [(p.field, p.problem) for p in problems(entry)] == [("age.sum.substract", "is an unknown key")]


def test_codes_beside_a_unit_are_refused():
    (problem,) = problems(with_field("age", {"column": "a", "unit": "years", "codes": {99: None}}))
    assert (problem.field, problem.problem) == ("age", "has both codes and a unit")


def test_codes_beside_a_constant_are_refused():
    (problem,) = problems(with_field("sex", {"constant": "male", "codes": {1: "female"}}))
    assert (problem.field, problem.problem) == ("sex.codes", "is an unknown key")


@pytest.mark.parametrize(
    ("name", "mapped"),
    [
        ("sex", {"constant": "woman"}),
        ("age", {"constant": 500}),
        ("died", {"column": "dead", "codes": {0: "no", 1: "yes"}}),
    ],
)
def test_a_constant_or_code_outside_the_field_s_rule_is_refused(name: str, mapped: object):
    assert problems(with_field(name, mapped))[0].field == name


def test_a_code_both_kept_and_left_out_is_refused():
    entry = declared()
    entry["include"][0] |= {"keep": [1], "leave_out": [0, 1]}
    assert problems(entry)[0].field == "include"


@pytest.mark.parametrize(
    ("mistaken", "field"),
    [
        (lambda: declared() | {"fields": ["age"]}, "fields"),
        (lambda: declared() | {"source": "a ward"}, "source"),
        (lambda: declared() | {"include": None}, "include"),
        (lambda: declared() | {"include": [["x"]]}, "include"),
        (
            lambda: declared() | {"include": [{"column": "x", "keep": 1, "leave_out": [0], "reason": "r"}]},
            "include.keep",
        ),
        (
            lambda: declared() | {"reshape": {"by": "etype", "columns": ["time"]}},
            "reshape.codes",
        ),
        (lambda: with_field("sex", {"column": "s", "codes": ["M"]}), "sex.codes"),
        (lambda: with_field("age", {"sum": "age"}), "age.sum"),
        (lambda: with_field("age", {"sum": [{"unit": "days"}]}), "age.sum"),
    ],
)
def test_a_recipe_of_the_wrong_form_is_refused(mistaken: Callable[[], dict[str, Any]], field: str):
    assert [p.field for p in problems(mistaken())] == [field]


def test_a_public_source_without_its_item_is_refused():
    entry = declared()
    entry["source"]["public"] = {"package": "survival"}
    problems(entry)


@pytest.mark.parametrize(
    "mistaken", [lambda: declared() | {"fields": {}}, lambda: with_field("age", {"sum": []})]
)
def test_nothing_mapped_is_refused(mistaken: Callable[[], dict[str, Any]]):
    problems(mistaken())


def test_a_column_s_name_is_a_text():
    problems(with_field("sex", {"column": ["s"]}))
