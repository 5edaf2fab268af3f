"""One endpoint of a bundle: its model, what its answers start from, how far they reach, how sure they are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from features.cohort import Cohort
from features.dictionary import Dictionary, FloatArray
from features.endpoints import COMPETING_RISKS, ENDPOINTS, RESPONSE, SURVIVAL, Endpoint
from models.background import Background
from models.competing import CompetingModel
from models.curves import IntArray, median_time
from models.endpoint import EndpointModel, probabilities
from models.explanation import METHOD, Attribution, EndpointExplainer, Explained
from models.hazard import HazardModel
from models.prediction import (
    Contribution,
    Curve,
    EndpointPrediction,
    ExplainedScale,
    Explanation,
    GroupContribution,
    MedianTime,
    OutcomePrediction,
    Probability,
)
from models.response import ResponseModel
from models.uncertainty import Intervals

REFERENCE = "mean prediction of the training cohort"
READERS: Mapping[str, Callable[[Mapping[str, bytes]], EndpointModel]] = {
    SURVIVAL: HazardModel.from_files,
    COMPETING_RISKS: CompetingModel.from_files,
    RESPONSE: ResponseModel.from_files,
}
NO_TIME = np.zeros(1)


@dataclass(frozen=True)
class Asked:
    """One patient as the endpoints' models take them: values, encoded row, disease, explained horizon."""

    patient: Cohort
    X: FloatArray
    strata: IntArray
    disease: str
    horizon: float | None


