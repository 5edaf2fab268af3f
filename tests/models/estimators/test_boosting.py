"""Boosting: xgboost's own trees on the whole table, losses by hand, known truth. Synthetic."""

import tracemalloc
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import xgboost

from features.dictionary import FloatArray
from models.estimators import boosting
from models.estimators.boosting import Boosting, boost
from models.estimators.curves import IntArray
from models.estimators.slots import SlotRows, interval_edges, life_table, person_intervals
from models.estimators.transforms import IntervalHazards, probabilities
from tests.models.outcomes import sample_outcome

HOW = Boosting(depth=4, learning_rate=0.1, rounds=25, smallest_hessian=3.0, ridge=5.0)
FOREST = replace(HOW, rounds=8, parallel=3, row_share=0.6, column_share=0.5)


def hazards(X, strata):
    """Return monthly hazards that curve with the first column and, with the second, depend on the disease."""
    curved = 1.5 * (np.abs(np.nan_to_num(X[:, 0])) > 1.0)
    return np.array([0.02, 0.05])[strata] * np.exp(curved + 0.5 * np.nan_to_num(X[:, 1]) * strata)


class Made(NamedTuple):
    """Columns, diseases, intervals, rows, and a start: the life table under a score."""

    X: FloatArray
    strata: IntArray
    edges: FloatArray
    rows: SlotRows
    start: FloatArray


def make(seed, *, patients=1500, columns=5, missing=0.0, steps=None, intervals=12):
    """Return two diseases; columns may have as many ``steps`` to the unit.


    The third column has few values, the next is the disease, the last has one.
    """
    rng = np.random.default_rng(seed)
    X, strata = rng.normal(size=(patients, columns)), rng.integers(0, 2, patients)
    X[:, 2], X[:, 3], X[:, -1] = np.round(X[:, 2]), strata, 1.0
    X = X if steps is None else np.round(steps * X) / steps
    X[rng.random(X.shape) < missing] = np.nan
    outcome = sample_outcome(rng, hazards(X, strata))
    edges = interval_edges(outcome, count=intervals)
    rows, score = person_intervals(outcome, edges), 0.1 * np.nan_to_num(X[:, 1])
    start = life_table(strata, rows, score, strata_count=2)[strata] + score[:, None]
    return Made(X, strata, edges, rows, start)


def boosted(made, *, how=HOW, held_out=None, seed=0, stop_early=False, **changed):
    """Boost without every third patient."""
    given = {"X": made.X, "rows": made.rows, "start": made.start} | changed
    held_out = third(made.X) if held_out is None else held_out
    return boost(**given, held_out=held_out, how=how, seed=seed, stop_early=stop_early)


def third(X):
    return np.arange(len(X)) % 3 == 0


def mean_loss(margins, rows):
    """Return the mean logistic loss of the rows, the share observed being their weight."""
    margin = margins[rows.patient, rows.slot]
    lost = np.logaddexp(0.0, margin) - rows.event * margin
    return (rows.weight * lost).sum() / rows.weight.sum()


def by_xgboost(made, how, held_out):
    """Boost on the table of person-intervals; return its margins and losses."""
    X, rows, start = made.X, made.rows, made.start
    table = np.column_stack([rows.slot, X[rows.patient]])
    known, other = (
        xgboost.DMatrix(
            table[part], label=rows.event[part], weight=rows.weight[part],
            base_margin=start[rows.patient, rows.slot][part], nthread=1,
        )
        for part in (~held_out[rows.patient], held_out[rows.patient])
    )  # fmt: skip
    told = {}
    booster = xgboost.train(
        how.settings(0), known, how.rounds, evals=[(other, "held_out")], evals_result=told, verbose_eval=False
    )
    whole = np.column_stack([np.tile(np.arange(rows.slots), len(X)), np.repeat(X, rows.slots, axis=0)])
    margins = booster.predict(xgboost.DMatrix(whole, nthread=1), output_margin=True)
    return margins.reshape(-1, rows.slots), np.array(told["held_out"]["logloss"])


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("depth", [1, 4])
def test_trees_are_xgboosts_on_the_table_of_person_intervals(missing, depth, monkeypatch):
    """Columns of few values, which xgboost bins alike however many rows it is shown at once."""
    made, how = make(1, missing=missing, steps=4), replace(HOW, depth=depth)
    margins, losses = by_xgboost(made, how, third(made.X))
    for most, at_once in ((boosting.MOST_WHOLE, 1), (0, boosting.AT_ONCE), (0, 1000)):
        monkeypatch.setattr(boosting, "MOST_WHOLE", most)
        monkeypatch.setattr(boosting, "AT_ONCE", at_once)
        found = boosted(made, how=how)
        np.testing.assert_allclose(found.keep(how.rounds).margins(made.X), margins, atol=1e-5)
        np.testing.assert_allclose(found.losses, losses, atol=1e-6)
    assert np.abs(margins).max() > 0.3


