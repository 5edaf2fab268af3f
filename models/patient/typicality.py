"""Likeness: how usual a patient's combination of values is among the training patients of the disease.

The measure is the squared Mahalanobis distance from the disease's mean over the normal scores of the known
values (models/patient/joint.py), divided by their number so that patients with more or fewer unknown values
compare. It finds rare combinations of values that are ordinary one by one.

Source: Mahalanobis, Proceedings of the National Institute of Sciences of India 1936;2:49-55.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.cohort import Cohort
from features.dictionary import FloatArray
from models.estimators.additive import require_numbers
from models.patient.completion import Completion
from models.patient.gaussian import unusualness
from models.prediction import Typical

POINTS = 201
RARE = 0.05


@dataclass(frozen=True)
class Likeness:
    """Evenly spaced quantiles (201,) of the training patients' distances, by disease."""

    quantiles: Mapping[str, FloatArray]

    @classmethod
    def fit(cls, completion: Completion, cohort: Cohort) -> "Likeness":
        """Take the quantiles over the training patients."""
        named, at, quantiles = (
            np.array(cohort.text("disease"), dtype=object),
            np.linspace(0.0, 1.0, POINTS),
            {},
        )
        for disease, here in completion.diseases.items():
            scores = completion.cohort_scores(cohort.take(np.flatnonzero(named == disease)), disease)
            distances = [unusualness(z, here.joint.correlation) for z in scores]
            quantiles[disease] = np.quantile(distances, at)
        return cls(quantiles)

    def typical(self, completion: Completion, z: FloatArray, disease: str) -> Typical:
        """Return the share of training patients at least as far from the mean as one with scores ``z``."""
        distance = unusualness(z, completion.diseases[disease].joint.correlation)
        share = 1.0 - float(np.searchsorted(self.quantiles[disease], distance)) / POINTS
        return Typical(share, _words(share))

    def check(self, diseases: Collection[str]) -> None:
        """Raise ValueError where the quantiles are not those of these diseases, or do not rise."""
        if set(self.quantiles) != set(diseases):
            raise ValueError("likeness is not as it must be")
        for quantiles in self.quantiles.values():
            require_numbers("likeness", quantiles, (POINTS,))
            if (np.diff(quantiles) < 0.0).any():
                raise ValueError("likeness is not as it must be")

    def as_dict(self) -> dict[str, Any]:
        return {disease: quantiles.tolist() for disease, quantiles in self.quantiles.items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Likeness":
        return cls({disease: np.array(quantiles) for disease, quantiles in stored.items()})


def _words(share: float) -> str:
    if share <= 0.0:
        return (
            "no training patient with this disease had so unusual a combination of values; doubt the answer"
        )
    share_in_words = (
        f"{max(1, round(100 * share))} of 100 training patients with this disease were as unusual or more so"
    )
    return f"{share_in_words}; read the answer with care" if share < RARE else share_in_words
