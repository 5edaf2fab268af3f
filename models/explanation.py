"""Explanations: what each predictor adds, in survival probability and on the model's own scale.

The members explain themselves exactly: the Cox model is additive, the trees by path-dependent TreeSHAP, each
relative to a background patient. The mixture turns their scores into a probability by a smooth function;
each member's contributions are carried through it along the straight line from the background patient's
scores to this patient's (Aumann and Shapley's value), and averaged over the background. So contributions sum
to the prediction less the background's mean prediction, on either scale.

Sources: Chen, Lundberg and Lee, Nature Communications 2022;13:4512 (Shapley values carried through a series
of models); Sundararajan, Taly and Yan, ICML 2017 (the integral along the path).
"""

from dataclasses import dataclass, replace

import numpy as np

from features.dictionary import FloatArray
from models.ensemble import Mixture
from models.curves import IntArray

METHOD = (
    "Shapley values of each member (Cox: exact, additive; boosted hazards: exact path-dependent TreeSHAP), "
    "carried through the mixture by Aumann-Shapley integration and averaged over background patients"
)
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)
NODES, NODE_WEIGHTS = (NODES + 1.0) / 2.0, NODE_WEIGHTS / 2.0


@dataclass(frozen=True)
class Scores:
    """The members' scores at one horizon, split by predictor.

    ``cox`` has shape (patients, predictors) and sums to the log cumulative hazard; ``hazard`` has shape
    (patients, intervals, predictors) and, with ``constant`` (intervals,), sums to the margins; ``weight``
    (patients,) is the Cox member's weight, which depends on the disease alone.
    """

    cox: FloatArray
    hazard: FloatArray
    constant: FloatArray
    weight: FloatArray

    @property
    def log_hazard(self) -> FloatArray:
        """Return the Cox log cumulative hazard, shape (patients,)."""
        total: FloatArray = self.cox.sum(axis=1)
        return total

    @property
    def margins(self) -> FloatArray:
        """Return the log odds per interval, shape (patients, intervals)."""
        total: FloatArray = self.hazard.sum(axis=2) + self.constant
        return total


@dataclass(frozen=True)
class Attribution:
    """Contributions per predictor of one patient on one scale, and what they start from."""

    prediction: float
    reference: float
    contributions: FloatArray


