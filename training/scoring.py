"""Scoring: every metric of one set of held-out predictions, by the kind of endpoint."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.endpoints import COMPETING_RISKS, RESPONSE, CompetingOutcome, Endpoint, ResponseOutcome
from models.estimators.ipcw import integrated_brier
from training import metrics
from training.bootstrap import Resampled

CALIBRATION_GROUPS = 5


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % bootstrap interval over patients.

    None where there is none: a concordance without a pair to compare has no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return the estimate as plain JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Scale:
    """What predictions are scored on: the times of the curves, the horizons, and the bootstrap samples."""

    times: FloatArray
    horizons: tuple[float, ...]
    samples: int
    seed: int

    def column(self, horizon: float) -> int:
        """Return the position of a horizon among the times."""
        return int(np.flatnonzero(np.isclose(self.times, horizon))[0])

    def resampled(self, patients: int) -> Resampled:
        """Draw bootstrap samples of so many patients; the same ones for every model."""
        return Resampled.draw(patients, samples=self.samples, seed=self.seed)


def score(endpoint: Endpoint, predicted: FloatArray, outcome: Any, scale: Scale) -> dict[str, Estimate]:
    """Return every metric of predictions of shape (patients, outcomes, times).

    Where an endpoint has several outcomes a metric's name starts with the outcome's. The integrated
    calibration index has no interval: resampling inflates it.
    """
    if endpoint.kind == RESPONSE:
        return _score_response(predicted, outcome, scale)
    if endpoint.kind == COMPETING_RISKS:
        return _score_competing(tuple(endpoint.labels), predicted, outcome, scale)
    return _score_survival(predicted[:, 0], outcome, scale)


def calibrations(
    endpoint: Endpoint, predicted: FloatArray, outcome: Any, scale: Scale
) -> tuple[metrics.Calibration, ...]:
    """Return predicted against observed risk of the endpoint's first outcome, at each horizon."""
    if endpoint.kind == RESPONSE:
        part = outcome.parts[0]
        at = predicted[part.known, 0, 0]
        return (metrics.calibration_of(at, part.event[part.known], groups=CALIBRATION_GROUPS),)
    if endpoint.kind == COMPETING_RISKS:
        return tuple(
            _calibration_of_cause(predicted[:, 0, scale.column(h)], outcome, h) for h in scale.horizons
        )
    return tuple(
        metrics.calibration(predicted[:, 0, scale.column(h)], outcome, horizon=h, groups=CALIBRATION_GROUPS)
        for h in scale.horizons
    )


def _score_survival(survival: FloatArray, outcome: Outcome, scale: Scale) -> dict[str, Estimate]:
    times, resampled = scale.times, scale.resampled(len(outcome))
    risk, until = metrics.restricted_mean_risk(survival, times), float(times[-1])
    errors = integrated_brier(survival, outcome, times)
    same, uno = np.ones(len(outcome)), metrics.uno_weight(outcome)
    found = {
        "harrell_c": _estimate(
            metrics.harrell_c(risk, outcome), resampled.concordance(risk, outcome, until=np.inf, weight=same)
        ),
        "uno_c": _estimate(
            metrics.uno_c(risk, outcome, until=until),
            resampled.concordance(risk, outcome, until=until, weight=uno),
        ),
        "integrated_brier": _estimate(float(errors.mean()), resampled.mean(errors)),
    }
    for horizon in scale.horizons:
        at = survival[:, scale.column(horizon)]
        fit = metrics.calibration(at, outcome, horizon=horizon, groups=CALIBRATION_GROUPS)
        ratio = resampled.observed_risk(outcome, horizon=horizon) / resampled.mean(1.0 - at)
        found[f"ici_{horizon:g}"] = _without_interval(fit.ici)
        found[f"observed_to_expected_{horizon:g}"] = _estimate(fit.observed_to_expected, ratio)
    return found


def _score_response(predicted: FloatArray, outcome: ResponseOutcome, scale: Scale) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    for at, (name, part) in enumerate(zip(outcome.names, outcome.parts, strict=True)):
        probability, event = predicted[part.known, at, 0], part.event[part.known]
        resampled, pairs = scale.resampled(len(event)), metrics.as_pairs(event)
        errors, same = metrics.brier(probability, event), np.ones(len(event))
        fit = metrics.calibration_of(probability, event, groups=CALIBRATION_GROUPS)
        ratio = resampled.mean(event.astype(np.float64)) / resampled.mean(probability)
        drawn = resampled.concordance(probability, pairs, until=np.inf, weight=same)
        found |= {
            f"{name}.auc": _estimate(metrics.harrell_c(probability, pairs), drawn),
            f"{name}.brier": _estimate(float(errors.mean()), resampled.mean(errors)),
            f"{name}.ici": _without_interval(fit.ici),
            f"{name}.observed_to_expected": _estimate(fit.observed_to_expected, ratio),
        }
    return found


def _score_competing(
    names: tuple[str, ...], predicted: FloatArray, outcome: CompetingOutcome, scale: Scale
) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    resampled, until = scale.resampled(len(outcome)), float(scale.times[-1])
    same = np.ones(len(outcome))
    for cause, name in enumerate(names, start=1):
        incidence = predicted[:, cause - 1]
        times = metrics.of_cause(outcome, cause)
        risk = incidence[:, -1]
        errors = metrics.incidence_brier(incidence, outcome, cause, scale.times)
        found[f"{name}.c"] = _estimate(
            metrics.concordance(risk, times, until=until),
            resampled.concordance(risk, times, until=until, weight=same),
        )
        found[f"{name}.integrated_brier"] = _estimate(float(errors.mean()), resampled.mean(errors))
        for horizon in scale.horizons:
            at = incidence[:, scale.column(horizon)]
            ratio = metrics.observed_incidence(outcome, cause, horizon) / float(at.mean())
            found[f"{name}.observed_to_expected_{horizon:g}"] = _without_interval(ratio)
    return found


def _calibration_of_cause(
    incidence: FloatArray, outcome: CompetingOutcome, horizon: float
) -> metrics.Calibration:
    parts = np.array_split(np.argsort(incidence, kind="stable"), CALIBRATION_GROUPS)
    predicted = np.array([incidence[part].mean() for part in parts])
    observed = np.array([metrics.observed_incidence(outcome.take(part), 1, horizon) for part in parts])
    patients = np.array([float(len(part)) for part in parts])
    return metrics.Calibration(
        horizon,
        predicted,
        observed,
        patients,
        float(np.average(np.abs(predicted - observed), weights=patients)),
        metrics.observed_incidence(outcome, 1, horizon) / float(incidence.mean()),
    )


def _without_interval(value: float) -> Estimate:
    return Estimate(value if np.isfinite(value) else None)


def _estimate(value: float, drawn: FloatArray) -> Estimate:
    usable = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(usable) < len(drawn) / 2:
        return _without_interval(value)
    low, high = np.quantile(usable, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
