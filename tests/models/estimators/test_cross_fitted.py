"""The cross-fitted ensemble of survival: what it averages, recovers and needs; the Cox score. Synthetic."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.censoring import Outcome
from features.errors import NotFittable
from models.estimators import cross_fitted
from models.estimators.additive import AdditiveModel
from models.estimators.boosting import Boosting
from models.estimators.cox import RidgeCox
from models.estimators.cross_fitted import CrossFitted, CrossFittedCox, spaced
from models.estimators.slots import chance, person_intervals
from tests.models.outcomes import sample_outcome

TIMES = np.linspace(2.0, 60.0, 30)
QUICK = CrossFitted(cox=RidgeCox(penalties=(1.0,)), folds=3, repeats=2)
ONCE = replace(QUICK, repeats=1)
PLAIN = CrossFitted(cox=RidgeCox(penalties=(100.0,)), folds=3, repeats=1)


def made(seed, *, patients, curved=False):
    """Return two strata; hazards rise with the first column, or with its distance from zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(patients, 2))
    strata = rng.integers(0, 2, patients)
    score = 2.0 * (np.abs(X[:, 0]) > 1) if curved else 0.8 * X[:, 0]
    return X, strata, sample_outcome(rng, np.array([0.02, 0.04])[strata] * np.exp(score))


def survival(model, X, strata, times=TIMES):
    return model.predict(X, strata, times)[:, 0]


def truth(X, strata, *, curved=False, times=TIMES):
    score = 2.0 * (np.abs(X[:, 0]) > 1) if curved else 0.8 * X[:, 0]
    return np.exp(-np.outer(np.array([0.02, 0.04])[strata] * np.exp(score), times))


@pytest.fixture(scope="module")
def fitted():
    X, strata, outcome = made(1, patients=500, curved=True)
    return X, strata, outcome, QUICK.cross_fit(X, strata, outcome)


# What a fit hands on


def test_the_model_is_its_members_mean(fitted):
    X, strata, _, found = fitted
    assert len(found.members) == 6
    assert found.fold_share == pytest.approx(1 / 3)
    by_member = np.mean([member.scores(X, strata) for member in found.members], axis=0)
    np.testing.assert_allclose(found.model.scores(X, strata), by_member, atol=1e-5)


def test_held_out_scores_are_means_of_the_members_that_never_saw_the_patient(fitted):
    X, strata, outcome, found = fitted
    by_member = np.stack([member.scores(X, strata) for member in found.members])
    first, second = QUICK.split(strata, outcome)
    patient = np.arange(len(X))
    expected = (by_member[first, patient] + by_member[3 + second, patient]) / 2.0
    np.testing.assert_allclose(found.held_out.scores, expected, atol=1e-5)


def test_as_many_events_are_expected_as_there_were(fitted):
    X, strata, outcome, found = fitted
    rows = person_intervals(outcome, found.model.transform.edges)
    expected = rows.weight * chance(found.model.scores(X, strata)[rows.patient, rows.slot])
    for stratum in (0, 1):
        own = strata[rows.patient] == stratum
        assert expected[own].sum() == pytest.approx(rows.event[own].sum(), rel=1e-4)


def test_held_out_predictions_know_nothing_of_their_own_outcome():
    _, strata, outcome = made(2, patients=400)
    noise = np.random.default_rng(0).normal(size=(400, 30))
    found = QUICK.cross_fit(noise, strata, outcome)
    died_early = outcome.event & (outcome.duration < 12.0)

    def gap(scores):
        mean = scores.mean(axis=1)
        return mean[died_early].mean() - mean[~died_early].mean()

    assert gap(found.model.scores(noise, strata)) > gap(found.held_out.scores) + 0.05


def test_the_same_data_give_the_same_model_and_another_seed_another(fitted):
    X, strata, outcome, found = fitted
    assert QUICK.cross_fit(X, strata, outcome).model.files() == found.model.files()
    assert replace(QUICK, seed=9).cross_fit(X, strata, outcome).model.files() != found.model.files()


def test_a_stored_model_answers_as_before(fitted):
    X, strata, _, found = fitted
    again = CrossFitted.read(found.model.files())
    assert isinstance(again, AdditiveModel)
    assert again.files() == found.model.files()
    assert again.hyperparameters == found.model.hyperparameters
    tabled = found.model.tabulated()
    np.testing.assert_array_equal(again.scores(X, strata), tabled.scores(X, strata))
    np.testing.assert_allclose(tabled.scores(X, strata), found.model.scores(X, strata), atol=1e-5)


def test_intervals_may_be_given(fitted):
    X, strata, outcome, found = fitted
    edges = np.array([10.0, 30.0, 90.0])
    given_edges = ONCE.cross_fit_on(X, strata, outcome, splits=ONCE.split(strata, outcome), edges=edges)
    assert given_edges.model.transform.edges.tolist() == edges.tolist()
    assert len(found.model.transform.edges) == 20


# Curves


