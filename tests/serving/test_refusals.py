"""Requests that cannot be accepted: one answer, every problem named, no patient's value repeated."""

import json

import pytest

from tests.lib.patients import BREAST
from tests.serving.client import MODEL, PREDICTIONS, ask, assert_problem, named, rows

# what is said               the field, its value as JSON text, what is wrong with it
BAD_FIELDS = [
    ("an age of 430 years", "age", "430.1937", "out of range"),
    ("an age below zero", "age", "-1.1937", "out of range"),
    ("negative months to relapse", "months_diagnosis_to_relapse", "-3.1937", "out of range"),
    ("101 nodes", "positive_lymph_nodes", "101", "out of range"),
    ("half a node", "positive_lymph_nodes", "2.5", "not a whole number"),
    ("NaN", "age", "NaN", "not a finite number"),
    ("Infinity", "age", "Infinity", "not a finite number"),
    ("minus Infinity", "age", "-Infinity", "not a finite number"),
    ("1e400, which overflows", "age", "1e400", "not a finite number"),
    ("NaN where whole numbers belong", "positive_lymph_nodes", "NaN", "not a finite number"),
    ("an integer of 400 digits", "age", "7" * 400, "not a finite number"),
    ("400 digits of nodes", "positive_lymph_nodes", "7" * 400, "not a finite number"),
    ("true as a number", "age", "true", "wrong type"),
    ("false as a whole number", "positive_lymph_nodes", "false", "wrong type"),
    ("a number in quotes", "age", '"57.1937"', "wrong type"),
    ("a comma for a point", "age", '"57,1937"', "wrong type"),
    ("a list", "age", "[57.1937]", "wrong type"),
    ("an object", "age", '{"years": 57.1937}', "wrong type"),
    ("900 lists in each other", "age", "[" * 900 + "]" * 900, "wrong type"),
    ("1 for true", "prior_chemotherapy", "1", "wrong type"),
    ("yes for true", "prior_chemotherapy", '"yes-1937"', "wrong type"),
    ("an unknown category", "tumour_grade", '"grade_1937"', "unknown category"),
    ("another language's category", "sex", '"weiblich"', "unknown category"),
    ("a category in capitals", "sex", '"FEMALE"', "unknown category"),
    ("a category with a blank behind", "sex", '"female "', "unknown category"),
    ("a category's number", "tumour_grade", "3", "unknown category"),
    ("an unknown disease", "disease", '"melanoma-1937"', "unknown category"),
    ("a number for the disease", "disease", "0", "unknown category"),
    ("a list for the disease", "disease", '["breast_cancer"]', "unknown category"),
    ("no disease", "disease", "null", "is missing"),
    ("a colorectal field in breast cancer", "bowel_obstruction", "true", "does not apply to this disease"),
    ("levamisole in breast cancer", "prior_levamisole", "false", "does not apply to this disease"),
    ("a field nobody declared", "shoe_size", "41.1937", "unknown field"),
    ("a field in capitals", "AGE", "57", "unknown field"),
    ("an outcome as predictor", "died", "true", "unknown field"),
    ("follow-up as predictor", "months_followed", "3.1937", "unknown field"),
    ("an empty name", "", "57", "unknown field"),
]

