"""A value in another unit than the model's is asked about, never answered for."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from features.dictionary import Dictionary
from tests.serving.client import TestClient, answer, ask, assert_problem, client_of, deploy
from tests.serving.several import EXAMINED, SEVERAL, several_bundle

QUESTION = {
    "field": "albumin",
    "problem": "fits g/dL better than g/L: did you mean g/dL?",
    "remedy": "give it in g/L: multiply by 10 if it is in g/dL, or check the value",
}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The application over a model that was trained on albumin in g/L."""
    with client_of(deploy(tmp_path_factory.mktemp("units"), several_bundle(), name=SEVERAL)) as running:
        yield running


def test_albumin_in_another_unit_is_refused_with_the_question(several):
    document = assert_problem(ask(several, EXAMINED | {"albumin": 3.8}), 422, "invalid-request")
    assert document["problems"] == [QUESTION]
    assert answer(several, EXAMINED | {"albumin": 38})


def test_the_question_repeats_no_value_of_the_patient(several):
    assert "4.713" not in ask(several, EXAMINED | {"albumin": 4.713}).text


def test_a_line_of_a_batch_gets_the_question_and_the_other_its_answer(several):
    patients = [{"patient": EXAMINED | {"albumin": albumin}} for albumin in (38, 3.8)]
    content = "\n".join(map(json.dumps, patients))
    given = several.post("/v1/batches", content=content, headers={"content-type": "application/jsonl"})
    first, second = map(json.loads, given.text.splitlines())
    assert "answer" in first
    assert second["problem"]["problems"] == [QUESTION]


@pytest.fixture
def in_decilitres(tmp_path: Path) -> Iterator[TestClient]:
    """The application over a model whose own dictionary declares albumin in g/dL."""
    bundle = several_bundle()
    declared = bundle.dictionary.as_dict()
    declared["albumin"] |= {
        "unit": "g/dL", "minimum": 0.1, "maximum": 100, "conversions": {"g/L": 0.1}, "usual": [1.0, 6.5],
    }  # fmt: skip
    ranges = {
        disease: by | {"albumin": tuple(0.1 * end for end in by["albumin"])}
        for disease, by in bundle.applicability.ranges.items()
    }
    seen = replace(bundle.applicability, ranges=ranges)
    own = replace(bundle, dictionary=Dictionary.from_dict(declared), applicability=seen)
    with client_of(deploy(tmp_path, own, name=SEVERAL)) as running:
        yield running


def test_the_model_s_own_dictionary_decides_which_unit_is_asked_about(in_decilitres):
    document = assert_problem(ask(in_decilitres, EXAMINED | {"albumin": 38}), 422, "invalid-request")
    assert document["problems"][0]["problem"] == "fits g/L better than g/dL: did you mean g/L?"
    assert answer(in_decilitres, EXAMINED | {"albumin": 3.8})
