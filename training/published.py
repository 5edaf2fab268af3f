"""Published prognostic scores as baselines: what their points alone would have predicted.

A score's own survival figures are from other patients and other times, so in each of its diseases survival is
fitted again on its points, by a Cox regression in the training patients. Whoever has no points, because an
input is missing or the disease is another one, gets the disease's Kaplan-Meier curve.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.scores import compute, load_score, score_names
from models.estimators.cox import CoxModel, RidgeCox
from models.estimators.curves import IntArray
from training.baselines.survival import ALMOST_NO_PENALTY, SurvivalBaseline, fit_kaplan_meier
from training.sample import Sample

FEWEST_SCORED = 50
FEWEST_EVENTS = 10


@dataclass(frozen=True)
class PublishedScoreModel:
    """Survival by points where there are some, else by disease.

    ``by_points`` holds, by disease, a Cox regression of the one column of points.
    """

    alone: SurvivalBaseline
    by_points: Mapping[int, CoxModel]

    def survival(self, points: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival probabilities, shape (patients, times); ``points`` is NaN where there are none."""
        survival = self.alone.survival(points[:, None], strata, times)
        for stratum, cox in self.by_points.items():
            rows = (strata == stratum) & ~np.isnan(points)
            survival[rows] = cox.survival(
                points[rows, None], np.zeros(int(rows.sum()), dtype=np.int64), times
            )
        return survival


def predict_by_published_scores(
    train: Sample, test: Sample, outcome: Outcome, times: FloatArray
) -> dict[str, FloatArray]:
    """Return, by score, the test patients' survival, (patients, 1, times), fitted on the training patients.

    Whether a score applies is decided by all patients together, so every fold of one cohort has the same
    scores. A score counts from its own ``time_zero``, which need not be the protocol's index event.
    """
    predictions = {}
    for name in score_names():
        known, points = (compute(load_score(name), sample.cohort).points for sample in (train, test))
        if _enough(np.concatenate([known, points])):
            model = fit_published_score(known, train.strata, outcome)
            predictions[name] = model.survival(points, test.strata, times)[:, None]
    return predictions


def fit_published_score(points: FloatArray, strata: IntArray, outcome: Outcome) -> PublishedScoreModel:
    """Fit survival on a score's points, shape (patients,), where 10 of those scored had the event."""
    models = {}
    for stratum in range(int(strata.max()) + 1):
        rows = (strata == stratum) & ~np.isnan(points)
        if outcome.event[rows].sum() >= FEWEST_EVENTS and np.unique(points[rows]).size > 1:
            one = np.zeros(int(rows.sum()), dtype=np.int64)
            how = RidgeCox(penalties=(ALMOST_NO_PENALTY,))
            models[stratum] = how.fit(points[rows, None], one, outcome.take(rows))
    return PublishedScoreModel(fit_kaplan_meier(points[:, None], strata, outcome), models)


def _enough(points: FloatArray) -> bool:
    known = points[~np.isnan(points)]
    return len(known) >= FEWEST_SCORED and np.unique(known).size > 1
