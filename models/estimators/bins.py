"""Columns as bins: what boosting needs to know of a value is which cuts it has passed, a byte each.

A column is cut at each of its values, or at 254 quantiles where there are more. Missing values have a bin of
their own.

Source: Chen and Guestrin, KDD 2016;785-794 (histograms, missing values).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.censoring import BoolArray
from features.dictionary import FloatArray
from models.compiled import compiled
from models.estimators.curves import IntArray

Float32Array = npt.NDArray[np.float32]
CodeArray = npt.NDArray[np.uint8]

TIME, MISSING = 0, 0
MOST_CUTS = 254
MOST_SAMPLED = 200_000
BLOCK = 1 << 16
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Binned:
    """Columns as bins: ``codes`` (patients, columns) are 0 where missing, else one more than the cuts passed.

    ``cuts`` has one rising array a column; a value equal to a cut has passed it.
    """

    codes: CodeArray
    cuts: tuple[Float32Array, ...]

    @classmethod
    def of(cls, X: FloatArray, learning: BoolArray, pool: ThreadPoolExecutor) -> "Binned":
        """Cut each column at the values of those learning, at quantiles of a sample where there are many."""
        known = np.flatnonzero(learning)
        cuts = tuple(pool.map(_cuts, X[known[:: max(1, len(known) // MOST_SAMPLED)]].T))
        ends = np.cumsum([0, *map(len, cuts)])
        joined = np.concatenate([np.empty(0, dtype=np.float32), *cuts])
        codes = np.empty(X.shape, dtype=np.uint8)
        list(pool.map(lambda at: _bin(X[at], joined, ends, codes[at]), blocks(len(X))))
        return cls(codes, cuts)

    @property
    def bins(self) -> IntArray:
        """Return how many bins each column has, the missing values' not counted."""
        return np.array([len(cuts) + 1 for cuts in self.cuts])

    def threshold(self, feature: int, below: int) -> float:
        """Return the value under which the first ``below`` bins of a feature lie."""
        if feature == TIME:
            return float(below)
        cuts = self.cuts[feature - 1]
        if below == 0:
            return -LARGEST
        return float(cuts[below - 1]) if below <= len(cuts) else LARGEST


def blocks(count: int, size: int | None = None) -> Iterator[slice]:
    """Yield the ranges of some rows at a time, 65,536 unless said otherwise."""
    step = BLOCK if size is None else size
    return (slice(at, min(at + step, count)) for at in range(0, count, step))


def _cuts(column: FloatArray) -> Float32Array:
    """Return where a column is cut: at every value but the lowest, or at quantiles where values are many.

    >>> _cuts(np.array([2.0, 1.0, np.nan, 4.0, 2.0])).tolist()
    [2.0, 4.0]
    """
    values = column[~np.isnan(column)].astype(np.float32)
    distinct = np.unique(values)
    if len(distinct) <= MOST_CUTS + 1:
        return distinct[1:]
    shares = np.arange(1, MOST_CUTS + 1) / (MOST_CUTS + 1)
    return np.unique(np.quantile(values, shares, method="inverted_cdf"))


@compiled
def _bin(X: FloatArray, cuts: Float32Array, ends: IntArray, codes: CodeArray) -> None:
    """Write each value's bin: the number of cuts at or below it, found by halving, and one."""
    for row in range(X.shape[0]):
        for column in range(X.shape[1]):
            value = np.float32(X[row, column])
            if np.isnan(value):
                codes[row, column] = MISSING
                continue
            low, count = ends[column], ends[column + 1] - ends[column]
            while count > 0:
                half = (count + 1) // 2
                low = low + half if cuts[low + half - 1] <= value else low
                count -= half
            codes[row, column] = low - ends[column] + 1
