"""Evaluation: every patient predicted by a model that never saw them, beside the baselines."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from features.censoring import BoolArray
from features.cohort import Cohort
from features.dictionary import FloatArray
from features.endpoints import ENDPOINTS, Endpoint, EndpointOutcome
from features.protocol import StudyProtocol
from models.answer.coherence import event_free, reconciled, relations
from models.bundle.bundle import strata
from models.estimators.curves import IntArray
from models.estimators.interface import NO_TIME
from models.patient.completion import Completions
from training.fit import FittedModels, Outcomes, fit_models
from training.follow_up import followed_together
from training.kinds.interface import RiskGroup
from training.kinds.registry import AnyKind, kind_of
from training.metrics import CalibrationCurve
from training.plan import TrainingPlan
from training.sample import Sample
from training.scoring import EVERYONE, FEWEST_EVENTS, MODEL, Scale, Scores
from training.split import PatientSplit
from training.workers import IN_THIS_PROCESS, Workers

STEP = 2.0

FoldPredictions = Mapping[str, Mapping[str, FloatArray]]
"""By endpoint and by model or baseline: the held-out patients' (patients, outcomes, times)."""


@dataclass(frozen=True)
class HeldOut:
    """One endpoint's held-out predictions by model and baseline, (patients, outcomes, times) each."""

    endpoint: Endpoint
    times: FloatArray
    predictions: Mapping[str, FloatArray]
    strata: IntArray
    outcome: EndpointOutcome

    @property
    def kind(self) -> AnyKind:
        """Return the endpoint's kind."""
        return kind_of(self.endpoint)

    @property
    def curves(self) -> Mapping[str, FloatArray]:
        """Return the first outcome's predictions, (patients, times) each."""
        return {name: predicted[:, 0] for name, predicted in self.predictions.items()}

    @property
    def risk_groups(self) -> tuple[RiskGroup, ...]:
        """Return survival in thirds of the risk that the model predicts, up to where patients are followed.

        None where there is no survival, or nobody was followed to a scored time.
        """
        reached = self.times <= followed(self.kind, self.outcome, self.strata)
        if not reached.any():
            return ()
        return self.kind.risk_groups(
            self.predictions[MODEL][:, :, reached], self.outcome, self.times[reached]
        )


@dataclass(frozen=True)
class EndpointEvaluation:
    """Metrics by group (everyone, each disease) and by model, and the calibration of the model.

    ``calibrations`` are by group, and then by the name of the metric that is the curve's ICI.
    """

    by_group: Mapping[str, Scores]
    calibrations: Mapping[str, Mapping[str, CalibrationCurve]]
    held_out: HeldOut

    def as_dict(self) -> dict[str, dict[str, dict[str, dict[str, float | str | None]]]]:
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

    def as_dict(self) -> dict[str, dict[str, dict[str, dict[str, dict[str, float | str | None]]]]]:
        return {name: evaluated.as_dict() for name, evaluated in self.endpoints.items()}


def predict_held_out(
    cohort: Cohort,
    outcomes: Outcomes,
    split: PatientSplit,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
    workers: Workers = IN_THIS_PROCESS,
    advance: Callable[[int], None] = lambda done: None,
) -> Mapping[str, HeldOut]:
    """Fit the whole procedure and the baselines without each fold in turn, and predict that fold.

    Folds do not depend on each other: any number of ``workers`` gives the same bits. ``advance`` hears how
    many folds are done.
    """
    parts = split.parts()
    started = [
        workers.start(predict_fold, cohort, outcomes, train, test, protocol=protocol, plan=plan)
        for train, test in parts
    ]
    predictions: dict[str, dict[str, FloatArray]] = {name: {} for name in outcomes}
    for done, ((_, test), result) in enumerate(zip(parts, started, strict=True), start=1):
        for endpoint, by_model in result().items():
            for model, predicted in by_model.items():
                everyone = predictions[endpoint].setdefault(
                    model, np.empty((len(cohort), *predicted.shape[1:]))
                )
                everyone[test] = predicted
        advance(done)
    stratum = strata(cohort, protocol.diseases)
    return {
        name: HeldOut(
            ENDPOINTS[name],
            scored_times(protocol, ENDPOINTS[name]),
            predictions[name],
            stratum,
            outcome,
        )
        for name, outcome in outcomes.items()
    }


