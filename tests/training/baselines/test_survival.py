"""The baselines of survival."""

import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis

from models.estimators.curves import kaplan_meier
from tests.models.outcomes import sample_outcome, structured
from tests.training.samples import TIMES, blanked, survival_sample
from training.baselines.survival import fit_kaplan_meier, fit_plain_cox, fit_ridge_cox


@pytest.fixture(scope="module")
def made():
    return survival_sample()


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


@pytest.mark.parametrize("fit", [fit_plain_cox, fit_ridge_cox])
def test_the_cox_baselines_take_the_mean_for_a_missing_value(made, fit):
    X, strata, outcome = made
    model = fit(X, strata, outcome)
    blank, filled = blanked(X)
    np.testing.assert_allclose(
        model.survival(blank, strata, TIMES), model.survival(filled, strata, TIMES), atol=1e-12
    )


def test_the_ridge_baseline_forgets_noise_that_the_plain_one_believes():
    rng = np.random.default_rng(5)
    noise, strata = rng.normal(size=(150, 30)), np.zeros(150, dtype=int)
    outcome = sample_outcome(rng, np.full(150, 0.03))
    spread = [
        fit(noise, strata, outcome).survival(noise, strata, TIMES)[:, 2].std()
        for fit in (fit_plain_cox, fit_ridge_cox)
    ]
    assert spread[1] < spread[0] / 5


def test_the_ridge_baseline_fits_a_disease_in_which_nobody_died(made):
    X, strata, outcome = made
    alive = type(outcome)(outcome.duration, outcome.event & (strata == 0))
    survival = fit_ridge_cox(X, strata, alive).survival(X, strata, TIMES)
    assert survival[strata == 1, -1].mean() > survival[strata == 0, -1].mean() + 0.2