def test_losses_are_those_of_the_patients_held_out_after_each_round():
    made = make(2, missing=0.1)
    found, judged = boosted(made), made.rows.take(third(made.X)[made.rows.patient])
    assert len(found.losses) == HOW.rounds
    for rounds in (1, 7, 25):
        expected = mean_loss(made.start + found.keep(rounds).margins(made.X), judged)
        assert found.losses[rounds - 1] == pytest.approx(expected, abs=1e-5)


def test_boosting_ends_when_the_loss_has_not_fallen_for_as_long_as_patience():
    made = make(3, patients=600, columns=12, missing=0.1)
    how = replace(HOW, rounds=200, learning_rate=0.3, smallest_hessian=1.0, patience=5)
    stopped, whole = (boosted(made, how=how, stop_early=early) for early in (True, False))
    best = int(np.argmin(stopped.losses))
    assert len(stopped.losses) == best + 1 + how.patience < len(whole.losses) == how.rounds
    np.testing.assert_array_equal(stopped.losses, whole.losses[: len(stopped.losses)])
    kept, again = (found.keep(best + 1).margins(made.X) for found in (stopped, whole))
    np.testing.assert_array_equal(kept, again)


def test_held_out_patients_teach_nothing():
    made = make(4)
    out, other, event = third(made.X), made.X.copy(), made.rows.event.copy()
    other[out] *= -3.0
    event[out[made.rows.patient]] = 1.0 - event[out[made.rows.patient]]
    first, again = boosted(made), boosted(made, X=other, rows=replace(made.rows, event=event))
    np.testing.assert_array_equal(first.keep(25).margins(made.X), again.keep(25).margins(made.X))
    assert np.abs(first.losses - again.losses).max() > 0.1


def test_rows_of_which_nothing_was_observed_count_for_nothing():
    made = make(5)
    empty = np.arange(30)
    rows = SlotRows(
        made.rows.slots,
        np.append(empty, made.rows.patient),
        np.append(np.full(30, 11), made.rows.slot),
        np.append(np.zeros(30), made.rows.weight),
        np.append(np.ones(30), made.rows.event),
    )
    plain, padded = boosted(made), boosted(made, rows=rows)
    np.testing.assert_array_equal(plain.keep(25).margins(made.X), padded.keep(25).margins(made.X))
    np.testing.assert_array_equal(plain.losses, padded.losses)


def test_curved_effects_are_recovered_from_six_thousand_patients():
    made, times = make(6, patients=9000), np.linspace(2.0, 60.0, 15)
    found = boosted(made, how=replace(HOW, rounds=60))
    truth = np.exp(-np.outer(hazards(made.X, made.strata), times))
    before, after = (
        np.abs(probabilities(IntervalHazards(made.edges), scores, times)[:, 0] - truth).mean()
        for scores in (made.start, made.start + found.keep(60).margins(made.X))
    )
    assert after < 0.03
    assert after < 0.35 * before


def test_a_forest_draws_by_its_seed_and_averages_to_one_trees_step():
    made = make(7)
    first, again, other = (boosted(made, how=FOREST, seed=seed).keep(8).margins(made.X) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    single = boosted(made, how=replace(HOW, rounds=8)).keep(8).margins(made.X)
    slope = np.polyfit(single.ravel(), first.ravel(), 1)[0]
    assert 0.6 < slope < 1.2


def test_a_table_read_in_parts_has_the_bins_of_the_whole(monkeypatch):
    """Columns of many values, more than there are bins, are cut alike from the same weights."""
    made = make(9, missing=0.1)
    whole = boosted(made)
    monkeypatch.setattr(boosting, "MOST_WHOLE", 0)
    parts = boosted(made)
    np.testing.assert_allclose(parts.losses, whole.losses, atol=1e-6)
    np.testing.assert_allclose(parts.keep(25).margins(made.X), whole.keep(25).margins(made.X), atol=1e-5)


def test_a_large_table_is_never_made(monkeypatch):
    monkeypatch.setattr(boosting, "AT_ONCE", 1 << 12)
    made = make(8, patients=10_000, columns=40, intervals=20)
    table = 4 * 41 * len(made.rows)
    most = {}
    for numbers in (41 * len(made.rows), 41 * len(made.rows) - 1):
        monkeypatch.setattr(boosting, "MOST_WHOLE", numbers)
        tracemalloc.start()
        boosted(made, how=replace(HOW, rounds=2))
        most[numbers] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    whole, parts = most.values()
    assert parts < 0.5 * table < table <= whole
