"""Prognostic effects of predictors on the log-hazard and log-odds scales (``prognosis.yaml``).

Assumption: within an arm hazards are proportional, and one index serves progression and death alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from features.dictionary import FloatArray, load_dictionary
from features.simulation.evidence import TrialArm, read_yaml

# The classes of plan whose effect depends on the patient; an arm belongs to every class among its modalities.
CLASSES = ("immunotherapy", "cellular_therapy", "targeted_therapy", "transplant")


@dataclass(frozen=True)
class PrognosticIndex:
    """Patients' log-hazard and log-odds shifts.

    ``hazard``, ``odds`` (of response) and ``toxicity``, shape (patients,), hold under any plan;
    ``class_hazard`` and ``class_odds``, shape (patients, classes), are added under a class of plan.
    """

    hazard: FloatArray
    odds: FloatArray
    class_hazard: FloatArray
    class_odds: FloatArray
    toxicity: FloatArray

    def take(self, rows: Any) -> "PrognosticIndex":
        """Return the shifts of the patients in these rows."""
        return PrognosticIndex(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def under(self, arm: TrialArm) -> tuple[FloatArray, FloatArray]:
        """Return the log-hazard and log-odds shifts under an arm's plan, each of shape (patients,)."""
        belongs = np.array([_belongs(arm, name) for name in CLASSES], dtype=np.float64)
        return self.hazard + self.class_hazard @ belongs, self.odds + self.class_odds @ belongs


def prognostic_index(disease: str, values: Mapping[str, FloatArray]) -> PrognosticIndex:
    """Return the shifts of patients with one disease and without missing predictors."""
    patients = values["disease"].size
    hazard, odds = _total(terms()["diseases"][disease], values, patients)
    by_class = [_total(terms()["modifiers"][name], values, patients) for name in CLASSES]
    _, toxicity = _total(terms()["toxicity"], values, patients)
    return PrognosticIndex(
        hazard=hazard,
        odds=odds,
        class_hazard=np.column_stack([h for h, _ in by_class]),
        class_odds=np.column_stack([o for _, o in by_class]),
        toxicity=toxicity,
    )


@cache
def terms() -> dict[str, Any]:
    """Return the effects declared in ``prognosis.yaml``."""
    return read_yaml("prognosis.yaml")


def _belongs(arm: TrialArm, name: str) -> bool:
    if name == "transplant":
        return any(given.endswith("_transplant") for given in arm.modality)
    return name in arm.modality


def _total(
    declared: Sequence[Mapping[str, Any]], values: Mapping[str, FloatArray], patients: int
) -> tuple[FloatArray, FloatArray]:
    hazard, odds = np.zeros(patients), np.zeros(patients)
    for term in declared:
        if term["field"] not in values:
            continue
        amount = _amount(term, values[term["field"]])
        hazard += term["log_hazard"] * amount
        odds += term["odds"] * amount
    return hazard, odds


def _amount(term: Mapping[str, Any], value: FloatArray) -> FloatArray:
    """Return a term's 0/1 indicator, or its distance from the centre in units of ``per``."""
    if "per" in term:
        steps: FloatArray = (np.minimum(value, term.get("up_to_value", np.inf)) - term["centre"]) / term[
            "per"
        ]
        return steps
    if "is" in term:
        names = load_dictionary()[term["field"]].category_names
        return np.isin(value, [names.index(name) for name in term["is"]]).astype(np.float64)
    compare = {"from": np.greater_equal, "over": np.greater, "below": np.less, "up_to": np.less_equal}
    word = next(word for word in compare if word in term)
    met: FloatArray = compare[word](value, term[word]).astype(np.float64)
    return met
