"""Boosting without the person-interval table: xgboost's trees on the table, sampling, truth. Synthetic."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import xgboost

from features.censoring import Outcome
from features.errors import InvalidInput
from models.estimators import bins
from models.estimators.bins import Binned
from models.estimators.course import life_table
from models.estimators.hazard import (
    BoostedHazard,
    exposure,
    interval_edges,
    person_intervals,
    survival_from_margins,
)
from models.estimators.stream import boost_hazard
from models.trees.ensemble import read_trees
from tests.models.outcomes import sample_outcome

HOW = BoostedHazard(depth=4, learning_rate=0.1, rounds=25, smallest_hessian=3.0, ridge=5.0)
FOREST = replace(HOW, rounds=8, parallel=3, row_share=0.6, column_share=0.5)


def hazards(X, strata):
    """Return monthly hazards that curve with the first column and, with the second, depend on the disease."""
    curved = 1.5 * (np.abs(np.nan_to_num(X[:, 0])) > 1.0)
    return np.array([0.02, 0.05])[strata] * np.exp(curved + 0.5 * np.nan_to_num(X[:, 1]) * strata)


def made(seed, *, patients=1500, columns=5, missing=0.0):
    """Return two diseases; the third column has few values, the next is the disease, the last has one."""
    rng = np.random.default_rng(seed)
    X, strata = rng.normal(size=(patients, columns)), rng.integers(0, 2, patients)
    X[:, 2], X[:, 3], X[:, -1] = np.round(X[:, 2]), strata, 1.0
    X[rng.random(X.shape) < missing] = np.nan
    return X, strata, sample_outcome(rng, hazards(X, strata))


def prepared(X, strata, outcome, *, count=12):
    """Return intervals, a score and the life table under it."""
    edges, score = interval_edges(outcome, count=count), 0.1 * np.nan_to_num(X[:, 1])
    return {"edges": edges, "score": score, "base": life_table(strata, outcome, edges=edges, score=score)}


def by_xgboost(X, strata, outcome, given, how, held_out):
    """Boost on the table of person-intervals, whose columns are our bins; return its margins."""
    with ThreadPoolExecutor(1) as pool:
        codes = Binned.of(X, ~held_out, pool).codes.astype(np.float64)
    codes[codes == 0.0] = np.nan
    rows = person_intervals(outcome, given["edges"])
    table = np.column_stack([rows.interval, codes[rows.patient]])
    start = given["base"][strata[rows.patient], rows.interval] + given["score"][rows.patient]
    known, other = (
        xgboost.DMatrix(
            table[part], label=rows.event[part], weight=rows.weight[part], base_margin=start[part], nthread=1
        )
        for part in (~held_out[rows.patient], held_out[rows.patient])
    )
    stopping = {"evals": [(other, "other")], "early_stopping_rounds": how.patience} if held_out.any() else {}
    booster = xgboost.train(how.settings(0), known, how.rounds, verbose_eval=False, **stopping)
    kept = booster[: booster.best_iteration + 1] if stopping else booster
    model = bytes(kept.save_raw("json"))
    return read_trees(model, columns=X.shape[1], intervals=len(given["edges"])).margins(codes), kept


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("depth", [1, 4])
def test_trees_are_xgboosts_on_the_table_of_person_intervals(missing, depth):
    X, strata, outcome = made(1, missing=missing)
    given, how = prepared(X, strata, outcome), replace(HOW, depth=depth)
    trees = boost_hazard(X, strata, outcome, **given, how=how, seed=0)
    theirs, _ = by_xgboost(X, strata, outcome, given, how, np.zeros(len(X), dtype=bool))
    np.testing.assert_allclose(trees.margins(X), theirs, atol=1e-6)
    assert np.abs(theirs).max() > 0.3


def test_boosting_stops_when_xgboost_stops():
    X, strata, outcome = made(2, patients=600, columns=12, missing=0.1)
    given, held_out = prepared(X, strata, outcome), np.arange(600) % 4 == 0
    how = replace(HOW, rounds=200, learning_rate=0.3, smallest_hessian=1.0, patience=5)
    trees = boost_hazard(X, strata, outcome, **given, how=how, seed=0, held_out=held_out)
    theirs, booster = by_xgboost(X, strata, outcome, given, how, held_out)
    assert 1 <= booster.num_boosted_rounds() < 60
    np.testing.assert_allclose(trees.margins(X), theirs, atol=1e-6)


def test_held_out_patients_teach_nothing():
    X, strata, outcome = made(3)
    given, held_out, how = prepared(X, strata, outcome), np.arange(len(X)) % 3 == 0, replace(HOW, rounds=5)
    with_them = boost_hazard(X, strata, outcome, **given, how=how, seed=0, held_out=held_out)
    known = ~held_out
    given["score"] = given["score"][known]
    without = boost_hazard(X[known], strata[known], outcome.take(known), **given, how=how, seed=0)
    np.testing.assert_allclose(with_them.margins(X), without.margins(X), atol=1e-6)


def test_curved_effects_are_recovered():
    X, strata, outcome = made(4, patients=6000)
    given, times = prepared(X, strata, outcome), np.linspace(2.0, 60.0, 15)
    trees = boost_hazard(X, strata, outcome, **given, how=replace(HOW, rounds=60), seed=0)
    start = given["base"][strata] + given["score"][:, None]
    lived = exposure(given["edges"], times)
    truth = np.exp(-np.outer(hazards(X, strata), times))
    before, after = (
        np.abs(survival_from_margins(margins, lived) - truth).mean()
        for margins in (start, start + trees.margins(X))
    )
    assert after < 0.03
    assert after < 0.35 * before


@pytest.mark.parametrize("how", [HOW, FOREST], ids=["boosted", "forest"])
def test_neither_threads_nor_blocks_change_the_trees(how, monkeypatch):
    X, strata, outcome = made(5, missing=0.1)
    given = prepared(X, strata, outcome)
    one = boost_hazard(X, strata, outcome, **given, how=how, seed=7)
    three = boost_hazard(X, strata, outcome, **given, how=replace(how, threads=3), seed=7)
    assert one.to_bytes() == three.to_bytes()
    monkeypatch.setattr(bins, "BLOCK", 100)
    blocks = boost_hazard(X, strata, outcome, **given, how=how, seed=7)
    np.testing.assert_allclose(blocks.margins(X), one.margins(X), atol=1e-6)


def test_a_forest_draws_by_its_seed_and_averages_to_one_trees_step():
    X, strata, outcome = made(6)
    given = prepared(X, strata, outcome)
    first, again, other = (
        boost_hazard(X, strata, outcome, **given, how=FOREST, seed=seed).margins(X) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    single = boost_hazard(X, strata, outcome, **given, how=replace(HOW, rounds=8), seed=0).margins(X)
    slope = np.polyfit(single.ravel(), first.ravel(), 1)[0]
    assert 0.6 < slope < 1.2


def peak(X, strata, outcome, given, *, rounds):
    """Return the most memory that boosting took, in bytes."""
    tracemalloc.start()
    boost_hazard(X, strata, outcome, **given, how=replace(HOW, rounds=rounds), seed=0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_neither_is_the_table_made_nor_do_trees_keep_their_patients():
    X, strata, outcome = made(7, patients=20_000, columns=40)
    given = prepared(X, strata, outcome, count=20)
    table = 4 * 41 * len(person_intervals(outcome, given["edges"]).patient)
    short, long = (peak(X, strata, outcome, given, rounds=rounds) for rounds in (2, 20))
    assert short < 0.5 * table
    assert long < short + 5 * 4 * len(X)


def test_every_fault_is_named():
    X, strata, outcome = made(10, patients=60)
    given = prepared(X, strata, outcome)
    late = Outcome(outcome.duration + 200.0, outcome.event)
    X[3, 0] = np.inf
    with pytest.raises(InvalidInput) as refused:
        boost_hazard(X, strata[1:], late, **given, how=HOW, seed=0)
    assert [problem.field for problem in refused.value.problems] == ["rows", "X", "duration"]
    with pytest.raises(InvalidInput, match="event: never happens"):
        boost_hazard(
            X[:, 1:], strata, Outcome(outcome.duration, np.zeros(60, dtype=bool)), **given, how=HOW, seed=0
        )
