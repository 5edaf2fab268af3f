"""Support: until which month each disease's follow-up supports an answer, asked before anything is fitted."""

from collections.abc import Iterator, Mapping

from features.cohort import Cohort
from features.endpoints import ENDPOINTS, EndpointOutcome
from features.errors import InvalidCohort, Problem
from features.protocol import StudyProtocol
from models.bundle.bundle import strata
from models.estimators.curves import IntArray, supported_until
from training.kinds.registry import AnyKind, kind_of

Supported = Mapping[str, float]


def supported_months(
    kind: AnyKind, outcome: EndpointOutcome, stratum: IntArray, diseases: tuple[str, ...], *, at_risk: int
) -> Supported:
    """Return, by disease, the last month at which so many are still followed; nothing without time."""
    if not kind.endpoint.timed:
        return {}
    followed = kind.times(outcome)
    return {
        disease: supported_until(followed.take(stratum == at), at_risk=at_risk)
        for at, disease in enumerate(diseases)
    }


def require_support(
    cohort: Cohort, outcomes: Mapping[str, EndpointOutcome], *, protocol: StudyProtocol, at_risk: int
) -> tuple[str, ...]:
    """Return a note on each horizon that a disease's follow-up does not reach; the model leaves it out.

    Raises:
        InvalidCohort: naming each disease in which no endpoint reaches a horizon, or the leading endpoint
            where it reaches none in any disease, how far follow-up goes, and the first horizon.

    """
    stratum = strata(cohort, protocol.diseases)
    supported = {
        name: supported_months(kind_of(ENDPOINTS[name]), outcome, stratum, protocol.diseases, at_risk=at_risk)
        for name, outcome in outcomes.items()
    }
    first = min(protocol.horizons)
    problems = [
        Problem(disease, _too_short(supported, disease, at_risk), _remedy(first, at_risk))
        for disease in _silent(supported, protocol)
    ]
    if problems:
        raise InvalidCohort(f"follow-up for {protocol.name}", problems)
    return tuple(_notes(supported, protocol, at_risk))


def _silent(supported: Mapping[str, Supported], protocol: StudyProtocol) -> Iterator[str]:
    """Name the diseases in which nothing would be answered: all, where the leading endpoint never is."""
    first, leading = min(protocol.horizons), supported[protocol.endpoints[0]]
    unled = bool(leading) and max(leading.values()) < first
    for disease in protocol.diseases:
        reached = any(not months or months[disease] >= first for months in supported.values())
        if unled or not reached:
            yield disease


def _too_short(supported: Mapping[str, Supported], disease: str, at_risk: int) -> str:
    months = "; ".join(
        f"{name.replace('_', ' ')} until month {by_disease[disease]:.1f}"
        for name, by_disease in supported.items()
        if by_disease
    )
    return f"is not followed long enough ({months} by {at_risk} patients)"


def _remedy(first: float, at_risk: int) -> str:
    return (
        f"the first horizon is {first:g} months: add at least {at_risk} patients followed so long, or set a "
        "nearer horizon in the protocol, or leave the disease out of it"
    )


def _notes(supported: Mapping[str, Supported], protocol: StudyProtocol, at_risk: int) -> Iterator[str]:
    for name, by_disease in supported.items():
        for disease, months in by_disease.items():
            beyond = [f"{horizon:g}" for horizon in protocol.horizons if horizon > months]
            if beyond:
                subject = f"{name.replace('_', ' ')}, {disease.replace('_', ' ')}"
                yield (
                    f"{subject}: {at_risk} patients are followed until month {months:.1f}, so "
                    f"{', '.join(beyond)} months are not answered"
                )