@given(st.integers(0, 2**32 - 1))
def test_a_fitted_curve_never_rises_for_anyone(fitted, seed):
    rng = np.random.default_rng(seed)
    anyone = rng.normal(size=(8, 2)) * 30.0
    anyone[rng.random(anyone.shape) < 0.3] = np.nan
    found = survival(fitted[3].model, anyone, rng.integers(0, 2, 8), np.sort(rng.uniform(0.0, 200.0, 30)))
    assert ((found >= 0.0) & (found <= 1.0)).all()
    assert (np.diff(found, axis=1) <= 1e-12).all()


def test_where_the_effect_is_linear_the_truth_is_recovered():
    X, strata, outcome = made(4, patients=1500)
    found = survival(QUICK.cross_fit(X, strata, outcome).model, X, strata)
    assert np.abs(found - truth(X, strata)).mean() < 0.03


def test_where_the_effect_is_curved_trees_recover_it():
    X, strata, outcome = made(5, patients=1500, curved=True)
    expected = truth(X, strata, curved=True)
    cox = RidgeCox(penalties=(1.0,)).fit(X, strata, outcome).survival(X, strata, TIMES)
    ours = survival(QUICK.cross_fit(X, strata, outcome).model, X, strata)
    assert np.abs(ours - expected).mean() < 0.5 * np.abs(cox - expected).mean()


def test_a_constant_hazard_is_recovered_in_each_stratum():
    rng, hazards = np.random.default_rng(6), np.array([0.03, 0.06])
    X, strata = rng.normal(size=(6000, 3)), rng.integers(0, 2, 6000)
    times = np.array([6.0, 12.0, 24.0, 36.0])
    model = PLAIN.cross_fit(X, strata, sample_outcome(rng, hazards[strata])).model
    found = survival(model, X, strata, times)
    for stratum, hazard in enumerate(hazards):
        own = found[strata == stratum]
        np.testing.assert_allclose(own.mean(axis=0), np.exp(-hazard * times), atol=0.025)
        assert own.std(axis=0).max() < 0.03


def test_the_trees_learn_an_effect_that_the_cox_model_misses():
    rng = np.random.default_rng(7)
    X, strata = rng.normal(size=(3000, 1)), np.zeros(3000, dtype=np.int64)
    outcome = sample_outcome(rng, np.where(np.abs(X[:, 0]) > 1, 0.1, 0.02))
    alone = RidgeCox(penalties=(1.0,)).fit(X, strata, outcome)
    model = PLAIN.cross_fit(X, strata, outcome).model
    times, anyone = np.array([12.0, 24.0]), np.array([[-2.0], [0.0], [2.0]])
    expected = np.exp(-np.outer([0.1, 0.02, 0.1], times))
    assert np.abs(survival(model, anyone, strata[:3], times) - expected).max() < 0.08
    assert np.abs(alone.survival(anyone, strata[:3], times) - expected).max() > 0.15


def test_hazards_that_cross_are_learned():
    rng = np.random.default_rng(17)
    late = rng.random(3000) < 0.5
    early = rng.exponential(1.0 / np.where(late, 0.01, 0.08))
    death = np.where(early < 12.0, early, 12.0 + rng.exponential(1.0 / np.where(late, 0.08, 0.01)))
    outcome = Outcome(np.minimum(death, 60.0), death <= 60.0)
    model = PLAIN.cross_fit(late[:, None].astype(float), np.zeros(3000, dtype=np.int64), outcome).model
    times, two = np.array([12.0, 36.0]), np.zeros(2, dtype=np.int64)
    expected = np.exp([[-0.96, -0.96 - 0.24], [-0.12, -0.12 - 1.92]])
    assert np.abs(survival(model, np.array([[0.0], [1.0]]), two, times) - expected).max() < 0.06


def test_a_cured_fraction_keeps_a_plateau():
    rng = np.random.default_rng(18)
    cured = rng.random(2000) < 0.4
    death = np.where(cured, np.inf, rng.exponential(6.0, 2000))
    outcome = Outcome(np.minimum(death, 100.0), death <= 100.0)
    X, strata = rng.normal(size=(2000, 2)), np.zeros(2000, dtype=np.int64)
    model = PLAIN.cross_fit(X, strata, outcome).model
    curves = survival(model, X, strata, np.array([60.0, 90.0])).mean(axis=0)
    np.testing.assert_allclose(curves, 0.4, atol=0.03)


def test_a_constant_column_changes_nothing_that_a_patient_would_notice():
    X, strata, outcome = made(7, patients=400)
    with_constant = np.column_stack([X, np.full(len(X), 3.0)])
    plain = survival(QUICK.cross_fit(X, strata, outcome).model, X, strata)
    padded = survival(QUICK.cross_fit(with_constant, strata, outcome).model, with_constant, strata)
    assert np.abs(plain - padded).max() < 0.1
    assert np.abs(plain - padded).mean() < 0.01


# Large cohorts


def test_many_patients_are_split_in_half_as_many_repeats():
    rng = np.random.default_rng(3)
    for patients, repeats in ((1999, 4), (2000, 2)):
        outcome = sample_outcome(rng, np.full(patients, 0.03))
        assert len(replace(QUICK, repeats=4).split(np.zeros(patients, dtype=np.int64), outcome)) == repeats


