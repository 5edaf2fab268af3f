"""Published prognostic scores as baselines: what their points alone would have told.

A score's own survival figures are from other patients and other times, so in each of its diseases survival is
fitted again on its points, by a Cox regression in the training patients. Whoever has no points, because an
input is missing or the disease is another one, gets the disease's Kaplan-Meier curve.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from features.censoring import Outcome
from features.cohort import Cohort
from features.dictionary import FloatArray
from features.endpoints import SURVIVAL, Endpoint
from features.protocol import StudyProtocol
from features.scores import ScoredCohort, compute, load_score, score_names
from models.estimators.cox import CoxModel, RidgeCox
from models.estimators.curves import IntArray
from training.baselines import ALMOST_NO_PENALTY, SurvivalBaseline, fit_kaplan_meier
from training.metrics import harrell_c

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
        found = self.alone.survival(points[:, None], strata, times)
        for stratum, cox in self.by_points.items():
            rows = (strata == stratum) & ~np.isnan(points)
            found[rows] = cox.survival(points[rows, None], np.zeros(int(rows.sum()), dtype=np.int64), times)
        return found

    def probabilities(self, points: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return survival, shape (patients, 1, times)."""
        return self.survival(points, strata, times)[:, None]


def applicable_scores(cohort: Cohort, protocol: StudyProtocol) -> tuple[ScoredCohort, ...]:
    """Return the scores of the protocol's diseases that at least 50 patients have, not all the same points.

    A score counts from its own ``time_zero``, which need not be the protocol's index event: compare the two
    before reading much into a difference.
    """
    return tuple(
        scored
        for scored in map(partial(_scored, cohort=cohort), score_names())
        if set(scored.score.applies_to) & set(protocol.diseases) and _enough(scored.points)
    )


def published_baselines(
    train: Cohort,
    test: Cohort,
    endpoint: Endpoint,
    outcome: Any,
    train_strata: IntArray,
    test_strata: IntArray,
) -> Mapping[str, Callable[[FloatArray], FloatArray]]:
    """Return, by score, what gives the test patients' probabilities at some times, (patients, 1, times).

    Whether a score applies is decided by all patients together, so every fold of one cohort has the same
    scores. Only an endpoint of survival has such baselines.
    """
    if endpoint.kind != SURVIVAL:
        return {}
    return {
        name: partial(fit_published_score(known, train_strata, outcome).probabilities, points, test_strata)
        for name, known, points in _in_both(train, test)
    }


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


def concordance_of_points(scored: ScoredCohort, cohort: Cohort, outcome: Outcome) -> Mapping[str, float]:
    """Return Harrell's C of the raw points in each disease with at least 10 deaths among those scored.

    More points mean a higher risk in every score. Nothing is fitted, so it needs no held-out patients.
    """
    diseases = np.array(cohort.text("disease"), dtype=object)
    found = {}
    for disease in scored.score.applies_to:
        rows = (diseases == disease) & ~np.isnan(scored.points)
        if outcome.event[rows].sum() >= FEWEST_EVENTS:
            found[disease] = harrell_c(scored.points[rows], outcome.take(rows))
    return found


def _in_both(train: Cohort, test: Cohort) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    for name in score_names():
        known, points = (_scored(name, cohort=cohort).points for cohort in (train, test))
        if _enough(np.concatenate([known, points])):
            yield name, known, points


def _scored(name: str, *, cohort: Cohort) -> ScoredCohort:
    return compute(load_score(name), cohort)


def _enough(points: FloatArray) -> bool:
    given = points[~np.isnan(points)]
    return len(given) >= FEWEST_SCORED and np.unique(given).size > 1
