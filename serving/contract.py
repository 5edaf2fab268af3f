"""The contract: what a request may say and what an answer says, made from the dictionary."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from features.dictionary import Dictionary, Field, load_dictionary
from features.errors import InvalidRequest, Problem
from models.prediction import Prediction

DISEASE = "disease"
REQUEST_FIELDS = ("model", "patient", "horizon", "subject")
LONGEST_SUBJECT = 200
SUBJECT = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": LONGEST_SUBJECT,
    "description": "the caller's identifier of the patient; only a keyed hash of it is kept",
}


@dataclass(frozen=True)
class PredictionRequest:
    """A parsed request.

    ``subject`` is the caller's identifier of the patient, kept as a keyed hash only. ``problems`` holds what
    is wrong around the patient; the patient's values are judged by the model's own dictionary, so that both
    can be named at once.
    """

    patient: Mapping[str, object]
    model: str | None = None
    horizon: float | None = None
    subject: str | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class ModelStamp:
    """Which model answered, down to its files: ``bundle`` is the SHA-256 of the bundle's manifest."""

    name: str
    version: str
    bundle: str
    title: str
    protocol: str
    evidence: str


@dataclass(frozen=True)
class AuditReceipt:
    """Where the answer stands on record; ``leaf_hash`` is the RFC 6962 leaf hash of the record."""

    id: str
    seq: int
    recorded_at: str
    leaf_hash: str


@dataclass(frozen=True)
class Answer:
    """One answered prediction."""

    model: ModelStamp
    prediction: Prediction
    audit: AuditReceipt


@dataclass(frozen=True)
class RecordedAnswer:
    """A prediction as it was answered, with the request that asked for it."""

    model: ModelStamp
    request: dict[str, Any]
    prediction: Prediction
    audit: AuditReceipt


@dataclass(frozen=True)
class ModelSummary:
    """One served model."""

    name: str
    version: str
    bundle: str
    title: str
    evidence: str
    index_event: str
    endpoints: tuple[str, ...]
    horizons: tuple[float, ...]


@dataclass(frozen=True)
class ModelList:
    """Every served model."""

    models: tuple[ModelSummary, ...]


@dataclass(frozen=True)
class ModelDetail:
    """One served model: its protocol, predictors as a JSON Schema, and card."""

    model: ModelStamp
    protocol: dict[str, Any]
    predictors: dict[str, Any]
    horizons: tuple[float, ...]
    supported_months: dict[str, dict[str, float]]
    card: dict[str, Any]


@dataclass(frozen=True)
class Health:
    """The server's state, and the models it answers for."""

    status: str
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class FieldProblem:
    """One field of a request that cannot be accepted, and what is expected instead."""

    field: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class ProblemDetails:
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    problems: tuple[FieldProblem, ...] = ()


def parse_request(body: bytes) -> PredictionRequest:
    """Parse a request's bytes.

    Raises:
        InvalidRequest: when they are not one JSON object, a name stands twice in an object, or there is no
            patient.

    """
    document = parse_object(body)
    problems = unknown_fields(document, REQUEST_FIELDS)
    model, patient, horizon, subject = (document.get(name) for name in REQUEST_FIELDS)
    if model is not None and not isinstance(model, str):
        problems.append(Problem("model", "wrong type", "expected a model's name"))
    months = number(horizon)
    if horizon is not None and months is None:
        problems.append(Problem("horizon", "wrong type", "expected one of the protocol's horizons in months"))
    if subject is not None and not (isinstance(subject, str) and 0 < len(subject) <= LONGEST_SUBJECT):
        remedy = f"expected the patient's identifier, 1 to {LONGEST_SUBJECT} characters"
        problems.append(Problem("subject", "cannot be used", remedy))
    if not isinstance(patient, dict):
        problems.append(Problem("patient", "is missing or not an object", "give dictionary fields by name"))
        raise InvalidRequest("request", problems)
    return PredictionRequest(
        patient,
        model if isinstance(model, str) else None,
        months,
        subject if isinstance(subject, str) else None,
        tuple(problems),
    )


def unknown_fields(document: Mapping[str, Any], known: tuple[str, ...]) -> list[Problem]:
    """Return a problem for each name of a request that means nothing."""
    return [
        Problem(name, "unknown field", "use " + ", ".join(known)) for name in document if name not in known
    ]


def number(value: object) -> float | None:
    """Return a finite number, None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def patient_schema(dictionary: Dictionary, *, diseases: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Return the JSON Schema of a patient; every field but the disease may be left out or null.

    ``diseases`` are those in a model's scope, every one of the dictionary when absent.
    """
    properties = {field.name: _field_schema(field) for field in dictionary.fields}
    properties[DISEASE]["enum"] = list(diseases or dictionary[DISEASE].category_names)
    return {
        "type": "object",
        "title": "Patient",
        "properties": properties,
        "required": [DISEASE],
        "additionalProperties": False,
    }


def request_schema() -> dict[str, Any]:
    """Return the JSON Schema of a request, over every predictor in the dictionary."""
    dictionary = load_dictionary()
    predictors = dictionary.slice(f.name for f in dictionary.fields if f.known != "after")
    return {
        "type": "object",
        "title": "PredictionRequest",
        "properties": {
            "model": {
                "type": ["string", "null"],
                "description": "a served model; needed when there are several",
            },
            "patient": patient_schema(predictors),
            "horizon": {
                "type": ["number", "null"],
                "description": "the horizon to explain, in months; one of the protocol's",
            },
            "subject": SUBJECT,
        },
        "required": ["patient"],
        "additionalProperties": False,
    }


def _field_schema(field: Field) -> dict[str, Any]:
    about = {"title": field.label, "description": _describe(field)}
    if field.type == "category":
        return about | {"enum": [*field.category_names, None]}
    if field.type == "flag":
        return about | {"type": ["boolean", "null"]}
    return about | {"type": [field.type, "null"], "minimum": field.minimum, "maximum": field.maximum}


def _describe(field: Field) -> str:
    scope = "" if field.applies_to is None else f"; only in {', '.join(field.applies_to)}"
    known = "at the index date" if field.known == "index" else "at diagnosis"
    return f"expected {field.expected}; known {known}{scope}"


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse one JSON object.

    Raises:
        InvalidRequest: when it is something else, or a name stands twice in an object.

    """
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            repeated.extend(name for name in made if names.count(name) > 1)
        return made

    try:
        document = json.loads(body, object_pairs_hook=unique)
        if b"\\u" in body or not body.isascii():
            json.dumps(document, ensure_ascii=False).encode()  # refuses half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            "request", [Problem("body", "is not JSON", "send one JSON object in UTF-8")]
        ) from error
    if repeated:
        raise InvalidRequest("request", [Problem(name, "stands twice", "give it once") for name in repeated])
    if not isinstance(document, dict):
        raise InvalidRequest("request", [Problem("body", "is not an object", "send one JSON object")])
    return document
