"""One endpoint of a bundle: its model, what its answers start from, how far they reach, how sure they are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np

from features.dictionary import Dictionary, FloatArray
from features.endpoints import Endpoint
from models.estimators.additive import AdditiveModel
from models.estimators.curves import IntArray
from models.estimators.interface import NO_TIME, Model
from models.estimators.links import LINKS
from models.estimators.registry import estimator_class
from models.explanation.attribution import ExactExplainer, Explainer
from models.explanation.background import Background
from models.explanation.sampled import SampledExplainer
from models.patient.completion import Completions
from models.uncertainty.conformal import SurvivalBounds
from models.uncertainty.intervals import Intervals

DECLARED, BOUNDS, BACKGROUND = "endpoint.json", "bounds.json", "background.npz"
NOT_KNOWN = "not_known"


@dataclass(frozen=True)
class FittedEndpoint:
    """Everything needed to answer for one endpoint.

    ``estimator`` is the registered type of the estimator that fitted the model and reads it back.
    ``supported`` says, by disease, until which month its training data support an answer (nothing for an
    endpoint without time); ``horizons`` and ``explained_horizon`` are the protocol's. ``owners`` (columns,)
    is the predictor that each column shows. ``bounds`` are lower bounds on survival time, None where they
    cannot be calibrated.
    """

    endpoint: Endpoint
    estimator: str
    model: Model
    background: Background
    intervals: Intervals
    supported: Mapping[str, float]
    horizons: tuple[float, ...]
    explained_horizon: float
    owners: IntArray
    dictionary: Dictionary
    bounds: SurvivalBounds | None = None

    def explainable(self, disease: str) -> tuple[float, ...]:
        """Return the horizons that this disease's follow-up supports; none for an endpoint without time."""
        if not self.endpoint.timed:
            return ()
        return tuple(h for h in self.horizons if h <= self.supported[disease])

    def answers(self, disease: str) -> bool:
        """Tell whether the training data support any answer in this disease."""
        return not self.endpoint.timed or bool(self.explainable(disease))

    def explained_at(self, disease: str, horizon: float | None) -> float | None:
        """Return the requested horizon where it is supported, else the protocol's or the last supported."""
        reached = self.explainable(disease)
        if not reached:
            return None
        return horizon if horizon in reached else min(self.explained_horizon, reached[-1])

    def words(self, outcome: str, horizon: float | None) -> str:
        """Return an outcome's probability in words."""
        probability = f"probability of {self.endpoint.labels[outcome]}"
        return probability if horizon is None else f"{probability} {self.by} {horizon:g} months"

    @property
    def by(self) -> str:
        """Return the word before a horizon: what falls holds at a time, anything else has happened by it."""
        return "at" if self.endpoint.falls else "by"

    def probabilities(self, patients: Completions, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return probabilities, shape (patients, outcomes, times); one time for an endpoint without.

        ``strata`` (patients,) are the patients' diseases. Unknown values are averaged over.
        """
        each = self.model.predict(patients.X, patients.strata(strata), times)
        return patients.mean(np.clip(each, 0.0, 1.0))

    def explainer(self, disease: str, stratum: int) -> Explainer:
        """Return the exact explainer of an additive model in a disease, the sampling one of any other.

        Columns of a predictor that has no meaning in the disease belong to the disease.
        """
        made = self._explainers.get(stratum)
        if made is None:
            fields, place = self.dictionary.fields, self.dictionary.names.index("disease")
            owner = np.array([at if fields[at].applies(disease) else place for at in self.owners])
            rest = LINKS[self.endpoint.link], self.background.of(stratum), owner, len(fields), place
            if isinstance(self.model, AdditiveModel):
                made = ExactExplainer(self.model, *rest)
            else:
                made = SampledExplainer(self.model, *rest)
            self._explainers[stratum] = made
        return made

    @cached_property
    def _explainers(self) -> dict[int, Explainer]:
        return {}

    def whole_reference(self, diseases: Sequence[str], times: FloatArray) -> FloatArray:
        """Return the mean prediction of all diseases that support a horizon, (2, outcomes, times)."""
        last = float(times[-1])
        some = [
            at for at, disease in enumerate(diseases)
            if not self.endpoint.timed or self.supported[disease] >= last
        ]  # fmt: skip
        shares = self.background.shares[some] / self.background.shares[some].sum()
        each = [self.explainer(diseases[at], at).reference(times) for at in some]
        mean: FloatArray = np.tensordot(shares, np.stack(each), axes=1)
        return mean

    @cached_property
    def group_names(self) -> tuple[str, ...]:
        """Return the groups of predictors, each once, and last that of what is not known of a patient."""
        return (*dict.fromkeys(field.group for field in self.dictionary.fields), NOT_KNOWN)

    @cached_property
    def group(self) -> IntArray:
        """Return each predictor's group as its position."""
        return np.array([self.group_names.index(field.group) for field in self.dictionary.fields])

    def prepare(self, diseases: Sequence[str]) -> None:
        """Score each background at every horizon, so that the first patient does not wait for it."""
        for at, disease in enumerate(diseases):
            for horizon in self.explainable(disease) if self.endpoint.timed else NO_TIME.tolist():
                self.explainer(disease, at).reference(np.array([horizon]))

    def check(self, *, columns: int, diseases: Sequence[str]) -> None:
        """Raise ValueError, naming the part, where parts do not fit one encoder and one protocol."""
        self.endpoint.check()
        self.model.check(columns=columns, strata=len(diseases))
        known = set(self.model.outcomes) <= set(self.endpoint.labels) and self.endpoint.link in LINKS
        if not known or self.model.timed != self.endpoint.timed:
            raise ValueError("outcomes are not as they must be")
        expected = set(diseases if self.endpoint.timed else ())
        if set(self.supported) != expected or not all(map(isfinite, self.supported.values())):
            raise ValueError("supported is not as it must be")
        self.background.check(columns=columns, strata=len(diseases))
        self.intervals.check(columns=columns, strata=len(diseases), outcomes=len(self.model.outcomes))
        if self.bounds is not None:
            self.bounds.check(diseases)
            if not self.endpoint.falls:
                raise ValueError("bounds are not as they must be")

    def files(self) -> dict[str, bytes]:
        """Return the files, each under the endpoint's name; the same model gives the same bytes."""
        declared = {"endpoint": self.endpoint.as_dict(), "estimator": self.estimator}
        own = {
            **self.model.files(),
            **self.intervals.files(),
            BACKGROUND: self.background.to_bytes(),
            DECLARED: json.dumps(declared, indent=1).encode(),
        }
        if self.bounds is not None:
            own[BOUNDS] = json.dumps(self.bounds.as_dict(), allow_nan=False).encode()
        return {f"{self.endpoint.name}.{name}": content for name, content in own.items()}

    @classmethod
    def from_files(cls, name: str, files: Mapping[str, bytes], **rest: Any) -> "FittedEndpoint":
        """Read what :meth:`files` wrote; ``rest`` are the fields that the bundle keeps.

        Raises:
            InvalidInput: when the estimator that reads the model is not installed.

        """
        prefix = f"{name}."
        own = {n.removeprefix(prefix): content for n, content in files.items() if n.startswith(prefix)}
        declared = json.loads(own[DECLARED])
        endpoint = Endpoint.from_dict(declared["endpoint"])
        if endpoint.name != name:
            raise ValueError(f"{name} is not as it must be")
        model = estimator_class(declared["estimator"], endpoint.kind).read(own)
        return cls(
            endpoint=endpoint,
            estimator=declared["estimator"],
            model=model,
            background=Background.from_bytes(own[BACKGROUND]),
            intervals=Intervals.from_files(own, endpoint),
            bounds=SurvivalBounds.from_dict(json.loads(own[BOUNDS])) if BOUNDS in own else None,
            **rest,
        )
