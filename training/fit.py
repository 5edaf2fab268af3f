"""Fitting: from a cohort to the model bundle that answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from features.cohort import Cohort
from features.dictionary import FloatArray
from features.encoder import Encoder
from features.endpoints import ENDPOINTS, AnyOutcome
from features.protocol import StudyProtocol
from models.applicability import Applicability
from models.background import fit_background
from models.bundle import ModelBundle, strata
from models.card import ModelCard
from models.curves import IntArray, supported_until
from models.endpoint import CrossFit, EndpointModel
from models.fitted import NO_TIME, FittedEndpoint
from models.information import Information
from models.likeness import Likeness
from models.plans import Plans
from models.uncertainty import Intervals
from training.kinds.registry import kind_of
from training.plan import TrainingPlan

if TYPE_CHECKING:
    from training.tuning import TuningResult

Outcomes = Mapping[str, AnyOutcome]
"""By endpoint, the outcome of every patient of a cohort."""


@dataclass(frozen=True)
class FittedModels:
    """An encoder and, by endpoint, the models fitted on what it encodes and what a search found for them."""

    encoder: Encoder
    endpoints: Mapping[str, CrossFit[EndpointModel]]
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
            cross_fits[name], tuned = kind_of(ENDPOINTS[name]).fit(X, stratum, outcome, plan)
            if tuned is not None:
                searches[name] = tuned
    return FittedModels(encoder, cross_fits, searches)


def bundle_from(
    fitted: FittedModels,
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
    fitted: FittedModels,
    name: str,
    X: FloatArray,
    stratum: IntArray,
    outcome: AnyOutcome,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
) -> FittedEndpoint:
    kind, cross_fit = kind_of(ENDPOINTS[name]), fitted.endpoints[name]
    times = np.array(protocol.horizons) if kind.endpoint.timed else NO_TIME
    followed = kind.times(outcome)
    supported = {
        disease: supported_until(followed.take(stratum == at), at_risk=plan.smallest_at_risk)
        for at, disease in enumerate(protocol.diseases if kind.endpoint.timed else ())
    }
    return FittedEndpoint(
        endpoint=kind.endpoint,
        model=cross_fit.model,
        background=fit_background(cross_fit.model, X, stratum, times, size=plan.background),
        intervals=Intervals.fit(cross_fit, X, stratum, times),
        supported=supported,
        horizons=protocol.horizons,
        explained_horizon=protocol.explained_horizon,
        owners=fitted.encoder.owners(),
        dictionary=fitted.encoder.dictionary,
        bounds=kind.bounds(cross_fit, stratum, outcome, supported),
    )
