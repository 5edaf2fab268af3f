"""The committed description of the API is the one served, and real answers keep to it."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from features.dictionary import load_dictionary
from tests.contract.refresh import COMMAND, COMMITTED, described, text
from tests.lib.patients import BREAST
from tests.serving.client import (
    COLORECTAL,
    FITTED_MODEL,
    MODEL,
    PREDICTIONS,
    answer,
    ask,
    client_of,
    served_folder,
)
from tests.serving.several import EXAMINED, SEVERAL

OPENAPI = described()
OPERATIONS = [(path, method) for path, methods in OPENAPI["paths"].items() for method in methods]
OTHER_PROTOCOLS = ("/v1/fhir", "/cds-services", "/v2")
REQUEST = OPENAPI["paths"][PREDICTIONS]["post"]["requestBody"]["content"]["application/json"]["schema"]


def closed() -> dict[str, Any]:
    """Return the components with no undocumented member allowed."""
    components = copy.deepcopy(OPENAPI["components"])
    for schema in components["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return components


def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema | {"components": closed()})


def assert_documented(path: str, method: str, response: Any) -> None:
    """Judge a real answer by what is documented for its status and media type."""
    documented = OPENAPI["paths"][path][method]["responses"]
    assert str(response.status_code) in documented, f"{response.status_code} is not documented"
    media_type = response.headers["content-type"]
    content = documented[str(response.status_code)]["content"]
    assert media_type in content, f"{media_type} is not documented"
    assert "schema" in content[media_type], f"{media_type} is documented without a schema"
    validator(content[media_type]["schema"]).validate(response.json())


def test_the_committed_description_is_the_one_served(tmp_path):
    assert COMMITTED.is_file(), f"missing; run: {COMMAND}"
    committed = COMMITTED.read_text(encoding="utf-8")
    assert committed == text(described()), f"docs/openapi.json is not current; run: {COMMAND}"
    with client_of(tmp_path) as client:
        assert client.get("/openapi.json").json() == json.loads(committed)


def test_the_description_does_not_depend_on_the_deployment(home):
    with client_of(home, largest_body=10, port=9) as client:
        assert client.get("/openapi.json").json() == OPENAPI


def test_every_schema_is_a_schema():
    assert len(OPENAPI["components"]["schemas"]) > 10
    for schema in (*OPENAPI["components"]["schemas"].values(), REQUEST):
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere():
    named = set(OPENAPI["components"]["schemas"])
    used = {part.split('"')[0] for part in json.dumps(OPENAPI).split("#/components/schemas/")[1:]}
    assert used
    assert used <= named


def test_every_operation_has_a_name_of_its_own_and_a_summary():
    operations = [OPENAPI["paths"][path][method] for path, method in OPERATIONS]
    assert all(operation["summary"] and operation["tags"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


@pytest.mark.parametrize("patient", [BREAST, COLORECTAL, {"disease": "breast_cancer"}])
@pytest.mark.parametrize("horizon", [None, 12])
def test_an_answer_and_its_record_are_as_documented(shared, patient, horizon):
    given = ask(shared, patient, horizon=horizon)
    assert given.status_code == 200
    assert_documented(PREDICTIONS, "post", given)
    again = shared.get(f"{PREDICTIONS}/{given.json()['audit']['id']}")
    assert_documented(f"{PREDICTIONS}/{{prediction_id}}", "get", again)


@pytest.mark.parametrize("patient", [BREAST, EXAMINED, COLORECTAL])
def test_an_answer_of_several_endpoints_and_its_record_are_as_documented(several, patient):
    given = ask(several, patient)
    assert given.status_code == 200
    assert_documented(PREDICTIONS, "post", given)
    again = several.get(f"{PREDICTIONS}/{given.json()['audit']['id']}")
    assert_documented(f"{PREDICTIONS}/{{prediction_id}}", "get", again)
    assert_documented("/v1/models", "get", several.get("/v1/models"))
    assert_documented("/v1/models/{name}", "get", several.get(f"/v1/models/{SEVERAL}"))


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1/models/{name}", f"/v1/models/{MODEL}"),
        ("/health/live", "/health/live"),
        ("/health/ready", "/health/ready"),
    ],
)
def test_what_is_read_is_as_documented(shared, path, asked):
    response = shared.get(asked)
    assert response.status_code == 200
    assert_documented(path, "get", response)


def test_an_answer_with_an_undocumented_member_would_be_found(shared):
    given = answer(shared)
    schema = validator({"$ref": "#/components/schemas/Answer"})
    schema.validate(given)
    prediction = given["prediction"]
    (outcome,) = prediction["endpoints"][0]["outcomes"]
    scale = outcome["explanation"]["scales"][0]
    for part in (prediction, prediction["typical"], outcome["probabilities"][0], scale["groups"][0]):
        part["luck"] = 1
        with pytest.raises(jsonschema.ValidationError, match="luck"):
            schema.validate(given)
        del part["luck"]
    schema.validate(given)


def whole(home: Path) -> None:
    """A deployment that answers."""


def without_champion(home: Path) -> None:
    (home / "shelf" / MODEL / "champion.json").unlink()


def with_changed_files(home: Path) -> None:
    (served_folder(home) / FITTED_MODEL).write_bytes(b"{}")


def without_record(home: Path) -> None:
    (home / "audit.db").mkdir()


def without_shelf(home: Path) -> None:
    shutil.rmtree(home / "shelf")


GOOD, BAD = {"patient": BREAST}, {"patient": BREAST | {"age": 430}, "plan": 1}
ERRORS = [
    (whole, "post", PREDICTIONS, {}, BAD, 422),
    (whole, "post", PREDICTIONS, {}, GOOD | {"model": "nope"}, 404),
    (whole, "post", PREDICTIONS, {}, {"patient": "x" * 70_000}, 413),
    (without_champion, "post", PREDICTIONS, {}, GOOD, 503),
    (with_changed_files, "post", PREDICTIONS, {}, GOOD, 503),
    (without_record, "post", PREDICTIONS, {}, GOOD, 503),
    (whole, "get", PREDICTIONS + "/{prediction_id}", {"prediction_id": "nope"}, None, 404),
    (without_record, "get", PREDICTIONS + "/{prediction_id}", {"prediction_id": "nope"}, None, 503),
    (with_changed_files, "get", "/v1/models", {}, None, 503),
    (whole, "get", "/v1/models/{name}", {"name": "nope"}, None, 404),
    (without_champion, "get", "/v1/models/{name}", {"name": MODEL}, None, 503),
    (without_shelf, "get", "/health/ready", {}, None, 503),
    (with_changed_files, "get", "/health/ready", {}, None, 503),
    (without_record, "get", "/health/ready", {}, None, 503),
]
each_error = pytest.mark.parametrize(
    ("spoil", "method", "path", "names", "body", "status"),
    ERRORS,
    ids=[f"{e[0].__name__}-{e[1]}-{e[2]}-{e[5]}" for e in ERRORS],
)


@each_error
def test_an_error_has_a_documented_status_and_fits_the_documented_problem(
    home, spoil, method, path, names, body, status
):
    spoil(home)
    with client_of(home) as client:
        response = client.request(method, path.format(**names), json=body)
    assert response.status_code == status
    assert str(status) in OPENAPI["paths"][path][method]["responses"]
    assert response.headers["content-type"] == "application/problem+json"
    validator({"$ref": "#/components/schemas/ProblemDetails"}).validate(response.json())


def test_every_error_is_documented_under_the_media_type_it_is_sent_with():
    documented = [
        response["content"]
        for path, method in OPERATIONS
        for status, response in OPENAPI["paths"][path][method]["responses"].items()
        if status not in ("200", "304") and not path.startswith(OTHER_PROTOCOLS)
    ]
    schema = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    assert documented == [{"application/problem+json": schema}] * len(documented)


def test_the_frameworks_own_error_is_not_documented_as_it_never_comes():
    assert "HTTPValidationError" not in json.dumps(OPENAPI)


# one value of each kind that a field may and may not take
def boundary_values() -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for field in load_dictionary().fields:
        if field.known == "after":
            continue
        found += [(field.name, None), (field.name, "nonsense"), (field.name, True), (field.name, [])]
        if field.minimum is not None and field.maximum is not None:
            found += [(field.name, v) for v in (field.minimum - 1, field.minimum, field.maximum, 7, 7.5, "7")]
            found += [(field.name, field.maximum + 1), (field.name, float(field.minimum))]
        found += [(field.name, name) for name in field.category_names]
    return found


def test_a_models_own_schema_and_the_server_agree_on_every_boundary(shared):
    predictors = shared.get(f"/v1/models/{MODEL}").json()["predictors"]
    schema = jsonschema.Draft202012Validator(predictors)
    statuses = set()
    for name, value in boundary_values():
        if name not in predictors["properties"]:
            continue
        applies = load_dictionary()[name].applies_to or ("breast_cancer",)
        patient = {"disease": applies[0], name: value}
        status = ask(shared, patient).status_code
        assert schema.is_valid(patient) == (status == 200), (name, value, status)
        statuses.add(status)
    assert statuses == {200, 422}


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"patient": None},
        {"patient": {}},
        {"patient": {"disease": None}},
        {"patient": BREAST | {"shoe_size": 41}},
        {"patient": BREAST, "plan": 1},
        {"patient": BREAST, "horizon": "24"},
        {"patient": BREAST, "horizon": True},
        {"patient": BREAST, "model": 5},
    ],
)
def test_the_documented_request_refuses_what_the_server_refuses(shared, request_body):
    assert shared.post(PREDICTIONS, json=request_body).status_code == 422
    assert not jsonschema.Draft202012Validator(REQUEST).is_valid(request_body)


@pytest.mark.parametrize(
    "request_body",
    [
        {"patient": BREAST},
        {"patient": COLORECTAL, "horizon": 12, "model": MODEL},
        {"patient": BREAST, "horizon": None, "model": None},
    ],
)
def test_the_documented_request_accepts_what_the_server_accepts(shared, request_body):
    assert shared.post(PREDICTIONS, json=request_body).status_code == 200
    jsonschema.Draft202012Validator(REQUEST).validate(request_body)
