"""Evaluation: every patient predicted by a model that never saw them, beside the baselines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.censoring import BoolArray, Outcome
from features.cohort import Cohort
from features.dictionary import FloatArray
from features.protocol import StudyProtocol
from models.bundle import strata
from models.curves import IntArray
from models.ipcw import integrated_brier
from training import metrics
from training.baselines import fit_kaplan_meier, fit_plain_cox
from training.bootstrap import Resampled
from training.fit import fit_model
from training.plan import TrainingPlan
from training.split import Split

MODEL, KAPLAN_MEIER, COX = "model", "kaplan_meier", "cox"
EVERYONE = "all"
STEP = 2.0
CALIBRATION_GROUPS = 5


@dataclass(frozen=True)
class HeldOut:
    """Held-out survival curves of the model and the baselines, shape (patients, times) each."""

    times: FloatArray
    curves: Mapping[str, FloatArray]
    strata: IntArray
    outcome: Outcome


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % bootstrap interval over patients, None where it has none."""

    value: float
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return the estimate as plain JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Evaluation:
    """Metrics by group (everyone, each disease) and by model, and the calibration of the model."""

    by_group: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    calibrations: Mapping[str, tuple[metrics.Calibration, ...]]
    held_out: HeldOut

    def as_dict(self) -> dict[str, Any]:
        """Return the metrics as plain JSON values."""
        return {
            group: {
                model: {metric: estimate.as_dict() for metric, estimate in by_metric.items()}
                for model, by_metric in by_model.items()
            }
            for group, by_model in self.by_group.items()
        }


def predict_held_out(
    cohort: Cohort,
    outcome: Outcome,
    split: Split,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
    advance: Callable[[], None] = lambda: None,
) -> HeldOut:
    """Fit the whole procedure and the baselines without each fold in turn, and predict that fold."""
    times = grid(protocol)
    stratum = strata(cohort, protocol.diseases)
    curves = {name: np.empty((len(cohort), len(times))) for name in (MODEL, KAPLAN_MEIER, COX)}
    for train, test in split.parts():
        known, known_outcome = cohort.take(train), outcome.take(train)
        fitted = fit_model(known, known_outcome, protocol=protocol, plan=plan)
        X, X_test = fitted.encoder.encode(known), fitted.encoder.encode(cohort.take(test))
        models = {
            MODEL: fitted.model,
            KAPLAN_MEIER: fit_kaplan_meier(X, stratum[train], known_outcome),
            COX: fit_plain_cox(X, stratum[train], known_outcome),
        }
        for name, model in models.items():
            curves[name][test] = model.survival(X_test, stratum[test], times)
        advance()
    return HeldOut(times, curves, stratum, outcome)


def grid(protocol: StudyProtocol) -> FloatArray:
    """Return the months at which curves are scored: every second one and every horizon."""
    return np.unique(np.append(np.arange(STEP, max(protocol.horizons), STEP), protocol.horizons))


def evaluate(held_out: HeldOut, *, protocol: StudyProtocol, plan: TrainingPlan) -> Evaluation:
    """Score everyone and each disease; the same bootstrap samples serve the model and the baselines."""
    groups = {EVERYONE: np.ones(len(held_out.strata), dtype=bool)}
    groups |= {disease: held_out.strata == at for at, disease in enumerate(protocol.diseases)}
    by_group = {name: _score_group(held_out, rows, protocol, plan) for name, rows in groups.items()}
    calibrations = {name: _calibrations(held_out, rows, protocol) for name, rows in groups.items()}
    return Evaluation(by_group, calibrations, held_out)


def score(
    survival: FloatArray,
    outcome: Outcome,
    times: FloatArray,
    *,
    horizons: tuple[float, ...],
    resampled: Resampled,
) -> dict[str, Estimate]:
    """Return every metric of one set of survival curves, shape (patients, times).

    The integrated calibration index has no interval: resampling inflates it.
    """
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
    for horizon in horizons:
        at = survival[:, int(np.flatnonzero(np.isclose(times, horizon))[0])]
        fit = metrics.calibration(at, outcome, horizon=horizon, groups=CALIBRATION_GROUPS)
        ratio = resampled.observed_risk(outcome, horizon=horizon) / resampled.mean(1.0 - at)
        found[f"ici_{horizon:g}"] = Estimate(fit.ici)
        found[f"observed_to_expected_{horizon:g}"] = _estimate(fit.observed_to_expected, ratio)
    return found


def _score_group(
    held_out: HeldOut, rows: BoolArray, protocol: StudyProtocol, plan: TrainingPlan
) -> dict[str, dict[str, Estimate]]:
    outcome = held_out.outcome.take(rows)
    resampled = Resampled.draw(len(outcome), samples=plan.bootstrap, seed=plan.seed)
    return {
        name: score(curves[rows], outcome, held_out.times, horizons=protocol.horizons, resampled=resampled)
        for name, curves in held_out.curves.items()
    }


def _estimate(value: float, drawn: FloatArray) -> Estimate:
    usable = drawn[np.isfinite(drawn)]
    if len(usable) < len(drawn) / 2:
        return Estimate(value)
    low, high = np.quantile(usable, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def _calibrations(
    held_out: HeldOut, rows: BoolArray, protocol: StudyProtocol
) -> tuple[metrics.Calibration, ...]:
    curves, outcome = held_out.curves[MODEL][rows], held_out.outcome.take(rows)
    at = [int(np.flatnonzero(np.isclose(held_out.times, horizon))[0]) for horizon in protocol.horizons]
    return tuple(
        metrics.calibration(curves[:, column], outcome, horizon=horizon, groups=CALIBRATION_GROUPS)
        for column, horizon in zip(at, protocol.horizons, strict=True)
    )
