"""Blending three kinds of models: a linear score, trees boosted from it, and trees boosted freely.

Members, each fitted without one fold, predict the patients of that fold. These held-out predictions weigh the
three kinds, and the blend is the mean of all members' scores: one additive model again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.censoring import BoolArray
from features.dictionary import FloatArray
from models.estimators.additive import AdditiveModel
from models.estimators.curves import IntArray
from models.estimators.interface import CrossFit
from models.estimators.slots import SlotRows
from models.estimators.transforms import Transform, probabilities
from models.trees.boosters import Boosters, weighted_sum

KINDS = ("ridge", "started", "free")
STEPS = 20
ERRORS_BY_CHANCE = 1.75


@dataclass(frozen=True)
class Columns:
    """The patients' columns, centred in their stratum with missing values at the stratum's mean.

    ``X`` and ``centred`` have shape (patients, columns), ``means`` (strata, columns), ``strata`` (patients,).
    """

    X: FloatArray
    centred: FloatArray
    means: FloatArray
    strata: IntArray

    @classmethod
    def of(cls, X: FloatArray, strata: IntArray) -> "Columns":
        """Centre the columns; a column never observed in a stratum is centred at the mean of all."""
        means = stratum_means(X, strata)
        return cls(X, np.nan_to_num(X - means[strata], nan=0.0), means, strata)

    @classmethod
    def pooled(cls, X: FloatArray, strata: IntArray) -> "Columns":
        """Centre the columns as if all strata were one, with missing values at the centre of their own.

        A column that some stratum never has is centred in each.
        """
        one, own = np.zeros_like(strata), pooled_centres(X, strata)
        means = stratum_means(X, one)
        filled = np.where(np.isnan(X), own[strata], X)
        return cls(X, filled - np.where(partly_seen(X, strata), own[strata], means[one]), means, one)

    def linear(self, base: FloatArray, coefficients: FloatArray, rows: BoolArray | slice) -> FloatArray:
        """Return base and linear terms of some patients, shape (rows, slots)."""
        strata, slopes = self.strata[rows], coefficients[self.strata[rows]]
        linear: FloatArray = np.einsum("rc,rsc->rs", self.centred[rows], slopes, optimize=True)
        return base[strata] + linear


@dataclass(frozen=True)
class Member:
    """What was fitted without one fold.

    ``base`` (strata, slots) and ``coefficients`` (strata, 1 or slots, columns) are the linear score,
    ``started`` the trees boosted from it, ``free_base`` (strata, slots) the score without columns and
    ``free`` the trees boosted from that; None where no round helped.
    """

    base: FloatArray
    coefficients: FloatArray
    started: Boosters | None
    free_base: FloatArray
    free: Boosters | None

    def scores(self, columns: Columns, rows: BoolArray) -> FloatArray:
        """Return the three kinds' scores of some patients, shape (3, rows, slots)."""
        X = columns.X[rows]
        linear, alone = (
            columns.linear(self.base, self.coefficients, rows),
            self.free_base[columns.strata[rows]],
        )
        started = linear if self.started is None else linear + self.started.margins(X)
        free = alone if self.free is None else alone + self.free.margins(X)
        return np.stack([linear, started, free])


@dataclass(frozen=True)
class HeldOutScores:
    """Scores, shape (patients, scores), of training patients by members that never saw them."""

    transform: Transform
    scores: FloatArray

    def probabilities(self, rows: IntArray, times: FloatArray) -> FloatArray:
        """Return probabilities of some patients, shape (rows, outcomes, times)."""
        return probabilities(self.transform, self.scores[rows], times)


@dataclass(frozen=True)
class AdditiveCrossFit(CrossFit[AdditiveModel]):
    """A cross-fit of additive models, with the held-out scores."""

    held_out: HeldOutScores


def held_out_scores(members: Sequence[Member], held: Sequence[BoolArray], columns: Columns) -> FloatArray:
    """Return each patient's mean scores by members that never saw them, shape (3, patients, slots)."""
    total = np.zeros((len(KINDS), len(columns.X), members[0].base.shape[1]))
    for member, out in zip(members, held, strict=True):
        total[:, out] += member.scores(columns, out)
    mean: FloatArray = total / np.sum(held, axis=0)[:, None]
    return mean


