"""A served model of several endpoints: made patients who respond and progress, and have tests."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.protocol import StudyProtocol
from models.bundle.bundle import ModelBundle
from tests.lib.fitting import PLAN
from tests.lib.patients import BREAST, protocol, provenance, simulated_frame
from training.evaluate import Evaluation
from training.fit import bundle_from, fit_models, read_outcomes
from training.report import model_card

SEVERAL = "salvage-several-synthetic"
PATIENTS = 300
TIMED = ("overall_survival", "progression_free_survival", "relapse_and_non_relapse_mortality")
ENDPOINTS = (*TIMED, "response")
RESPONSES = ("complete_response", "partial_response", "stable_disease", "progressive_disease")
TESTS = ("site_liver", "albumin")
EXAMINED = BREAST | {"site_liver": False, "albumin": 41.0}


def study() -> StudyProtocol:
    """Return the made patients' protocol with every endpoint that they have, and two tests."""
    predictors = load_dictionary().ordered((*protocol().predictors, *TESTS))
    return replace(protocol(), name="several", endpoints=ENDPOINTS, predictors=tuple(predictors))


def several_cohort() -> Cohort:
    """Return the made patients; albumin tells how they fared, a liver metastasis tells nothing."""
    frame = simulated_frame(PATIENTS, seed=4)
    columns = _outcomes_and_tests(frame, np.random.default_rng(5))
    frame = frame.assign(**{name: np.array(values, dtype=object) for name, values in columns.items()})
    known = load_dictionary()
    dictionary = known.slice(known.ordered(name for name in frame if name != "patient"))
    return Cohort.from_frame(frame, dictionary=dictionary, provenance=(provenance(PATIENTS),))


def _outcomes_and_tests(frame: pd.DataFrame, rng: np.random.Generator) -> dict[str, Any]:
    followed, died = frame["months_followed"].astype(float), frame["died"].astype(bool)
    progressed = rng.random(PATIENTS) < 0.6
    share = np.where(progressed, rng.uniform(0.2, 0.9, PATIENTS), 1.0)
    albumin = 25.0 + 4.0 * np.log1p(followed) + rng.normal(0.0, 3.0, PATIENTS)
    depth = np.digitize(albumin + rng.normal(0.0, 4.0, PATIENTS), np.quantile(albumin, (0.25, 0.5, 0.8)))
    return {
        "months_progression_free": (followed * share).clip(0.02).tolist(),
        "progressed_or_died": (progressed | died).tolist(),
        "first_event": np.where(progressed, "progression", np.where(died, "death", "none")).tolist(),
        "site_liver": (rng.random(PATIENTS) < 0.4).tolist(),
        "albumin": albumin.tolist(),
        "response": [RESPONSES[3 - step] for step in depth],
    }


@cache
def several_bundle() -> ModelBundle:
    """Return a bundle of all the endpoints, fitted once a session and not evaluated."""
    cohort, asked = several_cohort(), study()
    outcomes = read_outcomes(cohort, asked)
    fitted = fit_models(cohort, outcomes, protocol=asked, plan=PLAN)
    card = model_card(cohort, outcomes, Evaluation({}), protocol=asked, plan=PLAN)
    return bundle_from(fitted, cohort, outcomes, protocol=asked, plan=PLAN, card=card)


def supporting(bundle: ModelBundle, **months: float) -> ModelBundle:
    """Return the bundle with other follow-up of some endpoints, the same in every disease."""
    endpoints = [
        replace(e, supported=dict.fromkeys(e.supported, months[e.endpoint.name]))
        if e.endpoint.name in months
        else e
        for e in bundle.endpoints
    ]
    return replace(bundle, endpoints=tuple(endpoints))
