"""Metrics of predicted survival under right censoring, each with its source.

Inverse-probability-of-censoring weights come from the Kaplan-Meier curve of the censoring times among the
patients evaluated; the assumption is that censoring is independent of prognosis.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.endpoints import CompetingOutcome
from models.estimators.curves import IntArray, kaplan_meier, step
from models.estimators.ipcw import censoring_survival

CALIBRATION_GROUPS = 5


@dataclass(frozen=True)
class CalibrationCurve:
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

    @classmethod
    def of(
        cls,
        risk: FloatArray,
        observe: Callable[[IntArray], float],
        *,
        horizon: float,
        groups: int = CALIBRATION_GROUPS,
    ) -> "CalibrationCurve":
        """Compare risk, shape (patients,), with what ``observe`` finds in the rows of each group."""
        parts = np.array_split(np.argsort(risk, kind="stable"), groups)
        predicted = np.array([risk[part].mean() for part in parts])
        observed = np.array([observe(part) for part in parts])
        patients = np.array([float(len(part)) for part in parts])
        ici = float(np.average(np.abs(predicted - observed), weights=patients))
        ratio = float(observe(np.arange(len(risk))) / risk.mean())
        return cls(horizon, predicted, observed, patients, ici, ratio)


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


def calibration(
    survival: FloatArray, outcome: Outcome, *, horizon: float, groups: int = CALIBRATION_GROUPS
) -> CalibrationCurve:
    """Compare predicted risk at a horizon, shape (patients,), with one minus Kaplan-Meier."""

    def observe(rows: IntArray) -> float:
        return observed_risk(outcome.take(rows), horizon)

    return CalibrationCurve.of(1.0 - survival, observe, horizon=horizon, groups=groups)


def calibration_of_share(probability: FloatArray, event: BoolArray) -> CalibrationCurve:
    """Compare a predicted with the observed share of patients; the horizon is zero."""
    return CalibrationCurve.of(probability, lambda rows: float(event[rows].mean()), horizon=0.0)


def calibration_of_cause(
    incidence: FloatArray, outcome: CompetingOutcome, cause: int, *, horizon: float
) -> CalibrationCurve:
    """Compare predicted incidence at a horizon, shape (patients,), with Aalen-Johansen."""

    def observe(rows: IntArray) -> float:
        return observed_incidence(outcome.take(rows), cause, horizon)

    return CalibrationCurve.of(incidence, observe, horizon=horizon)


def brier(probability: FloatArray, event: BoolArray) -> FloatArray:
    """Return each patient's squared error, shape (patients,). Source: Brier, Monthly Weather Review 1950."""
    errors: FloatArray = (probability - event) ** 2
    return errors


def as_pairs(event: BoolArray) -> Outcome:
    """Return a binary outcome as times, so that the concordance with them is the area under the ROC curve."""
    return Outcome(np.where(event, 1.0, 2.0), event)


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
