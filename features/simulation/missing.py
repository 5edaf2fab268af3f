"""Missing values of simulated patients: missing at random given age, lines of therapy and hospital."""

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from features.dictionary import FloatArray
from features.simulation.population import populations

HOSPITALS = 12
HOSPITAL_SPREAD = 0.6  # standard deviation of a hospital's log odds of leaving a value out
OLDER, LATER = 0.35, 0.25  # log odds per decade over 60 years, and per line after the first
# What is worked out from a value is missing together with it.
FOLLOWS = {
    "ecog": ("karnofsky", "karnofsky_group", "ipi_points", "ipi_at_relapse"),
    "ldh_ratio": ("ldh", "ipi_points", "ipi_at_relapse"),
    "stage_at_relapse": ("ipi_points", "ipi_at_relapse"),
    "neutrophils": ("neutrophil_lymphocyte_ratio", "white_cells"),
    "lymphocytes": ("neutrophil_lymphocyte_ratio",),
    "cytogenetic_risk": ("aml_cytogenetics",),
}


def leave_out(
    values: dict[str, FloatArray], *, hospital: npt.NDArray[np.int64], rng: np.random.Generator
) -> None:
    """Replace values by NaN, in place.

    The odds depend on age, lines of therapy and hospital, which are never missing, and not on the value
    itself: missing at random.
    """
    declared = {name: rate for name, rate in populations()["missing"].items() if name in values}
    habits = HOSPITAL_SPREAD * np.random.default_rng(HOSPITALS).standard_normal((len(declared), HOSPITALS))
    patient = OLDER * (values["age"] - 60.0) / 10.0 + LATER * (values["prior_lines"] - 1.0)
    for (name, rate), habit in zip(declared.items(), habits, strict=True):
        blank = rng.random(patient.size) < expit(logit(rate) + patient + habit[hospital])
        for field in (name, *FOLLOWS.get(name, ())):
            if field in values:
                values[field][blank] = np.nan
