"""How much of an answer is sent: what is left out of a long one, and that the record holds all of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from models.bundle.shelf import Shelf
from serving.audit.replay import replay
from serving.audit.store import make_store
from serving.detail import MOST_LISTED
from tests.lib.patients import BREAST
from tests.serving.client import (
    PREDICTIONS,
    TestClient,
    answer,
    ask,
    assert_problem,
    client_of,
    deploy,
    named,
    rows,
)
from tests.serving.many import DISEASE, KNOWN, MANY, many_bundle

LARGEST = 60_000
NOTHING = {"disease": DISEASE}
FULL = f"{PREDICTIONS}?detail=full"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return deploy(tmp_path_factory.mktemp("many"), many_bundle(), name=MANY)


@pytest.fixture(scope="module")
def many(home: Any) -> Iterator[TestClient]:
    """The application over a model with many predictors."""
    with client_of(home) as running:
        yield running


def complete() -> dict[str, Any]:
    """Return a patient of whom all is known: each number in the middle, each category the commonest."""
    seen, patient = many_bundle().applicability, dict(NOTHING)
    for field in many_bundle().dictionary.fields:
        if (ends := seen.ranges[DISEASE].get(field.name)) is not None:
            middle = sum(ends) / 2
            patient[field.name] = round(middle) if field.type == "integer" else middle
        elif (counts := seen.categories[DISEASE].get(field.name)) and field.applies(DISEASE):
            commonest = max(counts, key=lambda name: counts[name])
            patient[field.name] = commonest == "true" if field.type == "flag" else commonest
    return patient | NOTHING


def scales(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for endpoint in given["prediction"]["endpoints"]:
        for outcome in endpoint["outcomes"]:
            yield from outcome["explanation"]["scales"]


@pytest.fixture(params=["nothing known", "some known", "everything known"])
def patient(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"nothing known": NOTHING, "some known": KNOWN}.get(request.param) or complete()


def test_an_answer_of_many_predictors_and_every_endpoint_is_under_60_kb(many, patient):
    brief, full = ask(many, patient), many.post(FULL, json={"patient": patient})
    assert (brief.json()["detail"], full.json()["detail"]) == ("brief", "full")
    assert len(brief.content) < LARGEST < len(full.content)


def test_what_is_brief_leaves_out_contributions_and_next_tests_and_nothing_else(many, patient):
    brief, full = answer(many, patient), many.post(FULL, json={"patient": patient}).json()
    for short, whole in zip(scales(brief), scales(full), strict=True):
        listed, every = short.pop("contributions"), whole.pop("contributions")
        assert len(every) > 3 * MOST_LISTED
        if short["scale"] != "probability":
            assert listed == []
            continue
        assert len(listed) == MOST_LISTED
        assert listed == [one for one in every if one in listed]
        left_out = [one for one in every if one not in listed]
        known = sum(one["value"] is not None for one in every)
        assert sum(one["value"] is not None for one in listed) == min(known, MOST_LISTED)
        for alike in (True, False):
            sizes = [abs(one["contribution"]) for one in listed if (one["value"] is None) is alike]
            others = [abs(one["contribution"]) for one in left_out if (one["value"] is None) is alike]
            assert not sizes or not others or min(sizes) >= max(others)
    tests = full["prediction"].pop("next_tests")
    assert brief["prediction"].pop("next_tests") == tests[:MOST_LISTED]
    assert brief["prediction"] == full["prediction"]


def test_groups_add_up_in_a_brief_answer_too(many, patient):
    for scale in scales(answer(many, patient)):
        total = scale["reference"] + sum(g["contribution"] for g in scale["groups"]) + scale["coherence"]
        assert total == pytest.approx(scale["prediction"], abs=1e-6)


def test_the_record_holds_the_whole_answer_is_read_again_whole_and_is_replayed(many, home):
    given = answer(many, KNOWN)
    whole = many.post(FULL, json={"patient": KNOWN}).json()["prediction"]
    again = many.get(f"{PREDICTIONS}/{given['audit']['id']}").json()
    assert again["prediction"] == whole != given["prediction"]
    with_content = {identifier: json.loads(content) for _, identifier, _, _, content, _ in rows(home)}
    assert with_content[given["audit"]["id"]]["prediction"] == whole
    entry = make_store(home / "audit.db").get(given["audit"]["id"])
    assert replay(entry, shelf=Shelf(home / "shelf")).same


def test_the_same_key_gives_the_same_record_in_the_detail_asked_for(many):
    headers = {"Idempotency-Key": "visit-1"}
    brief = many.post(PREDICTIONS, json={"patient": KNOWN}, headers=headers).json()
    again = many.post(PREDICTIONS, json={"patient": KNOWN}, headers=headers).json()
    full = many.post(FULL, json={"patient": KNOWN}, headers=headers).json()
    assert again == brief
    assert full["audit"] == brief["audit"]
    assert (brief["detail"], full["detail"]) == ("brief", "full")


@pytest.mark.parametrize("detail", ["brief", "full"])
def test_a_line_of_a_batch_is_answered_in_the_detail_asked_for(many, detail):
    content = json.dumps({"patient": KNOWN})
    headers = {"content-type": "application/jsonl"}
    (line,) = many.post(f"/v1/batches?detail={detail}", content=content, headers=headers).text.splitlines()
    alone = many.post(f"{PREDICTIONS}?detail={detail}", json={"patient": KNOWN}).json()
    assert json.loads(line)["answer"]["prediction"] == alone["prediction"]
    assert json.loads(line)["answer"]["detail"] == detail


def test_an_answer_of_few_predictors_is_sent_whole_and_says_so(shared):
    given, full = answer(shared, BREAST), shared.post(FULL, json={"patient": BREAST}).json()
    assert given["detail"] == full["detail"] == "full"
    assert given["prediction"] == full["prediction"]


def test_a_detail_that_does_not_exist_is_refused(shared):
    document = assert_problem(shared.post(f"{PREDICTIONS}?detail=short", json={"patient": NOTHING}), 422)
    assert named(document) == {"detail": "cannot be used"}
