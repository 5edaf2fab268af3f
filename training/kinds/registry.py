"""The kind of each endpoint, by the name that the endpoint states."""

from collections.abc import Mapping
from typing import cast

from features.endpoints import COMPETING_RISKS, RESPONSE, SURVIVAL, Endpoint, EndpointOutcome
from models.estimators.registry import DEFAULT
from training.kinds.competing_risks import CompetingRisksKind
from training.kinds.interface import Kind
from training.kinds.response import ResponseKind
from training.kinds.survival import SurvivalKind

AnyKind = Kind[EndpointOutcome]

# An endpoint's kind fixes the type of what its ``read`` returns, which types cannot tell: one cast for all.
KINDS = cast(
    Mapping[str, type[AnyKind]],
    {SURVIVAL: SurvivalKind, COMPETING_RISKS: CompetingRisksKind, RESPONSE: ResponseKind},
)


def kind_of(endpoint: Endpoint, estimator: str = DEFAULT) -> AnyKind:
    """Return the endpoint with what its kind decides; it takes outcomes that this endpoint reads."""
    return KINDS[endpoint.kind](endpoint, estimator)
