"""Lower bounds on survival time: how long patients live at least, nine times in ten.

A predicted curve F(t) = 1 - S(t) gives the chance of the event by a patient's own event time; a small chance
means that it came early. Among patients whom the model has not seen, the chance is found that only one in ten
undercuts; a new patient's bound is the month at which their curve reaches it. So bounds hold even where
curves are wrong, on average over patients, though not for each kind of patient.

Each event counts 1 / G, one over the Kaplan-Meier probability of not having been censored before it, so it
also stands for those censored. Without censoring the bound is the split-conformal one and its guarantee exact
for any sample size; with censoring it holds as far as G is known.

Assumption: new patients are drawn as those calibrated on; censoring is independent of prognosis.
Sources: Candes, Lei and Ren, JRSS B 2023;85:24-45 (conformalised survival analysis); Vovk, Gammerman and
Shafer, Algorithmic Learning in a Random World, 2005.
"""

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.errors import InvalidInput, NotFittable, Problem
from models.ipcw import censoring_survival

ROUNDING = 1e-12


def survival_lower_bound(curves: FloatArray, times: FloatArray, *, chance: float) -> FloatArray:
    """Return the month at which the chance of the event reaches ``chance``, shape (patients,).

    ``curves`` (patients, times) is survival at rising months, 1 at month 0 and straight in between. A curve
    that does not reach it is bounded by the last month.

    >>> survival_lower_bound(np.array([[0.8, 0.5], [0.99, 0.95]]), np.array([10.0, 20.0]), chance=0.1)
    array([ 5., 20.])
    """
    months, risen = _from_start(curves, times)
    reached = risen >= chance
    right = np.where(reached.any(axis=1), reached.argmax(axis=1), len(months) - 1)
    left = np.maximum(right - 1, 0)
    rows = np.arange(len(curves))
    low, high = risen[rows, left], risen[rows, right]
    share = np.divide(chance - low, high - low, out=np.ones(len(rows)), where=high > low)
    found: FloatArray = months[left] + np.clip(share, 0.0, 1.0) * (months[right] - months[left])
    return found


def calibrated_chance(
    curves: FloatArray, times: FloatArray, outcome: Outcome, *, level: float = 0.9
) -> float:
    """Return the chance that events undercut with a probability of at most 1 - ``level``.

    ``curves`` (patients, times) are survival of patients that the model has not seen, the times reaching as
    far as a bound may. Where fewer than 1 - level die in that span the chance is the largest seen.

    Raises:
        InvalidInput: a level that is not between 0 and 1, or times that do not rise from above 0.
        NotFittable: when there are too few patients for a bound at this level, or no events.

    """
    _require_sound(times, level)
    missed = 1.0 - level + ROUNDING
    if missed * (len(outcome) + 1) < 1.0:
        raise NotFittable(
            f"{len(outcome)} patients bound survival at no level as high as {level:g}; "
            f"{int(np.ceil(1.0 / missed - 1.0))} are needed"
        )
    seen = outcome.event & (outcome.duration <= times[-1])
    if not seen.any():
        raise NotFittable("nobody has the event within the times given; bounds cannot be calibrated")
    weights = 1.0 / censoring_survival(outcome, outcome.duration[seen], before=True)
    chances = _chance_by(outcome.duration[seen], curves[seen], times)
    order = np.argsort(chances, kind="stable")
    undercut = np.cumsum(weights[order]) / (len(outcome) + 1)
    allowed = np.flatnonzero(undercut <= missed)
    return float(chances[order[allowed[-1]]]) if allowed.size else 0.0


def _chance_by(durations: FloatArray, curves: FloatArray, times: FloatArray) -> FloatArray:
    """Return each patient's predicted chance of the event by their own time, shape (patients,)."""
    months, risen = _from_start(curves, times)
    return np.array([np.interp(t, months, curve) for t, curve in zip(durations, risen, strict=True)])


def _from_start(curves: FloatArray, times: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return months and the chance of the event by each, both from month 0."""
    risen = np.maximum.accumulate(1.0 - curves, axis=1)
    return np.concatenate([[0.0], times]), np.column_stack([np.zeros(len(curves)), risen])


def _require_sound(times: FloatArray, level: float) -> None:
    problems = []
    if not 0.0 < level < 1.0:
        problems.append(Problem("level", "is not between 0 and 1", "use 0.9"))
    if not (np.diff(times, prepend=0.0) > 0.0).all():
        problems.append(Problem("times", "do not rise from above 0", "give months in rising order"))
    if problems:
        raise InvalidInput("lower bounds", problems)
