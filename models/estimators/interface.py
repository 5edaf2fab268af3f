"""What the models of all endpoints have in common: scores that add up by column, probabilities from scores.

A model first turns a patient into *scores* (log hazards, log odds, a member's weight) that are sums of each
column's share, of what depends on the disease alone, and of a constant. Its probabilities are a smooth
function of those scores. Explanations and uncertainty need no more than that, so they are written once for
survival, competing risks and response.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from features.dictionary import FloatArray
from models.estimators.curves import IntArray


@dataclass(frozen=True)
class Parts:
    """Scores split into what adds up to them.

    ``columns`` has shape (patients, scores, columns): each column's share; ``stratum`` (patients, scores):
    what depends on the disease alone; ``constant`` (scores,): what everyone has.
    """

    columns: FloatArray
    stratum: FloatArray
    constant: FloatArray

    def total(self) -> FloatArray:
        """Return the scores, shape (patients, scores)."""
        total: FloatArray = self.columns.sum(axis=2) + self.stratum + self.constant
        return total

    def by_predictor(self, owners: FloatArray, *, disease: int) -> FloatArray:
        """Return shares summed into predictors, shape (patients, scores, predictors).

        ``owners`` (columns, predictors) says which predictor a column shows; what depends on the disease
        alone is the share of the predictor at position ``disease``.
        """
        shares: FloatArray = self.columns @ owners
        shares[:, :, disease] += self.stratum
        return shares


class EndpointModel(Protocol):
    """A fitted model of one endpoint.

    ``X`` has shape (patients, columns) with NaN for missing; ``strata`` a disease index each; ``times``
    are months after the index date. A model without time (``timed`` false) ignores them and answers one
    column.
    """

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Return the names of the probabilities answered, in order."""
        ...

    @property
    def timed(self) -> bool:
        """Tell whether the probabilities depend on time."""
        ...

    def scores(self, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
        """Return the scores, shape (patients, scores); equal to ``parts(...).total()`` and faster."""
        ...

    def parts(self, X: FloatArray, strata: IntArray, times: FloatArray) -> Parts:
        """Return the scores split by column."""
        ...

    def probabilities(self, scores: FloatArray, times: FloatArray) -> FloatArray:
        """Return probabilities from scores, shape (patients, outcomes, times)."""
        ...

    def slopes(self, scores: FloatArray, times: FloatArray) -> FloatArray:
        """Return the derivatives of the probabilities, shape (patients, outcomes, times, scores)."""
        ...

    def files(self) -> Mapping[str, bytes]:
        """Return the model as files of plain JSON or npz; the same model gives the same bytes."""
        ...


M = TypeVar("M", bound=EndpointModel)


@dataclass(frozen=True)
class CrossFit(Generic[M]):
    """A model that is the mean of its members' scores, each member fitted without one fold of the patients.

    ``held_out`` has shape (patients, scores): each patient's scores by members that never saw them. The
    members' spread is what a delete-a-fold jackknife needs; ``fold_share`` is the share of patients left out.
    """

    model: M
    members: tuple[M, ...]
    held_out: FloatArray
    fold_share: float


def probabilities(model: EndpointModel, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
    """Return a model's probabilities for a matrix, shape (patients, outcomes, times)."""
    return model.probabilities(model.scores(X, strata, times), times)


def logit(probability: FloatArray) -> FloatArray:
    """Return log odds; probabilities are kept off 0 and 1 by 1e-12."""
    kept = np.clip(probability, 1e-12, 1.0 - 1e-12)
    odds: FloatArray = np.log(kept) - np.log1p(-kept)
    return odds
