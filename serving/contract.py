"""The HTTP contract: request and response types, and parsing."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from features.errors import InvalidRequest, Problem
from models.prediction import Prediction
from models.questions.comparison import Comparison
from models.questions.timeline import Explanations
from serving.detail import MOST_LISTED, Detail

REQUEST_FIELDS = ("model", "patient", "horizon", "subject")
EXPLANATION_FIELDS = ("model", "patient", "horizons", "subject")
COMPARISON_FIELDS = ("model", "patient", "plans", "subject")
LONGEST_SUBJECT = 200
DETAIL = (
    f"brief: of more than {MOST_LISTED} contributions to a probability the largest {MOST_LISTED}, on the "
    f"link's scale none, of next tests the first {MOST_LISTED}; full: all of them, as the record holds them"
)
UTF_8 = "utf-8-sig"  # a byte order mark is no fault


@dataclass(frozen=True)
class PredictionRequest:
    """A parsed request.

    ``subject`` is the caller's identifier of the patient, kept as a keyed hash only. ``problems`` are those
    outside the patient; the model's own dictionary validates the patient's values later, and all problems are
    reported together.
    """

    patient: Mapping[str, object]
    model: str | None = None
    horizon: float | None = None
    subject: str | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class ExplanationRequest:
    """A parsed request for explanations; without horizons, at all of the protocol's."""

    patient: Mapping[str, object]
    horizons: tuple[float, ...]
    model: str | None = None
    subject: str | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class ComparisonRequest:
    """A parsed request for a comparison of plans."""

    patient: Mapping[str, object]
    plans: tuple[Mapping[str, object], ...]
    model: str | None = None
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
    """Where the answer stands on record.

    ``leaf_hash`` is the RFC 6962 leaf hash of the record; ``tree_size`` and ``root_hash`` are those of the
    whole record when this was said.
    """

    id: str
    seq: int
    recorded_at: str
    leaf_hash: str
    tree_size: int
    root_hash: str


@dataclass(frozen=True)
class Answer:
    """One answered prediction; ``mode`` tells whether access was controlled.

    ``detail`` is brief where lists were abridged; the record holds them whole.
    """

    model: ModelStamp
    prediction: Prediction
    audit: AuditReceipt
    mode: str
    detail: Detail


@dataclass(frozen=True)
class ExplanationsAnswer:
    """One patient's explanations at several horizons."""

    model: ModelStamp
    explanations: Explanations
    audit: AuditReceipt
    mode: str


@dataclass(frozen=True)
class ComparisonAnswer:
    """One patient under several plans."""

    model: ModelStamp
    comparison: Comparison
    audit: AuditReceipt
    mode: str


@dataclass(frozen=True)
class RecordedAnswer:
    """An answer as it was given, with the request that asked for it: one of the three kinds is there."""

    model: ModelStamp
    request: dict[str, Any]
    audit: AuditReceipt
    mode: str
    prediction: Prediction | None = None
    explanations: Explanations | None = None
    comparison: Comparison | None = None


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
    common = _common(document, REQUEST_FIELDS)
    horizon = document.get("horizon")
    months = number(horizon)
    problems = list(common.problems)
    if horizon is not None and months is None:
        problems.append(Problem("horizon", "wrong type", "expected one of the protocol's horizons in months"))
    return PredictionRequest(common.patient, common.model, months, common.subject, tuple(problems))


def parse_explanation(body: bytes) -> ExplanationRequest:
    """Parse a request for explanations; raises as :func:`parse_request`."""
    document = parse_object(body)
    common = _common(document, EXPLANATION_FIELDS)
    horizons = document.get("horizons")
    months = [number(one) for one in horizons] if isinstance(horizons, list) else []
    valid = tuple(one for one in months if one is not None)
    if horizons is not None and (not isinstance(horizons, list) or len(valid) != len(horizons)):
        raise _wrong(common, Problem("horizons", "wrong type", "expected a list of horizons in months"))
    if common.problems:
        raise InvalidRequest("request", common.problems)
    return ExplanationRequest(common.patient, valid, common.model, common.subject)


def parse_comparison(body: bytes) -> ComparisonRequest:
    """Parse a request for a comparison of plans; raises as :func:`parse_request`."""
    document = parse_object(body)
    common = _common(document, COMPARISON_FIELDS)
    plans = document.get("plans")
    if not isinstance(plans, list) or not all(isinstance(plan, dict) for plan in plans):
        raise _wrong(common, Problem("plans", "wrong type", "expected a list of objects, one a plan"))
    if common.problems:
        raise InvalidRequest("request", common.problems)
    return ComparisonRequest(common.patient, tuple(plans), common.model, common.subject)


def _wrong(common: PredictionRequest, problem: Problem) -> InvalidRequest:
    return InvalidRequest("request", (*common.problems, problem))


def _common(document: Mapping[str, Any], known: tuple[str, ...]) -> PredictionRequest:
    """Parse the members that all requests share."""
    problems = unknown_fields(document, known)
    model, patient, subject = (document.get(name) for name in ("model", "patient", "subject"))
    if model is not None and not isinstance(model, str):
        problems.append(Problem("model", "wrong type", "expected a model's name"))
    if subject is not None and not (isinstance(subject, str) and 0 < len(subject) <= LONGEST_SUBJECT):
        remedy = f"expected the patient's identifier, 1 to {LONGEST_SUBJECT} characters"
        problems.append(Problem("subject", "cannot be used", remedy))
    if not isinstance(patient, dict):
        problems.append(Problem("patient", "is missing or not an object", "give dictionary fields by name"))
        raise InvalidRequest("request", problems)
    return PredictionRequest(
        patient,
        model if isinstance(model, str) else None,
        subject=subject if isinstance(subject, str) else None,
        problems=tuple(problems),
    )


def unknown_fields(document: Mapping[str, Any], known: tuple[str, ...]) -> list[Problem]:
    """Return a problem for each unknown name in a request."""
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
        document = json.loads(body.decode(UTF_8), object_pairs_hook=unique)
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
