"""Fitting: from a cohort to the model bundle that answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from features.cohort import Cohort
from features.dictionary import FloatArray
from features.encoder import Encoder
from features.endpoints import COMPETING_RISKS, ENDPOINTS, RESPONSE, SURVIVAL, Endpoint
from features.protocol import StudyProtocol
from models.answer.fitted_endpoint import FittedEndpoint
from models.bundle.bundle import ModelBundle, strata
from models.bundle.card import ModelCard
from models.estimators.additive import AdditiveModel
from models.estimators.competing import CrossFittedCompeting
from models.estimators.cross_fitted import CrossFitted
from models.estimators.curves import IntArray, supported_until
from models.estimators.interface import NO_TIME, CrossFit
from models.estimators.links import LINKS
from models.estimators.response import CrossFittedResponse
from models.explanation.background import fit_background
from models.patient.applicability import Applicability
from models.patient.next_tests import Information
from models.patient.plans import Plans
from models.patient.typicality import Likeness
from models.uncertainty.conformal import SurvivalBounds
from models.uncertainty.intervals import Intervals
from training.plan import TrainingPlan
from training.split import as_times
from training.tuning import Tuned, tune

Outcomes = Mapping[str, Any]


@dataclass(frozen=True)
class Fitted:
    """An encoder and, by endpoint, the models fitted on what it encodes and what a search found for them."""

    encoder: Encoder
    endpoints: Mapping[str, CrossFit[Any]]
    tuned: Mapping[str, Tuned]


def read_outcomes(cohort: Cohort, protocol: StudyProtocol) -> Outcomes:
    """Return the outcome of each of the protocol's endpoints."""
    return {name: ENDPOINTS[name].read(cohort) for name in protocol.endpoints}


def fit_models(cohort: Cohort, outcomes: Outcomes, *, protocol: StudyProtocol, plan: TrainingPlan) -> Fitted:
    """Learn the encoding, the settings where the plan searches them, and each endpoint's model."""
    encoder = Encoder.fit(cohort, predictors=protocol.predictors)
    X, stratum = encoder.encode(cohort), strata(cohort, protocol.diseases)
    fitted, tuned = {}, {}
    with threadpool_limits(1):  # sums in another order would change the last digits, and so the bundle's hash
        for name, outcome in outcomes.items():
            how = estimator(ENDPOINTS[name], plan)
            if plan.trials > 1 and isinstance(how, CrossFitted):
                tuned[name] = tune(X, stratum, outcome, trials=plan.trials, seed=plan.seed, estimator=how)
                how = tuned[name].estimator
            fitted[name] = how.cross_fit(X, stratum, outcome)
    return Fitted(encoder, fitted, tuned)


def estimator(endpoint: Endpoint, plan: TrainingPlan) -> Any:
    """Return the unfitted estimator of an endpoint; its ``cross_fit(X, strata, outcome)`` fits it."""
    if endpoint.kind == RESPONSE:
        return CrossFittedResponse(outcomes=tuple(endpoint.labels), folds=plan.inner_folds, seed=plan.seed)
    made = CrossFittedCompeting if endpoint.kind == COMPETING_RISKS else CrossFitted
    return made(outcomes=tuple(endpoint.labels), folds=plan.inner_folds, repeats=plan.repeats, seed=plan.seed)


def bundle_from(
    fitted: Fitted,
    cohort: Cohort,
    outcomes: Outcomes,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
    card: ModelCard,
) -> ModelBundle:
    """Put everything needed to answer beside the fitted models."""
    X, stratum = fitted.encoder.encode(cohort), strata(cohort, protocol.diseases)
    information = Information.fit(cohort, fitted.encoder, protocol.predictors, protocol.diseases)
    endpoints = [
        _fitted_endpoint(fitted, name, X, stratum, outcome, protocol=protocol, plan=plan)
        for name, outcome in outcomes.items()
    ]
    return ModelBundle(
        protocol=protocol,
        dictionary=fitted.encoder.dictionary,
        encoder=fitted.encoder,
        endpoints=tuple(endpoints),
        applicability=Applicability.fit(cohort, predictors=protocol.predictors, diseases=protocol.diseases),
        information=information,
        likeness=Likeness.fit(information, X, tuple(map(str, cohort.text("disease")))),
        plans=Plans.fit(cohort, predictors=protocol.predictors),
        evidence=cohort.evidence,
        cohort_fingerprint=cohort.fingerprint(),
        card=card,
    )


def _fitted_endpoint(
    fitted: Fitted,
    name: str,
    X: FloatArray,
    stratum: IntArray,
    outcome: Any,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
) -> FittedEndpoint:
    endpoint, found = ENDPOINTS[name], fitted.endpoints[name]
    model = found.model.tabulated() if isinstance(found.model, AdditiveModel) else found.model
    times = np.array(protocol.horizons) if endpoint.timed else NO_TIME
    followed = as_times(outcome)
    supported = {
        disease: supported_until(followed.take(stratum == at), at_risk=plan.smallest_at_risk)
        for at, disease in enumerate(protocol.diseases)
    }
    return FittedEndpoint(
        endpoint=endpoint,
        estimator=estimator(endpoint, plan).type,
        model=model,
        background=fit_background(model, LINKS[endpoint.link], X, stratum, times, size=plan.background),
        intervals=Intervals.fit(
            found, X, stratum, times, endpoint=endpoint, unlearned=estimator(endpoint, plan).unlearned
        ),
        supported=supported if endpoint.timed else {},
        horizons=protocol.horizons,
        explained_horizon=protocol.explained_horizon,
        owners=fitted.encoder.owners(),
        dictionary=fitted.encoder.dictionary,
        bounds=_bounds(endpoint, found, stratum, outcome, supported),
    )


def _bounds(
    endpoint: Endpoint, found: CrossFit[Any], stratum: IntArray, outcome: Any, supported: Mapping[str, float]
) -> SurvivalBounds | None:
    """Return lower bounds on survival time; None for what is no survival, or has too few events."""
    if endpoint.kind != SURVIVAL:
        return None
    return SurvivalBounds.fit(found, stratum, outcome, limits=supported)
