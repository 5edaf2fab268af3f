"""The study protocol: what may be predicted, from which knowledge, at which horizons."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from features.dictionary import load_dictionary
from features.endpoints import ENDPOINTS
from features.errors import InvalidProtocol, NotFound, Problem
from features.protocol import KEYS, StudyProtocol, load_protocol, protocol_names
from features.sources.recipe import recipe_names

DICTIONARY = load_dictionary()


def declared(**changes: Any) -> dict[str, Any]:
    return load_protocol("relapse-survival").as_dict() | changes


def problems(entry: dict[str, Any]) -> list[Problem]:
    with pytest.raises(InvalidProtocol) as caught:
        StudyProtocol.from_dict(entry, dictionary=DICTIONARY)
    return list(caught.value.problems)


@pytest.mark.parametrize("name", protocol_names())
def test_a_ready_protocol_names_an_endpoint_and_recipes_that_exist(name: str):
    protocol = load_protocol(name)
    assert protocol.name == name
    assert protocol.model_name == f"salvage-{name}"
    assert set(protocol.endpoints) <= set(ENDPOINTS)
    assert set(protocol.cohorts) <= set(recipe_names())


def test_a_protocol_survives_being_written_as_a_file(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(declared(name="mine")), encoding="utf-8")
    again = load_protocol(str(path))
    assert again.as_dict() == declared(name="mine")
    assert isinstance(again.horizons[0], float)


def test_without_a_landmark_the_clock_starts_at_the_index_event_and_nothing_is_stored():
    protocol = load_protocol("relapse-survival")
    assert protocol.time_zero == protocol.index_event == "first relapse"
    assert set(protocol.as_dict()) == set(KEYS)


@pytest.mark.parametrize(("months", "words"), [(2, "2 months"), (1.0, "1 month"), (0.5, "0.5 months")])
def test_a_landmark_moves_time_zero_and_survives_being_stored(months: float, words: str):
    protocol = StudyProtocol.from_dict(declared(landmark=months), dictionary=DICTIONARY)
    assert protocol.time_zero == f"first relapse, plus {words}"
    assert StudyProtocol.from_dict(protocol.as_dict(), dictionary=DICTIONARY) == protocol


@pytest.mark.parametrize("months", [0, -2, True, "two", None, [2], float("inf"), float("nan")])
def test_a_landmark_that_is_no_time_after_the_index_event_is_refused(months: object):
    (problem,) = problems(declared(landmark=months))
    assert (problem.field, problem.problem) == ("landmark", "is not a number of months above 0")


def test_a_landmark_beside_an_endpoint_without_a_date_is_refused():
    (problem,) = problems(declared(landmark=2, endpoints=["overall_survival", "response"]))
    assert (problem.field, problem.problem) == ("endpoints", "name response, which has no date")


def test_an_unknown_protocol_is_not_found_and_the_ready_ones_are_named():
    with pytest.raises(NotFound, match=r"no protocol elsewhere; ready ones: .*relapse-survival"):
        load_protocol("elsewhere")


@pytest.mark.parametrize("name", [f.name for f in DICTIONARY.fields if f.known == "after"])
def test_a_late_predictor_is_refused_by_name_with_the_way_out(name: str):
    (problem,) = problems(declared(predictors=["age", name]))
    assert problem.field == name
    assert problem.problem == "is known only after the index date (first relapse)"
    assert "protocol key landmark" in problem.remedy


def test_every_predictor_known_at_the_index_date_is_accepted():
    early = [f.name for f in DICTIONARY.fields if f.known != "after"]
    protocol = StudyProtocol.from_dict(declared(predictors=early), dictionary=DICTIONARY)
    assert protocol.predictors == tuple(early)


def test_an_unknown_predictor_is_refused_by_name():
    (problem,) = problems(declared(predictors=["age", "shoe_size"]))
    assert (problem.field, problem.problem) == ("shoe_size", "is not in the dictionary")


def test_an_unknown_disease_is_refused_and_the_known_ones_are_named():
    (problem,) = problems(declared(diseases=["breast_cancer", "gout"]))
    assert problem.problem == "names the unknown disease gout"
    assert problem.remedy == "use " + ", ".join(DICTIONARY["disease"].category_names)


@pytest.mark.parametrize("horizons", [[24, 12], [12, 12, 24], [0, 12, 24], [-12, 24], []])
def test_horizons_that_do_not_rise_from_above_zero_are_refused(horizons: list[float]):
    (problem,) = problems(declared(horizons=horizons))
    assert (problem.field, problem.problem) == ("horizons", "are not rising positive months")


def test_the_explained_horizon_is_one_of_the_horizons():
    (problem,) = problems(declared(explained_horizon=18))
    assert (problem.field, problem.problem) == ("explained_horizon", "is not one of the horizons")


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(key: str):
    entry = declared()
    del entry[key]
    (problem,) = problems(entry)
    assert (problem.field, problem.problem) == (key, "is missing")


def test_an_unknown_key_is_named():
    (problem,) = problems(declared(colour="red"))
    assert (problem.field, problem.problem) == ("colour", "is not a protocol key")


def test_every_mistake_of_a_protocol_is_named_at_once():
    entry = declared(predictors=["died", "shoe_size"], diseases=["gout"], horizons=[24, 12])
    assert sorted(p.field for p in problems(entry)) == ["died", "diseases", "horizons", "shoe_size"]


def test_an_unknown_endpoint_is_refused():
    (problem,) = problems(declared(endpoints=["time_to_nothing"]))
    assert problem.field == "endpoints"


def test_a_predictor_named_twice_is_refused():
    (problem,) = problems(declared(predictors=["age", "sex", "age"]))
    assert problem.field == "age"


@pytest.mark.parametrize("text", ["name: [", "- a list", ""], ids=["not YAML", "a list", "empty"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidProtocol):
        load_protocol(str(path))
