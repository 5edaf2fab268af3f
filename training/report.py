"""The report: the model card, made from protocol, cohort and evaluation, and the sample sizes in it."""

from collections.abc import Mapping

import numpy as np

from features.cohort import Cohort
from features.encoder import Encoder
from features.endpoints import ENDPOINTS, outcome_events
from features.protocol import StudyProtocol
from models.bundle.card import ModelCard
from models.explanation.attribution import EXACT
from models.explanation.sampled import SAMPLED
from training.evaluate import Evaluation
from training.fit import Outcomes, kind_in
from training.kinds.registry import kind_of
from training.plan import TrainingPlan
from training.sample_size import SampleSize

LIMITATIONS = (
    "Validated by cross-validation inside the training cohorts; no other hospital's patients were used.",
    "A patient's interval allows for the chance of sampling and fitting and for what is not known of the "
    "patient, not for an unlike cohort.",
    "Unknown values are averaged over as if it were chance which are unknown; nobody checked why they are.",
    "Contributions describe the model, not causes: changing a predictor need not change the outcome.",
)


def model_card(
    cohort: Cohort,
    outcomes: Outcomes,
    evaluation: Evaluation,
    *,
    protocol: StudyProtocol,
    plan: TrainingPlan,
) -> ModelCard:
    """Fill the card from the protocol, the cohort and the held-out evaluation."""
    sizes = sample_sizes(cohort, outcomes, protocol=protocol)
    selection = tuple(statement for source in cohort.provenance for statement in source.selection)
    missing = {
        field.label: round(float(np.isnan(cohort.values[field.name]).mean()), 4)
        for field in cohort.dictionary.slice(protocol.predictors).fields
    }
    estimators = [kind_in(protocol, name).estimator_class for name in protocol.endpoints]
    methods = dict.fromkeys(estimator.description for estimator in estimators)
    explanations = dict.fromkeys(EXACT if estimator.exact else SAMPLED for estimator in estimators)
    return ModelCard(
        name=protocol.model_name if cohort.evidence == "real" else f"{protocol.model_name}-synthetic",
        title=protocol.title,
        evidence=cohort.evidence,
        intended_use=protocol.intended_use,
        out_of_scope=protocol.out_of_scope,
        index_event=protocol.time_zero,
        endpoints=protocol.endpoints,
        horizons=protocol.horizons,
        method=f"{' '.join(methods)} Explanations: {'; or '.join(explanations)}.",
        cohorts=tuple(source.as_dict() for source in cohort.provenance),
        patients=len(cohort),
        events={
            name: count
            for endpoint, observed in outcomes.items()
            for name, count in outcome_events(observed, tuple(ENDPOINTS[endpoint].labels)).items()
        },
        missing=missing,
        sample_size={name: size.as_dict() for name, size in sizes.items()},
        performance={
            "design": (
                f"{plan.evaluation_folds}-fold cross-validation by patient; "
                "95 % bootstrap intervals over patients"
            ),
            "endpoints": evaluation.as_dict(),
        },
        limitations=selection + LIMITATIONS + size_warnings(sizes),
        caution="An association in the training cohorts, not the effect of any treatment.",
    )


def sample_sizes(cohort: Cohort, outcomes: Outcomes, *, protocol: StudyProtocol) -> Mapping[str, SampleSize]:
    """Return what the cohort has and what each outcome's model would need, before anything is fitted."""
    parameters, horizon = (
        len(Encoder.fit(cohort, predictors=protocol.predictors).columns),
        protocol.explained_horizon,
    )
    return {
        name: size
        for endpoint, observed in outcomes.items()
        for name, size in kind_of(ENDPOINTS[endpoint])
        .sample_sizes(observed, parameters, horizon=horizon)
        .items()
    }


def size_warnings(sizes: Mapping[str, SampleSize]) -> tuple[str, ...]:
    """Return every warning about the sample size, with the outcome's name before it."""
    return tuple(
        f"{outcome.replace('_', ' ')}: {warning}"
        for outcome, size in sizes.items()
        for warning in size.warnings
    )