@dataclass(frozen=True)
class Explainer:
    """Explains a mixture at one horizon against a fixed background of training patients.

    ``exposure`` (intervals,) is the share of each interval before the horizon; later intervals are left out.
    """

    mixture: Mixture
    horizon: float
    owners: FloatArray
    disease: int
    exposure: FloatArray
    background: Scores

    @classmethod
    def prepare(
        cls,
        mixture: Mixture,
        *,
        horizon: float,
        owners: FloatArray,
        disease: int,
        X: FloatArray,
        strata: IntArray,
    ) -> "Explainer":
        """Score the background once.

        ``owners`` (columns, predictors) sums columns into predictors; ``disease`` is the predictor to which
        everything belongs that depends on the stratum alone.
        """
        exposure = mixture.hazard.exposure(np.array([horizon]))[0]
        nobody = Scores(np.empty((0, 0)), np.empty((0, 0, 0)), np.empty(0), np.empty(0))
        explainer = cls(mixture, horizon, owners, disease, exposure[exposure > 0], nobody)
        return replace(explainer, background=explainer._scores(X, strata))

    def explain(self, x: FloatArray, stratum: IntArray) -> tuple[Attribution, Attribution]:
        """Explain one patient (shapes (1, columns) and (1,)): survival probability, log cumulative hazard."""
        patient = self._scores(x, stratum)
        predictions = self._values(patient)
        references = self._values(self.background)
        on_survival, on_log_hazard = (
            Attribution(float(at[0]), float(reference.mean()), self._carry(patient, slopes))
            for at, reference, slopes in zip(predictions, references, self._slopes(patient), strict=True)
        )
        return on_survival, on_log_hazard

    def _scores(self, X: FloatArray, strata: IntArray) -> Scores:
        """Split both members' scores by predictor."""
        terms = self.mixture.cox.terms(X, strata) @ self.owners
        cox = terms.copy()
        cox[:, self.disease] += self.mixture.cox.log_baseline(strata, np.array([self.horizon]))[:, 0]
        lived = len(self.exposure)
        hazard = self.mixture.hazard.trees.contributions(X)[:, :lived] @ self.owners + terms[:, None, :]
        hazard[:, :, self.disease] += self.mixture.hazard.base[strata, :lived]
        return Scores(
            cox, hazard, self.mixture.hazard.trees.expected()[:lived], self.mixture.cox_weight[strata]
        )

    def _values(self, scores: Scores) -> tuple[FloatArray, FloatArray]:
        """Return survival and its log cumulative hazard."""
        cox = np.exp(-np.exp(scores.log_hazard))
        survival = scores.weight * cox + (1.0 - scores.weight) * self._boosted(
            np.logaddexp(0.0, scores.margins)
        )
        return survival, np.log(-np.log(survival))

    def _boosted(self, softplus: FloatArray) -> FloatArray:
        survival: FloatArray = np.exp(-softplus @ self.exposure)
        return survival

    def _slopes(self, patient: Scores) -> tuple["_Slopes", "_Slopes"]:
        """Return, per scale, the mean slopes along the path from each background patient."""
        start, first, old = self.background.log_hazard, self.background.margins, self.background.weight
        ahead, forward, change = patient.log_hazard - start, patient.margins - first, patient.weight - old
        on_survival, on_log_hazard = _Slopes.zero(first.shape), _Slopes.zero(first.shape)
        for node, share in zip(NODES, NODE_WEIGHTS, strict=True):
            hazard, margins, weight = (
                np.exp(start + node * ahead),
                first + node * forward,
                old + node * change,
            )
            softplus = np.logaddexp(0.0, margins)
            cox, boosted = np.exp(-hazard), self._boosted(softplus)
            survival = weight * cox + (1.0 - weight) * boosted
            by_cox = -share * weight * cox * hazard
            by_weight = share * (cox - boosted)
            by_margin = (
                -share * ((1.0 - weight) * boosted)[:, None] * self.exposure * np.exp(margins - softplus)
            )
            on_survival.add(by_cox, by_margin, by_weight, np.ones_like(survival))
            on_log_hazard.add(by_cox, by_margin, by_weight, 1.0 / (survival * np.log(survival)))
        return on_survival, on_log_hazard

    def _carry(self, patient: Scores, slopes: "_Slopes") -> FloatArray:
        """Multiply slopes with score differences and average over the background, shape (predictors,)."""
        here = slopes.cox.sum() * patient.cox[0] + slopes.margin.sum(axis=0) @ patient.hazard[0]
        flat = self.background.hazard.reshape(-1, self.background.hazard.shape[2])
        carried: FloatArray = here - slopes.cox @ self.background.cox - slopes.margin.reshape(-1) @ flat
        carried[self.disease] += slopes.weight @ (patient.weight - self.background.weight)
        return carried / len(slopes.cox)


@dataclass(frozen=True)
class _Slopes:
    """One scale's mean slopes: ``cox`` and ``weight`` (background,), ``margin`` (background, intervals)."""

    cox: FloatArray
    margin: FloatArray
    weight: FloatArray

    @classmethod
    def zero(cls, shape: tuple[int, ...]) -> "_Slopes":
        return cls(np.zeros(shape[0]), np.zeros(shape), np.zeros(shape[0]))

    def add(self, cox: FloatArray, margin: FloatArray, weight: FloatArray, factor: FloatArray) -> None:
        np.add(self.cox, factor * cox, out=self.cox)
        np.add(self.margin, factor[:, None] * margin, out=self.margin)
        np.add(self.weight, factor * weight, out=self.weight)
