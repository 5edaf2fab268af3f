"""The cross-fitted ensemble: what it averages, and that its weights follow the evidence."""

from dataclasses import replace

import numpy as np
import pytest

from features.censoring import Outcome
from features.errors import NotFittable
from models.estimators import cross_fitted as ensemble
from models.estimators.cox import RidgeCox
from models.estimators.cross_fitted import PRIOR, CrossFitted, _weigh, spaced
from models.estimators.hazard import BoostedHazard, interval_edges, person_intervals
from tests.models.outcomes import sample_outcome

TIMES = np.linspace(2.0, 60.0, 30)
QUICK = CrossFitted(cox=RidgeCox(penalties=(1.0,), folds=3), folds=3, repeats=2)
NO_ROUNDS = BoostedHazard(rounds=1, learning_rate=1e-9)


def made(seed, *, patients, curved=False):
    """Return two strata; hazards rise with the first column, or with its distance from zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(patients, 2))
    strata = rng.integers(0, 2, patients)
    score = 2.0 * (np.abs(X[:, 0]) > 1) if curved else 0.8 * X[:, 0]
    return X, strata, sample_outcome(rng, np.array([0.02, 0.04])[strata] * np.exp(score))


@pytest.fixture(scope="module")
def fitted():
    X, strata, outcome = made(1, patients=500, curved=True)
    return X, strata, QUICK.fit(X, strata, outcome)


def test_survival_lies_between_0_and_1_and_never_rises(fitted):
    rng = np.random.default_rng(3)
    anyone = rng.normal(size=(300, 2)) * 5.0
    anyone[rng.random(anyone.shape) < 0.2] = np.nan
    survival = fitted[2].survival(anyone, rng.integers(0, 2, 300), np.linspace(0.0, 200.0, 101))
    assert ((survival >= 0) & (survival <= 1)).all()
    assert (np.diff(survival, axis=1) <= 1e-12).all()


def test_held_out_predictions_know_nothing_of_their_own_outcome():
    _, strata, outcome = made(2, patients=400)
    noise = np.random.default_rng(0).normal(size=(400, 30))
    found = QUICK.cross_fit(noise, strata, outcome)
    seen = found.model.scores(noise, strata, TIMES).mean(axis=1)
    left_out = found.held_out.mean(axis=1)
    died_early = outcome.event & (outcome.duration < 12.0)

    def gap(margins):
        return margins[died_early].mean() - margins[~died_early].mean()

    assert gap(seen) > gap(left_out) + 0.05


def test_where_the_effect_is_linear_the_truth_is_recovered():
    X, strata, outcome = made(4, patients=1500)
    truth = np.exp(-np.outer(np.array([0.02, 0.04])[strata] * np.exp(0.8 * X[:, 0]), TIMES))
    assert np.abs(QUICK.fit(X, strata, outcome).survival(X, strata, TIMES) - truth).mean() < 0.03


def test_where_the_effect_is_curved_trees_recover_it():
    X, strata, outcome = made(5, patients=1500, curved=True)
    hazard = np.array([0.02, 0.04])[strata] * np.exp(2.0 * (np.abs(X[:, 0]) > 1))
    truth = np.exp(-np.outer(hazard, TIMES))
    cox = RidgeCox(penalties=(1.0,)).fit(X, strata, outcome).survival(X, strata, TIMES)
    ours = QUICK.fit(X, strata, outcome).survival(X, strata, TIMES)
    assert np.abs(ours - truth).mean() < 0.5 * np.abs(cox - truth).mean()


def test_the_same_data_give_the_same_model(fitted):
    again = QUICK.fit(*made(1, patients=500, curved=True))
    assert again.files() == fitted[2].files()


def test_another_seed_gives_another_model(fitted):
    other = CrossFitted(cox=QUICK.cox, folds=3, repeats=2, seed=9).fit(*made(1, patients=500, curved=True))
    assert other.files() != fitted[2].files()


def test_a_constant_column_changes_nothing_that_a_patient_would_notice():
    X, strata, outcome = made(7, patients=400)
    with_constant = np.column_stack([X, np.full(len(X), 3.0)])
    plain = QUICK.fit(X, strata, outcome).survival(X, strata, TIMES)
    padded = QUICK.fit(with_constant, strata, outcome).survival(with_constant, strata, TIMES)
    assert np.abs(plain - padded).max() < 0.1
    assert np.abs(plain - padded).mean() < 0.01


def loss(found, outcome):
    """Return minus the mean held-out log likelihood of a patient."""
    rows = person_intervals(outcome, found.model.edges)
    margin = found.held_out[rows.patient, rows.interval]
    lost = rows.weight * (np.logaddexp(0.0, margin) - rows.event * margin)
    return lost.sum() / len(outcome)


def test_without_a_table_the_trees_are_those_of_the_table_where_nothing_is_sampled():
    """Columns of few values, which xgboost bins as we do; missing ones among them."""
    X, strata, outcome = made(9, patients=600, curved=True)
    X = np.round(4.0 * X) / 4.0
    X[np.random.default_rng(1).random(X.shape) < 0.1] = np.nan
    on_table = replace(QUICK, free=BoostedHazard(depth=4, learning_rate=0.1, patience=15))
    theirs = on_table.cross_fit(X, strata, outcome)
    ours = replace(on_table, most_tabled=599).cross_fit(X, strata, outcome)
    assert ours.model.chosen == theirs.model.chosen
    assert len(ours.members) == len(theirs.members)
    np.testing.assert_allclose(ours.held_out, theirs.held_out, atol=1e-5)
    np.testing.assert_allclose(
        ours.model.scores(X, strata, TIMES), theirs.model.scores(X, strata, TIMES), atol=1e-5
    )
    assert ours.model.trees.margins(X).std() > 0.1


def test_without_a_table_the_default_hazards_are_as_likely():
    X, strata, outcome = made(10, patients=1200, curved=True)
    on_table = replace(QUICK, repeats=1)
    theirs = on_table.cross_fit(X, strata, outcome)
    ours = replace(on_table, most_tabled=1000).cross_fit(X, strata, outcome)
    without_trees = replace(on_table, started=NO_ROUNDS, free=NO_ROUNDS).cross_fit(X, strata, outcome)
    gained = loss(without_trees, outcome) - loss(theirs, outcome)
    assert abs(loss(ours, outcome) - loss(theirs, outcome)) < 0.03 * gained


def test_of_a_large_disease_some_patients_teach_the_cox_score(monkeypatch):
    monkeypatch.setattr(ensemble, "MOST_FOR_COX", 300)
    X, strata, outcome = made(11, patients=1500)
    found = replace(QUICK, repeats=1).fit(X, strata, outcome)
    truth = np.exp(-np.outer(np.array([0.02, 0.04])[strata] * np.exp(0.8 * X[:, 0]), TIMES))
    assert np.abs(found.survival(X, strata, TIMES) - truth).mean() < 0.03


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


def test_fewer_events_than_folds_are_not_fittable():
    X, strata, outcome = made(6, patients=200)
    event = outcome.event.copy()
    event[np.flatnonzero(event & (strata == 1))[2:]] = False
    with pytest.raises(NotFittable, match="a disease has 2 events; 3-fold cross-validation needs 3"):
        QUICK.fit(X, strata, Outcome(outcome.duration, event))


def compared(patients):
    """Return person-intervals, margins that are true and margins that are the same for everyone."""
    rng = np.random.default_rng(8)
    hazard = rng.lognormal(-3.5, 0.8, patients)
    outcome = Outcome(rng.exponential(1.0 / hazard), np.ones(patients, dtype=bool))
    edges = interval_edges(outcome, count=20)
    widths = np.diff(np.append(0.0, edges))
    chance = np.minimum(-np.expm1(-np.outer(hazard, widths)), 1.0 - 1e-9)
    true = np.log(chance) - np.log1p(-chance)
    return person_intervals(outcome, edges), true, np.full_like(true, true.mean())


def test_kinds_that_cannot_be_told_apart_keep_their_usual_weights():
    rows, true, _ = compared(200)
    np.testing.assert_allclose(_weigh(np.stack([true, true, true]), rows), PRIOR, atol=0.051)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_a_kind_that_is_much_better_takes_nearly_all(best):
    rows, true, blunt = compared(3000)
    kinds = [blunt, blunt, blunt]
    kinds[best] = true
    assert _weigh(np.stack(kinds), rows)[best] >= 0.8
