"""Evaluation: every patient predicted by a model that never saw them, beside the baselines."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.censoring import BoolArray
from features.cohort import Cohort
from features.dictionary import FloatArray
from features.endpoints import ENDPOINTS, Endpoint
from features.protocol import StudyProtocol
from models.bundle.bundle import strata
from models.estimators.curves import IntArray
from models.estimators.interface import NO_TIME
from training import metrics
from training.baselines import baselines
from training.fit import Outcomes, fit_models
from training.plan import TrainingPlan
from training.published import published_baselines
from training.scoring import Estimate, Scale, calibrations, score
from training.split import Split, as_times

MODEL = "model"
EVERYONE = "all"
STEP = 2.0
FEWEST_EVENTS = 10


@dataclass(frozen=True)
class HeldOut:
    """One endpoint's held-out predictions by model and baseline, (patients, outcomes, times) each."""

    endpoint: Endpoint
    times: FloatArray
    predictions: Mapping[str, FloatArray]
    strata: IntArray
    outcome: Any

    @property
    def curves(self) -> Mapping[str, FloatArray]:
        """Return the first outcome's predictions, (patients, times) each."""
        return {name: predicted[:, 0] for name, predicted in self.predictions.items()}


@dataclass(frozen=True)
class EndpointEvaluation:
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


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of every endpoint, in the protocol's order."""

    endpoints: Mapping[str, EndpointEvaluation]

    @property
    def leading(self) -> EndpointEvaluation:
        """Return the leading endpoint's."""
        return next(iter(self.endpoints.values()))

    def as_dict(self) -> dict[str, Any]:
        """Return the metrics as plain JSON values."""
        return {name: found.as_dict() for name, found in self.endpoints.items()}


def predict_held_out(
    cohort: Cohort,
    outcomes: Outcomes,
    split: Split,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
    advance: Callable[[], None] = lambda: None,
) -> Mapping[str, HeldOut]:
    """Fit the whole procedure and the baselines without each fold in turn, and predict that fold."""
    stratum = strata(cohort, protocol.diseases)
    found: dict[str, dict[str, FloatArray]] = {name: {} for name in outcomes}
    for train, test in split.parts():
        known = {name: outcome.take(train) for name, outcome in outcomes.items()}
        fitted = fit_models(cohort.take(train), known, protocol=protocol, plan=plan)
        X, X_test = (fitted.encoder.encode(cohort.take(rows)) for rows in (train, test))
        for name, outcome in known.items():
            times = scored_times(protocol, ENDPOINTS[name])
            answers = {MODEL: fitted.endpoints[name].model.predict(X_test, stratum[test], times)}
            for baseline, fit in baselines(ENDPOINTS[name].kind).items():
                answers[baseline] = fit(X, stratum[train], outcome).probabilities(
                    X_test, stratum[test], times
                )
            published = published_baselines(
                cohort.take(train), cohort.take(test), ENDPOINTS[name], outcome, stratum[train], stratum[test]
            )
            answers |= {baseline: answer(times) for baseline, answer in published.items()}
            for model, answer in answers.items():
                room = found[name].setdefault(model, np.empty((len(cohort), *answer.shape[1:])))
                room[test] = answer
        advance()
    return {
        name: HeldOut(
            ENDPOINTS[name], scored_times(protocol, ENDPOINTS[name]), found[name], stratum, outcomes[name]
        )
        for name in outcomes
    }


def scored_times(protocol: StudyProtocol, endpoint: Endpoint) -> FloatArray:
    """Return the months at which predictions are scored: every second one and every horizon."""
    if not endpoint.timed:
        return NO_TIME
    return np.unique(np.append(np.arange(STEP, max(protocol.horizons), STEP), protocol.horizons))


def scale_of(protocol: StudyProtocol, plan: TrainingPlan, endpoint: Endpoint) -> Scale:
    """Return what an endpoint's predictions are scored on."""
    return Scale(scored_times(protocol, endpoint), protocol.horizons, plan.bootstrap, plan.seed)


def groups_of(outcome: Any, stratum: IntArray, diseases: tuple[str, ...]) -> Iterator[tuple[str, BoolArray]]:
    """Name everyone, and each disease with at least ten events to judge by."""
    yield EVERYONE, np.ones(len(stratum), dtype=bool)
    for at, disease in enumerate(diseases):
        rows = stratum == at
        if as_times(outcome.take(rows)).event.sum() >= FEWEST_EVENTS:
            yield disease, rows


def evaluate(held_out: Mapping[str, HeldOut], *, protocol: StudyProtocol, plan: TrainingPlan) -> Evaluation:
    """Score everyone and each disease; the same bootstrap samples serve the model and the baselines."""
    return Evaluation(
        {name: _evaluate(found, protocol=protocol, plan=plan) for name, found in held_out.items()}
    )


def _evaluate(held_out: HeldOut, *, protocol: StudyProtocol, plan: TrainingPlan) -> EndpointEvaluation:
    scale = scale_of(protocol, plan, held_out.endpoint)
    groups = dict(groups_of(held_out.outcome, held_out.strata, protocol.diseases))
    by_group = {
        group: {
            model: score(held_out.endpoint, predicted[rows], held_out.outcome.take(rows), scale)
            for model, predicted in held_out.predictions.items()
        }
        for group, rows in groups.items()
    }
    fits = {
        group: calibrations(
            held_out.endpoint, held_out.predictions[MODEL][rows], held_out.outcome.take(rows), scale
        )
        for group, rows in groups.items()
    }
    return EndpointEvaluation(by_group, fits, held_out)
