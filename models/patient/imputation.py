"""Conditional distributions of missing test results given the rest of the patient, as in multiple imputation.

A number is ridge regression on the other columns plus quantiles of its leave-one-out residuals, assumed alike
for everyone; a category or flag is multinomial logistic regression with a ridge penalty. Columns are
standardised. A missing column is 0, its mean, in fitting; in answering, missing columns have the mean and
covariance of a multivariate normal distribution conditioned on the known ones. Values stay within the range
seen in training; no patient's row is kept.

Sources: Rubin, Multiple Imputation for Nonresponse in Surveys, 1987; Hoerl and Kennard, Technometrics
1970;12:55-67; Allen, Technometrics 1974;16:125-127 (leave-one-out residuals from the hat matrix); le Cessie
and van Houwelingen, Applied Statistics 1992;41:191-201.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from features.dictionary import FloatArray
from models.estimators.additive import require_numbers
from models.patient.gaussian import expect

POINTS = 9
PENALTIES = np.array([*np.geomspace(0.3, 3000.0, 9), np.inf])
PRIOR = 4.0  # precision of a standardised coefficient: its standard deviation is one half
DIGITS = 5
SHRINKAGE = 10.0  # patients without correlation added to each pair of columns
NORMAL = np.array([NormalDist().inv_cdf((at + 0.5) / POINTS) for at in range(POINTS)])


@dataclass(frozen=True)
class Conditional:
    """One patient's standardised columns given the known: mean (columns,), covariance (columns, columns)."""

    mean: FloatArray
    covariance: FloatArray

    @classmethod
    def of(cls, z: FloatArray, correlation: FloatArray) -> "Conditional":
        """Condition a standard multivariate normal distribution on ``z`` (columns,), NaN where missing."""
        mean, covariance = np.empty_like(z), np.empty_like(correlation)
        expect(z, correlation, mean, covariance)
        return cls(mean, covariance)


def correlation_of(Z: FloatArray) -> FloatArray:
    """Estimate a positive definite correlation matrix from standardised columns, NaN where missing.

    Each pair of columns uses the patients who have both; where they are few it shrinks towards 0.
    """
    known = (~np.isnan(Z)).astype(np.float64)
    filled = np.nan_to_num(Z, nan=0.0)
    pairwise = filled.T @ filled / (known.T @ known + SHRINKAGE)
    np.fill_diagonal(pairwise, 1.0)
    sizes, directions = np.linalg.eigh(pairwise)
    definite = (directions * np.maximum(sizes, 1e-3)) @ directions.T
    scale = np.sqrt(np.diag(definite))
    return _short(definite / np.outer(scale, scale))


