"""Metrics of predicted survival under right censoring, each with its source.

Inverse-probability-of-censoring weights come from the Kaplan-Meier curve of the censoring times among the
patients evaluated; the assumption is that censoring is independent of prognosis.
"""

from dataclasses import dataclass

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from models.curves import IntArray, kaplan_meier, step
from models.ipcw import censoring_survival


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
    return _concordance(risk, outcome, np.ones(len(outcome)), np.inf)


def uno_c(risk: FloatArray, outcome: Outcome, *, until: float) -> float:
    """Return Uno's concordance for deaths before ``until`` months, weighted against censoring.

    Source: Uno et al., Statistics in Medicine 2011;30:1105-1117.
    """
    return _concordance(risk, outcome, uno_weight(outcome), until)


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


def observed_risk(outcome: Outcome, horizon: float) -> float:
    """Return one minus Kaplan-Meier at the horizon."""
    times, survival = kaplan_meier(outcome)
    return 1.0 - float(step(times, survival, np.array([horizon]), before=1.0)[0])


def outlives(outcome: Outcome, rows: IntArray) -> FloatArray:
    """Return 1 where a patient is known to outlive the one in ``rows``, shape (rows, patients)."""
    own = outcome.duration[rows, None]
    later = (outcome.duration > own) | ((outcome.duration == own) & ~outcome.event)
    return np.asarray(later, dtype=np.float64)


def _concordance(risk: FloatArray, outcome: Outcome, weight: FloatArray, until: float) -> float:
    """Return the weighted share of concordant pairs whose first member died before ``until``."""
    won = usable = 0.0
    for index in np.flatnonzero(outcome.event & (outcome.duration < until)):
        others = risk[outlives(outcome, np.array([index]))[0] == 1.0]
        won += weight[index] * (
            np.count_nonzero(others < risk[index]) + 0.5 * np.count_nonzero(others == risk[index])
        )
        usable += weight[index] * len(others)
    return float(won / usable) if usable else float("nan")
