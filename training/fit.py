"""Fitting: from a cohort to the model bundle that answers."""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from features.censoring import Outcome
from features.cohort import Cohort
from features.encoder import Encoder
from features.protocol import StudyProtocol
from models.applicability import Applicability
from models.background import fit_background
from models.bundle import ModelBundle, strata
from models.card import ModelCard
from models.cox import RidgeCox
from models.curves import supported_until
from models.ensemble import CrossFitted
from models.hazard import HazardModel
from models.information import Information
from training.plan import TrainingPlan


@dataclass(frozen=True)
class Fitted:
    """An encoder and the model fitted on what it encodes."""

    encoder: Encoder
    model: HazardModel


def fit_model(cohort: Cohort, outcome: Outcome, *, protocol: StudyProtocol, plan: TrainingPlan) -> Fitted:
    """Learn the encoding and the model from these patients alone."""
    encoder = Encoder.fit(cohort, predictors=protocol.predictors)
    estimator = CrossFitted(
        outcome=protocol.endpoint,
        cox=RidgeCox(seed=plan.seed, folds=plan.inner_folds),
        folds=plan.inner_folds,
        seed=plan.seed,
    )
    with threadpool_limits(1):  # sums in another order would change the last digits, and so the bundle's hash
        return Fitted(
            encoder, estimator.fit(encoder.encode(cohort), strata(cohort, protocol.diseases), outcome)
        )


def bundle_from(
    fitted: Fitted,
    cohort: Cohort,
    outcome: Outcome,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
    card: ModelCard,
) -> ModelBundle:
    """Put everything needed to answer beside the fitted model."""
    stratum = strata(cohort, protocol.diseases)
    X = fitted.encoder.encode(cohort)
    supported = {
        disease: supported_until(outcome.take(stratum == at), at_risk=plan.smallest_at_risk)
        for at, disease in enumerate(protocol.diseases)
    }
    return ModelBundle(
        protocol=protocol,
        dictionary=fitted.encoder.dictionary,
        encoder=fitted.encoder,
        model=fitted.model,
        supported=supported,
        applicability=Applicability.fit(cohort, predictors=protocol.predictors, diseases=protocol.diseases),
        information=Information.fit(cohort, fitted.encoder, protocol.predictors, protocol.diseases),
        background=fit_background(
            fitted.model, X, stratum, np.array(protocol.horizons), size=plan.background
        ),
        evidence=cohort.evidence,
        cohort_fingerprint=cohort.fingerprint(),
        card=card,
    )