def weigh(kinds: FloatArray, rows: SlotRows, *, prior: FloatArray, firmness: float) -> FloatArray:
    """Return the three kinds' weights, which sum to one.

    They maximise the log likelihood of the held-out scores ``kinds`` (3, patients, slots) less ``firmness``
    times their squared distance from ``prior``: with few events the prior decides, with many the likelihood.
    """
    steps = range(STEPS + 1)
    tried = np.array([(STEPS - s - f, s, f) for s in steps for f in steps if s + f <= STEPS]) / STEPS
    gained = [
        rows.log_likelihood(np.tensordot(w, kinds, axes=1)) - firmness * float(((w - prior) ** 2).sum())
        for w in tried
    ]
    best: FloatArray = tried[int(np.argmax(gained))]
    return best


def shown_share(gained: FloatArray) -> float:
    """Return how much of a gain, a log likelihood a patient (patients,), chance does not explain: 0 to 1.

    Nothing of a gain below 1.75 standard errors, which trees stopped by the patients who judge them reach
    without having learned anything; of two standard errors 41 %, of three 88 %, of four 96 %.

    >>> shown_share(np.array([0.1, -0.1, 0.1, 0.0])), round(shown_share(np.array([0.1, 0.2, 0.1, 0.2])), 2)
    (0.0, 0.99)
    """
    total, error = float(gained.sum()), float(gained.std() * np.sqrt(len(gained)))
    if total <= ERRORS_BY_CHANCE * error or total <= 0.0:
        return 0.0
    return 1.0 - (ERRORS_BY_CHANCE * error / total) ** 4


def blend(
    members: Sequence[Member],
    weights: FloatArray,
    columns: Columns,
    *,
    outcomes: tuple[str, ...],
    transform: Transform,
    penalty: float,
    chosen: dict[str, float],
    scales: FloatArray | None = None,
) -> AdditiveModel:
    """Return the weighted mean of the members' scores as one model.

    ``scales`` (columns,) are what the columns were divided by before the linear score was fitted.
    """
    _, started, free = weights.tolist()
    count = len(members)
    base = np.mean([(1.0 - free) * m.base + free * m.free_base for m in members], axis=0)
    coefficients = (1.0 - free) * np.mean([m.coefficients for m in members], axis=0)
    boosted = [(m.started, started / count) for m in members] + [(m.free, free / count) for m in members]
    named = {f"weight_{kind}": weight for kind, weight in zip(KINDS, weights.tolist(), strict=True)}
    return AdditiveModel(
        outcomes=outcomes,
        transform=transform,
        base=base,
        means=columns.means,
        coefficients=coefficients if scales is None else coefficients / scales,
        trees=weighted_sum([(trees, weight) for trees, weight in boosted if trees is not None]),
        stretch=np.ones(base.shape[1]),
        shift=np.zeros(base.shape[1]),
        penalties=np.full(len(outcomes), penalty),
        hyperparameters=chosen | named | {"models": float(count)},
    )


def stratum_means(X: FloatArray, strata: IntArray) -> FloatArray:
    """Return each column's mean in each stratum; the mean of all where it is never observed there."""
    seen, values = ~np.isnan(X), np.nan_to_num(X, nan=0.0)
    overall = values.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    inside = np.arange(int(strata.max()) + 1)[:, None] == strata
    count = inside @ seen.astype(np.float64)
    means: FloatArray = np.where(count > 0, (inside @ values) / np.maximum(count, 1.0), overall)
    return means


def pooled_centres(X: FloatArray, strata: IntArray) -> FloatArray:
    """Return where a missing value stands when strata are fitted as one, shape (strata, columns).

    That is the stratum's mean; the median of a column that some stratum never has. Beside strata that stand
    at its mean a category of one patient would tell its own stratum from them, on a scale so small that its
    coefficient, a stratum's effect, is absurd.
    """
    centres, partly = stratum_means(X, strata), partly_seen(X, strata)
    for at in range(len(centres)):
        for column in np.flatnonzero(partly):
            known = X[strata == at, column]
            known = known[~np.isnan(known)]
            centres[at, column] = np.median(known) if len(known) else 0.0
    return centres


def partly_seen(X: FloatArray, strata: IntArray) -> BoolArray:
    """Tell which columns (columns,) some stratum never has."""
    seen = np.array([(~np.isnan(X[strata == at])).any(axis=0) for at in range(int(strata.max()) + 1)])
    return np.asarray(~seen.all(axis=0))