@dataclass(frozen=True)
class PlausibleNumber:
    """A number on the encoder's scale: expected value plus equally likely residuals."""

    intercept: float
    coefficients: FloatArray
    residuals: FloatArray
    low: float
    high: float

    def given(self, rest: Conditional) -> tuple[FloatArray, FloatArray]:
        """Return equally likely values (9,) and weights; missing columns widen the residuals' spread."""
        spread = np.sqrt(max(0.0, float(self.coefficients @ rest.covariance @ self.coefficients)))
        sums = np.sort((self.residuals[:, None] + spread * NORMAL).ravel())
        values = self.intercept + float(rest.mean @ self.coefficients) + sums[POINTS // 2 :: POINTS]
        return np.clip(values, self.low, self.high), np.full(len(values), 1.0 / len(values))

    @classmethod
    def fit(cls, Z: FloatArray, y: FloatArray) -> "PlausibleNumber":
        """Fit ``y`` (patients,) on ``Z`` (patients, columns) with the penalty of least leave-one-out error.

        One eigendecomposition serves every penalty; columns of zeros have no coefficient.
        """
        used = Z.any(axis=0)
        centre, middle = Z[:, used].mean(axis=0), float(y.mean())
        centred, apart = Z[:, used] - centre, y - middle
        sizes, directions = np.linalg.eigh(centred.T @ centred)
        rotated = centred @ directions
        shrinkage = 1.0 / (np.maximum(sizes, 0.0)[:, None] + PENALTIES)
        slopes = shrinkage * (rotated.T @ apart)[:, None]
        leverage = np.minimum(rotated**2 @ shrinkage + 1.0 / len(y), 0.99)
        residuals = (apart[:, None] - rotated @ slopes) / (1.0 - leverage)
        best = int(np.argmin((residuals**2).sum(axis=0)))
        coefficients = np.zeros(Z.shape[1])
        coefficients[used] = directions @ slopes[:, best]
        points = np.quantile(residuals[:, best], (np.arange(POINTS) + 0.5) / POINTS)
        intercept = float(_short(middle - centre @ coefficients[used]))
        return cls(intercept, _short(coefficients), _short(points), float(y.min()), float(y.max()))

    def check(self, *, columns: int) -> None:
        """Raise ValueError, naming the part, where the model is not of so many columns."""
        require_numbers("range", np.array([self.intercept, self.low, self.high]), (3,))
        require_numbers("coefficients", self.coefficients, (columns,))
        require_numbers("residuals", self.residuals, (POINTS,))
        if self.low > self.high:
            raise ValueError("range is not as it must be")

    def as_dict(self) -> dict[str, Any]:
        return {
            "intercept": self.intercept,
            "coefficients": self.coefficients.tolist(),
            "residuals": self.residuals.tolist(),
            "range": [self.low, self.high],
        }


@dataclass(frozen=True)
class PlausibleCategory:
    """A category or flag: ``values`` are dictionary positions, ``coefficients`` (values, columns)."""

    values: FloatArray
    intercepts: FloatArray
    coefficients: FloatArray

    def given(self, rest: Conditional) -> tuple[FloatArray, FloatArray]:
        """Return the values and their probabilities for one patient.

        The variance of the scores draws the probabilities together (MacKay, Neural Computation
        1992;4:720-736: scores are divided by the root of 1 + pi/8 of it).
        """
        scores = self.intercepts + rest.mean @ self.coefficients.T
        variance = ((self.coefficients @ rest.covariance) * self.coefficients).sum(axis=1)
        scores /= np.sqrt(1.0 + np.pi / 8.0 * variance.mean())
        return self.values, np.exp(_log_softmax(scores))

    @classmethod
    def fit(cls, Z: FloatArray, y: FloatArray) -> "PlausibleCategory":
        """Fit ``y`` (patients,) on ``Z`` (patients, columns); columns of zeros have no coefficient."""
        from scipy.optimize import minimize  # noqa: PLC0415  takes a while to load, never needed to answer

        values, member = np.unique(y, return_inverse=True)
        shown, used = np.eye(len(values))[member], np.r_[True, Z.any(axis=0)]
        design = np.c_[np.ones(len(Z)), Z][:, used]
        precision = np.r_[1e-3, np.full(design.shape[1] - 1, PRIOR)]

        def loss(flat: FloatArray) -> tuple[float, FloatArray]:
            beta = flat.reshape(len(values), -1)
            logs = _log_softmax(design @ beta.T)
            gradient = (np.exp(logs) - shown).T @ design + precision * beta
            penalised = 0.5 * float((precision * beta**2).sum()) - float((logs * shown).sum())
            return penalised, gradient.ravel()

        start = np.zeros((len(values), len(precision)))
        start[:, 0] = np.log(shown.mean(axis=0))
        start[:, 0] -= start[:, 0].mean()  # as at the optimum
        optimum = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200})
        beta = np.zeros((len(values), len(used)))
        beta[:, used] = _short(optimum.x.reshape(len(values), -1))
        return cls(values, beta[:, 0], beta[:, 1:])

    def check(self, *, columns: int) -> None:
        """Raise ValueError, naming the part, where the model is not of so many columns."""
        count = max(1, len(self.values))
        require_numbers("values", self.values, (count,))
        require_numbers("intercepts", self.intercepts, (count,))
        require_numbers("coefficients", self.coefficients, (count, columns))

    def as_dict(self) -> dict[str, Any]:
        return {
            "values": self.values.tolist(),
            "intercepts": self.intercepts.tolist(),
            "coefficients": self.coefficients.tolist(),
        }


Plausible = PlausibleNumber | PlausibleCategory


def read_plausible(stored: Mapping[str, Any]) -> Plausible:
    """Read what a model's ``as_dict`` wrote: a number's has a range, a category's has not."""
    coefficients = np.array(stored["coefficients"])
    if "range" in stored:
        residuals = np.array(stored["residuals"])
        return PlausibleNumber(stored["intercept"], coefficients, residuals, *stored["range"])
    return PlausibleCategory(np.array(stored["values"]), np.array(stored["intercepts"]), coefficients)


def _log_softmax(scores: FloatArray) -> FloatArray:
    apart = scores - scores.max(axis=-1, keepdims=True)
    logged: FloatArray = apart - np.log(np.exp(apart).sum(axis=-1, keepdims=True))
    return logged


def _short(numbers: FloatArray) -> FloatArray:
    """Round to five significant digits: enough for a plausible value, compact in the bundle."""
    size = np.floor(np.log10(np.maximum(np.abs(numbers), 1e-30)))
    unit = 10.0 ** (DIGITS - 1 - size)
    return np.where(np.abs(numbers) < 1e-12, 0.0, np.round(numbers * unit) / unit)
