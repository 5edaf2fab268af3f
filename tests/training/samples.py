"""Samples of each kind of outcome: columns, diseases, outcome and, where a test needs it, the truth."""

import numpy as np

from features.endpoints import BinaryOutcome, CompetingOutcome, ResponseOutcome
from tests.models.outcomes import sample_outcome

TIMES = np.array([0.0, 6.0, 24.0, 60.0])


def survival_sample():
    """Return times to an event, which is likelier in the second disease."""
    rng = np.random.default_rng(1)
    strata = rng.integers(0, 2, 400)
    X = np.column_stack([strata, rng.normal(size=400), rng.normal(size=400) * 3.0])
    hazard = 0.02 * np.exp(0.9 * strata + 0.5 * X[:, 1] - 0.1 * X[:, 2])
    return X, strata, sample_outcome(rng, hazard)


def response_sample():
    """Return two nested responses, which rise with the second column and in the second disease."""
    rng = np.random.default_rng(2)
    strata = rng.integers(0, 2, 1500)
    X = np.column_stack([strata, rng.normal(size=1500) * 2.0 + 5.0, rng.normal(size=1500)])
    margin = -1.0 + 0.8 * strata + 0.5 * (X[:, 1] - 5.0)
    draw = rng.logistic(size=1500)
    known = rng.random(1500) < 0.9
    parts = tuple(BinaryOutcome(draw < margin + more, known) for more in (0.0, 1.0))
    truth = 1.0 / (1.0 + np.exp(-np.stack([margin, margin + 1.0], axis=1)))
    return X, strata, ResponseOutcome(("complete_response", "overall_response"), parts), truth


def competing_sample():
    """Return two causes with constant hazards; each column moves one of them."""
    rng = np.random.default_rng(3)
    strata = rng.integers(0, 2, 1500)
    X = np.column_stack([strata, rng.normal(size=1500), rng.normal(size=1500)])
    hazards = np.stack([0.02 * np.exp(0.7 * strata + 0.6 * X[:, 1]), 0.015 * np.exp(-0.5 * X[:, 2])], axis=1)
    waits = np.column_stack([rng.exponential(1.0 / hazards), rng.uniform(10.0, 120.0, 1500)])
    first = waits.argmin(axis=1)
    outcome = CompetingOutcome(waits.min(axis=1), np.array([1, 2, 0])[first])
    total = hazards.sum(axis=1)[:, None]
    gone = 1.0 - np.exp(-total * TIMES)
    truth = np.stack([hazards[:, [at]] / total * gone for at in (0, 1)] + [1.0 - gone], axis=1)
    return X, strata, outcome, truth


def blanked(X):
    """Return the matrix with a column missing, and with its mean there instead."""
    blank, filled = X.copy(), X.copy()
    blank[:, 1], filled[:, 1] = np.nan, X[:, 1].mean()
    return blank, filled
