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
from models.estimators.concordance import concordance
from models.estimators.curves import IntArray, kaplan_meier, step
from models.estimators.ipcw import censoring_survival, known_weight

CALIBRATION_GROUPS = 5


@dataclass(frozen=True)
class CalibrationCurve:
    """Predicted against observed risk of the event by one horizon, in groups of rising risk, to be drawn.

    ``predicted`` and ``observed`` hold one value per group, ``patients`` its size. How far the two are apart
    is :mod:`training.smooth_calibration`'s to say: between few groups chance alone keeps them apart.
    """

    horizon: float
    predicted: FloatArray
    observed: FloatArray
    patients: FloatArray

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
        return cls(horizon, predicted, observed, patients)


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


def competing_pairs(outcome: CompetingOutcome, cause: int, rows: IntArray) -> FloatArray:
    """Return the weights of the pairs of ``rows``, who had the cause, with everyone, (rows, patients).

    The other member of a pair is followed longer, or gone by another cause and never to have this one. A
    pair counts inversely to the probability that neither was censored before their order was known. Source:
    Wolbers et al., Biostatistics 2014;15:526-539.
    """
    anything = outcome.any_event()
    uncensored = censoring_survival(anything, outcome.duration, before=True)
    own, other = uncensored[rows, None], (outcome.cause > 0) & (outcome.cause != cause)
    gone = other & (outcome.duration <= outcome.duration[rows, None])
    weight: FloatArray = outlives(anything, rows) / own**2 + gone / (own * uncensored)
    return weight


def precedes(risk: FloatArray, rows: IntArray) -> FloatArray:
    """Return 1 where the patient in ``rows`` has the higher risk, one half where equal, (rows, patients)."""
    own = risk[rows, None]
    wins: FloatArray = (risk < own) + 0.5 * (risk == own)
    return wins


def incidence_brier(
    incidence: FloatArray, outcome: CompetingOutcome, cause: int, times: FloatArray
) -> FloatArray:
    """Return each patient's weighted squared error of an incidence averaged over the times, (patients,).

    Source: Schoop et al., Biometrical Journal 2011;53:88-112.
    """
    happened = (outcome.cause == cause)[:, None] & (outcome.duration[:, None] <= times)
    errors = known_weight(outcome.any_event(), times) * (happened - incidence) ** 2
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
