"""Accelerated failure time: the truth of log-logistic times, xgboost's own predictions, files. Synthetic."""

from dataclasses import replace

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from features.censoring import Outcome
from features.errors import InvalidInput
from models.estimators.folds import stratified_folds
from models.estimators.xgboost_aft import SCALES, XGBoostAFT

TIMES = np.array([3.0, 6.0, 12.0, 24.0, 48.0])
QUICK = XGBoostAFT(folds=3, rounds=40)


def score(X, strata):
    """Return the log median of months."""
    return np.log([16.0, 30.0])[strata] + 0.7 * X[:, 0] - 0.8 * (np.abs(X[:, 1]) > 1.0)


def made(seed, *, patients, scale=0.5, followed=200.0):
    """Return log-logistic times under uniform censoring."""
    rng = np.random.default_rng(seed)
    X, strata = rng.normal(size=(patients, 3)), rng.integers(0, 2, patients)
    death = np.exp(score(X, strata) + scale * rng.logistic(size=patients))
    censored = rng.uniform(5.0, followed, patients)
    return X, strata, Outcome(np.minimum(death, censored), death <= censored)


def truth(X, strata, *, scale=0.5):
    return 1.0 / (1.0 + np.exp((np.log(TIMES) - score(X, strata)[:, None]) / scale))


def median(model, X, strata):
    """Return xgboost's own prediction, the median, in months."""
    booster = xgboost.Booster(model_file=bytearray(model.booster))
    return model.unit * booster.predict(xgboost.DMatrix(np.column_stack([X, strata]), nthread=1))


@pytest.fixture(scope="module")
def cohort():
    return made(1, patients=600)


@pytest.fixture(scope="module")
def model(cohort):
    X, strata, outcome = cohort
    X = X.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    return QUICK.fit(X, strata, outcome)


@pytest.mark.parametrize("scale", SCALES)
def test_log_logistic_times_are_recovered(scale):
    X, strata, outcome = made(2, patients=16_000, scale=scale)
    model = XGBoostAFT(folds=5).fit(X, strata, outcome)
    assert model.scale == model.hyperparameters["scale"] == scale
    new, disease, _ = made(3, patients=2000)
    expected = truth(new, disease, scale=scale)
    error = np.abs(model.predict(new, disease, TIMES)[:, 0] - expected).mean()
    assert error < 0.025
    assert error < 0.25 * np.abs(expected.mean(axis=0) - expected).mean()


def test_survival_is_one_half_at_the_median_that_xgboost_predicts(model):
    X, strata, _ = made(4, patients=200)
    X[::3, 0] = np.nan
    half = median(model, X, strata)
    for row in range(40):
        at = model.predict(X[[row]], strata[[row]], half[[row]])
        assert at.item() == pytest.approx(0.5, abs=1e-5)


def test_curves_are_log_logistic_around_that_median(model):
    X, strata, _ = made(5, patients=200)
    X[::4, 1] = np.nan
    z = (np.log(TIMES) - np.log(median(model, X, strata))[:, None]) / model.scale
    found = model.predict(X, strata, TIMES)
    assert found.shape == (200, 1, len(TIMES))
    np.testing.assert_allclose(found[:, 0], 1.0 / (1.0 + np.exp(z)), atol=1e-5)


def test_the_disease_and_each_column_matter(model, cohort):
    X, strata, _ = cohort
    plain = model.predict(X, strata, TIMES)
    assert np.abs(model.predict(X, 1 - strata, TIMES) - plain).mean() > 0.05
    assert np.abs(model.predict(X[::-1], strata, TIMES) - plain).mean() > 0.05


@given(st.integers(0, 10_000))
def test_survival_of_anyone_starts_at_one_and_never_rises(model, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(8, 3)) * 10.0 ** rng.uniform(-3.0, 9.0)
    X[rng.random(X.shape) < 0.3] = np.nan
    times = np.sort(np.append([0.0, 1e-300, 1e300], rng.uniform(0.0, 300.0, 20)))
    found = model.predict(X, rng.integers(0, 2, 8), times)[:, 0]
    assert (found[:, 0] == 1.0).all()
    assert ((found >= 0.0) & (found <= 1.0)).all()
    assert (np.diff(found, axis=1) <= 0.0).all()


def test_the_scale_is_the_one_under_which_held_out_patients_are_likeliest(cohort):
    X, strata, outcome = cohort
    out = stratified_folds(strata, outcome, folds=3, seed=0) == 0
    likelihood = []
    for scale in SCALES:
        model = QUICK._boost(X[~out], strata[~out], outcome.take(~out), scale)
        z = (np.log(outcome.duration[out]) - np.log(median(model, X[out], strata[out]))) / scale
        survival = 1.0 / (1.0 + np.exp(z))
        density = survival * (1.0 - survival) / scale
        likelihood.append(np.log(np.where(outcome.event[out], density, survival)).sum())
    assert QUICK.fit(X, strata, outcome).scale == SCALES[int(np.argmax(likelihood))]


def test_times_may_be_in_any_unit(cohort):
    X, strata, outcome = cohort
    months = QUICK.fit(X, strata, outcome)
    days = QUICK.fit(X, strata, Outcome(30.0 * outcome.duration, outcome.event))
    np.testing.assert_allclose(
        days.predict(X, strata, 30.0 * TIMES), months.predict(X, strata, TIMES), atol=1e-4
    )


def test_a_cross_fit_has_members_without_each_fold_and_their_predictions(cohort):
    X, strata, outcome = cohort
    found = replace(QUICK, repeats=2, rounds=10).cross_fit(X, strata, outcome)
    assert len(found.members) == 6
    assert found.fold_share == pytest.approx(1 / 3)
    assert found.model.files() == replace(QUICK, rounds=10).fit(X, strata, outcome).files()
    folds = [stratified_folds(strata, outcome, folds=3, seed=seed) for seed in (0, 1)]
    by_member = np.stack([member.predict(X, strata, TIMES) for member in found.members])
    patient = np.arange(len(X))
    expected = (by_member[folds[0], patient] + by_member[3 + folds[1], patient]) / 2.0
    np.testing.assert_allclose(found.held_out.probabilities(patient, TIMES), expected, atol=1e-12)


def test_files_give_the_same_answers_and_the_same_bytes(model, cohort):
    X, strata, _ = cohort
    again = XGBoostAFT.read(model.files())
    again.check(columns=3, strata=2)
    assert again == model
    assert again.files() == model.files()
    np.testing.assert_array_equal(again.predict(X, strata, TIMES), model.predict(X, strata, TIMES))
    assert (again.outcomes, again.timed, again.penalties.tolist()) == (("survival",), True, [0.0])


def test_the_same_data_give_the_same_model(cohort):
    assert QUICK.fit(*cohort).files() == QUICK.fit(*cohort).files()


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"columns": 4}, "columns"),
        ({"outcomes": ("a", "b")}, "columns"),
        ({"scale": 0.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"unit": -1.0}, "scale"),
    ],
)
def test_an_unsound_model_is_refused_by_part(model, changed, part):
    with pytest.raises(ValueError, match=f"{part}.* not as it must be|{part} are not as they must be"):
        replace(model, **changed).check(columns=3, strata=2)


def test_a_booster_that_is_none_is_refused(model):
    with pytest.raises(InvalidInput, match="these bytes are no model of xgboost"):
        replace(model, booster=b"{}").check(columns=3, strata=2)
