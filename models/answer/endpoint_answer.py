"""One endpoint's answers to patients of one disease, explained at one horizon: numbers, and their meaning.

The numbers of many patients are computed together; a patient's are the same, bit for bit, as alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from features.dictionary import FloatArray
from models.answer.curves import crossing_times, monotone
from models.answer.fitted_endpoint import FittedEndpoint
from models.estimators.additive import AdditiveModel
from models.estimators.curves import IntArray
from models.estimators.interface import NO_TIME
from models.estimators.transforms import Steps, probabilities, probabilities_after
from models.explanation.attribution import PROBABILITY, Attributions
from models.prediction import (
    Contribution,
    Curve,
    EndpointPrediction,
    ExplainedScale,
    Explanation,
    GroupContribution,
    LowerBound,
    MedianTime,
    OutcomePrediction,
    Probability,
)

REFERENCE = "mean prediction of the training cohort"


class Numbers(NamedTuple):
    """What is computed of some patients, a row each.

    ``values`` has every number in the order in which :meth:`EndpointAnswer.prediction` takes them.
    ``crossings`` are the months at which survival falls to each reported level, NaN where it does not; empty
    where probabilities rise. ``scores`` are an additive model's.
    """

    values: FloatArray
    crossings: FloatArray
    scores: FloatArray | None


@dataclass(frozen=True)
class EndpointAnswer:
    """An endpoint, a disease that it answers for, and the horizon it explains, None without time."""

    endpoint: FittedEndpoint
    disease: str
    horizon: float | None

    @classmethod
    def of(cls, endpoint: FittedEndpoint, disease: str, horizon: float | None) -> "EndpointAnswer":
        """Return the answer explained at the requested horizon, or at the one that stands for it."""
        return cls(endpoint, disease, endpoint.explained_at(disease, horizon))

    def numbers(self, X: FloatArray, strata: IntArray) -> Numbers:
        """Return every number of the answers, a row a patient."""
        if isinstance(self.endpoint.model, AdditiveModel):
            return self._numbers(X, strata)
        each = [self._numbers(X[at : at + 1], strata[at : at + 1]) for at in range(len(X))]
        return Numbers(np.vstack([one.values for one in each]), np.vstack([o.crossings for o in each]), None)

    def _numbers(self, X: FloatArray, strata: IntArray) -> Numbers:
        attributions = self.endpoint.explainer.explain(X, strata, self.explained)
        probability = self._drawn(X, strata, attributions.scores)
        curve, stated = probability[:, :, : len(self._months)], probability[:, :, len(self._months) :]
        curve = monotone(curve, falling=self.endpoint.endpoint.falls)
        ends = self.endpoint.intervals.around(stated, X)
        stated = np.stack([stated, *ends], axis=3).reshape(*stated.shape[:2], -1)
        parts = [stated, curve, *self._on_scales(attributions)]
        values = np.concatenate(parts, axis=2).reshape(len(X), -1)
        crossings = crossing_times(self._months, curve, self._levels).reshape(len(X), -1)
        return Numbers(values, crossings, attributions.scores)

    def _drawn(self, X: FloatArray, strata: IntArray, scores: FloatArray | None) -> FloatArray:
        """Return probabilities at the curve's months and the supported horizons."""
        if scores is None or self._steps is None:
            return self.endpoint.probabilities(X, strata, self._times)
        return probabilities_after(self._steps, scores)

    @cached_property
    def _steps(self) -> Steps | None:
        """Return an additive model's transform at the curve's months and the supported horizons."""
        model = self.endpoint.model
        return model.transform.at(self._times) if isinstance(model, AdditiveModel) else None

    def _on_scales(self, attributions: Attributions) -> Iterator[FloatArray]:
        """Yield, on the probability and on its link: prediction, contributions, groups', standard error."""
        grouped = attributions.by_group(self.endpoint.group)
        for scale in (0, 1):
            yield attributions.prediction[:, scale]
            yield attributions.contributions[:, scale, :, 0]
            yield grouped[:, scale, :, 0]
            if attributions.standard_error is not None:
                yield attributions.standard_error[:, scale]

    def first_answers(self, X: FloatArray, strata: IntArray, scores: FloatArray | None) -> FloatArray:
        """Return the first outcome's probabilities at the explained horizon, shape (rows,)."""
        model = self.endpoint.model
        if scores is None or not isinstance(model, AdditiveModel):
            return self.endpoint.probabilities(X, strata, self.explained)[:, 0, 0]
        return probabilities(model.transform, scores, self.explained)[:, 0, 0]

    def score_changes(self, X: FloatArray, strata: IntArray, columns: Sequence[int]) -> FloatArray | None:
        """Return an additive model's score changes of rows that differ in these columns alone."""
        model = self.endpoint.model
        return model.score_changes(X, strata, columns) if isinstance(model, AdditiveModel) else None

    def prediction(
        self, numbers: Iterator[Any], values: Sequence[Any], times: Iterator[Any]
    ) -> EndpointPrediction:
        """Return the answer to one patient; ``values`` are the predictors', None where missing."""
        declared = self.endpoint.endpoint
        return EndpointPrediction(
            declared.name,
            declared.title,
            declared.kind,
            tuple(
                OutcomePrediction(
                    outcome=name,
                    label=declared.labels[name],
                    probabilities=self._probabilities(numbers),
                    curve=self._curve(numbers),
                    median=next(times) if declared.falls else None,
                    at_least=next(times) if self.endpoint.bounds is not None else None,
                    explanation=self._explanation(numbers, values, at),
                )
                for at, name in enumerate(self._names)
            ),
        )

    @cached_property
    def count(self) -> int:
        """Return the number of numbers in one patient's answer."""
        on_a_scale = 1 + len(self.endpoint.dictionary.fields) + len(self.endpoint.group_names)
        on_a_scale += 0 if self._exact else 1
        return len(self._names) * (3 * max(1, len(self._reached)) + len(self._months) + 2 * on_a_scale)

    @property
    def times(self) -> int:
        """Return the number of times in one answer: the median and, where known, a lower bound."""
        return len(self._names) * len(self._levels)

    def time(self, at: int, months: float) -> MedianTime | LowerBound:
        """Return one of the times, as :meth:`prediction` takes them; NaN is beyond the follow-up."""
        if at % len(self._levels) == 0:
            return self._median(months)
        limit, bounds = self.endpoint.supported[self.disease], self.endpoint.bounds
        return LowerBound(months if months == months else limit, bounds.level if bounds else np.nan)

    def _median(self, months: float) -> MedianTime:
        if months == months:
            return MedianTime(months)
        limit = self.endpoint.supported[self.disease]
        return MedianTime(
            None, f"more than half are predicted to get beyond {limit:.0f} months, where follow-up ends"
        )

    def _probabilities(self, numbers: Iterator[Any]) -> tuple[Probability, ...]:
        if self.horizon is None:
            return (Probability(None, *islice(numbers, 3)),)
        beyond = f"follow-up in this disease supports {self.endpoint.supported[self.disease]:.0f} months"
        return tuple(
            Probability(h, *islice(numbers, 3)) if h in self._reached else Probability(h, None, reason=beyond)
            for h in self.endpoint.horizons
        )

    def _curve(self, numbers: Iterator[Any]) -> Curve | None:
        if self.horizon is None:
            return None
        months = self._months.tolist()
        start = 1.0 if self.endpoint.endpoint.falls else 0.0
        return Curve((0.0, *months), (start, *islice(numbers, len(months))))

    def _explanation(self, numbers: Iterator[Any], values: Sequence[Any], outcome: int) -> Explanation:
        name, link = self._names[outcome], self.endpoint.endpoint.link
        by = "" if self.horizon is None else f" {self.endpoint.by} {self.horizon:g} months"
        units = self.endpoint.words(name, self.horizon), f"{link.replace('_', ' ')}{by}"
        references = self._references[:, outcome, 0].tolist()
        scales = zip((PROBABILITY, link), units, references, strict=True)
        return Explanation(
            self.horizon,
            self.endpoint.explainer.method,
            tuple(self._scale(numbers, values, *scale) for scale in scales),
        )

    def _scale(
        self, numbers: Iterator[Any], values: Sequence[Any], scale: str, unit: str, reference: float
    ) -> ExplainedScale:
        prediction = next(numbers)
        contributions = tuple(
            Contribution(field.name, field.label, field.group, value, field.unit, next(numbers))
            for field, value in zip(self.endpoint.dictionary.fields, values, strict=True)
        )
        groups = tuple(GroupContribution(name, next(numbers)) for name in self.endpoint.group_names)
        error = None if self._exact else next(numbers)
        return ExplainedScale(scale, unit, prediction, reference, REFERENCE, error, contributions, groups)

    @property
    def _exact(self) -> bool:
        return isinstance(self.endpoint.model, AdditiveModel)

    @cached_property
    def _references(self) -> FloatArray:
        return self.endpoint.explainer.reference(self.explained)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return self.endpoint.model.outcomes

    @cached_property
    def _levels(self) -> FloatArray:
        """Return the survival levels whose crossing times are reported: one half, and the lower bound's."""
        if not self.endpoint.endpoint.falls:
            return np.empty(0)
        bounds = self.endpoint.bounds
        return np.array([0.5] if bounds is None else [0.5, 1.0 - bounds.chance(self.disease)])

    @cached_property
    def _reached(self) -> tuple[float, ...]:
        return self.endpoint.explainable(self.disease)

    @cached_property
    def _months(self) -> FloatArray:
        """Return the months at which a curve is drawn after 0."""
        return np.empty(0) if self.horizon is None else curve_months(self.endpoint.supported[self.disease])

    @cached_property
    def _times(self) -> FloatArray:
        """Return the curve's months and behind them the supported horizons."""
        return np.append(self._months, self._reached) if self._reached else NO_TIME

    @cached_property
    def explained(self) -> FloatArray:
        """Return the explained horizon as a model takes it."""
        return NO_TIME if self.horizon is None else np.array([self.horizon])


def curve_months(limit: float) -> FloatArray:
    """Return the months at which a curve is drawn: every second one, and the last supported one."""
    return np.unique(np.append(np.arange(2.0, limit, 2.0), limit))
