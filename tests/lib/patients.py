"""Patients made for tests: two diseases, known hazards, every kind of field. Synthetic, and labelled so."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from features.cohort import Cohort, Provenance, read_patient
from features.dictionary import Dictionary, load_dictionary
from features.eligibility import Attrition
from features.protocol import StudyProtocol, load_protocol

BREAST = {
    "disease": "breast_cancer",
    "age": 57.0,
    "sex": "female",
    "menopausal_status": "postmenopausal",
    "months_diagnosis_to_relapse": 20.0,
    "positive_lymph_nodes": 4,
    "tumour_grade": "grade_3",
    "tumour_size": "over_20_to_50_mm",
    "oestrogen_receptor": 80.0,
    "progesterone_receptor": 20.0,
    "prior_chemotherapy": True,
    "prior_endocrine_therapy": False,
}


def protocol() -> StudyProtocol:
    """Return the protocol that the made patients fit."""
    return load_protocol("relapse-survival")


def one_patient(patient: Mapping[str, object], *, dictionary: Dictionary) -> Cohort:
    """Return a request's patient as a cohort of one, read as the service reads it."""
    return Cohort.of_one(read_patient(patient, dictionary=dictionary), dictionary=dictionary)


def dictionary() -> Dictionary:
    """Return the fields that the made patients have."""
    known = load_dictionary()
    return known.slice(known.ordered(name for name in simulated_frame(1, seed=0) if name != "patient"))


def simulated_frame(patients: int, *, seed: int) -> pd.DataFrame:
    """Return a table of dictionary fields; hazards rise with nodes and fall with time to relapse."""
    rng = np.random.default_rng(seed)
    breast = rng.random(patients) < 0.7
    nodes = rng.poisson(3.0, patients)
    months = rng.gamma(2.0, 15.0, patients) + 1.0
    hazard = np.where(breast, 0.02, 0.05) * np.exp(
        0.5 * (np.log1p(nodes) - 1.2) - 0.4 * (np.log1p(months) - 3.2)
    )
    death = rng.exponential(1.0 / hazard)
    censored = rng.uniform(12.0, 140.0, patients)

    def only(mask: Any, values: Any) -> list[Any]:
        return [value if keep else None for keep, value in zip(mask, values, strict=True)]

    receptors = rng.lognormal(4.0, 1.0, (2, patients)).clip(0, 9000)
    frame: dict[str, Any] = {
        "patient": [f"p{row}" for row in range(patients)],
        "disease": np.where(breast, "breast_cancer", "colorectal_cancer").tolist(),
        "age": rng.uniform(30, 85, patients).round(1).tolist(),
        "sex": np.where(breast | (rng.random(patients) < 0.5), "female", "male").tolist(),
        "menopausal_status": only(breast, rng.choice(["premenopausal", "postmenopausal"], patients).tolist()),
        "months_diagnosis_to_relapse": months.tolist(),
        "positive_lymph_nodes": only(rng.random(patients) < 0.95, nodes.tolist()),
        "tumour_grade": rng.choice(["grade_1", "grade_2", "grade_3"], patients).tolist(),
        "tumour_size": only(
            breast, rng.choice(["up_to_20_mm", "over_20_to_50_mm", "over_50_mm"], patients).tolist()
        ),
        "oestrogen_receptor": only(breast, receptors[0].tolist()),
        "progesterone_receptor": only(breast, receptors[1].tolist()),
        "local_extent": only(
            ~breast, rng.choice(["muscle", "serosa", "contiguous_structures"], patients).tolist()
        ),
        "prior_chemotherapy": (rng.random(patients) < 0.4).tolist(),
        "prior_endocrine_therapy": only(breast, (rng.random(patients) < 0.2).tolist()),
        "prior_levamisole": only(~breast, (rng.random(patients) < 0.5).tolist()),
        "months_followed": np.minimum(death, censored).clip(0.03).tolist(),
        "died": (death <= censored).tolist(),
    }
    for name in ("bowel_obstruction", "bowel_perforation", "organ_adherence"):
        frame[name] = only(~breast, (rng.random(patients) < 0.3).tolist())
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in frame.items()})


def provenance(patients: int) -> Provenance:
    """Return where the made patients come from."""
    attrition = Attrition(patients)
    return Provenance(
        "simulated", "synthetic", "tests", "none", "first relapse", ("made for tests",), attrition
    )


def simulated_cohort(patients: int = 400, *, seed: int = 1) -> Cohort:
    """Return the made patients as a validated cohort."""
    frame = simulated_frame(patients, seed=seed)
    return Cohort.from_frame(frame, dictionary=dictionary(), provenance=(provenance(patients),))
