"""The baselines that a model must beat."""

import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis

from models.curves import kaplan_meier
from tests.models.outcomes import sample_outcome, structured
from training.baselines import fit_kaplan_meier, fit_plain_cox

TIMES = np.array([0.0, 6.0, 24.0, 60.0])


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(1)
    strata = rng.integers(0, 2, 400)
    X = np.column_stack([strata, rng.normal(size=400), rng.normal(size=400) * 3.0])
    hazard = 0.02 * np.exp(0.9 * strata + 0.5 * X[:, 1] - 0.1 * X[:, 2])
    return X, strata, sample_outcome(rng, hazard)


def test_kaplan_meier_gives_everyone_the_curve_of_their_disease(made):
    X, strata, outcome = made
    survival = fit_kaplan_meier(X, strata, outcome).survival(X, strata, TIMES)
    for disease in (0, 1):
        times, curve = kaplan_meier(outcome.take(strata == disease))
        expected = [1.0, *(curve[times <= t][-1] for t in TIMES[1:])]
        assert (survival[strata == disease] == expected).all()
    assert survival[strata == 0][0, 2] > survival[strata == 1][0, 2]


def test_the_cox_baseline_is_a_textbook_fit_with_disease_as_a_covariate(made):
    X, strata, outcome = made
    oracle = CoxPHSurvivalAnalysis(ties="breslow").fit(X, structured(outcome))
    expected = np.stack([curve(TIMES[1:3]) for curve in oracle.predict_survival_function(X)])
    survival = fit_plain_cox(X, strata, outcome).survival(X, strata, TIMES)
    np.testing.assert_allclose(survival[:, 1:3], expected, atol=1e-5)


def test_the_cox_baseline_takes_the_mean_for_a_missing_value(made):
    X, strata, outcome = made
    model = fit_plain_cox(X, strata, outcome)
    blank, filled = X.copy(), X.copy()
    blank[:, 1], filled[:, 1] = np.nan, X[:, 1].mean()
    np.testing.assert_allclose(
        model.survival(blank, strata, TIMES), model.survival(filled, strata, TIMES), atol=1e-12
    )
