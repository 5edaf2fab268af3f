"""The background: the few training patients of a disease that explanations start from, and their weights.

Weights are chosen so that the background's weighted mean prediction is that of all training patients with the
disease, on both scales, at every time and outcome given; beyond that the weighted means of the columns come
as near to theirs as they can while weights stay even. A patient with unknown values stands there with one
plausible complete row.
"""

import io
from dataclasses import dataclass

import numpy as np

from features.dictionary import FloatArray
from models.estimators.additive import require_numbers
from models.estimators.curves import IntArray
from models.estimators.interface import Model
from models.estimators.links import Link, on_both_scales
from models.npz import read_arrays
from models.patient.completion import Completions

SIZE = 64
POOL = 4000
EXACT = 1e-9
FIRM = 1e4  # beside 1 for even weights
NEAR = 3.0


@dataclass(frozen=True)
class Background:
    """Encoded rows (patients, columns), their diseases, and weights that sum to one in each disease.

    ``shares`` (strata,) is each disease's share of the training cohort.
    """

    X: FloatArray
    strata: IntArray
    weights: FloatArray
    shares: FloatArray

    def __len__(self) -> int:
        return len(self.weights)

    def of(self, stratum: int) -> "Background":
        """Return one disease's."""
        own = self.strata == stratum
        return Background(self.X[own], self.strata[own], self.weights[own], self.shares)

    def check(self, *, columns: int, strata: int) -> None:
        """Raise ValueError where it is not of so many columns and diseases, or weights do not sum to one."""
        count = len(self.weights)
        require_numbers("background", self.weights, (count,))
        require_numbers("background", self.X, (count, columns), finite=False)
        require_numbers("background", self.shares, (strata,))
        sound = self.strata.dtype.kind == "i" and self.strata.shape == (count,) and count > 0
        sound = sound and np.array_equal(np.unique(self.strata), np.arange(strata))
        fair = (self.weights >= 0.0).all() and abs(self.shares.sum() - 1.0) < EXACT
        if not (sound and fair) or np.isinf(self.X).any() or (self.shares <= 0.0).any():
            raise ValueError("background is not as it must be")
        if (np.abs(np.bincount(self.strata, weights=self.weights) - 1.0) >= EXACT).any():
            raise ValueError("background is not as it must be")

    def to_bytes(self) -> bytes:
        """Return the background as an npz file."""
        file = io.BytesIO()
        np.savez(file, matrix=self.X, strata=self.strata, weights=self.weights, shares=self.shares)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Background":
        arrays = read_arrays(content)
        return cls(arrays["matrix"], arrays["strata"], arrays["weights"], arrays["shares"])


def fit_background(
    model: Model, link: Link, patients: Completions, strata: IntArray, times: FloatArray, *, size: int = SIZE
) -> Background:
    """Choose a model's background among its training patients, some of each disease.

    ``strata`` (patients,) are their diseases, ``times`` the protocol's horizons. The mean prediction of each
    disease's background is that of its patients, at the horizons and nearly so half way between them.
    """
    X = patients.one_each()
    firm = _predictions(model, link, X, strata, times)
    near = X
    if model.timed:
        near = np.hstack([X, _predictions(model, link, X, strata, _half_way(times))])
    chosen, weights = [], []
    for stratum in np.unique(strata):
        own = np.flatnonzero(strata == stratum)
        some, weight = choose_background(firm[own], size=size, near=near[own])
        chosen.append(own[some])
        weights.append(weight)
    places = np.concatenate(chosen)
    shares = np.bincount(strata) / len(strata)
    return Background(X[places], strata[places], np.concatenate(weights), shares)


def _predictions(model: Model, link: Link, X: FloatArray, strata: IntArray, times: FloatArray) -> FloatArray:
    """Return predictions on both scales, shape (patients, answers)."""
    flat: FloatArray = on_both_scales(model.predict(X, strata, times), link).reshape(len(X), -1)
    return flat


def _half_way(times: FloatArray) -> FloatArray:
    """Return the times half way between sorted times, and between none and the first."""
    rising = np.unique(np.append(0.0, times))
    between: FloatArray = (rising[1:] + rising[:-1]) / 2.0
    return between


