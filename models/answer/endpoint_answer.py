"""What one endpoint states of patients of one disease, explained at one horizon: its numbers, and in words.

The numbers of many patients are computed together; a patient's are the same, bit for bit, as alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from features.dictionary import FloatArray
from features.endpoints import SURVIVAL
from features.errors import NotExplained
from models.answer.fitted_endpoint import NO_TIME, FittedEndpoint
from models.estimators.curves import IntArray
from models.estimators.hazard import HazardModel
from models.explanation.attribution import ADDITIVITY, METHOD, PROBABILITY, Explained
from models.explanation.aumann_shapley import Lines, Said, draw_on, fallen_to, say
from models.explanation.path import Known
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

    ``said`` has every number in the order in which :meth:`Statement.said` takes them. ``fallen`` is when
    survival falls to each level asked for, NaN where it does not; nothing where the outcome is not survival.
    """

    said: FloatArray
    fallen: FloatArray
    scores: FloatArray


@dataclass(frozen=True)
class Statement:
    """An endpoint, a disease that it answers for, and the horizon it explains, None without time."""

    endpoint: FittedEndpoint
    disease: str
    horizon: float | None

    @classmethod
    def of(cls, endpoint: FittedEndpoint, disease: str, horizon: float | None) -> "Statement":
        """Return the statement explained at the horizon asked for, or at the one that stands for it."""
        return cls(endpoint, disease, endpoint.explained_at(disease, horizon))

    def numbers(self, X: FloatArray, strata: IntArray) -> "Numbers":
        """Return everything that is said in numbers, a row a patient."""
        model, lines = self.endpoint.model, self.endpoint.explainer.prepared(self.explained).lines
        if isinstance(model, Known) and lines is not None:
            return self._compiled(model, lines, X, strata)
        each = [self._of_any_model(X[row : row + 1], strata[row : row + 1]) for row in range(len(X))]
        return Numbers(*(np.concatenate(parts) for parts in zip(*each, strict=True)))

    def first_answers(self, scores: FloatArray) -> FloatArray:
        """Return the first outcome's probabilities, where it is explained, from scores (rows, scores)."""
        answers = self.endpoint.model.probabilities(scores, self.explained)[:, 0, 0]
        return np.clip(answers, 0.0, 1.0)

    def score_changes(self, X: FloatArray, strata: IntArray, columns: Sequence[int]) -> FloatArray:
        """Return by how much scores of rows that differ in these columns alone differ from the first's."""
        model = self.endpoint.model
        if isinstance(model, Known):
            return model.score_changes(X, strata, columns)
        scores = model.scores(X, strata, self.explained)
        changes: FloatArray = scores - scores[0]
        return changes

    def _compiled(self, model: Known, lines: Lines, X: FloatArray, strata: IntArray) -> "Numbers":
        """Return the numbers of a model whose slopes are known, by compiled arithmetic."""
        trees, said = model.trees, self._said
        shape = len(X), lines.scores.shape[1], X.shape[1]
        columns = np.zeros(shape) if trees is None else trees.contributions(X)
        numbers, fallen = np.empty((len(X), self.count)), np.empty(self._shape(len(X)))
        scores = np.empty(shape[:2])
        missed = say(columns, X, strata, model.sums, lines, said, scores, numbers, fallen)
        if not missed < ADDITIVITY:
            self.endpoint.explainer.explain(X, strata, self.explained)
            raise NotExplained(f"contributions miss the prediction by {missed:.2g}")
        return Numbers(numbers, fallen.reshape(len(X), -1), scores)

    def _of_any_model(self, X: FloatArray, strata: IntArray) -> "Numbers":
        """Return the numbers by a model's own methods; only alone are they always the same."""
        explainer, rows, outcomes = self.endpoint.explainer, len(X), len(self._names)
        scored = explainer.score(X, strata, self.explained)
        explained = explainer.explain_scored(scored, self.explained)
        answers = np.clip(self.endpoint.model.probabilities(scored.scores, self._times), 0.0, 1.0)
        count = len(self._months)
        curve = np.ascontiguousarray(answers[:, :, :count])
        draw_on(curve, self._falls)
        middle = answers[:, :, count:]
        low, high = self.endpoint.intervals.around(middle, X)
        stated = np.stack([middle, low, high], axis=3).reshape(rows, outcomes, -1)
        parts = [stated, curve, *self._on_scales(explained)]
        numbers = np.concatenate(parts, axis=2).reshape(rows, -1)
        return Numbers(numbers, self._fallen(curve), scored.scores)

    def said(self, numbers: Iterator[Any], values: Sequence[Any], times: Iterator[Any]) -> EndpointPrediction:
        """Return the statement about one patient; ``values`` are the predictors', None where missing."""
        fitted = self.endpoint.endpoint
        return EndpointPrediction(
            fitted.name,
            fitted.title,
            fitted.kind,
            tuple(
                OutcomePrediction(
                    outcome=name,
                    label=fitted.labels[name],
                    probabilities=self._probabilities(numbers),
                    curve=self._curve(numbers),
                    median=next(times) if self._falls else None,
                    at_least=next(times) if self._bounded else None,
                    explanation=self._explanation(numbers, values, at),
                )
                for at, name in enumerate(self._names)
            ),
        )

    @cached_property
    def count(self) -> int:
        """Return how many numbers are said of a patient."""
        on_a_scale = 1 + len(self.endpoint.dictionary.fields) + len(self.endpoint.explainer.group_names)
        return len(self._names) * (3 * max(1, len(self._reached)) + len(self._months) + 2 * on_a_scale)

    @property
    def times(self) -> int:
        """Return how many times are said: of survival the median, and a lower bound where there is one."""
        return len(self._names) * len(self._levels)

    def time(self, at: int, months: float) -> MedianTime | LowerBound:
        """Return one of the times, as :meth:`said` takes them; NaN is beyond the follow-up."""
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

    def _on_scales(self, explained: Explained) -> Iterator[FloatArray]:
        """Return what is said on the probability and on its link: prediction, contributions, groups'."""
        for scale in (0, 1):
            yield explained.prediction[:, scale]
            yield explained.contributions[:, scale, :, 0]
            yield explained.grouped[:, scale, :, 0]

    def _fallen(self, curve: FloatArray) -> FloatArray:
        found = np.empty(self._shape(len(curve)))
        if self._falls:
            fallen_to(self._months, curve, self._levels, found)
        return found.reshape(len(curve), -1)

    def _shape(self, rows: int) -> tuple[int, int, int]:
        return rows, len(self._names), len(self._levels)

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
        return Curve((0.0, *months), (1.0 if self._falls else 0.0, *islice(numbers, len(months))))

    def _explanation(self, numbers: Iterator[Any], values: Sequence[Any], outcome: int) -> Explanation:
        explainer, name = self.endpoint.explainer, self._names[outcome]
        link = explainer.links[outcome].name
        by = "" if self.horizon is None else f" {self.endpoint.by} {self.horizon:g} months"
        units = self.endpoint.words(name, self.horizon), f"{link.replace('_', ' ')}{by}"
        references = explainer.prepared(self.explained).reference[:, outcome, 0].tolist()
        scales = zip((PROBABILITY, link), units, references, strict=True)
        return Explanation(
            self.horizon, METHOD, tuple(self._scale(numbers, values, *scale) for scale in scales)
        )

    def _scale(
        self, numbers: Iterator[Any], values: Sequence[Any], scale: str, unit: str, reference: float
    ) -> ExplainedScale:
        prediction = next(numbers)
        contributions = tuple(
            Contribution(field.name, field.label, field.group, value, field.unit, next(numbers))
            for field, value in zip(self.endpoint.dictionary.fields, values, strict=True)
        )
        names = self.endpoint.explainer.group_names
        groups = tuple(GroupContribution(name, next(numbers)) for name in names)
        return ExplainedScale(scale, unit, prediction, reference, REFERENCE, contributions, groups)

    @cached_property
    def _said(self) -> Said:
        fitted, explainer = self.endpoint, self.endpoint.explainer
        return Said(
            self._months,
            fitted.model.exposure(self._times) if isinstance(fitted.model, HazardModel) else np.empty((0, 0)),
            explainer.owner,
            explainer.disease,
            fitted.intervals.means,
            fitted.intervals.scales,
            fitted.intervals.reach(),
            self._falls,
            self._levels,
            explainer.group,
            len(explainer.group_names),
            explainer.prepared(self.explained).reference.ravel(),
        )

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return self.endpoint.model.outcomes

    @cached_property
    def _levels(self) -> FloatArray:
        """Return the survival that is asked for when it is fallen to: one half, and the bound's."""
        if not self._falls:
            return np.empty(0)
        bounds = self.endpoint.bounds
        return np.array([0.5] if bounds is None else [0.5, 1.0 - bounds.chance(self.disease)])

    @property
    def _bounded(self) -> bool:
        return self._falls and self.endpoint.bounds is not None

    @property
    def _falls(self) -> bool:
        return self.endpoint.endpoint.kind == SURVIVAL

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
