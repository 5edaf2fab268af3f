"""Response: one or several nested shares of patients, without time."""

from collections.abc import Iterator, Mapping

import numpy as np

from features.censoring import BoolArray, Outcome
from features.dictionary import FloatArray
from features.endpoints import LOG_ODDS, ResponseOutcome
from training import metrics
from training.baselines.response import LOGISTIC, PREVALENCE, fit_logistic, fit_prevalence
from training.kinds.at_horizon import Observed, at_horizon, missing
from training.kinds.interface import FitBaseline, Kind, Requirement
from training.sample_size import SampleSize, for_response
from training.scoring import EVERYONE, MODEL, Estimate, Scale, Scores
from training.status import Status


class ResponseKind(Kind[ResponseOutcome]):
    """An endpoint whose outcomes go from the strictest response to the broadest."""

    fewest_repeats = 3

    @property
    def baselines(self) -> Mapping[str, FitBaseline[ResponseOutcome]]:
        """Return the disease's share and the logistic regression."""
        return {PREVALENCE: fit_prevalence, LOGISTIC: fit_logistic}

    def times(self, outcome: ResponseOutcome) -> Outcome:
        """Return the broadest response as an event at time one, the others censored there."""
        broadest = outcome.parts[-1]
        return Outcome(np.ones(len(outcome)), broadest.event & broadest.known)

    def score(self, predicted: FloatArray, outcome: ResponseOutcome, scale: Scale) -> dict[str, Estimate]:
        """Return each response's area under the curve, Brier score and calibration where it is known."""
        scores: dict[str, Estimate] = {}
        for at, (name, part) in enumerate(zip(outcome.names, outcome.parts, strict=True)):
            figures = _score(predicted[part.known, at, 0], part.event[part.known], scale)
            scores |= {f"{name}.{figure}": estimate for figure, estimate in figures.items()}
        return scores

    def calibrations(
        self, predicted: FloatArray, outcome: ResponseOutcome, scale: Scale
    ) -> Mapping[str, metrics.CalibrationCurve]:
        """Return the strictest response, among patients in whom it is known."""
        part = outcome.parts[0]
        curve = metrics.calibration_of_share(predicted[part.known, 0, 0], part.event[part.known])
        return {f"{outcome.names[0]}.ici": curve}

    def requirements(self, by_group: Mapping[str, Scores]) -> Iterator[Requirement]:
        """Hold every response that the cohort tells apart, in everyone, to the regression and the share."""
        scored = {metric.partition(".")[0] for metric in by_group[EVERYONE][MODEL]}
        for name in (name for name in self.names if name in scored):
            yield Requirement(name, EVERYONE, f"{name}.auc", LOGISTIC, higher=True)
            yield Requirement(name, EVERYONE, f"{name}.brier", PREVALENCE, higher=False)

    def sample_sizes(
        self, outcome: ResponseOutcome, parameters: int, *, horizon: float
    ) -> Mapping[str, SampleSize]:
        """Report on each response; time does not count."""
        return {
            name: for_response(part, parameters)
            for name, part in zip(outcome.names, outcome.parts, strict=True)
        }


def _score(probability: FloatArray, event: BoolArray, scale: Scale) -> dict[str, Estimate]:
    status, samples = Status.certain(event), scale.resampled(len(event))
    if shortage := status.shortage:
        return dict.fromkeys(("auc", "brier"), Estimate.missing(shortage)) | missing(shortage)
    pairs, errors = metrics.as_pairs(event), metrics.brier(probability, event)
    concordance = samples.concordance(probability, pairs, until=np.inf, weight=np.ones(len(event)))
    observed = Observed(float(event.mean()), samples.mean(event.astype(np.float64)))
    return {
        "auc": Estimate.resampled(metrics.harrell_c(probability, pairs), concordance),
        "brier": Estimate.resampled(float(errors.mean()), samples.mean(errors)),
        **at_horizon(probability, status, observed, link=LOG_ODDS, samples=samples),
    }
