"""What an estimator is, what a fitted model is, and what a cross-fit hands on.

Everything after the fit (intervals, explanation, card, bundle, replay) follows from what is declared here, so
an estimator is replaced by another without touching anything else. A model that is an
:class:`~models.estimators.additive.AdditiveModel` is explained exactly; any other by sampling.

``X`` has shape (patients, columns) with NaN for missing values; ``strata`` is a disease's position, one a
patient; ``times`` are months after the index date.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from features.dictionary import FloatArray
from features.endpoints import EndpointOutcome

IntArray = npt.NDArray[np.int64]
NO_TIME = np.zeros(1)


class Model(Protocol):
    """A fitted model of one endpoint."""

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Return the names of the probabilities predicted, in order."""
        ...

    @property
    def timed(self) -> bool:
        """Tell whether probabilities depend on time; where not, ``times`` are ignored and one is answered."""
        ...

    @property
    def hyperparameters(self) -> Mapping[str, float]:
        """Return what the fit chose, for the card and the tracked run."""
        ...

    @property
    def penalties(self) -> FloatArray:
        """Return the ridge penalty of each outcome, in events; zeros where nothing is shrunk."""
        ...

    def predict(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return probabilities, shape (patients, outcomes, times), in [0, 1] and monotone in time."""
        ...

    def check(self, *, columns: int, strata: int) -> None:
        """Raise ValueError, naming the part, where the model is not of so many columns and diseases."""
        ...

    def files(self) -> Mapping[str, bytes]:
        """Return the model as files without pickle; the same model gives the same bytes."""
        ...


M_co = TypeVar("M_co", bound=Model, covariant=True)
O_contra = TypeVar("O_contra", bound=EndpointOutcome, contravariant=True)


class HeldOut(Protocol):
    """Predictions of training patients by members that never saw them."""

    def probabilities(self, rows: IntArray, times: FloatArray) -> FloatArray:
        """Return probabilities of some patients, shape (rows, outcomes, times)."""
        ...


@dataclass(frozen=True)
class CrossFit(Generic[M_co]):
    """A model and its members, each fitted without a share ``fold_share`` of the patients.

    The members' spread is what a delete-a-group jackknife needs.
    """

    model: M_co
    members: tuple[M_co, ...]
    held_out: HeldOut
    fold_share: float


class Estimator(Protocol[M_co, O_contra]):
    """An unfitted estimator.

    ``type`` is the name under which it is registered, ``kinds`` the kinds of endpoints it fits, and
    ``description`` what the card says of it. ``unlearned`` is the share of squared bias in its variance that
    its intervals allow for (0 where that was not measured); ``exact`` tells that its models are additive.
    """

    type: ClassVar[str]
    kinds: ClassVar[frozenset[str]]
    description: ClassVar[str]
    unlearned: ClassVar[float]
    exact: ClassVar[bool]

    def __init__(self, *, outcomes: tuple[str, ...], folds: int, repeats: int, seed: int) -> None:
        """Take the names of the probabilities, and how to cross-fit: in ``folds``, ``repeats`` times over."""
        ...

    @staticmethod
    def read(files: Mapping[str, bytes]) -> M_co:
        """Read what the model's ``files`` wrote."""
        ...

    def cross_fit(self, X: FloatArray, strata: IntArray, outcome: O_contra) -> CrossFit[M_co]:
        """Fit the model and its members.

        Raises:
            InvalidInput: for an outcome or columns that cannot be fitted.
            NotFittable: where there are too few events.

        """
        ...
