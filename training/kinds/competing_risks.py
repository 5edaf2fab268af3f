"""Competing risks: the time to the first of several events."""

from collections.abc import Iterator, Mapping

import numpy as np

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.endpoints import CompetingOutcome
from training import metrics
from training.baselines.competing_risks import AALEN_JOHANSEN, fit_aalen_johansen, fit_cause_specific_cox
from training.baselines.survival import COX
from training.kinds.interface import FitBaseline, Kind, Requirement
from training.sample_size import SampleSize, for_competing
from training.scoring import EVERYONE, Estimate, Scale, Scores


class CompetingRisksKind(Kind[CompetingOutcome]):
    """An endpoint whose outcomes are the causes 1, 2, ... in order."""

    @property
    def baselines(self) -> Mapping[str, FitBaseline[CompetingOutcome]]:
        """Return Aalen-Johansen and the cause-specific Cox regressions."""
        return {AALEN_JOHANSEN: fit_aalen_johansen, COX: fit_cause_specific_cox}

    def times(self, outcome: CompetingOutcome) -> Outcome:
        """Return the time to the first event of any cause."""
        return outcome.any_event()

    def score(self, predicted: FloatArray, outcome: CompetingOutcome, scale: Scale) -> dict[str, Estimate]:
        """Return each cause's concordance, integrated Brier score, and calibration at each horizon."""
        scores: dict[str, Estimate] = {}
        resampled, until = scale.resampled(len(outcome)), float(scale.times[-1])
        same = np.ones(len(outcome))
        for cause, name in enumerate(self.names, start=1):
            incidence, times = predicted[:, cause - 1], metrics.of_cause(outcome, cause)
            risk = incidence[:, -1]
            errors = metrics.incidence_brier(incidence, outcome, cause, scale.times)
            scores[f"{name}.c"] = Estimate.resampled(
                metrics.concordance(risk, times, until=until),
                resampled.concordance(risk, times, until=until, weight=same),
            )
            scores[f"{name}.integrated_brier"] = Estimate.resampled(
                float(errors.mean()), resampled.mean(errors)
            )
            for horizon in scale.horizons:
                at = incidence[:, scale.column(horizon)]
                ratio = metrics.observed_incidence(outcome, cause, horizon) / float(at.mean())
                scores[f"{name}.observed_to_expected_{horizon:g}"] = Estimate.without_interval(ratio)
        return scores

    def calibrations(
        self, predicted: FloatArray, outcome: CompetingOutcome, scale: Scale
    ) -> tuple[metrics.CalibrationCurve, ...]:
        """Return the first cause's incidence at each horizon."""
        return tuple(
            metrics.calibration_of_cause(predicted[:, 0, scale.column(h)], outcome, 1, horizon=h)
            for h in scale.horizons
        )

    def requirements(self, by_group: Mapping[str, Scores]) -> Iterator[Requirement]:
        """Hold every cause, in everyone, to cause-specific Cox regressions and Aalen-Johansen."""
        for cause in self.names:
            yield Requirement(cause, EVERYONE, f"{cause}.c", COX, higher=True)
            yield Requirement(cause, EVERYONE, f"{cause}.integrated_brier", AALEN_JOHANSEN, higher=False)

    def sample_sizes(
        self, outcome: CompetingOutcome, parameters: int, *, horizon: float
    ) -> Mapping[str, SampleSize]:
        """Report on each cause's hazard."""
        return for_competing(outcome, parameters, horizon)