# what is sent               the body, the field at fault, what is wrong with it
BAD_BODIES = [
    ("nothing", b"", "body", "is not JSON"),
    ("blanks", b" \n", "body", "is not JSON"),
    ("words", b"age: 57.1937", "body", "is not JSON"),
    ("half an object", b'{"patient": {"age": 57.1937', "body", "is not JSON"),
    ("two objects", b"{}{}", "body", "is not JSON"),
    ("a form", b"age=57.1937&disease=breast_cancer", "body", "is not JSON"),
    ("single quotes", b"{'patient': {'age': 57.1937}}", "body", "is not JSON"),
    ("invalid UTF-8", b'{"patient": {"sex": "\xff\xfe"}}', "body", "is not JSON"),
    ("Latin-1", '{"patient": {"sex": "weiblich\u00e4"}}'.encode("latin-1"), "body", "is not JSON"),
    ("UTF-16", json.dumps({"patient": BREAST}).encode("utf-16"), "body", "is not JSON"),
    ("50,000 open lists", b"[" * 50_000, "body", "is not JSON"),
    ("10,000 objects in each other", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "body", "is not JSON"),
    ("an integer of 5,000 digits", b'{"patient": {"age": ' + b"7" * 5_000 + b"}}", "body", "is not JSON"),
    ("null", b"null", "body", "is not an object"),
    ("a number", b"57.1937", "body", "is not an object"),
    ("a string", b'"1937"', "body", "is not an object"),
    ("a list", json.dumps([{"patient": BREAST}]).encode(), "body", "is not an object"),
    ("an empty object", b"{}", "patient", "is missing or not an object"),
    ("a null patient", b'{"patient": null}', "patient", "is missing or not an object"),
    ("a list as patient", b'{"patient": []}', "patient", "is missing or not an object"),
    ("a repeated field", b'{"patient": {"age": 57.1937, "age": 58}}', "age", "stands twice"),
    ("a repeated member", b'{"patient": {}, "patient": {}}', "patient", "stands twice"),
    ("an empty patient", b'{"patient": {}}', "disease", "is missing"),
    (
        "an unknown member",
        json.dumps({"patient": BREAST, "plan": 1}).encode(),
        "plan",
        "unknown field",
    ),
    (
        "a number as model",
        json.dumps({"patient": BREAST, "model": 1937}).encode(),
        "model",
        "wrong type",
    ),
]
VALUES = (b"1937", b"777777", b"weiblich", b"melanoma", b"FEMALE")

each_bad_field = pytest.mark.parametrize(
    ("field", "value", "problem"), [row[1:] for row in BAD_FIELDS], ids=[row[0] for row in BAD_FIELDS]
)
each_bad_body = pytest.mark.parametrize(
    ("body", "field", "problem"), [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES]
)


def with_field(field: str, value: str) -> bytes:
    """Return a good request with one field of the patient set to a JSON text."""
    members = {name: json.dumps(given) for name, given in BREAST.items()} | {field: value}
    patient = ", ".join(f"{json.dumps(name)}: {text}" for name, text in members.items())
    return f'{{"patient": {{{patient}}}}}'.encode()


def test_the_patient_that_the_table_spoils_is_accepted(shared):
    assert shared.post(PREDICTIONS, content=with_field("age", "57")).status_code == 200


@each_bad_field
def test_one_bad_field_is_refused_by_name(shared, field, value, problem):
    document = assert_problem(
        shared.post(PREDICTIONS, content=with_field(field, value)), 422, "invalid-request"
    )
    assert named(document) == {field: problem}


@each_bad_body
def test_a_bad_body_is_refused(shared, body, field, problem):
    document = assert_problem(shared.post(PREDICTIONS, content=body), 422, "invalid-request")
    assert named(document) == {field: problem}


TELLING = {row[0]: with_field(row[1], row[2]) for row in BAD_FIELDS} | {row[0]: row[1] for row in BAD_BODIES}
TELLING = {name: body for name, body in TELLING.items() if any(value in body for value in VALUES)}


@pytest.mark.parametrize("body", TELLING.values(), ids=TELLING)
def test_a_refusal_never_repeats_a_value(shared, body):
    said = shared.post(PREDICTIONS, content=body)
    assert_problem(said, 422)
    assert not [value for value in VALUES if value in said.content]


def test_a_refusal_says_what_is_expected_with_its_unit(shared):
    document = assert_problem(shared.post(PREDICTIONS, content=with_field("age", "430")), 422)
    assert document["problems"] == [
        {"field": "age", "problem": "out of range", "remedy": "expected a number from 0 to 120 years"}
    ]


def test_a_refusal_lists_the_categories_that_are_known(shared):
    document = assert_problem(shared.post(PREDICTIONS, content=with_field("tumour_grade", '"x"')), 422)
    assert document["problems"][0]["remedy"] == "expected one of grade_1, grade_2, grade_3, grade_4"


def test_a_refused_request_leaves_no_record(client, home):
    for _, field, value, _ in BAD_FIELDS:
        client.post(PREDICTIONS, content=with_field(field, value))
    for _, body, _, _ in BAD_BODIES:
        client.post(PREDICTIONS, content=body)
    assert rows(home) == []
    assert ask(client).json()["audit"]["seq"] == 2


