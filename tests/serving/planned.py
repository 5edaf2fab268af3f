"""A served model that knows plans: made patients who had chemotherapy, radiation or neither."""

from dataclasses import replace
from functools import cache

import numpy as np

from features.cohort import Cohort
from features.dictionary import load_dictionary
from models.bundle.bundle import ModelBundle
from tests.lib.fitting import PLAN
from tests.lib.patients import protocol, provenance, simulated_frame
from training.evaluate import Evaluation
from training.fit import bundle_from, fit_models, read_outcomes
from training.report import model_card

PLANNED = "salvage-planned-synthetic"
PATIENTS = 300
CHEMOTHERAPY, RADIATION = {"plan_chemotherapy": True}, {"plan_chemotherapy": False, "plan_radiation": True}
BOTH = {"plan_chemotherapy": True, "plan_radiation": True}


@cache
def planned_bundle() -> ModelBundle:
    """Return a bundle of overall survival with plans, fitted once a session; nobody had both of them."""
    rng = np.random.default_rng(3)
    frame = simulated_frame(PATIENTS, seed=4)
    chemotherapy = rng.random(PATIENTS) < 0.5
    radiation = ~chemotherapy & (rng.random(PATIENTS) < 0.7)
    frame = frame.assign(
        plan_chemotherapy=np.array(chemotherapy.tolist(), dtype=object),
        plan_radiation=np.array(radiation.tolist(), dtype=object),
    )
    known = load_dictionary()
    dictionary = known.slice(known.ordered(name for name in frame if name != "patient"))
    cohort = Cohort.from_frame(frame, dictionary=dictionary, provenance=(provenance(PATIENTS),))
    predictors = tuple(known.ordered((*protocol().predictors, *BOTH)))
    asked = replace(protocol(), name="planned", predictors=predictors)
    outcomes = read_outcomes(cohort, asked)
    fitted = fit_models(cohort, outcomes, protocol=asked, plan=PLAN)
    card = model_card(cohort, outcomes, Evaluation({}), protocol=asked, plan=PLAN)
    return bundle_from(fitted, cohort, outcomes, protocol=asked, plan=PLAN, card=card)
