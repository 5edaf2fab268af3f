"""A Weibull regression as another's package adds it: this one file, and an entry point that names it.

    S(t | x) = exp(-exp(shape x log t + level of the disease + sum of slope x column))

fitted by maximum likelihood with a ridge penalty; a missing value stands at the column's mean.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from features.censoring import Outcome
from features.endpoints import SURVIVAL
from models.estimators.folds import stratified_folds
from models.estimators.interface import CrossFit
from models.estimators.refitting import cross_fit_by_refitting

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DOCUMENT = "weibull.json"
ARRAYS = ("means", "scales", "slopes", "levels")
RIDGE = 5.0


@dataclass(frozen=True)
class WeibullModel:
    outcomes: tuple[str, ...]
    shape: float
    means: FloatArray
    scales: FloatArray
    slopes: FloatArray
    levels: FloatArray
    timed: ClassVar[bool] = True
    penalties: ClassVar[FloatArray] = np.full(1, RIDGE)

    @property
    def hyperparameters(self) -> Mapping[str, float]:
        return {"shape": self.shape}

    def score(self, X: FloatArray, strata: IntArray) -> FloatArray:
        standard = np.nan_to_num((X - self.means) / self.scales, nan=0.0)
        score: FloatArray = (standard * self.slopes).sum(axis=1) + self.levels[strata]
        return score

    def predict(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore"):
            logged = self.score(X, strata)[:, None] + self.shape * np.log(times)
        return np.exp(-np.exp(logged))[:, None]

    def check(self, *, columns: int, strata: int) -> None:
        shapes = {"means": columns, "scales": columns, "slopes": columns, "levels": strata}
        for name, count in shapes.items():
            array = getattr(self, name)
            if array.shape != (count,) or not np.isfinite(array).all():
                raise ValueError(f"{name} of the Weibull model are not as they must be")
        if not (0.0 < self.shape < np.inf and (self.scales > 0.0).all() and len(self.outcomes) == 1):
            raise ValueError("shape of the Weibull model is not as it must be")

    def files(self) -> Mapping[str, bytes]:
        plain = {name: getattr(self, name).tolist() for name in ARRAYS}
        plain |= {"outcomes": list(self.outcomes), "shape": self.shape}
        return {DOCUMENT: json.dumps(plain, indent=1).encode()}


@dataclass(frozen=True)
class Weibull:
    outcomes: tuple[str, ...] = ("survival",)
    folds: int = 5
    repeats: int = 1
    seed: int = 0

    type: ClassVar[str] = "weibull"
    kinds: ClassVar[frozenset[str]] = frozenset({SURVIVAL})
    unlearned: ClassVar[float] = 0.0
    exact: ClassVar[bool] = False
    description: ClassVar[str] = "Weibull regression with a ridge penalty, one shape for all diseases."

    @staticmethod
    def read(files: Mapping[str, bytes]) -> WeibullModel:
        stored = json.loads(files[DOCUMENT])
        arrays = {name: np.array(stored[name], dtype=np.float64) for name in ARRAYS}
        return WeibullModel(tuple(stored["outcomes"]), float(stored["shape"]), **arrays)

    def fit(self, X: FloatArray, strata: IntArray, outcome: Outcome) -> WeibullModel:
        known, columns = ~np.isnan(X), X.shape[1]
        count = np.maximum(known.sum(axis=0), 1)
        means = np.where(known, X, 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, X - means, 0.0) ** 2).sum(axis=0) / count)
        scales = np.where(spread > 0.0, spread, 1.0)
        Z = np.nan_to_num((X - means) / scales, nan=0.0)
        disease, logged = np.eye(int(strata.max()) + 1)[strata], np.log(outcome.duration)

        def loss(flat: FloatArray) -> tuple[float, FloatArray]:
            shape, slopes, levels = np.exp(flat[0]), flat[1 : 1 + columns], flat[1 + columns :]
            score = shape * logged + Z @ slopes + disease @ levels
            hazard, event = np.exp(np.minimum(score, 50.0)), outcome.event.astype(np.float64)
            value = hazard.sum() - event @ (score + flat[0]) + 0.5 * RIDGE * slopes @ slopes
            apart = hazard - event
            of_shape = apart @ (shape * logged) - event.sum()
            return value, np.concatenate([[of_shape], Z.T @ apart + RIDGE * slopes, disease.T @ apart])

        start = np.zeros(1 + columns + disease.shape[1])
        start[1 + columns :] = np.log(outcome.event.sum() / outcome.duration.sum())
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
        return WeibullModel(
            self.outcomes,
            float(np.exp(found[0])),
            means,
            scales,
            found[1 : 1 + columns],
            found[1 + columns :],
        )

    def cross_fit(self, X: FloatArray, strata: IntArray, outcome: Outcome) -> CrossFit[WeibullModel]:
        folds = [
            stratified_folds(strata, outcome, folds=self.folds, seed=self.seed + repeat)
            for repeat in range(self.repeats)
        ]
        return cross_fit_by_refitting(self.fit, X, strata, outcome, folds=folds)