@dataclass(frozen=True)
class FittedEndpoint:
    """Everything needed to answer for one endpoint.

    ``supported`` says, by disease, until which month its training data support an answer (nothing for an
    endpoint without time); ``horizons`` and ``explained_horizon`` are the protocol's.
    """

    endpoint: Endpoint
    model: EndpointModel
    background: Background
    intervals: Intervals
    supported: Mapping[str, float]
    horizons: tuple[float, ...]
    explained_horizon: float
    owners: FloatArray
    dictionary: Dictionary

    def explainable(self, disease: str) -> tuple[float, ...]:
        """Return the horizons that this disease's follow-up supports; none for an endpoint without time."""
        if not self.endpoint.timed:
            return ()
        return tuple(h for h in self.horizons if h <= self.supported[disease])

    def answers(self, disease: str) -> bool:
        """Tell whether the training data support any answer in this disease."""
        return not self.endpoint.timed or bool(self.explainable(disease))

    def explained_at(self, disease: str, horizon: float | None) -> float | None:
        """Return the horizon asked for where it is supported, else the protocol's or the last supported."""
        reached = self.explainable(disease)
        if not reached:
            return None
        return horizon if horizon in reached else min(self.explained_horizon, reached[-1])

    def words(self, outcome: str, horizon: float | None) -> str:
        """Return an outcome's probability in words."""
        said = f"probability of {self.endpoint.labels[outcome]}"
        return said if horizon is None else f"{said} {self._by} {horizon:g} months"

    @property
    def _by(self) -> str:
        return "at" if self.endpoint.kind == SURVIVAL else "by"

    def probabilities(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return probabilities, shape (patients, outcomes, times); one time for an endpoint without."""
        return np.clip(probabilities(self.model, X, strata, times), 0.0, 1.0)

    def predict(self, asked: Asked) -> EndpointPrediction:
        """Answer for one patient."""
        horizon = self.explained_at(asked.disease, asked.horizon)
        at = NO_TIME if horizon is None else np.array([horizon])
        explained = self.explainer.explain(asked.X, asked.strata, at)
        stated = self._stated(asked)
        curves = self._curves(asked)
        return EndpointPrediction(
            self.endpoint.name,
            self.endpoint.title,
            self.endpoint.kind,
            tuple(
                OutcomePrediction(
                    outcome=name,
                    label=self.endpoint.labels[name],
                    probabilities=stated[at],
                    curve=curves[at],
                    median=self._median(curves[at], asked.disease),
                    explanation=self._explanation(asked.patient, explained, name, horizon),
                )
                for at, name in enumerate(self.model.outcomes)
            ),
        )

    def _stated(self, asked: Asked) -> list[tuple[Probability, ...]]:
        """Return each outcome's probabilities with their intervals."""
        times = np.array(self.horizons) if self.endpoint.timed else NO_TIME
        middle = self.probabilities(asked.X, asked.strata, times)[0]
        low, high = (bound[0] for bound in self.intervals.interval(asked.X, asked.strata, times))
        if not self.endpoint.timed:
            return [
                (Probability(None, float(middle[o, 0]), float(low[o, 0]), float(high[o, 0])),)
                for o in range(len(middle))
            ]
        limit = self.supported[asked.disease]
        beyond = f"follow-up in this disease supports {limit:.0f} months"
        return [
            tuple(
                Probability(h, float(middle[o, t]), float(low[o, t]), float(high[o, t]))
                if h <= limit
                else Probability(h, None, reason=beyond)
                for t, h in enumerate(self.horizons)
            )
            for o in range(len(middle))
        ]

    def _curves(self, asked: Asked) -> list[Curve | None]:
        """Return each outcome's curve; survival never rises and an incidence never falls."""
        if not self.endpoint.timed:
            return [None] * len(self.model.outcomes)
        months = curve_months(self.supported[asked.disease])
        drawn = self.probabilities(asked.X, asked.strata, months)[0]
        whole = (0.0, *months.tolist())
        if self.endpoint.kind == SURVIVAL:
            return [Curve(whole, (1.0, *np.minimum.accumulate(curve).tolist())) for curve in drawn]
        return [Curve(whole, (0.0, *np.maximum.accumulate(curve).tolist())) for curve in drawn]

    def _median(self, curve: Curve | None, disease: str) -> MedianTime | None:
        if curve is None or self.endpoint.kind != SURVIVAL:
            return None
        months = median_time(np.array(curve.months[1:]), np.array(curve.probability[1:]))
        if months is not None:
            return MedianTime(months)
        limit = self.supported[disease]
        return MedianTime(
            None, f"more than half are predicted to get beyond {limit:.0f} months, where follow-up ends"
        )

    def _explanation(
        self, patient: Cohort, explained: Explained, outcome: str, horizon: float | None
    ) -> Explanation:
        scales = explained.scales[explained.outcomes.index(outcome)]
        by = "" if horizon is None else f" {self._by} {horizon:g} months"
        units = (self.words(outcome, horizon), f"{scales[1].replace('_', ' ')}{by}")
        return Explanation(
            horizon,
            METHOD,
            tuple(
                self._scale(patient, attribution, scale, unit)
                for attribution, scale, unit in zip(explained.at(outcome=outcome), scales, units, strict=True)
            ),
        )

    def _scale(self, patient: Cohort, attribution: Attribution, scale: str, unit: str) -> ExplainedScale:
        values = patient.patient(0)
        contributions = tuple(
            Contribution(field.name, field.label, field.group, values[field.name], field.unit, float(share))
            for field, share in zip(self.dictionary.fields, attribution.contributions, strict=True)
        )
        groups = tuple(
            GroupContribution(group, sum(c.contribution for c in contributions if c.group == group))
            for group in dict.fromkeys(c.group for c in contributions)
        )
        return ExplainedScale(
            scale, unit, attribution.prediction, attribution.reference, REFERENCE, contributions, groups
        )

    @cached_property
    def explainer(self) -> EndpointExplainer:
        """Return the explainer against the background."""
        return EndpointExplainer(
            self.model,
            self.background,
            owners=self.owners,
            disease=self.dictionary.names.index("disease"),
            groups=tuple(field.group for field in self.dictionary.fields),
        )

    def prepare(self) -> None:
        """Score the background at every horizon, so that the first patient does not wait for it."""
        for horizon in self.horizons if self.endpoint.timed else NO_TIME.tolist():
            self.explainer.prepared(np.array([horizon]))

    def files(self) -> dict[str, bytes]:
        """Return the files, each under the endpoint's name; the same model gives the same bytes."""
        own = {**self.model.files(), **self.intervals.files(), "background.npz": self.background.to_bytes()}
        return {f"{self.endpoint.name}.{name}": content for name, content in own.items()}

    @classmethod
    def from_files(cls, name: str, files: Mapping[str, bytes], **rest: Any) -> "FittedEndpoint":
        """Read what :meth:`files` wrote; ``rest`` are the fields that the bundle keeps."""
        endpoint, prefix = ENDPOINTS[name], f"{name}."
        own = {n.removeprefix(prefix): content for n, content in files.items() if n.startswith(prefix)}
        model = READERS[endpoint.kind](own)
        background = Background.from_bytes(own["background.npz"])
        return cls(endpoint, model, background, Intervals.from_files(own, model), **rest)


def curve_months(limit: float) -> FloatArray:
    """Return the months at which a curve is drawn: every second one, and the last supported one."""
    return np.unique(np.append(np.arange(2.0, limit, 2.0), limit))
