"""Reading FHIR elements as plain dictionaries; an element of the wrong type counts as absent."""

import math
from collections.abc import Mapping
from typing import Any

Element = Mapping[str, Any]
NOTHING: Element = {}
SYSTEMS = {
    "http://snomed.info/sct": "snomed",
    "http://loinc.org": "loinc",
    "http://hl7.org/fhir/sid/icd-10": "icd10",
    "http://hl7.org/fhir/sid/icd-10-cm": "icd10",
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm": "icd10",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "rxnorm",
}


def child(element: Element, name: str) -> Element:
    """Return the child element of this name, empty where there is none.

    >>> child({"code": {"text": "a"}}, "code"), child({"code": 3}, "code")
    ({'text': 'a'}, {})
    """
    value = element.get(name)
    return value if isinstance(value, dict) else NOTHING


def children(element: Element, name: str) -> list[Element]:
    """Return the repeated elements of this name, without parts that are not elements."""
    value = element.get(name)
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def string(element: Element, name: str) -> str:
    """Return the text of this name, empty where there is none."""
    value = element.get(name)
    return value if isinstance(value, str) else ""


def number(element: Element, name: str) -> float | None:
    """Return the finite number of this name, None where there is none; true and false are not numbers."""
    value = element.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def codes(concept: Element) -> list[tuple[str, str]]:
    """Return a CodeableConcept's codes as (system, code), systems by their short name in ``SYSTEMS``."""
    return [
        (SYSTEMS.get(system := string(coding, "system"), system), string(coding, "code"))
        for coding in children(concept, "coding")
    ]


def words(concept: Element) -> str:
    """Return a CodeableConcept's text and displays in lower case, joined by ``|``."""
    parts = [string(concept, "text"), *(string(coding, "display") for coding in children(concept, "coding"))]
    return " | ".join(part for part in parts if part).lower()


def extension(element: Element, ending: str) -> Element:
    """Return the first extension whose URL has this ending, empty where there is none."""
    matching = (e for e in children(element, "extension") if string(e, "url").endswith(ending))
    return next(matching, NOTHING)
