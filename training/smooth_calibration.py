"""Smooth calibration: how far predicted risks are from observed ones, without groups.

The observed risk of patients predicted alike is a regression of their status on the predicted risk: on the
outcome's link the predicted risk is offset, and a restricted cubic spline of it with three knots is what the
predictions miss. Sources: Austin, Harrell and van Klaveren, Statistics in Medicine 2020;39:2714-2742 (ICI,
E50 and E90 of survival); Austin, Putter, Giardiello and van Klaveren, Diagnostic and Prognostic Research
2022;6:2 (competing risks); Gerds, Andersen and Kattan, Statistics in Medicine 2014;33:3191-3203 (regression
of the status at one horizon with censoring weights, which needs no proportional hazards and serves every
kind of outcome).

A regression misses a perfect model by its own noise. Its three coefficients are therefore shrunk towards
perfect calibration as James and Stein have it (Proceedings of the Fourth Berkeley Symposium 1961;1:361-379):
by the part of their Wald statistic that noise explains. What is truly wrong stays.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit
from scipy.stats import chi2

from features.dictionary import FloatArray
from features.endpoints import LOG_ODDS
from training.bootstrap import BootstrapSamples
from training.scoring import Estimate
from training.status import Status

KNOTS = (0.1, 0.5, 0.9)
STEPS, LARGEST_STEP, CLOSE = 25, 1.0, 1e-9
SMALLEST_RISK = 1e-6
LOW, HIGH = -30.0, 4.0
BINS = 100
RIDGE = 1e-8


@dataclass(frozen=True)
class SmoothCalibration:
    """A fitted regression of status on predicted risk.

    ``risk`` (patients,) is predicted; ``basis`` (patients, terms) spans what may be wrong with it, on the
    link named ``link``; ``coefficients`` (terms,) are the maximum of the weighted likelihood, not shrunk.
    """

    risk: FloatArray
    basis: FloatArray
    status: Status
    link: str
    coefficients: FloatArray

    @classmethod
    def fit(cls, risk: FloatArray, status: Status, *, link: str) -> "SmoothCalibration":
        """Regress the status on the predicted risk, shape (patients,), by Fisher scoring."""
        risk = np.clip(risk, SMALLEST_RISK, 1.0 - SMALLEST_RISK)
        basis = _basis(_on_link(risk, link))
        fitted = cls(risk, basis, status, link, np.zeros(basis.shape[1]))
        for _ in range(STEPS):
            score, information = fitted._likelihood()
            step = np.linalg.solve(_ridged(_outer(information, basis).sum(axis=0)), score.sum(axis=0))
            step = np.clip(step, -LARGEST_STEP, LARGEST_STEP)
            fitted = cls(risk, basis, status, link, fitted.coefficients + step)
            if np.abs(step).max() < CLOSE:
                break
        return fitted

    @property
    def observed(self) -> FloatArray:
        """Return the observed risk of patients predicted alike, shape (patients,), with shrinkage."""
        shrunk = self._shrunk(BootstrapSamples.once(len(self.risk)))[:, 0]
        return _off_link(_on_link(self.risk, self.link) + self.basis @ shrunk, self.link)

    def estimates(self, samples: BootstrapSamples) -> dict[str, Estimate]:
        """Return mean (``ici``), median (``e50``) and 90th percentile (``e90``) of the absolute error.

        In a bootstrap sample the coefficients move by one Newton step, and errors are read at a hundred
        evenly spread patients. Shrinkage is found anew. As an error is never below zero, where resampling
        seldom comes, the interval starts at zero unless a Wald test rejects perfect calibration at 5 %.
        """
        errors = np.abs(self.observed - self.risk)
        resampled, counts = self._errors(samples)
        mean = (resampled * counts).sum(axis=0) / counts.sum(axis=0)
        estimates = {"ici": Estimate.resampled(float(errors.mean()), mean)}
        for name, share in (("e50", 0.5), ("e90", 0.9)):
            spread = _quantile(resampled, counts, share)
            estimates[name] = Estimate.resampled(float(np.quantile(errors, share)), spread)
        if self.rejected:
            return estimates
        return {name: replace(estimate, low=0.0) for name, estimate in estimates.items()}

    @property
    def rejected(self) -> bool:
        """Tell whether a Wald test, robust to the weights, rejects perfect calibration at 5 %."""
        _, wald = self._moved(BootstrapSamples.once(len(self.risk)))
        return bool(wald[0] > chi2.ppf(0.95, self.basis.shape[1]))

    def _likelihood(self) -> tuple[FloatArray, FloatArray]:
        """Return each patient's score (patients, terms) and information (patients,)."""
        value = _on_link(self.risk, self.link) + self.basis @ self.coefficients
        risk = np.clip(_off_link(value, self.link), SMALLEST_RISK, 1.0 - SMALLEST_RISK)
        slope = risk * (1.0 - risk)
        if self.link != LOG_ODDS:
            slope = (1.0 - risk) * -np.log1p(-risk)
        weight = self.status.weight * slope / (risk * (1.0 - risk))
        score: FloatArray = (weight * (self.status.event - risk))[:, None] * self.basis
        return score, weight * slope

    def _shrunk(self, samples: BootstrapSamples) -> FloatArray:
        """Return the coefficients of every sample, shrunk, shape (terms, samples)."""
        moved, wald = self._moved(samples)
        noise = max(self.basis.shape[1] - 2.0, 0.0)
        part = np.divide(noise, wald, out=np.ones_like(wald), where=wald > 0.0)
        shrunk: FloatArray = moved * np.maximum(1.0 - part, 0.0)
        return shrunk

    def _moved(self, samples: BootstrapSamples) -> tuple[FloatArray, FloatArray]:
        """Return the coefficients of every sample, (terms, samples), and their Wald statistic, (samples,)."""
        score, information = self._likelihood()
        total = score.T @ samples.counts
        curvature = _ridged(_sums(_outer(information, self.basis), samples))
        moved = self.coefficients[:, None] + np.linalg.solve(curvature, total.T[:, :, None])[:, :, 0].T
        spread = _sums(score[:, :, None] * score[:, None, :], samples)
        spread = spread - total.T[:, :, None] * total.T[:, None, :] / len(score)
        scaled = np.einsum("skl,ls->sk", curvature, moved)
        wald = np.einsum("sk,sk->s", scaled, np.linalg.solve(_ridged(spread), scaled[:, :, None])[:, :, 0])
        return moved, wald

    def _errors(self, samples: BootstrapSamples) -> tuple[FloatArray, FloatArray]:
        """Return absolute errors and how many patients have them, shape (bins, samples) each."""
        order = np.argsort(self.risk, kind="stable")
        ends = np.linspace(0, len(order), min(BINS, len(order)) + 1).astype(int)
        middle = order[(ends[:-1] + ends[1:] - 1) // 2]
        counts = np.add.reduceat(samples.counts[order], ends[:-1], axis=0)
        value = _on_link(self.risk[middle], self.link)[:, None] + self.basis[middle] @ self._shrunk(samples)
        return np.abs(_off_link(value, self.link) - self.risk[middle, None]), counts


def _on_link(risk: FloatArray, link: str) -> FloatArray:
    value: FloatArray = logit(risk) if link == LOG_ODDS else np.log(-np.log1p(-risk))
    return value


def _off_link(value: FloatArray, link: str) -> FloatArray:
    risk: FloatArray = expit(value) if link == LOG_ODDS else -np.expm1(-np.exp(np.clip(value, LOW, HIGH)))
    return risk


def _basis(value: FloatArray) -> FloatArray:
    """Return orthonormal columns, scaled to mean square one, of a constant, the value and its spline's bend.

    What the predictions are too few to tell apart is left out.
    """
    spread = float(value.std())
    columns = [np.ones(len(value))]
    if spread > SMALLEST_RISK:
        centred = (value - value.mean()) / spread
        columns.append(centred)
        first, middle, last = np.quantile(centred, KNOTS)
        if first < middle < last:
            columns.append(_bend(centred, float(first), float(middle), float(last)))
    orthonormal, triangle = np.linalg.qr(np.column_stack(columns))
    told = np.abs(np.diag(triangle)) > SMALLEST_RISK * np.sqrt(len(value))
    basis: FloatArray = orthonormal[:, told] * np.sqrt(len(value))
    return basis


def _bend(value: FloatArray, first: float, middle: float, last: float) -> FloatArray:
    """Return the one nonlinear term of a restricted cubic spline with three knots.

    Source: Harrell, Regression Modeling Strategies, 2nd edition, section 2.4.5.
    """
    one, two, three = (np.maximum(value - knot, 0.0) ** 3 for knot in (first, middle, last))
    straightened = (two * (last - first) - three * (middle - first)) / (last - middle)
    bend: FloatArray = (one - straightened) / (last - first) ** 2
    return bend


def _outer(information: FloatArray, basis: FloatArray) -> FloatArray:
    """Return each patient's information matrix, shape (patients, terms, terms)."""
    matrices: FloatArray = information[:, None, None] * basis[:, :, None] * basis[:, None, :]
    return matrices


def _sums(matrices: FloatArray, samples: BootstrapSamples) -> FloatArray:
    """Return the sum over the patients of each sample, shape (samples, terms, terms)."""
    flat = matrices.reshape(len(matrices), -1).T @ samples.counts
    return flat.T.reshape(-1, *matrices.shape[1:])


def _ridged(matrices: FloatArray) -> FloatArray:
    """Return matrices that can be solved, however few patients a sample tells apart."""
    terms = matrices.shape[-1]
    size = np.trace(matrices, axis1=-2, axis2=-1)[..., None, None] / terms
    ridged: FloatArray = matrices + (RIDGE * size + np.finfo(np.float64).tiny) * np.eye(terms)
    return ridged


def _quantile(values: FloatArray, counts: FloatArray, share: float) -> FloatArray:
    """Return the weighted quantile down each column, shape (samples,)."""
    order = np.argsort(values, axis=0)
    passed = np.cumsum(np.take_along_axis(counts, order, axis=0), axis=0)
    place = (passed < share * passed[-1]).sum(axis=0)
    found: FloatArray = np.take_along_axis(np.take_along_axis(values, order, axis=0), place[None], axis=0)[0]
    return found
