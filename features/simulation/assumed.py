"""Assumed values, invented and marked as such, for figures that no source gave (``assumptions.yaml``)."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from features.simulation.evidence import TrialArm, read_yaml


@cache
def assumptions() -> dict[str, Any]:
    """Return the assumed values by disease and by modality."""
    return read_yaml("assumptions.yaml")


def modality_of(arm: TrialArm) -> Mapping[str, Any]:
    """Return the assumptions of the arm's modality that stands first in ``assumptions.yaml``."""
    declared: Mapping[str, Any] = assumptions()["modalities"]
    first: Mapping[str, Any] = next(declared[name] for name in declared if name in arm.modality)
    return first


def is_curable(arm: TrialArm) -> bool:
    """Return whether the arm's survival reaches a plateau; in leukaemia and DLBCL only if consolidated."""
    consolidated = any(m.endswith("_transplant") or m == "cellular_therapy" for m in arm.modality)
    always = arm.disease in ("hodgkin_lymphoma", "germ_cell_tumour")
    return bool(assumptions()["diseases"][arm.disease]["curable"]) and (always or consolidated)


def rates_of(arm: TrialArm) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return response, toxicity and treatment-related death as proportions, and which were assumed."""
    assumed, modality = assumptions()["diseases"][arm.disease], modality_of(arm)
    orr, complete = arm.checked("orr"), arm.checked("cr")
    expected = min(assumed["orr"], modality.get("orr_limit", 100))
    if orr is None:
        orr_used = expected if complete is None else max(expected, min(97.0, 1.25 * complete))
    else:
        orr_used = orr
    cr_used = orr_used * assumed["complete"] if complete is None else min(complete, orr_used)
    stated = {"orr": orr, "cr": complete, "grade3": arm.checked("grade3"), "trm": arm.checked("trm")}
    used = {"orr": orr_used, "cr": cr_used}
    for name in ("grade3", "trm"):
        published = stated[name]
        used[name] = modality[name] if published is None else published
    missing = tuple(name for name, value in stated.items() if value is None)
    return {name: value / 100.0 for name, value in used.items()}, missing
