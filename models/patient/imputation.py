"""Plausible values of what is not known of a patient, given the rest: small models without patient rows.

A number is ridge regression on the other columns plus the quantiles of its leave-one-out residuals, assumed
to be spread alike for everyone; a category or flag is multinomial logistic regression with a ridge penalty.
Columns are standardised. Those that are missing too stand where the known ones lead to expect them, with the
spread that is left: a normal distribution conditioned on what is known. Values never leave the range seen in
training.

Sources: Hoerl and Kennard, Technometrics 1970;12:55-67; Allen, Technometrics 1974;16:125-127 (leave one out
from the hat matrix); le Cessie and van Houwelingen, Applied Statistics 1992;41:191-201.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from features.dictionary import FloatArray
from models.patient.gaussian import expect

POINTS = 9
PENALTIES = (*(float(p) for p in np.geomspace(0.3, 3000.0, 9)), np.inf)
PRIOR = 4.0  # a standardised coefficient is expected within plus or minus one half
DIGITS = 5
TOGETHER = 10.0  # two columns known together in so few patients count half
NORMAL = np.array([NormalDist().inv_cdf((at + 0.5) / POINTS) for at in range(POINTS)])


@dataclass(frozen=True)
class Expected:
    """One patient's standardised columns as far as known: means (columns,), covariance (columns, columns)."""

    mean: FloatArray
    covariance: FloatArray


@dataclass(frozen=True)
class Association:
    """How standardised columns go together: their correlation, shape (columns, columns)."""

    correlation: FloatArray

    @classmethod
    def fit(cls, Z: FloatArray) -> "Association":
        """Estimate from columns with NaN for missing, pair by pair, drawn to none where few have both."""
        known = (~np.isnan(Z)).astype(np.float64)
        filled = np.nan_to_num(Z, nan=0.0)
        found = filled.T @ filled / (known.T @ known + TOGETHER)
        np.fill_diagonal(found, 1.0)
        sizes, directions = np.linalg.eigh(found)
        sound = (directions * np.maximum(sizes, 1e-3)) @ directions.T
        scale = np.sqrt(np.diag(sound))
        return cls(_short(sound / np.outer(scale, scale)))

    def expected(self, z: FloatArray) -> Expected:
        """Return what one patient's known columns, NaN where missing, lead to expect of all."""
        mean, covariance = np.empty_like(z), np.empty_like(self.correlation)
        expect(z, self.correlation, mean, covariance)
        return Expected(mean, covariance)


