"""A served model of many predictors and every endpoint: simulated patients with lymphoma."""

from dataclasses import replace
from functools import cache

from features.cohort import Cohort
from features.protocol import StudyProtocol, load_protocol
from features.simulation.simulate import simulate
from models.bundle.bundle import ModelBundle
from tests.lib.fitting import PLAN
from training.evaluate import Evaluation
from training.fit import bundle_from, fit_models, read_outcomes
from training.report import model_card

MANY = "salvage-many-synthetic"
DISEASE = "dlbcl"
PATIENTS = 400
KNOWN = {
    "disease": DISEASE,
    "age": 61.0,
    "ecog": "ecog_1",
    "prior_lines": 2,
    "albumin": 38.0,
    "ldh_ratio": 1.4,
    "prior_rituximab": True,
}


def study(cohort: Cohort) -> StudyProtocol:
    """Return the protocol of every endpoint and all predictors that the patients have."""
    asked = load_protocol("salvage")
    predictors = tuple(name for name in asked.predictors if name in cohort.dictionary)
    return replace(asked, name="many", diseases=(DISEASE,), predictors=predictors)


@cache
def many_bundle() -> ModelBundle:
    """Return its bundle, fitted once a session and not evaluated."""
    cohort = simulate(PATIENTS, seed=2, diseases=(DISEASE,)).cohort
    asked = study(cohort)
    outcomes = read_outcomes(cohort, asked)
    fitted = fit_models(cohort, outcomes, protocol=asked, plan=PLAN)
    card = model_card(cohort, outcomes, Evaluation({}), protocol=asked, plan=PLAN)
    return bundle_from(fitted, cohort, outcomes, protocol=asked, plan=PLAN, card=card)
