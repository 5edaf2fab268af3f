"""The mixture: a Cox curve and a boosted hazard curve averaged, weighted by cross-validated evidence.

Both members predict patients that their fold left out. Each stratum (disease) has its own weight, which
moves with the evidence there: one half each where held-out patients do not tell the members apart, nearly all
to one of them where its integrated Brier score is smaller by several standard errors.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.errors import NotFittable
from models.cox import CoxModel, RidgeCox
from models.hazard import BoostedHazard, HazardModel
from models.ipcw import integrated_brier
from models.curves import IntArray, stratified_folds

GRID = 30


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture: in each stratum, survival is ``cox_weight`` Cox and the rest boosted hazard."""

    cox: CoxModel
    hazard: HazardModel
    cox_weight: FloatArray

    def survival(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities, shape (patients, times)."""
        weight = self.cox_weight[strata][:, None]
        cox = self.cox.survival(X, strata, times)
        return weight * cox + (1.0 - weight) * self.hazard.survival(X, strata, times)


@dataclass(frozen=True)
class CrossValidatedMixture:
    """Fits :class:`Mixture`; the same data, settings and seed give the same model.

    Weights are judged on survival up to ``until`` months.
    """

    until: float
    cox: RidgeCox = field(default_factory=RidgeCox)
    hazard: BoostedHazard = field(default_factory=BoostedHazard)
    folds: int = 5
    seed: int = 0

    def fit(self, X: FloatArray, strata: IntArray, outcome: Outcome) -> Mixture:
        """Fit both members on everyone, with the weights that held-out patients give them.

        Raises:
            NotFittable: when a stratum has fewer events than folds.

        """
        _require_events(strata, outcome, self.folds)
        cox = self.cox.fit(X, strata, outcome)
        same_penalty = replace(self.cox, penalties=(cox.penalty,))
        fold = stratified_folds(strata, outcome, folds=self.folds, seed=self.seed)
        times = np.linspace(self.until / GRID, self.until, GRID)
        curves = np.empty((2, len(outcome), GRID))
        for held_out in range(self.folds):
            train, test = fold != held_out, fold == held_out
            learned = X[train], strata[train], outcome.take(train)
            start = same_penalty.fit(*learned)
            boosted = self.hazard.fit(*learned, start=start)
            curves[0, test] = start.survival(X[test], strata[test], times)
            curves[1, test] = boosted.survival(X[test], strata[test], times)
        groups = [strata == stratum for stratum in range(int(strata.max()) + 1)]
        weights = [_choose_weight(curves[:, rows], outcome.take(rows), times) for rows in groups]
        return Mixture(cox, self.hazard.fit(X, strata, outcome, start=cox), np.array(weights))


def _choose_weight(curves: FloatArray, outcome: Outcome, times: FloatArray) -> float:
    """Return the Cox weight: the logistic function of how much smaller its error is, in standard errors.

    ``curves`` has shape (2, patients, times): Cox, then boosted.
    """
    cox, boosted = (integrated_brier(curve, outcome, times) for curve in curves)
    saved = boosted - cox
    error = saved.std(ddof=1) / np.sqrt(len(saved))
    return float(1.0 / (1.0 + np.exp(-saved.mean() / error))) if error > 0 else 0.5


def _require_events(strata: IntArray, outcome: Outcome, folds: int) -> None:
    events = np.bincount(strata, weights=outcome.event)
    if events.min() < folds:
        raise NotFittable(
            f"a disease has {int(events.min())} events; {folds}-fold cross-validation needs {folds} in each"
        )