def test_a_bad_horizon_a_bad_member_and_all_bad_fields_are_named_in_one_answer(shared):
    patient = {
        "disease": "breast_cancer",
        "age": 430,
        "sex": "other",
        "positive_lymph_nodes": 2.5,
        "months_diagnosis_to_relapse": -1,
        "prior_chemotherapy": "yes",
        "local_extent": "serosa",
        "shoe_size": 41,
    }
    body = {"patient": patient, "horizon": "24", "plan": "none", "model": MODEL}
    document = assert_problem(shared.post(PREDICTIONS, json=body), 422, "invalid-request")
    assert named(document) == {
        "plan": "unknown field",
        "horizon": "wrong type",
        "shoe_size": "unknown field",
        "age": "out of range",
        "sex": "unknown category",
        "positive_lymph_nodes": "not a whole number",
        "months_diagnosis_to_relapse": "out of range",
        "prior_chemotherapy": "wrong type",
        "local_extent": "does not apply to this disease",
    }
    assert document["detail"] == "9 problems in the request"


def test_a_horizon_that_cannot_be_explained_is_named_with_the_bad_fields(shared):
    body = {"patient": BREAST | {"age": 430}, "horizon": 25}
    document = assert_problem(shared.post(PREDICTIONS, json=body), 422)
    assert named(document) == {
        "age": "out of range",
        "horizon": "cannot be explained in this disease",
    }


def test_a_missing_disease_is_named_with_the_bad_fields(shared):
    document = assert_problem(shared.post(PREDICTIONS, json={"patient": {"age": 430}}), 422)
    assert named(document) == {"age": "out of range", "disease": "is missing"}


def test_every_repeated_name_is_named(shared):
    body = b'{"patient": {"age": 5, "age": 6, "sex": "male", "sex": "male"}, "x": 1, "x": 2}'
    document = assert_problem(shared.post(PREDICTIONS, content=body), 422)
    assert named(document) == dict.fromkeys(("age", "sex", "x"), "stands twice")


@pytest.mark.parametrize("spare", [0, 1000])
def test_a_body_up_to_the_limit_is_read(shared, spare):
    body = json.dumps({"patient": BREAST}).encode()
    assert shared.post(PREDICTIONS, content=body.ljust(65_536 - spare)).status_code == 200


@pytest.mark.parametrize("size", [65_537, 5_000_000])
def test_a_body_over_the_limit_is_refused_before_it_is_parsed(client, home, size):
    body = json.dumps({"patient": BREAST}).encode().ljust(size)
    document = assert_problem(client.post(PREDICTIONS, content=body), 413, "body-too-large")
    assert document["detail"] == "the body is larger than 65536 bytes"
    assert rows(home) == []


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_is_read_however_it_is_spelt(shared, kind):
    body = json.dumps({"patient": BREAST})
    assert shared.post(PREDICTIONS, content=body, headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"]
)
def test_what_says_to_be_something_else_is_not_read(shared, kind):
    body = json.dumps({"patient": BREAST})
    response = shared.post(PREDICTIONS, content=body, headers={"content-type": kind})
    assert_problem(response, 415, "wrong-media-type")


def test_a_byte_order_mark_is_accepted(shared):
    body = b"\xef\xbb\xbf" + json.dumps({"patient": BREAST}).encode()
    assert shared.post(PREDICTIONS, content=body).status_code == 200


HUGE_HORIZON = b'{"patient": {"disease": "breast_cancer"}, "horizon": ' + b"9" * 400 + b"}"


def test_a_horizon_of_400_digits_is_refused(shared):
    assert_problem(shared.post(PREDICTIONS, content=HUGE_HORIZON), 422, "invalid-request")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"patient": {"disease": "breast_cancer", "\\ud800": 1}}', 422),
        (b'{"patient": {"disease": "breast_cancer"}, "\\ud800": 1}', 422),
        (b'{"patient": {"disease": "breast_cancer"}, "model": "\\ud800"}', 422),
        (b'{"patient": {"\\ud800": 1, "\\ud800": 2}}', 422),
        (b'{"patient": {"disease": "breast_cancer", "\xed\xa0\x80": 1}}', 422),
    ],
    ids=["as a field", "as a member", "as the model", "repeated", "in the bytes"],
)
def test_half_of_a_surrogate_pair_in_a_name_is_refused(shared, body, status):
    assert_problem(shared.post(PREDICTIONS, content=body), status)


def test_a_refusal_stays_in_proportion_to_its_request(shared):
    body = b'{"patient": {' + b",".join(b'"%x":1' % i for i in range(7_200)) + b"}}"
    response = shared.post(PREDICTIONS, content=body)
    assert_problem(response, 422)
    assert len(response.content) < 10 * len(body)
