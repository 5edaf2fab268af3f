"""Accelerated failure time by xgboost: log survival time is a boosted score plus logistic noise.

    log T = score(x) + scale x noise,   S(t | x) = 1 / (1 + exp((log t - score) / scale))

The disease is one column more, its position. The scale is chosen among a few by held-out likelihood. All
patients' curves have the same spread on the log scale, which is the model's assumption. Kept as xgboost's own
JSON and answered without xgboost; explained by sampling.

Source: Barnwal, Cho and Hocking, Journal of Computational and Graphical Statistics 2022;31:1292-1302.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.endpoints import SURVIVAL
from models.estimators.additive import require_numbers
from models.estimators.curves import IntArray
from models.estimators.folds import stratified_folds
from models.estimators.interface import CrossFit
from models.estimators.refitting import cross_fit_by_refitting
from models.trees.ensemble import Trees, read_trees
from models.trees.xgboost_json import base_margin

DOCUMENT, BOOSTER = "aft.json", "booster.json"
SCALES = (0.5, 0.8, 1.2)


@dataclass(frozen=True)
class AFTModel:
    """A fitted model.

    ``booster`` is xgboost's JSON on ``columns`` and the stratum, ``unit`` the months that count as 1 and
    ``scale`` the noise's.
    """

    outcomes: tuple[str, ...]
    booster: bytes
    columns: int
    scale: float
    unit: float
    hyperparameters: Mapping[str, float]
    timed: ClassVar[bool] = True

    @property
    def penalties(self) -> FloatArray:
        """Return zero: what boosting shrinks has no equivalent in events."""
        return np.zeros(1)

    def predict(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival, shape (patients, 1, times)."""
        z = self.standardised(X, strata, np.broadcast_to(times, (len(X), len(times))))
        survival: FloatArray = 1.0 / (1.0 + np.exp(np.clip(z, -700.0, 700.0)))
        return survival[:, None]

    def standardised(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return log times less the score, in units of the noise; ``times`` has shape (patients, times)."""
        score = self._trees.margins(np.column_stack([X, strata])) + base_margin(self.booster)
        with np.errstate(divide="ignore"):
            z: FloatArray = (np.log(times / self.unit) - score[:, None]) / self.scale
        return z

    @cached_property
    def _trees(self) -> Trees:
        return read_trees(self.booster, columns=self.columns + 1, intervals=None)

    def check(self, *, columns: int, strata: int) -> None:
        """Raise ValueError, naming the part, where it is not as it must be."""
        if self.columns != columns or len(self.outcomes) != 1:
            raise ValueError("columns are not as they must be")
        require_numbers("scale", np.array([self.scale, self.unit]), (2,))
        if min(self.scale, self.unit) <= 0.0:
            raise ValueError("scale is not as it must be")
        self._trees.expected()

    def files(self) -> Mapping[str, bytes]:
        """Return the booster and what belongs to it."""
        plain: dict[str, Any] = {
            "outcomes": list(self.outcomes),
            "columns": self.columns,
            "scale": self.scale,
            "unit": self.unit,
            "hyperparameters": dict(self.hyperparameters),
        }
        return {DOCUMENT: json.dumps(plain, indent=1).encode(), BOOSTER: self.booster}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "AFTModel":
        stored = json.loads(files[DOCUMENT])
        return cls(
            tuple(stored["outcomes"]), files[BOOSTER], stored["columns"], stored["scale"], stored["unit"],
            stored["hyperparameters"],
        )  # fmt: skip


@dataclass(frozen=True)
class XGBoostAFT:
    """Fits survival; the same data, settings and seed give the same model."""

    outcomes: tuple[str, ...] = ("survival",)
    folds: int = 5
    repeats: int = 1
    seed: int = 0
    depth: int = 3
    learning_rate: float = 0.05
    rounds: int = 150

    type: ClassVar[str] = "xgboost_aft"
    kinds: ClassVar[frozenset[str]] = frozenset({SURVIVAL})
    unlearned: ClassVar[float] = 0.0
    exact: ClassVar[bool] = False
    description: ClassVar[str] = (
        "Accelerated failure time, boosted by xgboost: log survival time with logistic noise of one spread "
        "for all patients. Intervals allow for sampling alone; their coverage was not measured."
    )

    @staticmethod
    def read(files: Mapping[str, bytes]) -> AFTModel:
        return AFTModel.from_files(files)

    def fit(self, X: FloatArray, strata: IntArray, outcome: Outcome) -> AFTModel:
        """Fit with the scale under which patients held out are the likeliest."""
        out = stratified_folds(strata, outcome, folds=self.folds, seed=self.seed) == 0
        held_out = X[out], strata[out], outcome.take(out)
        tried = [self._boost(X[~out], strata[~out], outcome.take(~out), scale) for scale in SCALES]
        likeliest = int(np.argmax([_log_likelihood(model, *held_out) for model in tried]))
        return self._boost(X, strata, outcome, SCALES[likeliest])

    def cross_fit(self, X: FloatArray, strata: IntArray, outcome: Outcome) -> CrossFit[AFTModel]:
        """Fit the model, and refit it without each fold in turn."""
        folds = [
            stratified_folds(strata, outcome, folds=self.folds, seed=self.seed + repeat)
            for repeat in range(self.repeats)
        ]
        return cross_fit_by_refitting(self.fit, X, strata, outcome, folds=folds)

    def _boost(self, X: FloatArray, strata: IntArray, outcome: Outcome, scale: float) -> AFTModel:
        import xgboost  # noqa: PLC0415  takes seconds to load and is never needed to answer

        unit = float(np.median(outcome.duration))
        data = xgboost.DMatrix(np.column_stack([X, strata]), nthread=1)
        data.set_float_info("label_lower_bound", outcome.duration / unit)
        data.set_float_info("label_upper_bound", np.where(outcome.event, outcome.duration / unit, np.inf))
        settings = {
            "objective": "survival:aft", "aft_loss_distribution": "logistic",
            "aft_loss_distribution_scale": scale, "tree_method": "hist", "max_depth": self.depth,
            "eta": self.learning_rate, "min_child_weight": 5.0, "lambda": 5.0, "base_score": 1.0,
            "nthread": 1, "seed": self.seed,
        }  # fmt: skip
        booster = xgboost.train(settings, data, self.rounds)
        return AFTModel(
            self.outcomes, bytes(booster.save_raw("json")), X.shape[1], scale, unit,
            {"scale": scale, "rounds": float(self.rounds)},
        )  # fmt: skip


def _log_likelihood(model: AFTModel, X: FloatArray, strata: IntArray, outcome: Outcome) -> float:
    """Return the log likelihood of censored times, up to a constant."""
    z = model.standardised(X, strata, outcome.duration[:, None])[:, 0]
    event = z - 2.0 * np.logaddexp(0.0, z) - np.log(model.scale)
    return float(np.where(outcome.event, event, -np.logaddexp(0.0, z)).sum())