def choose_background(
    predictions: FloatArray, *, size: int = SIZE, near: FloatArray | None = None
) -> tuple[IntArray, FloatArray]:
    """Return rows spread evenly over predictions, and weights that give the mean prediction of all.

    ``predictions`` has shape (patients, answers). The means of ``near`` (patients, columns), where given, are
    matched as far as even weights allow. Of ``size`` patients or fewer all are taken, with equal weights.
    Where no weights on evenly spread patients reach the mean, patients are added whose weights do (at most
    one more than there are answers).
    """
    centred, order = _centred(predictions), np.arange(len(predictions))
    if len(predictions) <= size:
        return order, np.full(len(order), 1.0 / len(order))
    order = np.argsort(centred[:, 0], kind="stable") if centred.size else order
    alike = np.zeros((len(predictions), 0)) if near is None else _alike(near)
    rows = _evenly(order, size)
    weights = _weigh(centred[rows], alike[rows])
    if np.abs(weights @ centred[rows]).max(initial=0.0) > EXACT:
        pool = _evenly(order, POOL)
        rows = np.union1d(rows, pool[_needed(centred[pool])])
        weights = _weigh(centred[rows], alike[rows])
    kept = weights > 0.0
    return rows[kept], weights[kept]


def _evenly(order: IntArray, count: int) -> IntArray:
    """Return ``count`` of ``order``, evenly spaced."""
    count = min(count, len(order))
    return order[((np.arange(count) + 0.5) * len(order) / count).astype(np.int64)]


def _centred(predictions: FloatArray) -> FloatArray:
    """Return predictions less their mean as uncorrelated columns, the most varied first.

    Directions in which patients differ a billion times less than in the first are left out.
    """
    left, spread, _ = np.linalg.svd(predictions - predictions.mean(axis=0), full_matrices=False)
    told = spread > max(spread[0] * 1e-9, 1e-12 * len(predictions))
    uncorrelated: FloatArray = left[:, told] * spread[told]
    return uncorrelated


def _alike(columns: FloatArray) -> FloatArray:
    """Return columns standardised, a missing value at the mean."""
    seen = ~np.isnan(columns)
    count = np.maximum(seen.sum(axis=0), 1)
    apart = np.where(seen, columns - np.where(seen, columns, 0.0).sum(axis=0) / count, 0.0)
    spread = np.sqrt((apart**2).mean(axis=0))
    standardised: FloatArray = apart / np.where(spread > 0.0, spread, 1.0)
    return standardised


def _weigh(firm: FloatArray, near: FloatArray) -> FloatArray:
    """Return non-negative weights of sum one: ``firm`` columns to a mean of zero, ``near`` towards it.

    Least squares with the firm columns weighted by 10^4; then what is left of their error is removed on the
    patients that have weight.
    """
    from scipy.optimize import nnls  # noqa: PLC0415  takes a while to load and is never needed to answer

    count = len(firm)
    exact, goal = _conditions(firm)
    rows = np.vstack([FIRM * exact, NEAR * near.T, np.sqrt(count) * np.eye(count)])
    aims = np.concatenate([FIRM * goal, np.zeros(near.shape[1]), np.full(count, 1.0 / np.sqrt(count))])
    weights: FloatArray = nnls(rows, aims)[0]
    held = weights > 1e-12
    step = np.linalg.lstsq(exact[:, held], goal - exact @ weights, rcond=1e-12)[0]
    if (weights[held] + step >= 0.0).all():
        weights[held] += step
    weights /= weights.sum()
    return weights


def _needed(firm: FloatArray) -> IntArray:
    """Return the few patients who, weighted, reach the mean: a corner of all weights that do."""
    from scipy.optimize import nnls  # noqa: PLC0415  as above

    return np.flatnonzero(nnls(*_conditions(firm))[0] > 0.0)


def _conditions(firm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the firm columns, scaled, and ones, as rows; and what weights must make of them."""
    scale = np.abs(firm).max(axis=0, initial=1e-300)
    return np.vstack([firm.T / scale[:, None], np.ones(len(firm))]), np.eye(
        1, firm.shape[1] + 1, firm.shape[1]
    )[0]
