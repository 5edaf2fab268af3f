"""Survival: the time to one event, censored at the end of follow-up."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.endpoints import COMPLEMENTARY_LOG_LOG
from models.estimators.cross_fitted import CrossFitted
from models.estimators.curves import IntArray, kaplan_meier
from models.estimators.interface import CrossFit, Model
from models.estimators.ipcw import integrated_brier
from models.uncertainty.conformal import SurvivalBounds
from training import metrics
from training.baselines.survival import (
    COX,
    KAPLAN_MEIER,
    RIDGE_COX,
    fit_kaplan_meier,
    fit_plain_cox,
    fit_ridge_cox,
)
from training.kinds.at_horizon import Observed, at_horizon, missing
from training.kinds.interface import FitBaseline, Kind, Requirement, RiskGroup
from training.kinds.over_follow_up import GOODNESS_OF_FIT, SCORED_UNTIL, goodness_of_fit, unscored
from training.plan import TrainingPlan
from training.published import predict_by_published_scores
from training.sample import Sample
from training.sample_size import SampleSize, for_survival
from training.scoring import EVERYONE, Estimate, Scale, Scores
from training.status import Status

if TYPE_CHECKING:
    from training.tuning import TuningResult

OF_CURVES = ("harrell_c", "uno_c", "integrated_brier", *GOODNESS_OF_FIT, SCORED_UNTIL)
RISK_GROUPS = ("lowest third of risk", "middle third", "highest third")


class SurvivalKind(Kind[Outcome]):
    """An endpoint of survival."""

    has_median = True
    event = "event"

    @property
    def baselines(self) -> Mapping[str, FitBaseline[Outcome]]:
        """Return Kaplan-Meier and the two Cox regressions."""
        return {KAPLAN_MEIER: fit_kaplan_meier, COX: fit_plain_cox, RIDGE_COX: fit_ridge_cox}

    def predict_baselines(
        self, train: Sample, test: Sample, outcome: Outcome, times: FloatArray
    ) -> dict[str, FloatArray]:
        """Predict by the published scores too that enough patients have."""
        predictions = super().predict_baselines(train, test, outcome, times)
        return predictions | predict_by_published_scores(train, test, outcome, times)

    def times(self, outcome: Outcome) -> Outcome:
        """Return the outcome."""
        return outcome

    def fit(
        self, X: FloatArray, strata: IntArray, outcome: Outcome, plan: TrainingPlan
    ) -> "tuple[CrossFit[Model], TuningResult | None]":
        """Fit, with the default estimator's settings searched first where the plan has several trials."""
        estimator, tuned = self.unfitted(plan), None
        if plan.trials > 1 and isinstance(estimator, CrossFitted) and estimator.boosted:
            from training.tuning import tune  # noqa: PLC0415  loads Optuna, which only a search needs

            tuned = tune(X, strata, outcome, trials=plan.trials, seed=plan.seed, estimator=estimator)
            estimator = tuned.estimator
        return estimator.cross_fit(X, strata, outcome), tuned

    def bounds(
        self,
        cross_fit: CrossFit[Model],
        strata: IntArray,
        outcome: Outcome,
        limits: Mapping[str, float],
    ) -> SurvivalBounds | None:
        """Return bounds calibrated on held-out curves; None with too few events."""
        return SurvivalBounds.fit(cross_fit, strata, outcome, limits=limits)

    def score(self, predicted: FloatArray, outcome: Outcome, scale: Scale) -> dict[str, Estimate]:
        """Return concordance, integrated Brier score and goodness of fit, and calibration at each horizon."""
        scores = self._of_curves(predicted[:, 0], outcome, scale)
        for horizon in scale.horizons:
            figures = self._at(1.0 - predicted[:, 0, scale.column(horizon)], outcome, scale, horizon)
            scores |= {f"{name}_{horizon:g}": estimate for name, estimate in figures.items()}
        return scores

    def _of_curves(self, survival: FloatArray, outcome: Outcome, scale: Scale) -> dict[str, Estimate]:
        """Score survival, shape (patients, times), up to the last time that patients are followed to."""
        if reason := unscored(outcome.event, outcome.duration, scale):
            return dict.fromkeys(OF_CURVES, Estimate.missing(reason))
        survival, times = survival[:, scale.reached], scale.times[scale.reached]
        resampled = scale.resampled(len(outcome))
        risk, until = metrics.restricted_mean_risk(survival, times), float(times[-1])
        errors = integrated_brier(survival, outcome, times)
        same, uno = np.ones(len(outcome)), metrics.uno_weight(outcome)
        return {
            "harrell_c": Estimate.resampled(
                metrics.harrell_c(risk, outcome),
                resampled.concordance(risk, outcome, until=np.inf, weight=same),
            ),
            "uno_c": Estimate.resampled(
                metrics.uno_c(risk, outcome, until=until),
                resampled.concordance(risk, outcome, until=until, weight=uno),
            ),
            "integrated_brier": Estimate.resampled(float(errors.mean()), resampled.mean(errors)),
            **goodness_of_fit(survival, outcome, times),
            SCORED_UNTIL: Estimate(until),
        }

    def _at(self, risk: FloatArray, outcome: Outcome, scale: Scale, horizon: float) -> dict[str, Estimate]:
        if reason := scale.beyond(horizon):
            return missing(reason)
        samples = scale.resampled(len(outcome))
        observed = Observed(
            metrics.observed_risk(outcome, horizon), samples.observed_risk(outcome, horizon=horizon)
        )
        status = Status.by(outcome, horizon=horizon)
        return at_horizon(risk, status, observed, link=COMPLEMENTARY_LOG_LOG, samples=samples)

    def calibrations(
        self, predicted: FloatArray, outcome: Outcome, scale: Scale
    ) -> Mapping[str, metrics.CalibrationCurve]:
        """Return the risk of the event at each horizon that patients are followed to."""
        return {
            f"ici_{h:g}": metrics.calibration(predicted[:, 0, scale.column(h)], outcome, horizon=h)
            for h in scale.horizons
            if scale.beyond(h) is None
        }

    def requirements(self, by_group: Mapping[str, Scores]) -> Iterator[Requirement]:
        """Hold every disease, or everyone where no disease can be judged, to Cox and Kaplan-Meier."""
        for group in [name for name in by_group if name != EVERYONE] or [EVERYONE]:
            yield Requirement(group, group, "uno_c", COX, higher=True)
            yield Requirement(group, group, "integrated_brier", KAPLAN_MEIER, higher=False)

    def sample_sizes(self, outcome: Outcome, parameters: int, *, horizon: float) -> Mapping[str, SampleSize]:
        """Report on the one outcome."""
        return {self.endpoint.name: for_survival(outcome, parameters, horizon)}

    def risk_groups(
        self, predicted: FloatArray, outcome: Outcome, times: FloatArray
    ) -> tuple[RiskGroup, ...]:
        """Split patients by their predicted mean survival up to the last time."""
        survival = predicted[:, 0]
        thirds = np.array_split(np.argsort(metrics.restricted_mean_risk(survival, times), kind="stable"), 3)
        return tuple(
            RiskGroup(name, *kaplan_meier(outcome.take(rows)), times, survival[rows].mean(axis=0))
            for name, rows in zip(RISK_GROUPS, thirds, strict=True)
        )
