"""Concordance: of two patients whose order of events is known, how often the higher risk had it first."""

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray


def concordance(
    risk: FloatArray, outcome: Outcome, weight: FloatArray | None = None, until: float = np.inf
) -> float:
    """Return the weighted share of concordant pairs whose first member had the event before ``until``.

    Without weights it is Harrell's C; equal risks count one half; NaN where no pair can be compared. Who
    is censored at the time of another's event outlives it. Source: Harrell et al., JAMA 1982;247:2543-2546.
    """
    weight = np.ones(len(outcome)) if weight is None else weight
    concordant = usable = 0.0
    for index in np.flatnonzero(outcome.event & (outcome.duration < until)):
        own = outcome.duration[index]
        later = (outcome.duration > own) | ((outcome.duration == own) & ~outcome.event)
        others = risk[later]
        concordant += weight[index] * (
            np.count_nonzero(others < risk[index]) + 0.5 * np.count_nonzero(others == risk[index])
        )
        usable += weight[index] * len(others)
    return float(concordant / usable) if usable else float("nan")
