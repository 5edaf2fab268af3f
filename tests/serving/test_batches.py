"""Batches: every line answered or told why not, while they arrive; each answer on record."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lib.patients import BREAST
from tests.serving.client import (
    COLORECTAL,
    MODEL,
    TestClient,
    answer,
    assert_problem,
    client_of,
    in_store,
    named,
    rows,
)

BATCHES = "/v1/batches"
JSON_LINES = {"content-type": "application/jsonl"}
GOOD = json.dumps({"patient": BREAST}).encode()
OTHER = json.dumps({"patient": COLORECTAL}).encode()


def send(client: TestClient, content: Any, **headers: str) -> list[dict[str, Any]]:
    response = client.post(BATCHES, content=content, headers=JSON_LINES | headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/jsonl"
    return [json.loads(line) for line in response.content.splitlines()]


def problem(line: dict[str, Any]) -> str:
    assert set(line) == {"line", "problem"}
    return str(line["problem"]["type"]).removeprefix("urn:salvage:problem:")


def test_each_line_gets_the_answer_that_it_would_get_alone(client, home):
    found = send(client, b"\n".join([GOOD, OTHER, GOOD]))
    assert [line["line"] for line in found] == [1, 2, 3]
    for line, patient in zip(found, (BREAST, COLORECTAL, BREAST), strict=True):
        assert line["answer"]["prediction"] == answer(client, patient)["prediction"]
    ids = [line["answer"]["audit"]["id"] for line in found]
    assert [row[1] for row in rows(home)][:3] == ids


def test_a_bad_line_is_told_in_its_place_and_stops_no_other(client, home):
    bad = [b"no JSON", b"[]", b'{"patient": {"disease": "breast_cancer", "age": 430}}', b'{"patient": 1}']
    unknown = json.dumps({"patient": BREAST, "model": "nope"}).encode()
    found = send(client, b"\n".join([GOOD, *bad, unknown, b"\xff\xfe", GOOD]))
    assert [line["line"] for line in found] == list(range(1, 9))
    assert [next(iter(line.keys() - {"line"})) for line in found] == ["answer", *["problem"] * 6, "answer"]
    assert [problem(line) for line in found[1:7]] == [
        *["invalid-request"] * 4,
        "not-found",
        "invalid-request",
    ]
    assert found[3]["problem"]["problems"][0]["field"] == "age"
    assert "430" not in json.dumps(found[3])
    assert len(rows(home)) == 2


@pytest.mark.parametrize("content", [b"", b"\n", b"\n \r\n\n"])
def test_no_lines_are_no_answers(shared, content):
    assert send(shared, content) == []


def test_empty_lines_are_no_lines_and_the_last_needs_no_end(shared):
    found = send(shared, b"\n\n" + GOOD + b"\r\n  \n" + OTHER)
    assert [line["line"] for line in found] == [1, 2]
    assert all("answer" in line for line in found)


def test_pieces_are_put_together_wherever_they_are_cut(client):
    content = b"\n".join([GOOD, OTHER] * 3)

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(content), 37):
            yield content[at : at + 37]

    found = send(client, pieces())
    assert [("answer" in line, line["line"]) for line in found] == [(True, at) for at in range(1, 7)]


def test_a_line_that_is_too_long_is_told_and_skipped_to_its_end(home):
    with client_of(home, largest_body=2000) as client:
        found = send(client, b"\n".join([GOOD, b"x" * 300_000, OTHER, b"y" * 2001, GOOD]))
    assert ["answer" in line for line in found] == [True, False, True, False, True]
    assert problem(found[1]) == problem(found[3]) == "body-too-large"
    assert [line["line"] for line in found] == [1, 2, 3, 4, 5]


def test_a_long_line_without_an_end_is_told_once(home):
    with client_of(home, largest_body=2000) as client:
        found = send(client, iter([GOOD + b"\n", *[b"x" * 50_000] * 20]))
    assert [line["line"] for line in found] == [1, 2]
    assert problem(found[1]) == "body-too-large"


def test_beyond_the_most_lines_nothing_is_read(home):
    with client_of(home, largest_batch=5) as client:
        found = send(client, b"\n".join([GOOD] * 9))
    assert ["answer" in line for line in found] == [True] * 5 + [False]
    assert problem(found[5]) == "body-too-large"
    assert len(rows(home)) == 5


def test_the_model_asked_for_is_that_of_lines_that_name_none(shared):
    own = json.dumps({"patient": BREAST, "model": MODEL}).encode()
    response = shared.post(BATCHES, params={"model": "nope"}, content=GOOD + b"\n" + own, headers=JSON_LINES)
    first, second = (json.loads(line) for line in response.content.splitlines())
    assert problem(first) == "not-found"
    assert "answer" in second


@pytest.mark.parametrize("said", ["application/json", "text/plain", "multipart/form-data"])
def test_other_media_types_are_refused(shared, said):
    assert_problem(shared.post(BATCHES, content=GOOD, headers={"content-type": said}), 415)
    assert send(shared, GOOD, **{"content-type": "application/x-ndjson; charset=utf-8"})


def test_sent_again_with_its_key_each_line_is_the_same_answer(client, home):
    content = b"\n".join([GOOD, b"no JSON", OTHER])
    first, again = (send(client, content, **{"Idempotency-Key": "k"}) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        if "answer" in one:
            assert one["answer"]["audit"]["id"] == other["answer"]["audit"]["id"]
            assert one["answer"]["prediction"] == other["answer"]["prediction"]
    assert len(rows(home)) == 2


def test_a_changed_line_with_its_key_is_told_and_the_others_are_answered(client, home):
    first = send(client, b"\n".join([GOOD, OTHER]), **{"Idempotency-Key": "k"})
    again = send(client, b"\n".join([GOOD, GOOD, OTHER]), **{"Idempotency-Key": "k"})
    assert again[0]["answer"]["audit"]["id"] == first[0]["answer"]["audit"]["id"]
    assert problem(again[1]) == "idempotency-key-reused"
    assert "answer" in again[2]
    assert len(rows(home)) == 3


def test_a_key_that_cannot_be_used_is_refused_before_anything_is_answered(client, home):
    refused = client.post(BATCHES, content=GOOD, headers=JSON_LINES | {"Idempotency-Key": ""})
    assert set(named(assert_problem(refused, 422))) == {"Idempotency-Key"}
    assert rows(home) == []


def test_what_cannot_be_recorded_is_not_answered(client, home):
    in_store(home, "CREATE TRIGGER refuse BEFORE INSERT ON entries BEGIN SELECT RAISE(FAIL, 'refused'); END")
    found = send(client, b"\n".join([GOOD, b"no JSON", OTHER]))
    assert [problem(line) for line in found] == [
        "record-not-written",
        "invalid-request",
        "record-not-written",
    ]
    assert "survival" not in json.dumps(found)
    in_store(home, "DROP TRIGGER refuse")
    assert "answer" in send(client, GOOD)[0]
