"""Lower bounds on survival time: how long patients live at least, nine times in ten.

A predicted curve F(t) = 1 - S(t) gives the chance of the event by a patient's own event time; a small chance
means that it came early. Among patients whom the model has not seen, only one in ten undercuts the calibrated
chance; a new patient's bound is the month at which their curve reaches it. So bounds hold even where
curves are wrong, on average over patients, though not for each kind of patient.

Each event counts 1 / G, one over the Kaplan-Meier probability of not having been censored before it, so it
also stands for those censored. Without censoring the bound is the split-conformal one and its guarantee exact
for any sample size; with censoring it holds as far as G is known.

A disease is calibrated on its own patients where at least 100 of them have the event, so that over
repeated cohorts the share that a bound holds for varies by at most 0.03 (one standard deviation); a smaller
disease is calibrated on all patients together.

Assumption: new patients are drawn as those calibrated on; censoring is independent of prognosis.
Sources: Candes, Lei and Ren, JRSS B 2023;85:24-45 (conformalised survival analysis); Vovk, Gammerman and
Shafer, Algorithmic Learning in a Random World, 2005; Vovk, PMLR 2012;25:475-490 (calibration by category;
the spread of the share).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.errors import InvalidInput, NotFittable, Problem
from models.estimators.curves import IntArray
from models.estimators.interface import CrossFit, Model
from models.estimators.ipcw import censoring_survival

ROUNDING = 1e-12
FEWEST_EVENTS = 100
MOST_PATIENTS = 20_000
MONTHS_APART = 0.25


@dataclass(frozen=True)
class SurvivalBounds:
    """How long patients live at least, with a probability of ``level``.

    ``chances`` and ``limits`` have one entry for each of ``diseases``: the chance of the event at which
    curves are cut, and the month to which its training data reach; no bound is later.
    """

    level: float
    chances: tuple[float, ...]
    limits: tuple[float, ...]
    diseases: tuple[str, ...]

    def chance(self, disease: str) -> float:
        """Return the chance of the event at which a disease's curves are cut."""
        return self.chances[self.diseases.index(disease)]

    @classmethod
    def fit(
        cls,
        cross_fit: CrossFit[Model],
        strata: IntArray,
        outcome: Outcome,
        *,
        limits: Mapping[str, float],
        level: float = 0.9,
    ) -> "SurvivalBounds | None":
        """Calibrate on the training cohort's held-out curves; None where fewer than 100 have the event.

        Events after a disease's limit do not count. Of many patients 20,000, evenly spaced, are enough.

        Raises:
            InvalidInput: a level that is not between 0 and 1.

        """
        some = np.unique(np.linspace(0, len(outcome) - 1, MOST_PATIENTS).astype(np.int64))
        strata, outcome = strata[some], outcome.take(some)
        early = outcome.event & (outcome.duration <= np.array(list(limits.values()))[strata])
        if early.sum() < FEWEST_EVENTS:
            return None

        def calibrated(inside: BoolArray, limit: float) -> float:
            months = _months(limit)
            curves = cross_fit.held_out.probabilities(some[inside], months)[:, 0]
            return calibrated_chance(curves, months, outcome.take(inside), level=level)

        together = calibrated(np.ones(len(some), dtype=bool), max(limits.values()))
        own = [
            calibrated(strata == at, limit) if early[strata == at].sum() >= FEWEST_EVENTS else together
            for at, limit in enumerate(limits.values())
        ]
        return cls(level, tuple(own), tuple(limits.values()), tuple(limits))

    def bound(self, model: Model, X: FloatArray, strata: IntArray) -> FloatArray:
        """Return the month that each patient outlives with a probability of ``level``, shape (patients,).

        The disease's limit stands for "at least so long": the data do not reach further.
        """
        bounds = np.zeros(len(X))
        for at in np.unique(strata):
            inside, limit = strata == at, self.limits[at]
            if limit > 0.0:
                months = _months(limit)
                curves = model.predict(X[inside], strata[inside], months)[:, 0]
                bounds[inside] = survival_lower_bound(curves, months, chance=self.chances[at])
        return bounds

    def check(self, diseases: Sequence[str]) -> None:
        """Raise ValueError where the bounds are not those of these diseases, or no probabilities."""
        chances, limits, count = np.array(self.chances), np.array(self.limits), len(self.diseases)
        sound = set(self.diseases) == set(diseases) and chances.shape == limits.shape == (count,)
        sound = sound and 0.0 < self.level < 1.0 and bool(np.isfinite(limits).all())
        if not (sound and ((chances >= 0.0) & (chances <= 1.0)).all()):
            raise ValueError("bounds are not as they must be")

    def as_dict(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "chances": list(self.chances),
            "limits": list(self.limits),
            "diseases": list(self.diseases),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "SurvivalBounds":
        return cls(
            stored["level"],
            tuple(stored["chances"]),
            tuple(stored["limits"]),
            tuple(stored["diseases"]),
        )


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
    bounds: FloatArray = months[left] + np.clip(share, 0.0, 1.0) * (months[right] - months[left])
    return bounds


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


def _months(limit: float) -> FloatArray:
    """Return every quarter of a month up to a limit, and the limit."""
    return np.append(np.arange(MONTHS_APART, limit, MONTHS_APART), limit)


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
