"""JSON Schemas of requests, made from the dictionary, and of one model's patients."""

from typing import Any

from features.dictionary import Dictionary, Field, load_dictionary
from models.patient.applicability import Applicability, answered_range
from models.patient.plans import GROUP
from models.questions.comparison import MOST_PLANS
from serving.contract import LONGEST_SUBJECT

DISEASE = "disease"
SUBJECT = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": LONGEST_SUBJECT,
    "description": "the caller's identifier of the patient; only a keyed hash of it is kept",
}


def patient_schema(
    dictionary: Dictionary,
    *,
    diseases: tuple[str, ...] | None = None,
    applicability: Applicability | None = None,
) -> dict[str, Any]:
    """Return the JSON Schema of a patient; every field but the disease may be left out or null.

    ``diseases`` are those in a model's scope, every one of the dictionary when absent. Where a model's
    ``applicability`` is given, numbers too far from what it saw in a disease are not allowed there.
    """
    properties = {field.name: _field_schema(field) for field in dictionary.fields}
    names = diseases or dictionary[DISEASE].category_names
    properties[DISEASE]["enum"] = list(names)
    schema = {
        "type": "object",
        "title": "Patient",
        "properties": properties,
        "required": [DISEASE],
        "additionalProperties": False,
    }
    if applicability is not None:
        schema["allOf"] = [_near(applicability, disease, dictionary) for disease in names]
    return schema


def _near(applicability: Applicability, disease: str, dictionary: Dictionary) -> dict[str, Any]:
    """Return what a schema allows in one disease: numbers near enough to what training saw there."""
    seen = applicability.ranges[disease]
    near = {f.name: _limits(f, *seen[f.name]) for f in dictionary.fields if f.name in seen}
    return {
        "if": {"properties": {DISEASE: {"const": disease}}},
        "then": {"properties": {name: limits for name, limits in near.items() if limits}},
    }


def _limits(field: Field, low: float, high: float) -> dict[str, float]:
    """Return how far from a range a number may lie."""
    if low >= high:
        return {}
    return dict(zip(("minimum", "maximum"), answered_range(field, low, high), strict=True))


def request_schema() -> dict[str, Any]:
    """Return the JSON Schema of a request, over every predictor in the dictionary."""
    horizon = {
        "type": ["number", "null"],
        "description": "the horizon to explain, in months; one of the protocol's",
    }
    return _asking("PredictionRequest", {"horizon": horizon}, patient_schema(_predictors()))


def explanation_schema() -> dict[str, Any]:
    """Return the JSON Schema of a request for explanations."""
    horizons = {
        "type": ["array", "null"],
        "items": {"type": "number"},
        "description": "the horizons to explain, in months; all of the protocol's when left out",
    }
    return _asking("ExplanationRequest", {"horizons": horizons}, patient_schema(_predictors()))


def comparison_schema() -> dict[str, Any]:
    """Return the JSON Schema of a request for a comparison of plans."""
    patient = patient_schema(_predictors())
    elements = [f.name for f in load_dictionary().fields if f.group == GROUP]
    plan = {
        "type": "object",
        "properties": {name: patient["properties"][name] for name in elements},
        "additionalProperties": False,
    }
    plans = {"type": "array", "items": plan, "minItems": 1, "maxItems": MOST_PLANS}
    return _asking("ComparisonRequest", {"plans": plans}, patient, "plans")


def _predictors() -> Dictionary:
    dictionary = load_dictionary()
    return dictionary.slice(f.name for f in dictionary.fields if f.known != "after")


def _asking(title: str, own: dict[str, Any], patient: dict[str, Any], *required: str) -> dict[str, Any]:
    model = {"type": ["string", "null"], "description": "a served model; needed when there are several"}
    return {
        "type": "object",
        "title": title,
        "properties": {"model": model, "patient": patient, **own, "subject": SUBJECT},
        "required": ["patient", *required],
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
