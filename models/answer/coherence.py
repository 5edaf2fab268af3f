"""Coherence: the answers of several endpoints to one patient do not contradict one another.

Each endpoint has a model of its own, so survival could come out below progression-free survival. Whoever is
free of more events is free of fewer, so:

- beside competing causes that together are its events, survival free of them is one less their incidences;
- survival free of fewer events than these is at least that, free of more at most that;
- without competing causes, survival free of fewer events is at least that free of more.

The endpoint with fewer events moves, as the one with more has more data. What moves an answer is stated
beside its contributions; its interval moves along on the link's scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.dictionary import FloatArray
from features.endpoints import COMPETING_RISKS, SURVIVAL, Endpoint

EQUAL, AT_LEAST, AT_MOST = "equal", "at_least", "at_most"


@dataclass(frozen=True)
class Relation:
    """How an endpoint's survival stands to that of another: ``equal``, ``at_least`` or ``at_most``."""

    other: str
    how: str


def relations(endpoint: Endpoint, others: Sequence[Endpoint]) -> tuple[Relation, ...]:
    """Return how a survival endpoint stands to the others of its protocol; nothing for any other kind.

    >>> from features.endpoints import ENDPOINTS
    >>> chosen = [ENDPOINTS[name] for name in ("overall_survival", "progression_free_survival")]
    >>> relations(chosen[0], chosen)
    (Relation(other='progression_free_survival', how='at_least'),)
    >>> relations(chosen[1], chosen)
    ()
    """
    own = frozenset(endpoint.events)
    if endpoint.kind != SURVIVAL or not own:
        return ()
    for other in others:
        events = frozenset(other.events)
        if other.kind == COMPETING_RISKS and (own <= events or own >= events):
            how = EQUAL if own == events else AT_LEAST if own < events else AT_MOST
            return (Relation(other.name, how),)
    return tuple(
        Relation(other.name, AT_LEAST)
        for other in others
        if other.kind == SURVIVAL and own < frozenset(other.events)
    )


def event_free(endpoint: Endpoint, probability: FloatArray) -> FloatArray:
    """Return survival free of an endpoint's events, (patients, times), from (patients, outcomes, times)."""
    free: FloatArray = probability[:, 0] if endpoint.kind == SURVIVAL else 1.0 - probability.sum(axis=1)
    return np.maximum(free, 0.0)


def reconciled(
    probability: FloatArray, stands: Sequence[Relation], free: Mapping[str, FloatArray]
) -> FloatArray:
    """Return an endpoint's survival (patients, times) as it stands to that of others.

    ``free`` has each other endpoint's :func:`event_free` survival, of the same shape, NaN where that endpoint
    is not answered.
    """
    moved = probability
    for relation in stands:
        other = free[relation.other]
        known = np.where(np.isnan(other), moved, other)
        if relation.how == EQUAL:
            moved = known
        else:
            moved = (np.maximum if relation.how == AT_LEAST else np.minimum)(moved, known)
    return moved
