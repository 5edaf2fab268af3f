"""UCUM units: one spelling of each, and its conversion factor to a field's unit."""

import re
from functools import cache

from features.dictionary import Field
from features.sources.fhir.terminology import load_terminology

SCORES = ("karnofsky",)  # stated in per cent, or as a bare score
LITRE = re.compile(r"(?<=[/dmunpf])l\b")
ANNOTATION = re.compile(r"\{[^}]*\}")


@cache
def canonical(unit: str) -> str:
    """Return a unit's one spelling: l and L, * and ^ are the same in UCUM, and annotations do not count.

    >>> canonical("g/dl"), canonical("10^3/uL"), canonical("K/uL"), canonical("{nodes}")
    ('g/dL', '10*3/uL', '10*3/uL', '')
    """
    spelled = unit.strip().replace("^", "*").replace("µ", "u").replace("μ", "u")
    spelled = LITRE.sub("L", ANNOTATION.sub("", spelled))
    known: dict[str, str] = load_terminology().maps["units"]
    return known.get(spelled, spelled)


def factor(field: Field, unit: str) -> float | None:
    """Return the factor from this unit to the field's, None where the dictionary declares none."""
    written = canonical(unit)
    if written == canonical(field.unit or ""):
        return 1.0
    if (field.type == "integer" or field.name in SCORES) and written.lower() in ("", "1", "count"):
        return 1.0
    return next((by for other, by in field.conversions.items() if canonical(other) == written), None)


def expected_units(field: Field) -> str:
    """Return the remedy for an unknown unit: the field's unit and those that convert to it."""
    return f"expected {field.unit}" + "".join(f" or {other}" for other in field.conversions)
