"""One endpoint's answers to patients of one disease, explained at one horizon: numbers, and their meaning.

The numbers of many patients are computed together; a patient's are the same, bit for bit, as alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from features.censoring import BoolArray
from features.dictionary import Field, FloatArray
from models.answer.coherence import event_free, reconciled, relations
from models.answer.curves import monotone, monotone_ends
from models.answer.fitted_endpoint import FittedEndpoint
from models.answer.times import SurvivalTimes
from models.estimators.additive import AdditiveModel
from models.estimators.curves import IntArray
from models.estimators.interface import NO_TIME
from models.estimators.links import on_both_scales
from models.estimators.transforms import Steps, probabilities_after
from models.explanation.attribution import PROBABILITY, Attributions, Explainer
from models.patient.completion import Completions
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
    RestrictedMean,
)

REFERENCE = "mean prediction of the training patients with this disease"
WHOLE = "mean prediction of all training patients"


class Numbers(NamedTuple):
    """What is computed of some patients, a row each.

    ``values`` has every number in the order in which :meth:`EndpointAnswer.prediction` takes them.
    ``times`` are survival outcomes' times, as :class:`SurvivalTimes` reads them; empty where probabilities
    rise. ``scores`` (rows, scores) are an additive model's, of every complete row, and
    ``shares`` (rows, scores, predictors) what they are sums of; ``now`` (patients,) are the first outcome's
    probabilities at the explained horizon.
    """

    values: FloatArray
    times: FloatArray
    scores: FloatArray | None
    shares: FloatArray | None
    now: FloatArray


@dataclass(frozen=True)
class EndpointAnswer:
    """An endpoint, a disease that it answers for, and the horizon it explains, None without time.

    ``diseases`` are the protocol's, in order; ``others`` the endpoints that the answer must not contradict.
    """

    endpoint: FittedEndpoint
    diseases: tuple[str, ...]
    disease: str
    horizon: float | None
    others: tuple[FittedEndpoint, ...] = ()

    @classmethod
    def of(
        cls,
        endpoint: FittedEndpoint,
        diseases: tuple[str, ...],
        disease: str,
        horizon: float | None,
        protocol: Sequence[FittedEndpoint] = (),
    ) -> "EndpointAnswer":
        """Return the answer explained at the requested horizon, or at the one that stands for it.

        ``protocol`` are all endpoints of the protocol.
        """
        stands = relations(endpoint.endpoint, [other.endpoint for other in protocol])
        named = {other.endpoint.name: other for other in protocol}
        others = tuple(named[relation.other] for relation in stands)
        return cls(endpoint, diseases, disease, endpoint.explained_at(disease, horizon), others)

    def numbers(self, patients: Completions, X: FloatArray) -> Numbers:
        """Return every number of the answers, a row a patient, encoded as given in ``X``."""
        if isinstance(self.endpoint.model, AdditiveModel):
            return self._numbers(patients, X)
        each = [self._numbers(one, X[at : at + 1]) for at, one in enumerate(patients.one_by_one())]
        return Numbers(
            values=np.vstack([one.values for one in each]),
            times=np.vstack([one.times for one in each]),
            scores=None,
            shares=None,
            now=np.concatenate([one.now for one in each]),
        )

    def _numbers(self, patients: Completions, X: FloatArray) -> Numbers:
        attributions = self.explainer.explain(patients, self.explained)
        each = self._drawn(patients.X, attributions.scores)
        own, falls = patients.mean(each), self.endpoint.endpoint.falls
        probability, drawn = self._coherent(patients, own), len(self.months)
        strata, spread = np.full(len(X), self._stratum), self._spread(patients, each)
        low, high = self.endpoint.intervals.around(probability, X, strata, self._times, spread)
        curve, stated = monotone(probability[:, :, :drawn], falling=falls), probability[:, :, drawn:]
        around = monotone_ends(low[:, :, :drawn], high[:, :, :drawn], falling=falls)
        low, high = monotone_ends(low[:, :, drawn:], high[:, :, drawn:], falling=falls)
        attributions = self._moved(attributions, probability)
        stated = np.stack([stated, low, high], axis=3).reshape(*stated.shape[:2], -1)
        parts = [stated, curve, *self._on_scales(attributions, patients.unknown)]
        values = np.concatenate(parts, axis=2).reshape(len(X), -1)
        times = self._survival_times.read(curve, *around) if falls else np.empty((len(X), 0))
        now = attributions.prediction[:, 0, 0, 0]
        return Numbers(values, times, attributions.scores, attributions.shares, now)

    def _coherent(self, patients: Completions, own: FloatArray) -> FloatArray:
        """Return probabilities (patients, outcomes, times) that contradict no other endpoint's."""
        if not self.others:
            return own
        stands = relations(self.endpoint.endpoint, [other.endpoint for other in self.others])
        strata = np.full(len(own), self._stratum)
        free = {}
        for other in self.others:
            found = event_free(other.endpoint, other.probabilities(patients, strata, self._times))
            reached = self._times <= other.supported[self.disease]
            free[other.endpoint.name] = np.where(reached, found, np.nan)
        return reconciled(own[:, 0], stands, free)[:, None]

    def _moved(self, attributions: Attributions, probability: FloatArray) -> Attributions:
        """Return attributions of the coherent answer, with what moved it there."""
        if not self.others:
            return attributions
        at = len(self.months) + self._reached.index(float(self.explained[0]))
        prediction = on_both_scales(probability[:, :, at : at + 1], self.endpoint.intervals.link)
        return replace(attributions, prediction=prediction, moved=prediction - attributions.prediction)

    def _spread(self, patients: Completions, each: FloatArray) -> FloatArray | None:
        """Return the variance on the link's scale of what the rows of each patient are answered."""
        if patients.complete:
            return None
        return patients.variance(self.endpoint.intervals.link.value(each))

    def _drawn(self, X: FloatArray, scores: FloatArray | None) -> FloatArray:
        """Return rows' probabilities at the curve's months and the supported horizons."""
        if scores is None or self._steps is None:
            strata = np.full(len(X), self._stratum)
            return np.clip(self.endpoint.model.predict(X, strata, self._times), 0.0, 1.0)
        return probabilities_after(self._steps, scores)

    @cached_property
    def _steps(self) -> Steps | None:
        """Return an additive model's transform at the curve's months and the supported horizons."""
        model = self.endpoint.model
        return model.transform.at(self._times) if isinstance(model, AdditiveModel) else None

    def _on_scales(self, attributions: Attributions, unknown: BoolArray) -> Iterator[FloatArray]:
        """Yield, on the probability and on its link: prediction, contributions, groups', standard error."""
        names = self.endpoint.group_names
        group = np.where(unknown, len(names) - 1, self.endpoint.group)
        grouped = attributions.by_group(group, len(names))
        for scale in (0, 1):
            yield attributions.prediction[:, scale]
            yield attributions.coherence[:, scale]
            yield attributions.contributions[:, scale, :, 0][..., self._applying]
            yield grouped[:, scale, :, 0]
            if attributions.standard_error is not None:
                yield attributions.standard_error[:, scale]

    def first_answers(self, scores: FloatArray) -> FloatArray:
        """Return an additive model's first probabilities at the explained horizon, (rows,), from scores."""
        return probabilities_after(self._explained_steps, scores)[:, 0, 0]

    def first_probabilities(self, X: FloatArray) -> FloatArray:
        """Return any model's first probabilities at the explained horizon, (rows,), from complete rows."""
        strata = np.full(len(X), self._stratum)
        return np.clip(self.endpoint.model.predict(X, strata, self.explained), 0.0, 1.0)[:, 0, 0]

    @cached_property
    def _explained_steps(self) -> Steps:
        model = self.endpoint.model
        assert isinstance(model, AdditiveModel)
        return model.transform.at(self.explained)

    def prediction(
        self, numbers: Iterator[Any], values: Sequence[Any], times: Iterator[Any]
    ) -> EndpointPrediction:
        """Return the answer to one patient; ``values`` are the applying predictors', None where missing."""
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
                    restricted_mean=next(times) if declared.falls else None,
                    at_least=next(times) if self.endpoint.bounds is not None else None,
                    explanation=self._explanation(numbers, values, at),
                )
                for at, name in enumerate(self._names)
            ),
        )

    @cached_property
    def count(self) -> int:
        """Return the number of numbers in one patient's answer."""
        on_a_scale = 2 + len(self._applying) + len(self.endpoint.group_names)
        on_a_scale += 0 if self._exact else 1
        return len(self._names) * (3 * max(1, len(self._reached)) + len(self.months) + 2 * on_a_scale)

    @property
    def times(self) -> int:
        """Return how many results one answer has that are times."""
        falls = self.endpoint.endpoint.falls
        return len(self._names) * self._survival_times.count if falls else 0

    def times_of(self, months: Sequence[float]) -> list[MedianTime | RestrictedMean | LowerBound]:
        """Return these results, given one patient's ``times``."""
        return self._survival_times.results(months) if self.endpoint.endpoint.falls else []

    @cached_property
    def _survival_times(self) -> SurvivalTimes:
        bounds = self.endpoint.bounds
        return SurvivalTimes(
            months=self.months,
            horizon=float(self.explained[0]),
            limit=self.endpoint.supported[self.disease],
            bound=None if bounds is None else (1.0 - bounds.chance(self.disease), bounds.level),
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
        months = self.months.tolist()
        start = 1.0 if self.endpoint.endpoint.falls else 0.0
        return Curve((0.0, *months), (start, *islice(numbers, len(months))))

    def _explanation(self, numbers: Iterator[Any], values: Sequence[Any], outcome: int) -> Explanation:
        name, link = self._names[outcome], self.endpoint.endpoint.link
        by = "" if self.horizon is None else f" {self.endpoint.by} {self.horizon:g} months"
        units = self.endpoint.words(name, self.horizon), f"{link.replace('_', ' ')}{by}"
        references, whole = self._references[:, outcome, 0].tolist(), self._whole[:, outcome, 0].tolist()
        scales = zip((PROBABILITY, link), units, references, whole, strict=True)
        return Explanation(
            self.horizon,
            self.explainer.method,
            tuple(self._scale(numbers, values, *scale) for scale in scales),
        )

    def _scale(
        self,
        numbers: Iterator[Any],
        values: Sequence[Any],
        scale: str,
        unit: str,
        reference: float,
        whole: float,
    ) -> ExplainedScale:
        prediction, coherence = next(numbers), next(numbers)
        contributions = tuple(
            Contribution(field.name, field.label, field.group, value, field.unit, next(numbers))
            for field, value in zip(self._fields, values, strict=True)
        )
        groups = tuple(GroupContribution(name, next(numbers)) for name in self.endpoint.group_names)
        error = None if self._exact else next(numbers)
        return ExplainedScale(
            scale,
            unit,
            prediction,
            reference,
            REFERENCE,
            whole,
            WHOLE,
            coherence,
            error,
            contributions,
            groups,
        )

    @property
    def _exact(self) -> bool:
        return isinstance(self.endpoint.model, AdditiveModel)

    @cached_property
    def explainer(self) -> Explainer:
        """Return what explains the endpoint in the disease."""
        return self.endpoint.explainer(self.disease, self._stratum)

    @cached_property
    def _references(self) -> FloatArray:
        return self.explainer.reference(self.explained)

    @cached_property
    def _whole(self) -> FloatArray:
        return self.endpoint.whole_reference(self.diseases, self.explained)

    @cached_property
    def _applying(self) -> IntArray:
        """Return the places of the predictors that have a meaning in the disease."""
        fields = self.endpoint.dictionary.fields
        return np.array([at for at, field in enumerate(fields) if field.applies(self.disease)])

    @cached_property
    def _fields(self) -> tuple[Field, ...]:
        return tuple(self.endpoint.dictionary.fields[at] for at in self._applying)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return self.endpoint.model.outcomes

    @cached_property
    def _reached(self) -> tuple[float, ...]:
        return self.endpoint.explainable(self.disease)

    @cached_property
    def months(self) -> FloatArray:
        """Return the months at which a curve is drawn after 0."""
        return np.empty(0) if self.horizon is None else curve_months(self.endpoint.supported[self.disease])

    @cached_property
    def _stratum(self) -> int:
        return self.diseases.index(self.disease)

    @cached_property
    def _stated(self) -> FloatArray:
        """Return the supported horizons as a model takes them."""
        return np.array(self._reached) if self._reached else NO_TIME

    @cached_property
    def _times(self) -> FloatArray:
        """Return the curve's months and behind them the supported horizons."""
        return np.append(self.months, self._reached) if self._reached else NO_TIME

    @cached_property
    def explained(self) -> FloatArray:
        """Return the explained horizon as a model takes it."""
        return NO_TIME if self.horizon is None else np.array([self.horizon])


def curve_months(limit: float) -> FloatArray:
    """Return the months at which a curve is drawn: every second one, and the last supported one."""
    return np.unique(np.append(np.arange(2.0, limit, 2.0), limit))
