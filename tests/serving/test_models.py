"""The served models as the server shows them."""

import pytest

from features.dictionary import load_dictionary
from models.bundle.shelf import Shelf
from tests.lib.patients import protocol
from tests.serving.client import MODEL, answer, client_of, other_bundle, publish_next, settled


def test_a_model_is_listed_with_the_stamp_its_answers_carry(shared):
    (listed,) = shared.get("/v1/models").json()["models"]
    stamp = answer(shared)["model"]
    shown = ("name", "version", "bundle", "title", "evidence")
    assert {key: listed[key] for key in shown} == {key: stamp[key] for key in shown}
    assert listed["index_event"] == "first relapse"
    assert listed["endpoints"] == ["overall_survival"]
    assert listed["horizons"] == [12, 24, 36, 60]


def test_without_a_champion_no_model_is_listed(tmp_path):
    with client_of(tmp_path) as client:
        assert client.get("/v1/models").json() == {"models": []}


def test_a_model_shows_the_protocol_it_was_trained_on(shared):
    shown = shared.get(f"/v1/models/{MODEL}").json()
    assert shown["model"] == answer(shared)["model"]
    assert shown["protocol"] == protocol().as_dict() | {
        name: list(value) for name, value in protocol().as_dict().items() if isinstance(value, tuple)
    }
    assert shown["horizons"] == shown["protocol"]["horizons"]
    assert list(shown["supported_months"]) == shown["protocol"]["endpoints"] == ["overall_survival"]
    assert set(shown["supported_months"]["overall_survival"]) == set(shown["protocol"]["diseases"])


def test_a_model_shows_each_predictor_with_what_is_expected(shared):
    predictors = shared.get(f"/v1/models/{MODEL}").json()["predictors"]
    assert list(predictors["properties"]) == list(protocol().predictors)
    assert predictors["required"] == ["disease"]
    assert predictors["additionalProperties"] is False
    for name, schema in predictors["properties"].items():
        declared = load_dictionary()[name]
        assert schema["title"] == declared.label
        assert declared.expected in schema["description"]


def test_a_model_shows_its_card(shared):
    card = shared.get(f"/v1/models/{MODEL}").json()["card"]
    assert card["title"] == protocol().title
    assert "synthetic" in str(card).lower()
    assert card["endpoints"] == ["overall_survival"]
    assert list(card["events"]) == ["overall_survival"]
    assert card["patients"] > card["events"]["overall_survival"] > 0
    assert list(card["sample_size"]) == list(card["performance"]["endpoints"]) == ["overall_survival"]


@pytest.mark.parametrize("path", ["/v1/models", f"/v1/models/{MODEL}"])
def test_what_is_held_already_is_not_sent_again(shared, path):
    first = shared.get(path)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = shared.get(path, headers={"if-none-match": held})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert shared.get(path, headers={"if-none-match": '"other"'}).content == first.content


def test_another_champion_has_another_tag(client, home, bundle):
    before = client.get(f"/v1/models/{MODEL}").headers["etag"]
    publish_next(home, other_bundle(bundle))
    Shelf(home / "shelf").promote(MODEL, "2")
    settled(lambda: answer(client), "2")
    again = client.get(f"/v1/models/{MODEL}", headers={"if-none-match": before})
    assert again.status_code == 200
    assert again.headers["etag"] != before
