"""A sample: patients as an encoder shows them to a model."""

from dataclasses import dataclass

from features.cohort import Cohort
from features.dictionary import FloatArray
from models.estimators.curves import IntArray


@dataclass(frozen=True)
class Sample:
    """Patients with their columns ``X`` (patients, columns) and a disease index each, ``strata``."""

    cohort: Cohort
    X: FloatArray
    strata: IntArray
