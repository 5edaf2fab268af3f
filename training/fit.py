"""Fitting: from a cohort to the model bundle that answers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from features.cohort import Cohort
from features.encoder import Encoder
from features.endpoints import ENDPOINTS, EndpointOutcome
from features.protocol import StudyProtocol
from models.answer.fitted_endpoint import FittedEndpoint
from models.bundle.bundle import ModelBundle, strata
from models.bundle.card import ModelCard
from models.estimators.additive import AdditiveModel
from models.estimators.curves import IntArray
from models.estimators.interface import NO_TIME, CrossFit, Model
from models.estimators.links import LINKS
from models.estimators.registry import DEFAULT
from models.explanation.background import fit_background
from models.patient.applicability import Applicability
from models.patient.completion import Completion, Completions
from models.patient.plans import Plans
from models.patient.typicality import Likeness
from models.uncertainty.intervals import Intervals
from training.findings import findings
from training.kinds.registry import AnyKind, kind_of
from training.plan import TrainingPlan
from training.support import supported_months

if TYPE_CHECKING:
    from training.tuning import TuningResult

Outcomes = Mapping[str, EndpointOutcome]
"""By endpoint, the outcome of every patient of a cohort."""


@dataclass(frozen=True)
class FittedModels:
    """An encoder, what completes rows and, by endpoint, the models fitted on what is encoded.

    ``tuned`` is what a search found for them.
    """

    encoder: Encoder
    completion: Completion
    endpoints: Mapping[str, CrossFit[Model]]
    tuned: "Mapping[str, TuningResult]"


def read_outcomes(cohort: Cohort, protocol: StudyProtocol) -> Outcomes:
    """Return the outcome of each of the protocol's endpoints."""
    return {name: ENDPOINTS[name].read(cohort) for name in protocol.endpoints}


def fit_models(
    cohort: Cohort, outcomes: Outcomes, *, protocol: StudyProtocol, plan: TrainingPlan
) -> FittedModels:
    """Learn the encoding, the settings where the plan searches them, and each endpoint's model."""
    encoder = Encoder.fit(cohort, predictors=protocol.predictors)
    X, stratum = encoder.encode(cohort), strata(cohort, protocol.diseases)
    cross_fits, searches = {}, {}
    with threadpool_limits(1):  # sums in another order would change the last digits, and so the bundle's hash
        for name, outcome in outcomes.items():
            cross_fits[name], tuned = kind_in(protocol, name).fit(X, stratum, outcome, plan)
            if tuned is not None:
                searches[name] = tuned
    return FittedModels(encoder, Completion.fit(cohort, encoder, protocol.diseases), cross_fits, searches)


def kind_in(protocol: StudyProtocol, endpoint: str) -> AnyKind:
    """Return the kind of a protocol's endpoint, with the estimator that the protocol names."""
    return kind_of(ENDPOINTS[endpoint], protocol.estimators.get(endpoint, DEFAULT))


def bundle_from(
    fitted: FittedModels,
    cohort: Cohort,
    outcomes: Outcomes,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
    card: ModelCard,
) -> ModelBundle:
    """Put everything needed to answer beside the fitted models; the card also tells what the fit found."""
    with threadpool_limits(1):  # as where the models were fitted
        return _bundle_from(fitted, cohort, outcomes, protocol=protocol, plan=plan, card=card)


def _bundle_from(
    fitted: FittedModels,
    cohort: Cohort,
    outcomes: Outcomes,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
    card: ModelCard,
) -> ModelBundle:
    patients, stratum = fitted.completion.complete_cohort(cohort), strata(cohort, protocol.diseases)
    endpoints = [
        _fitted_endpoint(fitted, name, patients, stratum, outcome, protocol=protocol, plan=plan)
        for name, outcome in outcomes.items()
    ]
    return ModelBundle(
        protocol=protocol,
        dictionary=fitted.encoder.dictionary,
        encoder=fitted.encoder,
        endpoints=tuple(endpoints),
        applicability=Applicability.fit(cohort, predictors=protocol.predictors, diseases=protocol.diseases),
        completion=fitted.completion,
        likeness=Likeness.fit(fitted.completion, cohort),
        plans=Plans.fit(cohort, predictors=protocol.predictors),
        evidence=cohort.evidence,
        cohort_fingerprint=cohort.fingerprint(),
        card=replace(card, method=" ".join([card.method, *findings(fitted.endpoints, protocol)])),
    )


def _fitted_endpoint(
    fitted: FittedModels,
    name: str,
    patients: Completions,
    stratum: IntArray,
    outcome: EndpointOutcome,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
) -> FittedEndpoint:
    kind, cross_fit = kind_in(protocol, name), fitted.endpoints[name]
    model = cross_fit.model
    if isinstance(model, AdditiveModel):
        model = model.tabulated()
    times = np.array(protocol.horizons) if kind.endpoint.timed else NO_TIME
    supported = supported_months(kind, outcome, stratum, protocol.diseases, at_risk=plan.smallest_at_risk)
    return FittedEndpoint(
        endpoint=kind.endpoint,
        estimator=kind.estimator,
        model=model,
        background=fit_background(
            model, LINKS[kind.endpoint.link], patients, stratum, times, size=plan.background
        ),
        intervals=Intervals.fit(
            cross_fit,
            patients.one_each(),
            stratum,
            times,
            endpoint=kind.endpoint,
            unlearned=kind.estimator_class.unlearned,
        ),
        supported=supported,
        horizons=protocol.horizons,
        explained_horizon=protocol.explained_horizon,
        owners=fitted.encoder.owners(),
        dictionary=fitted.encoder.dictionary,
        bounds=kind.bounds(cross_fit, stratum, outcome, supported),
    )
