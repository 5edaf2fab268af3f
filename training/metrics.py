"""Metrics of predicted survival under right censoring, each with its source.

Inverse-probability-of-censoring weights come from the Kaplan-Meier curve of the censoring times among the
patients evaluated; the assumption is that censoring is independent of prognosis.
"""

from dataclasses import dataclass

import numpy as np

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.endpoints import CompetingOutcome
from models.estimators.curves import IntArray, kaplan_meier, step
from models.estimators.ipcw import censoring_survival


@dataclass(frozen=True)
class Calibration:
    """Predicted against observed risk of the event by one horizon.

    ``predicted`` and ``observed`` hold one value per group of rising risk; ``ici`` is their mean absolute
    difference weighted by group size, ``observed_to_expected`` the ratio in everyone.
    """

    horizon: float
    predicted: FloatArray
    observed: FloatArray
    patients: FloatArray
    ici: float
    observed_to_expected: float


def harrell_c(risk: FloatArray, outcome: Outcome) -> float:
    """Return Harrell's concordance: of usable pairs, how often the higher risk dies first.

    Source: Harrell et al., JAMA 1982;247:2543-2546. Tied risks count one half.
    """
    return concordance(risk, outcome, np.ones(len(outcome)), np.inf)


def uno_c(risk: FloatArray, outcome: Outcome, *, until: float) -> float:
    """Return Uno's concordance for deaths before ``until`` months, weighted against censoring.

    Source: Uno et al., Statistics in Medicine 2011;30:1105-1117.
    """
    return concordance(risk, outcome, uno_weight(outcome), until)


def uno_weight(outcome: Outcome) -> FloatArray:
    """Return each death's weight in Uno's concordance, shape (patients,)."""
    weight: FloatArray = censoring_survival(outcome, outcome.duration, before=True) ** -2.0
    return weight


def restricted_mean_risk(survival: FloatArray, times: FloatArray) -> FloatArray:
    """Return minus the mean survival time up to the last time: one risk score from a whole curve."""
    grid = np.concatenate([[0.0], times])
    curve = np.column_stack([np.ones(len(survival)), survival])
    risk: FloatArray = -np.trapezoid(curve, grid, axis=1)
    return risk


def calibration(survival: FloatArray, outcome: Outcome, *, horizon: float, groups: int) -> Calibration:
    """Compare predicted risk at a horizon, shape (patients,), with Kaplan-Meier in groups of rising risk."""
    risk = 1.0 - survival
    parts = np.array_split(np.argsort(risk, kind="stable"), groups)
    predicted = np.array([risk[part].mean() for part in parts])
    observed = np.array([observed_risk(outcome.take(part), horizon) for part in parts])
    patients = np.array([float(len(part)) for part in parts])
    return Calibration(
        horizon,
        predicted,
        observed,
        patients,
        float(np.average(np.abs(predicted - observed), weights=patients)),
        float(observed_risk(outcome, horizon) / risk.mean()),
    )


def brier(probability: FloatArray, event: BoolArray) -> FloatArray:
    """Return each patient's squared error, shape (patients,). Source: Brier, Monthly Weather Review 1950."""
    errors: FloatArray = (probability - event) ** 2
    return errors


def as_pairs(event: BoolArray) -> Outcome:
    """Return a binary outcome as times, so that the concordance with them is the area under the ROC curve."""
    return Outcome(np.where(event, 1.0, 2.0), event)


def calibration_of(probability: FloatArray, event: BoolArray, *, groups: int) -> Calibration:
    """Compare predicted with observed shares in groups of rising probability; its horizon is zero."""
    parts = np.array_split(np.argsort(probability, kind="stable"), groups)
    predicted, observed = (np.array([x[part].mean() for part in parts]) for x in (probability, event))
    patients = np.array([float(len(part)) for part in parts])
    apart = float(np.average(np.abs(predicted - observed), weights=patients))
    return Calibration(0.0, predicted, observed, patients, apart, float(event.mean() / probability.mean()))


def of_cause(outcome: CompetingOutcome, cause: int) -> Outcome:
    """Return times to one cause in which who had another never has it: followed for ever without it.

    Source: Wolbers et al., Epidemiology 2009;20:555-561 (concordance under competing risks).
    """
    other = (outcome.cause > 0) & (outcome.cause != cause)
    return Outcome(np.where(other, np.inf, outcome.duration), outcome.cause == cause)


def incidence_brier(
    incidence: FloatArray, outcome: CompetingOutcome, cause: int, times: FloatArray
) -> FloatArray:
    """Return each patient's weighted squared error of an incidence averaged over the times, (patients,).

    Source: Schoop et al., Biometrical Journal 2011;53:88-112.
    """
    anything = outcome.any_event()
    own = censoring_survival(anything, outcome.duration, before=True)
    at = censoring_survival(anything, times, before=False)
    gone = (outcome.duration[:, None] <= times) & anything.event[:, None]
    here = outcome.duration[:, None] > times
    happened = (outcome.cause == cause)[:, None]
    errors = np.where(gone, (happened - incidence) ** 2 / own[:, None], 0.0)
    errors += np.where(here, incidence**2 / at, 0.0)
    mean: FloatArray = np.trapezoid(errors, times, axis=1) / (times[-1] - times[0])
    return mean


def observed_incidence(outcome: CompetingOutcome, cause: int, horizon: float) -> float:
    """Return the Aalen-Johansen incidence of a cause at the horizon."""
    anything = outcome.any_event()
    times, survival = kaplan_meier(anything)
    before = np.concatenate([[1.0], survival[:-1]])
    at_risk = (outcome.duration[:, None] >= times).sum(axis=0)
    happened = ((outcome.duration[:, None] == times) & (outcome.cause == cause)[:, None]).sum(axis=0)
    return float((before * happened / at_risk)[times <= horizon].sum())


def observed_risk(outcome: Outcome, horizon: float) -> float:
    """Return one minus Kaplan-Meier at the horizon."""
    times, survival = kaplan_meier(outcome)
    return 1.0 - float(step(times, survival, np.array([horizon]), before=1.0)[0])


def outlives(outcome: Outcome, rows: IntArray) -> FloatArray:
    """Return 1 where a patient is known to outlive the one in ``rows``, shape (rows, patients)."""
    own = outcome.duration[rows, None]
    later = (outcome.duration > own) | ((outcome.duration == own) & ~outcome.event)
    return np.asarray(later, dtype=np.float64)


def concordance(
    risk: FloatArray, outcome: Outcome, weight: FloatArray | None = None, until: float = np.inf
) -> float:
    """Return the weighted share of concordant pairs whose first member had the event before ``until``."""
    weight = np.ones(len(outcome)) if weight is None else weight
    won = usable = 0.0
    for index in np.flatnonzero(outcome.event & (outcome.duration < until)):
        others = risk[outlives(outcome, np.array([index]))[0] == 1.0]
        won += weight[index] * (
            np.count_nonzero(others < risk[index]) + 0.5 * np.count_nonzero(others == risk[index])
        )
        usable += weight[index] * len(others)
    return float(won / usable) if usable else float("nan")
