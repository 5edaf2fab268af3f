"""Likeness: how usual a patient's combination of values is among the training patients of the disease.

The distance from the disease's centre is Mahalanobis's, over the known columns alone and per known column, so
that patients with more or fewer missing values compare. A patient whose every value was seen can still be far
from everyone: the combination is what counts.

Source: Mahalanobis, Proceedings of the National Institute of Sciences of India 1936;2:49-55.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.dictionary import FloatArray
from models.patient.gaussian import unusualness
from models.patient.next_tests import InDisease, Information
from models.prediction import Typical

POINTS = 201
RARE = 0.05


@dataclass(frozen=True)
class Likeness:
    """By disease, evenly spaced quantiles of the training patients' distances, rising."""

    quantiles: Mapping[str, FloatArray]

    @classmethod
    def fit(cls, information: Information, X: FloatArray, diseases: tuple[str, ...]) -> "Likeness":
        """Measure the training patients; ``X`` (patients, columns) and one disease's name a patient."""
        named, at = np.array(diseases, dtype=object), np.linspace(0.0, 1.0, POINTS)
        return cls(
            {
                disease: np.quantile([_distance(here, x) for x in X[named == disease]], at)
                for disease, here in information.diseases.items()
            }
        )

    def typical(self, information: Information, x: FloatArray, disease: str) -> Typical:
        """Place one patient, shape (columns,), among the training patients of the disease."""
        quantiles = self.quantiles[disease]
        within = float(np.searchsorted(quantiles, _distance(information.diseases[disease], x))) / POINTS
        share = 1.0 - within
        return Typical(share, _words(share))

    def as_dict(self) -> dict[str, Any]:
        """Return the quantiles as plain JSON values."""
        return {disease: quantiles.tolist() for disease, quantiles in self.quantiles.items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Likeness":
        """Read what :meth:`as_dict` wrote."""
        return cls({disease: np.array(quantiles) for disease, quantiles in stored.items()})


def _distance(here: InDisease, x: FloatArray) -> float:
    return unusualness(x, here.means, here.scales, here.association.correlation)


def _words(share: float) -> str:
    if share <= 0.0:
        return (
            "no training patient with this disease had so unusual a combination of values; doubt the answer"
        )
    said = (
        f"{max(1, round(100 * share))} of 100 training patients with this disease were as unusual or more so"
    )
    return f"{said}; read the answer with care" if share < RARE else said
