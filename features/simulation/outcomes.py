"""Outcomes drawn under a calibrated arm: response, progression, death, toxicity, cause of death."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr, ndtri

from features.dictionary import FloatArray
from features.simulation.arms import CalibratedArm
from features.simulation.curves import GRID, LAST_MONTH
from features.simulation.derived import code
from features.simulation.prognosis import PrognosticIndex

FIRST_ASSESSMENT = 1.5  # months; nobody responds before it, who dies before it is not evaluable
PROGRESSIVE_UNTIL = 3.0  # months; a first progression up to here without response is progressive disease
RESPONSE_CORRELATION = 0.75  # of the normal scores of response and of progression-free time
ONE_DAY = 0.03  # months
OTHER_CAUSES, UNKNOWN_CAUSES = 0.04, 0.03  # shares among deaths not caused by the treatment; invented


@dataclass(frozen=True)
class DrawnOutcomes:
    """Each patient's uncensored outcomes, arrays of shape (patients,).

    Times are months from the index date, infinite where nothing happens within the 240 months simulated.
    ``response`` and ``cause`` are the positions of dictionary categories.
    """

    progression_free: FloatArray
    death: FloatArray
    response: FloatArray
    toxicity: FloatArray
    cause: FloatArray


def draw_outcomes(arm: CalibratedArm, index: PrognosticIndex, *, rng: np.random.Generator) -> DrawnOutcomes:
    """Draw the outcomes of patients under an arm's plan."""
    log_hazard, odds = index.under(arm.evidence)
    weight = np.exp(log_hazard - arm.centre)
    latent, death = _times(arm, weight, rng)
    event = np.minimum(latent, death)
    response = _response(arm, weight, odds, event, death, rng)
    treatment = _treatment_death(arm, event, death, rng)
    toxicity = rng.random(weight.size) < expit(arm.toxicity_intercept + index.toxicity)
    cause = _cause(treatment, rng)
    return DrawnOutcomes(
        progression_free=event,
        death=death,
        response=response,
        toxicity=(toxicity | treatment).astype(np.float64),
        cause=cause,
    )


def _times(arm: CalibratedArm, weight: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Draw latent progression and death from a Gumbel copula (Marshall and Olkin 1988).

    With V positive stable of index 1/theta and E standard exponential, (E/V)^(1/theta) is the cumulative
    hazard reached. V by Kanter (1975).
    """
    alpha = 1.0 / arm.theta
    angle, scale = rng.uniform(0.0, np.pi, weight.size), rng.standard_exponential(weight.size)
    stable = np.sin(alpha * angle) / np.sin(angle) ** (1.0 / alpha)
    stable *= (np.sin((1.0 - alpha) * angle) / scale) ** ((1.0 - alpha) / alpha)
    reached = [(rng.standard_exponential(weight.size) / stable) ** alpha / weight for _ in range(2)]
    latent, death = (_when(h, curve) for h, curve in zip(reached, (arm.latent, arm.death), strict=True))
    return latent, death


def _when(reached: FloatArray, curve: FloatArray) -> FloatArray:
    months = np.interp(reached, curve, GRID)
    within: FloatArray = np.where(reached >= curve[-1], np.inf, np.maximum(months, ONE_DAY))
    return within


def _response(
    arm: CalibratedArm,
    weight: FloatArray,
    odds: FloatArray,
    event: FloatArray,
    death: FloatArray,
    rng: np.random.Generator,
) -> FloatArray:
    """Draw response with the arm's probability, the likelier the longer the patient is progression-free.

    Patients who fail before the first assessment do not respond; among the others a Gaussian copula ties
    response to the quantile of progression-free time.
    """
    chance = arm.response_probabilities(odds)
    survival = np.exp(-weight * np.interp(event, GRID, arm.progression_free))
    endless = ~np.isfinite(event)
    survival[endless] *= rng.random(int(endless.sum()))
    early = np.interp(FIRST_ASSESSMENT, GRID, arm.progression_free)
    excluded = np.minimum(-np.expm1(-weight * early), 1.0 - chance[:, 1])
    excluded = np.minimum(excluded, 1.0 - 1e-9)
    place = np.clip((1.0 - survival - excluded) / (1.0 - excluded), 1e-12, 1.0 - 1e-12)
    noise = np.sqrt(1.0 - RESPONSE_CORRELATION**2) * rng.standard_normal(weight.size)
    score = ndtr(RESPONSE_CORRELATION * ndtri(place) + noise)
    evaluable = 1.0 - survival > excluded
    complete, any_response = (evaluable & (score > 1.0 - p / (1.0 - excluded)) for p in chance.T)
    kinds = [complete, any_response, death < FIRST_ASSESSMENT, (event < PROGRESSIVE_UNTIL) & (event < death)]
    names = ("complete_response", "partial_response", "not_evaluable", "progressive_disease")
    drawn: FloatArray = np.select(
        kinds, [code("response", name) for name in names], code("response", "stable_disease")
    )
    return drawn


def _treatment_death(
    arm: CalibratedArm, event: FloatArray, death: FloatArray, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    early = (event == death) & (death <= min(arm.treatment_months, LAST_MONTH))
    caused: np.ndarray[tuple[int], np.dtype[np.bool_]] = early & (
        rng.random(death.size) < arm.treatment_share
    )
    return caused


def _cause(treatment: np.ndarray[tuple[int], np.dtype[np.bool_]], rng: np.random.Generator) -> FloatArray:
    drawn = rng.random(treatment.size)
    kinds = [treatment, drawn < OTHER_CAUSES, drawn < OTHER_CAUSES + UNKNOWN_CAUSES]
    names = ("treatment", "other", "unknown")
    cause: FloatArray = np.select(
        kinds, [code("cause_of_death", name) for name in names], code("cause_of_death", "disease")
    )
    return cause
