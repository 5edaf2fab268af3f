"""Follow-up: until which month patients were followed, so that no figure is given beyond it."""

import numpy as np

from features.censoring import Outcome
from models.estimators.curves import IntArray
from models.estimators.ipcw import censoring_survival

FOLLOWED = 0.10
"""The share of patients who must still be followed where a figure is given.

Whoever is censored is stood for by those still followed: at one tenth, by a weight of ten. Beyond it a few
patients decide the figure, and past the last of them nobody does.
"""


def followed_until(outcome: Outcome) -> float:
    """Return the last month until which a tenth of patients would still be followed if nobody had the event.

    The share is the Kaplan-Meier estimate of not being censored yet (reverse Kaplan-Meier; Schemper and
    Smith, Controlled Clinical Trials 1996;17:343-346), so that patients lost to death do not count as lost
    to follow-up. Infinite where so many were followed to their event.

    >>> followed_until(Outcome(np.array([3.0, 10.0, 10.0]), np.array([True, False, False])))
    10.0
    >>> followed_until(Outcome(np.array([3.0, 10.0]), np.array([True, True])))
    inf
    """
    months = np.unique(outcome.duration)
    left = months[censoring_survival(outcome, months, before=False) < FOLLOWED]
    return float(left[0]) if len(left) else np.inf


def followed_together(outcome: Outcome, strata: IntArray) -> float:
    """Return the last month until which patients of several diseases are followed as one group.

    Besides a tenth of them all, diseases of nine patients in ten must be followed: where one disease is no
    longer seen, the others speak for themselves alone, and censoring depends on prognosis.
    """
    own = np.empty(len(outcome))
    for stratum in np.unique(strata):
        rows = strata == stratum
        own[rows] = followed_until(outcome.take(rows))
    return min(followed_until(outcome), float(np.sort(own)[int(FOLLOWED * len(own))]))
