"""Multivariate normal distribution, compiled: Mahalanobis distance and conditional distribution."""

import numpy as np

from features.dictionary import FloatArray
from models.compiled import compiled
from models.estimators.curves import IntArray


@compiled
def factor(correlation: FloatArray, known: IntArray) -> FloatArray:
    """Return the lower Cholesky factor (known, known) of the correlation among the ``known`` columns."""
    count = len(known)
    lower = np.zeros((count, count))
    for i in range(count):
        for j in range(i + 1):
            rest = correlation[known[i], known[j]]
            for k in range(j):
                rest -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(rest) if i == j else rest / lower[j, j]
    return lower


@compiled
def forward(lower: FloatArray, y: FloatArray) -> None:
    """Solve ``lower @ solution = y``, ``lower`` being triangular; ``y`` becomes the solution."""
    for i in range(len(y)):
        for k in range(i):
            y[i] -= lower[i, k] * y[k]
        y[i] /= lower[i, i]


@compiled
def unusualness(z: FloatArray, correlation: FloatArray) -> float:
    """Return the squared Mahalanobis distance per known score (scores,), NaN where unknown; 0 without any."""
    known = np.flatnonzero(~np.isnan(z))
    y = z[known].copy()
    forward(factor(correlation, known), y)
    total: float = (y * y).sum()
    return total / max(len(y), 1)


@compiled
def expect(z: FloatArray, correlation: FloatArray, mean: FloatArray, covariance: FloatArray) -> None:
    """Write the conditional mean (columns,) and covariance (columns, columns) given the known columns.

    ``z`` (columns,) is standardised, NaN where missing; known columns have their value and no variance.
    """
    known, blank = np.flatnonzero(~np.isnan(z)), np.flatnonzero(np.isnan(z))
    lower, own = factor(correlation, known), z[known].copy()
    forward(lower, own)
    across = np.empty((len(blank), len(known)))
    mean[:], covariance[:] = z, 0.0
    for i in range(len(blank)):
        across[i] = correlation[blank[i]][known]
        forward(lower, across[i])
        mean[blank[i]] = (across[i] * own).sum()
        for j in range(i + 1):
            left = correlation[blank[i], blank[j]] - (across[i] * across[j]).sum()
            covariance[blank[i], blank[j]] = left
            covariance[blank[j], blank[i]] = left


@compiled
def regression(correlation: FloatArray, known: IntArray, blank: IntArray) -> FloatArray:
    """Return the coefficients (blank, known) of the blank columns' conditional means on the known ones."""
    lower, out = factor(correlation, known), np.empty((len(blank), len(known)))
    for i in range(len(blank)):
        y = correlation[blank[i]][known]
        forward(lower, y)
        for k in range(len(known) - 1, -1, -1):
            for j in range(k + 1, len(known)):
                y[k] -= lower[j, k] * y[j]
            y[k] /= lower[k, k]
        out[i] = y
    return out