@dataclass(frozen=True)
class PlausibleNumber:
    """A number on the encoder's scale: expected value plus equally likely residuals."""

    intercept: float
    coefficients: FloatArray
    residuals: FloatArray
    low: float
    high: float

    def given(self, rest: Expected) -> tuple[FloatArray, FloatArray]:
        """Return plausible values and their weights for one patient."""
        spread = np.sqrt(max(0.0, float(self.coefficients @ rest.covariance @ self.coefficients)))
        sums = np.sort((self.residuals[:, None] + spread * NORMAL).ravel())
        apart = sums[POINTS // 2 :: POINTS]
        values = self.intercept + float(rest.mean @ self.coefficients) + apart
        return np.clip(values, self.low, self.high), np.full(len(values), 1.0 / len(values))

    @classmethod
    def fit(cls, Z: FloatArray, y: FloatArray) -> "PlausibleNumber":
        """Fit with the penalty, none to infinite, that predicts best each patient left out."""
        left, singular, right = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)
        middle = float(y.mean())
        shares = left.T @ (y - middle)
        best: tuple[float, FloatArray, FloatArray] | None = None
        for penalty in PENALTIES:
            kept = singular**2 / (singular**2 + penalty)
            leverage = np.minimum(left**2 @ kept + 1.0 / len(y), 0.99)
            residual = (y - middle - left @ (kept * shares)) / (1.0 - leverage)
            error = float(residual @ residual)
            if best is None or error < best[0] - 1e-12:
                step = np.where(singular > 1e-9, kept / np.maximum(singular, 1e-9), 0.0)
                best = error, right.T @ (step * shares), residual
        assert best is not None
        _, coefficients, residual = best
        points = np.quantile(residual, (np.arange(POINTS) + 0.5) / POINTS)
        intercept = middle - float(Z.mean(axis=0) @ coefficients)
        rounded = float(_short(np.array(intercept))), _short(coefficients), _short(points)
        return cls(*rounded, float(y.min()), float(y.max()))

    def as_dict(self) -> dict[str, Any]:
        """Return the model as plain JSON values."""
        return {
            "intercept": self.intercept,
            "coefficients": self.coefficients.tolist(),
            "residuals": self.residuals.tolist(),
            "range": [self.low, self.high],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "PlausibleNumber":
        """Read what :meth:`as_dict` wrote."""
        arrays = np.array(stored["coefficients"]), np.array(stored["residuals"])
        return cls(stored["intercept"], *arrays, *stored["range"])


@dataclass(frozen=True)
class PlausibleCategory:
    """A category or flag: ``values`` are dictionary positions, ``coefficients`` (values, columns)."""

    values: FloatArray
    intercepts: FloatArray
    coefficients: FloatArray

    def given(self, rest: Expected) -> tuple[FloatArray, FloatArray]:
        """Return the values and their probabilities for one patient.

        What the missing columns leave open draws the scores together (MacKay, Neural Computation
        1992;4:720-736: divided by the root of 1 + pi/8 of their variance).
        """
        scores = self.intercepts + rest.mean @ self.coefficients.T
        variance = ((self.coefficients @ rest.covariance) * self.coefficients).sum(axis=1)
        return self.values, np.exp(_log_softmax(scores / np.sqrt(1.0 + np.pi / 8.0 * variance.mean())))

    @classmethod
    def fit(cls, Z: FloatArray, y: FloatArray) -> "PlausibleCategory":
        """Fit by penalised maximum likelihood."""
        from scipy.optimize import minimize  # noqa: PLC0415  takes a while to load, never needed to answer

        values, member = np.unique(y, return_inverse=True)
        shown = np.eye(len(values))[member]
        design = np.hstack([np.ones((len(Z), 1)), Z])
        shape = len(values), design.shape[1]
        weights = np.r_[1e-3, np.full(Z.shape[1], PRIOR)]

        def loss(flat: FloatArray) -> tuple[float, FloatArray]:
            beta = flat.reshape(shape)
            logs = _log_softmax(design @ beta.T)
            gradient = (np.exp(logs) - shown).T @ design + weights * beta
            penalised = 0.5 * float((weights * beta**2).sum()) - float((logs * shown).sum())
            return penalised, gradient.ravel()

        start = np.zeros(shape)
        start[:, 0] = np.log(shown.mean(axis=0))
        found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200})
        beta = _short(found.x.reshape(shape))
        return cls(values, beta[:, 0], beta[:, 1:])

    def as_dict(self) -> dict[str, Any]:
        """Return the model as plain JSON values."""
        return {
            "values": self.values.tolist(),
            "intercepts": self.intercepts.tolist(),
            "coefficients": self.coefficients.tolist(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "PlausibleCategory":
        """Read what :meth:`as_dict` wrote."""
        return cls(*(np.array(stored[name]) for name in ("values", "intercepts", "coefficients")))


Plausible = PlausibleNumber | PlausibleCategory


def read_plausible(stored: Mapping[str, Any]) -> Plausible:
    """Read either kind."""
    return PlausibleNumber.from_dict(stored) if "range" in stored else PlausibleCategory.from_dict(stored)


def _log_softmax(score: FloatArray) -> FloatArray:
    top = score.max(axis=-1, keepdims=True)
    logged: FloatArray = score - top - np.log(np.exp(score - top).sum(axis=-1, keepdims=True))
    return logged


def _short(numbers: FloatArray) -> FloatArray:
    """Round to five significant digits: enough for a plausible value, compact in the bundle."""
    size = np.floor(np.log10(np.maximum(np.abs(numbers), 1e-30)))
    unit = 10.0 ** (DIGITS - 1 - size)
    return np.where(np.abs(numbers) < 1e-12, 0.0, np.round(numbers * unit) / unit)