def predict_fold(
    cohort: Cohort,
    outcomes: Outcomes,
    train: BoolArray,
    test: BoolArray,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
) -> FoldPredictions:
    """Fit the procedure and the baselines on the ``train`` rows and predict the ``test`` rows."""
    known = {name: outcome.take(train) for name, outcome in outcomes.items()}
    predictions: dict[str, dict[str, FloatArray]] = {}
    with threadpool_limits(1):  # as many threads as elsewhere, whichever process this is
        fitted = fit_models(cohort.take(train), known, protocol=protocol, plan=plan)
        learned, unseen = (
            Sample(part, fitted.encoder.encode(part), strata(part, protocol.diseases))
            for part in (cohort.take(train), cohort.take(test))
        )
        completed = fitted.completion.complete_cohort(cohort.take(test))
        each = {name: _predicted(fitted, name, completed, unseen.strata, protocol) for name in known}
        for name, outcome in known.items():
            endpoint, times = ENDPOINTS[name], scored_times(protocol, ENDPOINTS[name])
            ours = {MODEL: _coherent(endpoint, each)}
            predictions[name] = ours | kind_of(endpoint).predict_baselines(learned, unseen, outcome, times)
    return predictions


def _predicted(
    fitted: FittedModels, name: str, patients: Completions, strata: IntArray, protocol: StudyProtocol
) -> FloatArray:
    """Return an endpoint's probabilities of completed patients at the scored times."""
    times = scored_times(protocol, ENDPOINTS[name])
    return patients.mean(fitted.endpoints[name].model.predict(patients.X, patients.strata(strata), times))


def _coherent(endpoint: Endpoint, each: Mapping[str, FloatArray]) -> FloatArray:
    """Return an endpoint's probabilities as they stand to those of the others, as answers give them."""
    stands = relations(endpoint, [ENDPOINTS[name] for name in each])
    if not stands:
        return each[endpoint.name]
    free = {r.other: event_free(ENDPOINTS[r.other], each[r.other]) for r in stands}
    return reconciled(each[endpoint.name][:, 0], stands, free)[:, None]


def scored_times(protocol: StudyProtocol, endpoint: Endpoint) -> FloatArray:
    """Return the months at which predictions are scored: every second one and every horizon."""
    if not endpoint.timed:
        return NO_TIME
    return np.unique(np.append(np.arange(STEP, max(protocol.horizons), STEP), protocol.horizons))


def scale_of(
    protocol: StudyProtocol, plan: TrainingPlan, kind: AnyKind, outcome: EndpointOutcome, strata: IntArray
) -> Scale:
    """Return what these patients' predictions are scored on, up to the month that they are followed to."""
    times = scored_times(protocol, kind.endpoint)
    return Scale(
        times, protocol.horizons, plan.bootstrap, plan.seed, followed=followed(kind, outcome, strata)
    )


def followed(kind: AnyKind, outcome: EndpointOutcome, strata: IntArray) -> float:
    """Return the last month until which patients are followed; infinite for an endpoint without time."""
    return followed_together(kind.times(outcome), strata) if kind.endpoint.timed else np.inf


def groups_of(
    kind: AnyKind, outcome: EndpointOutcome, stratum: IntArray, diseases: tuple[str, ...]
) -> Iterator[tuple[str, BoolArray]]:
    """Name everyone, and each disease with at least ten events to judge by."""
    yield EVERYONE, np.ones(len(stratum), dtype=bool)
    for at, disease in enumerate(diseases):
        rows = stratum == at
        if kind.times(outcome.take(rows)).event.sum() >= FEWEST_EVENTS:
            yield disease, rows


def evaluate(held_out: Mapping[str, HeldOut], *, protocol: StudyProtocol, plan: TrainingPlan) -> Evaluation:
    """Score everyone and each disease; the same bootstrap samples serve the model and the baselines."""
    return Evaluation(
        {name: _evaluate(endpoint, protocol=protocol, plan=plan) for name, endpoint in held_out.items()}
    )


def _evaluate(held_out: HeldOut, *, protocol: StudyProtocol, plan: TrainingPlan) -> EndpointEvaluation:
    kind = held_out.kind
    by_group, calibrations = {}, {}
    for group, rows in groups_of(kind, held_out.outcome, held_out.strata, protocol.diseases):
        outcome = held_out.outcome.take(rows)
        scale = scale_of(protocol, plan, kind, outcome, held_out.strata[rows])
        by_group[group] = {
            model: kind.score(predicted[rows], outcome, scale)
            for model, predicted in held_out.predictions.items()
        }
        calibrations[group] = kind.calibrations(held_out.predictions[MODEL][rows], outcome, scale)
    return EndpointEvaluation(by_group, calibrations, held_out)
