"""Conditional distributions of test results, against scikit-learn's regressions."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from models.patient.imputation import (
    PENALTIES,
    POINTS,
    PRIOR,
    Conditional,
    PlausibleCategory,
    PlausibleNumber,
)

COLUMNS = 8


def standard(patients: int, *, seed: int) -> np.ndarray:
    """Return correlated standardised columns, the last of them constant."""
    Z = np.random.default_rng(seed).normal(size=(patients, COLUMNS))
    Z[:, 1] += Z[:, 0]
    return (Z - Z.mean(axis=0)) / Z.std(axis=0) * (np.arange(COLUMNS) < COLUMNS - 1)


def left_out(Z: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Return each patient's residual from ridge regression on the others."""
    rows = np.arange(len(y))
    fits = [Ridge(alpha=penalty).fit(Z[rows != row], y[rows != row]) for row in rows]
    return y - [fit.predict(z[None])[0] for fit, z in zip(fits, Z, strict=True)]


@pytest.mark.parametrize(("patients", "noise"), [(6, 0.3), (60, 0.3), (60, 3.0)])
def test_a_number_has_the_residuals_of_patients_left_out_at_the_best_penalty(patients, noise):
    Z = standard(patients, seed=patients)
    y = 5.0 + Z[:, 0] - Z[:, 2] + np.random.default_rng(1).normal(0.0, noise, patients)
    each = [left_out(Z, y, min(penalty, 1e12)) for penalty in PENALTIES]
    best = min(each, key=lambda residuals: residuals @ residuals)
    points = np.quantile(best, (np.arange(POINTS) + 0.5) / POINTS)
    np.testing.assert_allclose(PlausibleNumber.fit(Z, y).residuals, points, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cuts", [[-1.0, 0.5], [1.8]])
def test_a_category_has_the_probabilities_of_penalised_logistic_regression(cuts):
    Z = standard(300, seed=3)
    y = np.digitize(Z[:, 0] + np.random.default_rng(4).normal(size=300), cuts).astype(np.float64)
    fitted = PlausibleCategory.fit(Z, y)
    # of two categories scikit-learn fits one vector of slopes; here there are two that mirror each other
    alone = LogisticRegression(C=(2.0 if len(cuts) == 1 else 1.0) / PRIOR, tol=1e-8, max_iter=1000)
    expected = alone.fit(Z, y).predict_proba(Z)
    for z, probabilities in zip(Z, expected, strict=True):
        values, weights = fitted.given(Conditional(z, np.zeros((COLUMNS, COLUMNS))))
        np.testing.assert_array_equal(values, alone.classes_)
        np.testing.assert_allclose(weights, probabilities, atol=1e-3)
    assert not fitted.coefficients[:, -1].any()


def test_without_columns_a_number_is_its_own_distribution():
    y = np.random.default_rng(6).normal(size=50)
    fitted = PlausibleNumber.fit(np.zeros((50, COLUMNS)), y)
    assert not fitted.coefficients.any()
    assert fitted.intercept == pytest.approx(y.mean(), rel=1e-4)
