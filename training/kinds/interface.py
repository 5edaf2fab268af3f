"""What a kind of endpoint decides: all that training asks of one.

Outside this package nothing in training compares kinds or looks into an outcome.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.endpoints import Endpoint, EndpointOutcome
from models.estimators.curves import IntArray
from models.estimators.interface import CrossFit, Estimator, Model
from models.estimators.registry import DEFAULT, estimator_class
from models.uncertainty.conformal import SurvivalBounds
from training.metrics import CalibrationCurve
from training.plan import TrainingPlan
from training.sample import Sample
from training.sample_size import SampleSize
from training.scoring import Estimate, Scale, Scores

if TYPE_CHECKING:
    from training.tuning import TuningResult

OutcomeT = TypeVar("OutcomeT", bound=EndpointOutcome)


class Baseline(Protocol):
    """Anything fitted that answers with probabilities, as :mod:`models.estimators.interface` has it."""

    def probabilities(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return probabilities, shape (patients, outcomes, times)."""
        ...


FitBaseline = Callable[[FloatArray, IntArray, OutcomeT], Baseline]


@dataclass(frozen=True)
class Requirement:
    """One comparison of the gate: in a group the model's metric must match or beat a baseline's.

    ``subject`` is the disease or the outcome that a failure names. Where a ``higher`` metric is better the
    model must be at least as high; where a lower one is, it must be truly lower.
    """

    subject: str
    group: str
    metric: str
    baseline: str
    higher: bool


@dataclass(frozen=True)
class RiskGroup:
    """Observed and predicted survival of the patients in one third of predicted risk.

    ``months`` and ``observed`` are Kaplan-Meier's steps; ``predicted`` has a value for each of ``times``.
    """

    name: str
    months: FloatArray
    observed: FloatArray
    times: FloatArray
    predicted: FloatArray


@dataclass(frozen=True)
class Kind(ABC, Generic[OutcomeT]):
    """An endpoint and its registered estimator, with what its type of outcome makes of them.

    ``X`` has shape (patients, columns), ``strata`` is a disease index each, and predictions have shape
    (patients, outcomes, times).
    """

    endpoint: Endpoint
    estimator: str = DEFAULT

    fewest_repeats: ClassVar[int] = 1
    """How often cross-fitting is repeated at least."""
    has_median: ClassVar[bool] = False
    """Whether a cohort's description states the median time to the event."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the endpoint's outcomes, in order."""
        return tuple(self.endpoint.labels)

    @property
    def event(self) -> str:
        """Return the event of the first outcome, as a figure's axis names it."""
        return self.names[0].replace("_", " ")

    @property
    @abstractmethod
    def baselines(self) -> Mapping[str, FitBaseline[OutcomeT]]:
        """Return what fits each baseline, by its name: first that of the disease alone."""

    def predict_baselines(
        self, train: Sample, test: Sample, outcome: OutcomeT, times: FloatArray
    ) -> dict[str, FloatArray]:
        """Fit every baseline on the training patients, whose outcome this is, and predict the others."""
        return {
            name: fit(train.X, train.strata, outcome).probabilities(test.X, test.strata, times)
            for name, fit in self.baselines.items()
        }

    @abstractmethod
    def times(self, outcome: OutcomeT) -> Outcome:
        """Return the outcome as times to an event, which balance folds and tell how long patients stayed."""

    @property
    def estimator_class(self) -> "type[Estimator[Model, OutcomeT]]":
        """Return the estimator's class.

        Raises:
            InvalidInput: when nothing of this name fits this kind of endpoint.

        """
        found: type[Estimator[Model, OutcomeT]] = estimator_class(self.estimator, self.endpoint.kind)
        return found

    def unfitted(self, plan: TrainingPlan) -> "Estimator[Model, OutcomeT]":
        """Return the estimator as the plan has it."""
        repeats = max(plan.repeats, self.fewest_repeats)
        return self.estimator_class(
            outcomes=self.names, folds=plan.inner_folds, repeats=repeats, seed=plan.seed
        )

    def fit(
        self, X: FloatArray, strata: IntArray, outcome: OutcomeT, plan: TrainingPlan
    ) -> "tuple[CrossFit[Model], TuningResult | None]":
        """Fit the model; return beside it what the search of its settings found, None without a search.

        Raises:
            InvalidInput: when no estimator of the name fits this kind of endpoint.
            NotFittable: when there are too few events to learn from.

        """
        return self.unfitted(plan).cross_fit(X, strata, outcome), None

    def bounds(
        self, cross_fit: CrossFit[Model], strata: IntArray, outcome: OutcomeT, limits: Mapping[str, float]
    ) -> SurvivalBounds | None:
        """Return lower bounds on survival time up to each disease's limit; here there are none."""
        return None

    @abstractmethod
    def score(self, predicted: FloatArray, outcome: OutcomeT, scale: Scale) -> dict[str, Estimate]:
        """Return every metric by name; where there are several outcomes the name starts with the outcome's.

        Nothing is scored beyond the scale's follow-up, and nothing with fewer than ten events: the estimate
        is then missing and says why.
        """

    @abstractmethod
    def calibrations(
        self, predicted: FloatArray, outcome: OutcomeT, scale: Scale
    ) -> Mapping[str, CalibrationCurve]:
        """Return predicted against observed risk of the first outcome, one a horizon that is followed to.

        Each stands under the name of the metric that is its ICI.
        """

    @abstractmethod
    def requirements(self, by_group: Mapping[str, Scores]) -> Iterator[Requirement]:
        """Return what the gate compares, given the scores of everyone and of diseases."""

    @abstractmethod
    def sample_sizes(self, outcome: OutcomeT, parameters: int, *, horizon: float) -> Mapping[str, SampleSize]:
        """Return, by outcome, what the patients can carry; ``horizon`` is in months."""

    def risk_groups(
        self, predicted: FloatArray, outcome: OutcomeT, times: FloatArray
    ) -> tuple[RiskGroup, ...]:
        """Return survival in thirds of predicted risk, the lowest first; here there is none to draw."""
        return ()
