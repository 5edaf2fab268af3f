"""The background: the few training patients that every explanation starts from, and their weights.

Weights are chosen so that the background's weighted mean prediction is the whole training cohort's, on both
scales, at every time and outcome given; beyond that the weighted means of the columns and the share of each
disease come as near to the cohort's as they can while weights stay even.
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

SIZE = 64
POOL = 4000
EXACT = 1e-9
FIRM = 1e4  # beside 1 for even weights
NEAR = 3.0


@dataclass(frozen=True)
class Background:
    """Encoded rows (patients, columns), their diseases and weights, which sum to one."""

    X: FloatArray
    strata: IntArray
    weights: FloatArray

    def __len__(self) -> int:
        return len(self.weights)

    def check(self, *, columns: int, strata: int) -> None:
        """Raise ValueError where it is not of so many columns and diseases, or weights do not sum to one."""
        count = len(self.weights)
        require_numbers("background", self.weights, (count,))
        require_numbers("background", self.X, (count, columns), finite=False)
        sound = self.strata.dtype.kind == "i" and self.strata.shape == (count,) and count > 0
        sound = sound and self.strata.min() >= 0 and self.strata.max() < strata
        shares = (self.weights >= 0.0).all() and abs(self.weights.sum() - 1.0) < EXACT
        if not (sound and shares) or np.isinf(self.X).any():
            raise ValueError("background is not as it must be")

    def to_bytes(self) -> bytes:
        """Return the background as an npz file."""
        file = io.BytesIO()
        np.savez(file, matrix=self.X, strata=self.strata, weights=self.weights)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Background":
        arrays = read_arrays(content)
        return cls(arrays["matrix"], arrays["strata"], arrays["weights"])


def fit_background(
    model: Model, link: Link, X: FloatArray, strata: IntArray, times: FloatArray, *, size: int = SIZE
) -> Background:
    """Choose a model's background among its training patients; ``times`` are the protocol's horizons.

    Its mean prediction is the cohort's at the horizons and near it half way between them.
    """
    firm = _predictions(model, link, X, strata, times)
    near = [X, _predictions(model, link, X, strata, _half_way(times))] if model.timed else [X]
    rows, weights = choose_background(firm, strata, size=size, near=np.hstack(near))
    return Background(X[rows], strata[rows], weights)


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
    predictions: FloatArray, strata: IntArray, *, size: int = SIZE, near: FloatArray | None = None
) -> tuple[IntArray, FloatArray]:
    """Return rows spread evenly over predictions, and weights that give the mean prediction of all.

    ``predictions`` has shape (patients, answers). The means of ``near`` (patients, columns), where given, and
    each disease's share are matched as far as even weights allow. Of ``size`` patients or fewer all are
    taken, with equal weights. Where no weights on evenly spread patients reach the mean, patients are added
    whose weights do (at most one more than there are answers).
    """
    centred, order = _centred(predictions), np.arange(len(predictions))
    if len(predictions) <= size:
        return order, np.full(len(order), 1.0 / len(order))
    order = np.lexsort((*centred.T[:1], strata))
    alike = _alike(strata, near)
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


def _alike(strata: IntArray, near: FloatArray | None) -> FloatArray:
    """Return what should be alike, standardised: disease shares and columns, a missing value at the mean."""
    shares = np.eye(int(strata.max()) + 1)[strata]
    columns = shares if near is None else np.hstack([shares, near])
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
