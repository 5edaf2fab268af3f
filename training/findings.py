"""Findings: what a fit found out about a cohort, in words for the card."""

from collections.abc import Mapping

from features.endpoints import ENDPOINTS
from features.protocol import StudyProtocol
from models.estimators.interface import CrossFit, Model
from models.estimators.registry import DEFAULT

RIDGE = "weight_ridge"
ALONE = (
    "{title}{cause}: trees gained no more held-out likelihood than chance would, so the model is a "
    "ridge-penalised Cox model (penalty {penalty:.3g} events) and nothing else."
)


def findings(endpoints: Mapping[str, CrossFit[Model]], protocol: StudyProtocol) -> tuple[str, ...]:
    """Return a sentence for each endpoint with time, or cause, whose ensemble came down to a ridge Cox model.

    Only of the default estimator: another that has no trees has found nothing out by leaving them away.
    """
    told = []
    for name, cross_fit in endpoints.items():
        if ENDPOINTS[name].timed and protocol.estimators.get(name, DEFAULT) == DEFAULT:
            told += _alone(name, cross_fit.model)
    return tuple(told)


def _alone(name: str, model: Model) -> list[str]:
    """Return one sentence, or one a cause, where the Cox score has all of the weight."""
    chosen = model.hyperparameters
    several = RIDGE not in chosen
    outcomes = model.outcomes if several else model.outcomes[:1]
    return [
        ALONE.format(
            title=ENDPOINTS[name].title,
            cause=f", {outcome.replace('_', ' ')}" if several else "",
            penalty=penalty,
        )
        for outcome, penalty in zip(outcomes, model.penalties.tolist(), strict=False)
        if chosen.get(f"{outcome}_{RIDGE}" if several else RIDGE) == 1.0
    ]
