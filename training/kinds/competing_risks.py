"""Competing risks: the time to the first of several events."""

from collections.abc import Iterator, Mapping

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.endpoints import COMPLEMENTARY_LOG_LOG, CompetingOutcome
from training import metrics
from training.baselines.competing_risks import AALEN_JOHANSEN, fit_aalen_johansen, fit_cause_specific_cox
from training.baselines.survival import COX
from training.bootstrap import BootstrapSamples
from training.kinds.at_horizon import Observed, at_horizon, missing
from training.kinds.interface import FitBaseline, Kind, Requirement
from training.kinds.over_follow_up import GOODNESS_OF_FIT, SCORED_UNTIL, goodness_of_fit, unscored
from training.sample_size import SampleSize, for_competing
from training.scoring import EVERYONE, Estimate, Scale, Scores
from training.status import Status

OF_CURVES = ("c", "integrated_brier")


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
        """Return each cause's concordance, Brier score and calibration, and of all causes goodness of fit."""
        scores: dict[str, Estimate] = {}
        for cause, name in enumerate(self.names, start=1):
            incidence = predicted[:, cause - 1]
            figures = _of_curves(incidence, outcome, cause, scale)
            for horizon in scale.horizons:
                at = _at(incidence[:, scale.column(horizon)], outcome, cause, scale, horizon)
                figures |= {f"{figure}_{horizon:g}": estimate for figure, estimate in at.items()}
            scores |= {f"{name}.{figure}": estimate for figure, estimate in figures.items()}
        return scores | _of_all_causes(predicted[:, : len(self.names)].sum(axis=1), outcome, scale)

    def calibrations(
        self, predicted: FloatArray, outcome: CompetingOutcome, scale: Scale
    ) -> Mapping[str, metrics.CalibrationCurve]:
        """Return the first cause's incidence at each horizon that patients are followed to."""
        first = predicted[:, 0]
        return {
            f"{self.names[0]}.ici_{h:g}": metrics.calibration_of_cause(
                first[:, scale.column(h)], outcome, 1, horizon=h
            )
            for h in scale.horizons
            if scale.beyond(h) is None
        }

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


def _of_curves(
    incidence: FloatArray, outcome: CompetingOutcome, cause: int, scale: Scale
) -> dict[str, Estimate]:
    """Score one cause's incidence, shape (patients, times), up to the last time that patients reach."""
    if reason := unscored(outcome.cause == cause, outcome.duration, scale):
        return dict.fromkeys(OF_CURVES, Estimate.missing(reason))
    incidence, times = incidence[:, scale.reached], scale.times[scale.reached]
    everyone, resampled = BootstrapSamples.once(len(outcome)), scale.resampled(len(outcome))
    errors = metrics.incidence_brier(incidence, outcome, cause, times)
    risk, until = incidence[:, -1], float(times[-1])
    value, samples = (
        drawn.competing_concordance(risk, outcome, cause, until=until) for drawn in (everyone, resampled)
    )
    return {
        "c": Estimate.resampled(float(value[0]), samples),
        "integrated_brier": Estimate.resampled(float(errors.mean()), resampled.mean(errors)),
    }


def _at(
    risk: FloatArray, outcome: CompetingOutcome, cause: int, scale: Scale, horizon: float
) -> dict[str, Estimate]:
    if reason := scale.beyond(horizon):
        return missing(reason)
    samples = scale.resampled(len(outcome))
    observed = Observed(
        metrics.observed_incidence(outcome, cause, horizon),
        samples.observed_incidence(outcome, cause, horizon=horizon),
    )
    status = Status.of_cause(outcome, cause, horizon=horizon)
    return at_horizon(risk, status, observed, link=COMPLEMENTARY_LOG_LOG, samples=samples)


def _of_all_causes(incidence: FloatArray, outcome: CompetingOutcome, scale: Scale) -> dict[str, Estimate]:
    """Test the share free of every cause; ``incidence`` is that of all causes, (patients, times)."""
    anything = outcome.any_event()
    if reason := unscored(anything.event, anything.duration, scale):
        return dict.fromkeys((*GOODNESS_OF_FIT, SCORED_UNTIL), Estimate.missing(reason))
    times = scale.times[scale.reached]
    tests = goodness_of_fit(1.0 - incidence[:, scale.reached], anything, times)
    return tests | {SCORED_UNTIL: Estimate(float(times[-1]))}
