"""The hyperparameter search: reproducible, sparing with changes, and able to mend bad settings."""

import math
from dataclasses import replace

import numpy as np
import optuna
import pytest

from features.censoring import Outcome
from features.errors import InvalidInput
from models.estimators.boosting import Boosting
from models.estimators.cox import RidgeCox
from models.estimators.cross_fitted import CrossFitted
from tests.models.outcomes import sample_outcome
from training.tuning import (
    Advantage,
    Trial,
    held_out_loss,
    own_seeds,
    search_space,
    settings_of,
    tune,
    with_settings,
)

QUICK = CrossFitted(
    cox=RidgeCox(penalties=(1.0, 10.0)),
    started=Boosting(rounds=15, learning_rate=0.1),
    free=Boosting(rounds=8, depth=2, learning_rate=0.2, row_share=0.6, column_share=0.5),
    folds=3,
    seed=3,
)
STUMPS = replace(
    QUICK,
    started=replace(QUICK.started, depth=1, rounds=40, ridge=1.0, smallest_hessian=2.0),
    free=replace(QUICK.free, depth=1, ridge=1.0),
)


def made(patients=150, *, seed=1, crossed=False):
    """Return one disease; the first column raises the hazard, or lowers it where the second is below zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(patients, 3))
    score = 1.5 * np.sign(X[:, 0] * X[:, 1]) if crossed else 0.7 * X[:, 0]
    return X, np.zeros(patients, dtype=int), sample_outcome(rng, 0.03 * np.exp(score))


@pytest.fixture(scope="module")
def heard():
    return []


@pytest.fixture(scope="module")
def tuned(heard):
    def report(number, settings, loss):
        heard.append(Trial(number, settings, loss))

    return tune(*made(), trials=3, seed=7, estimator=QUICK, report=report)


def test_the_same_search_twice_gives_the_same_result(tuned):
    assert tune(*made(), trials=3, seed=7, estimator=QUICK) == tuned


def test_another_seed_searches_elsewhere(tuned):
    other = tune(*made(), trials=2, seed=8, estimator=QUICK)
    assert other.trials[0].settings == tuned.trials[0].settings
    assert other.trials[1].settings != tuned.trials[1].settings


def test_the_first_trial_is_the_defaults_and_every_trial_is_reported(tuned, heard):
    assert tuned.trials[0].settings == settings_of(QUICK)
    assert tuple(heard) == tuned.trials
    assert [trial.number for trial in tuned.trials] == [0, 1, 2]
    assert tuned.losses == tuple(trial.loss for trial in heard)
    assert len({tuple(trial.settings.values()) for trial in tuned.trials}) == 3


def test_settings_that_cannot_learn_the_interaction_are_mended():
    X, strata, outcome = made(400, seed=2, crossed=True)
    found = tune(X, strata, outcome, trials=5, seed=1, estimator=STUMPS)
    assert found.chosen > 0
    assert found.searched.clear
    assert found.confirmed.clear
    assert found.confirmed != found.searched
    assert found.settings["started_depth"] == 2 or found.settings["free_depth"] == 2
    assert settings_of(found.estimator) == found.settings
    assert (found.estimator.seed, found.estimator.cox) == (STUMPS.seed, STUMPS.cox)
    unseen, none, later = made(400, seed=9, crossed=True)
    losses = []
    for estimator in (STUMPS, found.estimator):
        model = estimator.cross_fit(X, strata, outcome).model
        edges = model.transform.edges
        followed = Outcome(np.minimum(later.duration, edges[-1]), later.event)
        losses.append(held_out_loss(model.scores(unseen, none), followed, edges).mean())
    assert losses[1] < losses[0] - 0.02


def test_one_trial_is_no_search_and_none_is_refused():
    alone = tune(*made(), trials=1, seed=7, estimator=QUICK)
    assert (alone.estimator, alone.chosen, alone.searched.gain, alone.confirmed) == (QUICK, 0, 0.0, None)
    with pytest.raises(InvalidInput, match="trials: is below one"):
        tune(*made(), trials=0, seed=7)


@pytest.mark.parametrize(("gain", "clear"), [(0.05, False), (0.15, True), (-0.15, False)])
def test_an_advantage_is_clear_beyond_one_standard_error(gain, clear):
    noise = np.tile([-1.0, 1.0], 50)  # over 100 patients its standard error is 0.1
    found = Advantage.between(np.full(100, 3.0), 3.0 - gain + noise)
    assert (found.gain, found.standard_error) == pytest.approx((gain, 0.1))
    assert found.clear is clear


@pytest.mark.parametrize(
    ("gains", "chosen"),
    [((0.01,), 0), ((0.3, 0.01), 0), ((0.3, -0.3), 0), ((0.3, 0.2), 1)],
    ids=["not clear", "not clear on other folds", "the reverse on other folds", "confirmed"],
)
def test_only_a_clear_and_confirmed_advantage_replaces_the_defaults(monkeypatch, gains, chosen):
    noise = np.tile([-1.0, 1.0], 75)  # over 150 patients its standard error is 0.08
    pairs = iter([loss for gain in gains for loss in (np.full(150, 3.0), 3.0 - gain + noise)])

    def judged(how, X, strata, outcome):
        return next(pairs), 1.0

    monkeypatch.setattr("training.tuning._judge", judged)
    found = tune(*made(), trials=2, seed=7, estimator=QUICK)
    assert next(pairs, None) is None
    assert [found.searched.gain, found.confirmed and found.confirmed.gain] == [
        pytest.approx(gains[0]),
        pytest.approx(gains[1]) if gains[1:] else None,
    ]
    assert found.chosen == chosen
    assert found.settings == found.trials[chosen].settings == settings_of(found.estimator)
    assert (found.estimator == QUICK) is (chosen == 0)
    assert found.as_dict()["tuning_chosen"] == chosen


def test_the_loss_is_minus_the_log_likelihood_of_the_intervals_lived_through():
    outcome = Outcome(np.array([1.0, 3.0, 3.0]), np.array([True, True, False]))
    log_odds = math.log(0.25 / 0.75)
    found = held_out_loss(np.full((3, 2), log_odds), outcome, np.array([2.0, 4.0]))
    died, lived = -math.log(0.25), -math.log(0.75)
    assert found.tolist() == pytest.approx([died, lived + died, lived + 0.5 * lived])


@pytest.mark.parametrize(
    "how", [Boosting(), Boosting(depth=1, column_share=0.1, ridge=40.0, learning_rate=0.3)]
)
def test_the_ranges_hold_the_estimators_own_settings(how):
    estimator = CrossFitted(started=how, free=how)
    space = search_space(estimator)
    assert space.keys() == settings_of(estimator).keys()
    for name, value in settings_of(estimator).items():
        assert space[name].low <= value <= space[name].high
    assert with_settings(estimator, settings_of(estimator)) == estimator


def test_the_folds_are_those_of_no_fit_that_follows():
    own = {number for seed in range(200) for number in own_seeds(seed)}
    assert len(own) == 400
    assert min(own) > 10_000


def test_nothing_is_printed_and_optunas_level_is_left_as_it_was(capfd):
    before = optuna.logging.get_verbosity()
    tune(*made(), trials=2, seed=7, estimator=QUICK)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