def test_of_a_large_disease_some_patients_teach_the_cox_score(monkeypatch):
    monkeypatch.setattr(cross_fitted, "MOST_FOR_COX", 300)
    X, strata, outcome = made(11, patients=1500)
    found = survival(ONCE.cross_fit(X, strata, outcome).model, X, strata)
    assert np.abs(found - truth(X, strata)).mean() < 0.03


def test_spaced_rows_keep_every_disease_and_its_share_of_events():
    rng = np.random.default_rng(12)
    strata = np.where(rng.random(5000) < 0.01, 1, 0)
    outcome = Outcome(rng.exponential(size=5000), rng.random(5000) < np.array([0.3, 0.6])[strata])
    rows = rng.random(5000) < 0.8
    some = spaced(strata, outcome, rows, most=1000)
    assert rows[some].all()
    assert (np.diff(some) > 0).all()
    np.testing.assert_array_equal(some[strata[some] == 1], np.flatnonzero(rows & (strata == 1)))
    large, kept = rows & (strata == 0), some[strata[some] == 0]
    assert 700 < len(kept) <= 1000
    assert abs(outcome.event[kept].mean() - outcome.event[large].mean()) < 1e-3


def test_one_event_among_many_is_kept():
    event = np.arange(5000) == 4321
    some = spaced(
        np.zeros(5000, dtype=np.int64), Outcome(np.ones(5000), event), ~np.zeros(5000, bool), most=10
    )
    assert event[some].any()


@pytest.mark.parametrize("estimator", [QUICK, CrossFittedCox(folds=3)])
def test_fewer_events_than_folds_are_not_fittable(estimator):
    X, strata, outcome = made(6, patients=200)
    event = outcome.event.copy()
    event[np.flatnonzero(event & (strata == 1))[2:]] = False
    with pytest.raises(NotFittable, match="a disease has 2 events; 3-fold cross-validation needs 3"):
        estimator.cross_fit(X, strata, Outcome(outcome.duration, event))


# The Cox score alone


def test_the_cox_score_alone_has_no_trees_and_is_close_to_the_cox_model():
    """The closer the finer the intervals: within one, odds that keep their ratio are not quite hazards."""
    X, strata, outcome = made(13, patients=1500)
    found, fine = (
        CrossFittedCox(folds=5, intervals=count).cross_fit(X, strata, outcome).model for count in (20, 60)
    )
    cox = cross_fitted.RIDGE_COX.fit(X, strata, outcome)
    assert found.trees is None
    assert set(found.files()) == {"model.json"}
    assert found.hyperparameters["weight_ridge"] == 1.0
    assert found.penalties.tolist() == [cox.penalty]
    np.testing.assert_allclose(found.coefficients[:, 0], cox.coefficients, atol=0.02)
    np.testing.assert_allclose(found.means, cox.means, atol=1e-12)
    theirs = cox.survival(X, strata, TIMES)
    apart, less = (np.abs(survival(model, X, strata) - theirs) for model in (found, fine))
    assert apart.mean() < 0.01
    assert less.mean() < 0.005
    assert less.max() < 0.03


def test_members_of_the_cox_score_are_cox_models_without_a_fold_shrunk_as_far_as_on_everyone():
    X, strata, outcome = made(14, patients=400)
    found = replace(CrossFittedCox(folds=4), cox=RidgeCox(penalties=(5.0,))).cross_fit(X, strata, outcome)
    (fold,) = CrossFittedCox(folds=4).split(strata, outcome)
    centred = X - np.stack([X[strata == s].mean(axis=0) for s in (0, 1)])[strata]
    for out, member in enumerate(found.members):
        kept = fold != out
        alone = RidgeCox(penalties=(0.75 * 5.0,)).fit(centred[kept], strata[kept], outcome.take(kept))
        np.testing.assert_allclose(member.coefficients[:, 0], alone.coefficients, atol=1e-9)
    mean = np.mean([member.coefficients for member in found.members], axis=0)
    np.testing.assert_allclose(found.model.coefficients, mean, atol=1e-12)


def test_trees_that_learn_nothing_leave_the_cox_score():
    nothing = Boosting(rounds=1, learning_rate=1e-9)
    X, strata, outcome = made(15, patients=400)
    bare = replace(ONCE, started=nothing, free=nothing).cross_fit(X, strata, outcome).model
    cox = replace(CrossFittedCox(folds=3), cox=QUICK.cox).cross_fit(X, strata, outcome).model
    assert bare.files() == cox.files()


def test_a_few_patients_with_linear_effects_often_get_a_ridge_cox_model():
    models = [ONCE.cross_fit(*made(seed, patients=200)).model for seed in range(21, 27)]
    weights = [model.hyperparameters["weight_ridge"] for model in models]
    alone = [weight == 1.0 for weight in weights]
    assert sum(alone) >= 2
    assert np.mean(weights) > 0.6, "by the prior alone it would be a quarter"
    assert alone == [model.trees is None for model in models]


def test_trees_that_learn_what_the_cox_score_misses_get_most_of_the_weight(fitted):
    assert fitted[3].model.hyperparameters["weight_ridge"] < 0.2
