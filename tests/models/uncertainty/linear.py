"""Fitted models of each kind of endpoint with known linear scores, and one without scores. Synthetic."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from features.dictionary import FloatArray
from models.estimators.additive import AdditiveModel
from models.estimators.curves import IntArray
from models.estimators.transforms import CauseSpecificHazards, IntervalHazards, NestedOdds, Transform

EDGES = np.array([2.0, 4.0, 6.0, 9.0, 12.0, 16.0, 22.0, 30.0, 42.0, 60.0])


def additive(
    outcomes: tuple[str, ...], transform: Transform, columns: int, *, level: float, seed: int
) -> AdditiveModel:
    """Draw baselines about ``level`` and a coefficient for each score and column, alike in both diseases."""
    rng = np.random.default_rng(seed)
    slopes = rng.normal(0.0, 0.3, columns) + rng.normal(0.0, 0.1, (transform.scores, columns))
    return AdditiveModel(
        outcomes,
        transform,
        base=rng.normal(level, 0.2, (2, transform.scores)),
        means=np.full((2, columns), 0.1),
        coefficients=np.tile(slopes, (2, 1, 1)),
        trees=None,
        stretch=np.ones(transform.scores),
        shift=np.zeros(transform.scores),
        penalties=np.zeros(len(outcomes)),
    )


def survival(columns: int, *, seed: int) -> AdditiveModel:
    """Make hazards of about one in ten an interval."""
    return additive(("overall_survival",), IntervalHazards(EDGES), columns, level=-2.0, seed=seed)


def competing(columns: int, *, seed: int) -> AdditiveModel:
    """Make hazards of two causes."""
    causes = ("relapse", "non_relapse_mortality")
    return additive(causes, CauseSpecificHazards((EDGES, EDGES[1::2])), columns, level=-2.5, seed=seed)


def response(columns: int, *, seed: int) -> AdditiveModel:
    """Make nested odds of two responses."""
    outcomes = ("complete_response", "overall_response")
    return additive(outcomes, NestedOdds(2), columns, level=0.0, seed=seed)


@dataclass(frozen=True)
class Mixture:
    """Two models of survival averaged: no scores, no known form."""

    one: AdditiveModel
    other: AdditiveModel
    timed: ClassVar[bool] = True
    hyperparameters: ClassVar[Mapping[str, float]] = {}

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The survival that both predict."""
        return self.one.outcomes

    @property
    def penalties(self) -> FloatArray:
        """Nothing is shrunk."""
        return np.zeros(1)

    def predict(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Average survival, shape (patients, 1, times)."""
        return (self.one.predict(X, strata, times) + self.other.predict(X, strata, times)) / 2.0

    def check(self, *, columns: int, strata: int) -> None:
        """Check both."""
        self.one.check(columns=columns, strata=strata)
        self.other.check(columns=columns, strata=strata)

    def files(self) -> Mapping[str, bytes]:
        """Have none: a mixture is never kept."""
        return {}


def mixture(columns: int, *, seed: int) -> Mixture:
    """Average two models that agree on little."""
    return Mixture(survival(columns, seed=seed), survival(columns, seed=seed + 100))


def moved(model: AdditiveModel | Mixture, rng: np.random.Generator) -> AdditiveModel | Mixture:
    """Return a member of a cross-fit: the model with other baselines."""
    if isinstance(model, Mixture):
        return replace(model, one=_moved(model.one, rng), other=_moved(model.other, rng))
    return _moved(model, rng)


def _moved(model: AdditiveModel, rng: np.random.Generator) -> AdditiveModel:
    return replace(model, base=model.base + rng.normal(0.0, 0.1, model.base.shape))


def patients(count: int, columns: int, *, seed: int) -> tuple[FloatArray, IntArray]:
    """Draw correlated columns with a tenth of the values missing, and one of two diseases each."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, columns)) + rng.normal(size=(count, 1)) * 0.5
    X[rng.random(X.shape) < 0.1] = np.nan
    return X, rng.integers(0, 2, count)
