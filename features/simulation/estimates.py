"""Estimates from drawn patients: Kaplan-Meier, and the hazard ratio between two arms."""

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray


def survival_at(outcome: Outcome, *, months: FloatArray) -> FloatArray:
    """Return the Kaplan-Meier estimate at these months, constant past the last follow-up.

    >>> outcome = Outcome(np.array([1.0, 2.0, 3.0]), np.array([True, False, True]))
    >>> survival_at(outcome, months=np.array([1.0, 2.5]))
    array([0.66666667, 0.66666667])
    """
    times, survival = _kaplan_meier(outcome)
    at = np.searchsorted(times, months, side="right")
    reached: FloatArray = np.concatenate([[1.0], survival])[at]
    return reached


def median(outcome: Outcome) -> float:
    """Return the Kaplan-Meier median in months, infinite where the estimate stays above one half."""
    times, survival = _kaplan_meier(outcome)
    below = np.flatnonzero(survival <= 0.5)
    return float(times[below[0]]) if below.size else float("inf")


def hazard_ratio(arm: Outcome, control: Outcome) -> float:
    """Return the Cox hazard ratio of an arm against its control, with Breslow's ties.

    Assumes proportional hazards; otherwise it is an average over the follow-up.
    """
    duration = np.concatenate([arm.duration, control.duration])
    event = np.concatenate([arm.event, control.event])
    treated = np.repeat([1.0, 0.0], [len(arm), len(control)])
    order = np.argsort(-duration, kind="stable")
    duration, event, treated = duration[order], event[order], treated[order]
    last = np.searchsorted(-duration, -duration, side="right") - 1
    at_risk, treated_at_risk = (last + 1)[event].astype(np.float64), np.cumsum(treated)[last][event]
    observed, log_ratio = treated[event].sum(), 0.0
    for _ in range(25):
        weighted = np.exp(log_ratio) * treated_at_risk
        share = weighted / (weighted + at_risk - treated_at_risk)
        step = (observed - share.sum()) / (share * (1.0 - share)).sum()
        log_ratio += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-8:
            break
    return float(np.exp(log_ratio))


def _kaplan_meier(outcome: Outcome) -> tuple[FloatArray, FloatArray]:
    times, counts = np.unique(outcome.duration[outcome.event], return_counts=True)
    at_risk = len(outcome) - np.searchsorted(np.sort(outcome.duration), times, side="left")
    survival = np.cumprod(1.0 - counts / at_risk, dtype=np.float64)
    return times, survival
