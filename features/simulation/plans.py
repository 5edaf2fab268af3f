"""The plan fields of simulated patients, from their arm's modality and regimen."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.dictionary import FloatArray, load_dictionary
from features.simulation.arms import CalibratedArm
from features.simulation.derived import code
from features.simulation.evidence import TrialArm

ORAL = (
    "gilteritinib", "regorafenib", "trifluridine_tipiracil", "capecitabine", "osimertinib", "parp_inhibitor",
    "lomustine", "temozolomide_rechallenge", "cdk46_endocrine",
)  # fmt: skip
INTENSE = ("autologous_transplant", "allogeneic_transplant", "cellular_therapy")
TRIAL_SHARE, NEW_CLASS_SHARE = 0.35, 0.65  # invented
# Invented shares in the order of the dictionary's categories.
CONDITIONING = {"allogeneic_transplant": (0.2, 0.35, 0.45), "autologous_transplant": (0.05, 0.95, 0.0)}
DONOR = {
    "allogeneic_transplant": (0.3, 0.15, 0.38, 0.12, 0.05, 0.0),
    "autologous_transplant": (0, 0, 0, 0, 0, 1.0),
}
GRAFT = {"allogeneic_transplant": (0.2, 0.75, 0.05), "autologous_transplant": (0.0, 1.0, 0.0)}


def draw_plan(arm: CalibratedArm, patients: int, *, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Return the plan fields of patients who receive an arm's plan."""
    evidence = arm.evidence
    flags = [f.name for f in load_dictionary().fields if f.group == "plan" and f.type == "flag"]
    values = {
        name: np.full(patients, float(name.removeprefix("plan_") in evidence.modality)) for name in flags
    }
    values["plan_clinical_trial"] = (rng.random(patients) < TRIAL_SHARE).astype(np.float64)
    values["plan_class_change"] = (rng.random(patients) < NEW_CLASS_SHARE).astype(np.float64)
    for name, category in _constants(arm).items():
        values[name] = np.full(patients, code(name, category))
    values |= _transplant(evidence, patients, rng)
    return {name: v for name, v in values.items() if load_dictionary()[name].applies(evidence.disease)}


def _constants(arm: CalibratedArm) -> dict[str, str]:
    evidence = arm.evidence
    supportive = "supportive_care" in evidence.modality
    high = any(name in INTENSE for name in evidence.modality)
    low = supportive or evidence.plan_regimen == "low_intensity"
    intent = "supportive" if supportive else "curative" if arm.curable else "palliative"
    return {
        "plan_regimen": evidence.plan_regimen,
        "plan_intensity": "high" if high else "low" if low else "standard",
        "plan_intent": intent,
        "plan_route": _route(evidence),
    }


def _route(arm: TrialArm) -> str:
    if "re_irradiation" in arm.modality or "radiation" in arm.modality:
        return "external_beam" if len(arm.modality) == 1 else "several"
    return "oral" if arm.plan_regimen in ORAL else "intravenous"


def _transplant(arm: TrialArm, patients: int, rng: np.random.Generator) -> dict[str, FloatArray]:
    kind = next(
        (name for name in ("allogeneic_transplant", "autologous_transplant") if name in arm.modality), None
    )
    if kind is None:
        return {}
    shares: Mapping[str, Any] = {
        "plan_conditioning": CONDITIONING[kind],
        "plan_donor": DONOR[kind],
        "plan_graft": GRAFT[kind],
    }
    return {name: rng.choice(len(p), patients, p=p).astype(np.float64) for name, p in shares.items()}
