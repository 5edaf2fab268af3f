"""Fitting: from a cohort to the model bundle that answers."""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from features.censoring import Outcome
from features.cohort import Cohort
from features.dictionary import FloatArray
from features.encoder import Encoder
from features.protocol import StudyProtocol
from models.applicability import Applicability
from models.bundle import ModelBundle, strata
from models.card import ModelCard
from models.cox import RidgeCox
from models.ensemble import CrossValidatedMixture, Mixture
from models.curves import IntArray, supported_until
from training.plan import TrainingPlan


@dataclass(frozen=True)
class Fitted:
    """An encoder and the mixture fitted on what it encodes."""

    encoder: Encoder
    mixture: Mixture


def fit_mixture(cohort: Cohort, outcome: Outcome, *, protocol: StudyProtocol, plan: TrainingPlan) -> Fitted:
    """Learn the encoding and both members from these patients alone."""
    encoder = Encoder.fit(cohort, predictors=protocol.predictors)
    estimator = CrossValidatedMixture(
        until=max(protocol.horizons),
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
    survival = fitted.mixture.survival(X, stratum, np.array([protocol.explained_horizon]))[:, 0]
    rows = _evenly_spread(survival, stratum, plan.background)
    supported = {
        disease: supported_until(outcome.take(stratum == at), at_risk=plan.smallest_at_risk)
        for at, disease in enumerate(protocol.diseases)
    }
    return ModelBundle(
        protocol=protocol,
        dictionary=fitted.encoder.dictionary,
        encoder=fitted.encoder,
        mixture=fitted.mixture,
        supported=supported,
        applicability=Applicability.fit(cohort, predictors=protocol.predictors, diseases=protocol.diseases),
        background=X[rows],
        background_strata=stratum[rows],
        evidence=cohort.evidence,
        cohort_fingerprint=cohort.fingerprint(),
        card=card,
    )


def _evenly_spread(survival: FloatArray, stratum: IntArray, count: int) -> IntArray:
    """Return patients spread evenly over disease and predicted survival: their mean is near the cohort's."""
    order = np.lexsort((survival, stratum))
    if len(order) <= count:
        return order.astype(np.int64)
    centres = (np.arange(count) + 0.5) * len(order) / count
    return order[centres.astype(np.int64)].astype(np.int64)
