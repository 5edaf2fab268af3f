"""The game that explanations share out, by enumeration of its coalitions."""

from collections.abc import Callable
from itertools import combinations
from math import factorial

import numpy as np

from features.dictionary import FloatArray
from models.estimators.curves import IntArray
from models.estimators.interface import Model
from models.estimators.links import Link, on_both_scales
from models.explanation.background import Background


def shapley_values(worth: Callable[[np.ndarray], FloatArray], players: int) -> FloatArray:
    """Apply Shapley's formula to all coalitions; ``worth`` takes who of the players is in."""
    worths = {
        members: worth(np.isin(np.arange(players), members))
        for size in range(players + 1)
        for members in combinations(range(players), size)
    }
    values = []
    for player in range(players):
        others = [p for p in range(players) if p != player]
        total: FloatArray = np.zeros(1)
        for size in range(players):
            share = factorial(size) * factorial(players - size - 1) / factorial(players)
            for members in combinations(others, size):
                joined = tuple(sorted((*members, player)))
                total = total + share * (worths[joined] - worths[members])
        values.append(total)
    return np.stack(values, axis=-1)


def interventional(
    model: Model,
    link: Link,
    background: Background,
    owner: IntArray,
    disease: int,
    patient: tuple[FloatArray, int],
    times: FloatArray,
) -> Callable[[np.ndarray], FloatArray]:
    """Return the worth: the mean answers when members are the patient's, the others the background's."""
    x, stratum = patient

    def worth(members: np.ndarray) -> FloatArray:
        X = np.where(members[owner], x, background.X)
        strata = np.where(members[disease], stratum, background.strata)
        answers = on_both_scales(model.predict(X, strata, times), link)
        mean: FloatArray = np.tensordot(background.weights, answers, axes=1)
        return mean

    return worth
