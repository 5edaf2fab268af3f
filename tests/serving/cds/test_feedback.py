"""Feedback: judged by the specification, every report on record, unknown cards marked."""

import uuid

import orjson
import pytest

from tests.serving.cds.calls import VIEW, call

URL = f"/cds-services/{VIEW}/feedback"
WHEN = "2024-05-01T13:00:00Z"


@pytest.fixture(scope="module")
def card(cds):
    return cds.post(f"/cds-services/{VIEW}", json=call()).json()["cards"][0]


def accepted(card):
    ids = [{"id": one["uuid"]} for one in card["suggestions"]]
    return {"card": card["uuid"], "outcome": "accepted", "acceptedSuggestions": ids, "outcomeTimestamp": WHEN}


def overridden(identifier, **why):
    said = {"card": identifier, "outcome": "overridden", "outcomeTimestamp": WHEN}
    return said | ({"overrideReason": why} if why else {})


def reports(served):
    return list(served.log.entries(kind="feedback"))


def test_every_report_is_on_record_even_when_it_comes_twice(cds, served, card):
    before = len(reports(served))
    words = "Mrs A. does not want to know"
    sent = [accepted(card), overridden(card["uuid"], userComment=words), accepted(card)]
    response = cds.post(URL, json={"feedback": sent})
    assert (response.status_code, response.content) == (200, b"")
    first, second, third = reports(served)[before:]
    assert [e.facts["outcome"] for e in (first, second, third)] == ["accepted", "overridden", "accepted"]
    assert first.facts["accepted"] == [card["suggestions"][0]["uuid"]]
    assert first.facts["card"] == card["uuid"]
    assert all(e.facts["known"] for e in (first, second, third))


def test_what_the_clinician_wrote_can_be_erased_and_the_subject_is_the_predictions(cds, served, card):
    words = "Mrs A. does not want to know"
    cds.post(URL, json={"feedback": [overridden(card["uuid"], userComment=words)]})
    entry = reports(served)[-1]
    assert words.encode() not in entry.body
    assert orjson.loads(entry.content)["userComment"] == words
    prediction = served.log.get(card["uuid"])
    assert orjson.loads(entry.body)["subject"] == orjson.loads(prediction.body)["subject"]


def test_a_report_on_an_unknown_card_is_kept_and_marked(cds, served):
    unknown = str(uuid.uuid4())
    response = cds.post(URL, json={"feedback": [overridden(unknown, reason={"code": "x", "system": "y"})]})
    assert response.status_code == 200
    entry = reports(served)[-1]
    assert entry.facts["card"] == unknown
    assert entry.facts["known"] is False


@pytest.mark.parametrize(
    ("report", "named"),
    [
        ({}, "card"),
        ({"card": "1"}, "card"),
        ({"outcome": "ignored"}, "outcome"),
        ({"acceptedSuggestions": []}, "acceptedSuggestions"),
        ({"acceptedSuggestions": [{"id": "x"}]}, "acceptedSuggestions"),
        ({"outcomeTimestamp": "yesterday"}, "outcomeTimestamp"),
        ({"outcomeTimestamp": "2024-05-01T13:00:00"}, "outcomeTimestamp"),
        ({"overrideReason": {}}, "overrideReason"),
        ({"overrideReason": {"userComment": "x" * 5000}}, "userComment"),
        ({"overrideReason": {"userComment": ["x"]}}, "userComment"),
        ({"overrideReason": {"reason": "x", "userComment": "y"}}, "reason"),
    ],
)
def test_a_report_that_breaks_the_specification_refuses_all_of_them(cds, served, card, report, named):
    before = len(reports(served))
    wrong = accepted(card) | report if report else {}
    response = cds.post(URL, json={"feedback": [accepted(card), wrong]})
    assert response.status_code == 422
    said = [issue["diagnostics"] for issue in response.json()["issue"]]
    assert any(one.startswith(f"feedback[1].{named}") or f".{named}:" in one for one in said)
    assert len(reports(served)) == before


@pytest.mark.parametrize("body", [{}, {"feedback": []}, {"feedback": "all"}, {"feedback": [1]}])
def test_a_body_without_reports_is_refused(cds, body):
    assert cds.post(URL, json=body).status_code == 422
