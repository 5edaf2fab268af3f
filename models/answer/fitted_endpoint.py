"""One endpoint of a bundle: its model, what its answers start from, how far they reach, how sure they are."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from features.dictionary import Dictionary, FloatArray
from features.endpoints import COMPETING_RISKS, ENDPOINTS, RESPONSE, SURVIVAL, Endpoint
from models.estimators.competing import CompetingModel
from models.estimators.curves import IntArray
from models.estimators.hazard import HazardModel
from models.estimators.interface import EndpointModel, probabilities
from models.estimators.response import ResponseModel
from models.explanation.attribution import EndpointExplainer
from models.explanation.background import Background
from models.uncertainty.conformal import SurvivalBounds
from models.uncertainty.intervals import Intervals

READERS: Mapping[str, Callable[[Mapping[str, bytes]], EndpointModel]] = {
    SURVIVAL: HazardModel.from_files,
    COMPETING_RISKS: CompetingModel.from_files,
    RESPONSE: ResponseModel.from_files,
}
NO_TIME = np.zeros(1)
BOUNDS = "bounds.json"


@dataclass(frozen=True)
class FittedEndpoint:
    """Everything needed to answer for one endpoint.

    ``supported`` says, by disease, until which month its training data support an answer (nothing for an
    endpoint without time); ``horizons`` and ``explained_horizon`` are the protocol's. ``bounds`` are lower
    bounds on survival time, None where they cannot be calibrated.
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
        """Return the horizon asked for where it is supported, else the protocol's or the last supported."""
        reached = self.explainable(disease)
        if not reached:
            return None
        return horizon if horizon in reached else min(self.explained_horizon, reached[-1])

    def words(self, outcome: str, horizon: float | None) -> str:
        """Return an outcome's probability in words."""
        said = f"probability of {self.endpoint.labels[outcome]}"
        return said if horizon is None else f"{said} {self.by} {horizon:g} months"

    @property
    def by(self) -> str:
        """Return the word that a horizon follows: survival is at a time, anything else by it."""
        return "at" if self.endpoint.kind == SURVIVAL else "by"

    def probabilities(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return probabilities, shape (patients, outcomes, times); one time for an endpoint without."""
        return np.clip(probabilities(self.model, X, strata, times), 0.0, 1.0)

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
        if self.bounds is not None:
            own[BOUNDS] = json.dumps(self.bounds.as_dict(), allow_nan=False).encode()
        return {f"{self.endpoint.name}.{name}": content for name, content in own.items()}

    @classmethod
    def from_files(cls, name: str, files: Mapping[str, bytes], **rest: Any) -> "FittedEndpoint":
        """Read what :meth:`files` wrote; ``rest`` are the fields that the bundle keeps."""
        endpoint, prefix = ENDPOINTS[name], f"{name}."
        own = {n.removeprefix(prefix): content for n, content in files.items() if n.startswith(prefix)}
        model = READERS[endpoint.kind](own)
        background = Background.from_bytes(own["background.npz"])
        bounds = SurvivalBounds.from_dict(json.loads(own[BOUNDS])) if BOUNDS in own else None
        return cls(endpoint, model, background, Intervals.from_files(own, model), bounds=bounds, **rest)
