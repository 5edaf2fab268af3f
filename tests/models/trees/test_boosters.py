"""Boosters as xgboost leaves them: sums, blocks side by side, one file of many, against xgboost itself."""

import pickle

import numpy as np
import pytest
import xgboost

from models.trees.boosters import Block, Boosters, side_by_side, slot_tables, weighted_sum
from models.trees.ensemble import Trees

COLUMNS, SLOTS = 4, 6
WEIGHTS = (0.3, 0.45, 0.25)


def patients(count, *, seed=1):
    """Return columns in the precision of xgboost, a tenth of the values missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, COLUMNS)).astype(np.float32).astype(np.float64)
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


def trained(seed, *, slots=SLOTS, rounds=8, **options):
    """Boost real trees on the slot's number and the columns."""
    rng, X = np.random.default_rng(seed), patients(200, seed=seed)
    table = np.vstack([rows for _, rows in slot_tables(X, slots)])
    filled = np.nan_to_num(table)
    margin = filled[:, 1] * (filled[:, 0] > slots / 2) + np.sin(2 * filled[:, 2]) - 0.2 * filled[:, 0]
    label = rng.random(len(table)) < 1.0 / (1.0 + np.exp(-margin))
    settings = {
        "objective": "binary:logistic", "tree_method": "hist", "max_depth": 4, "eta": 0.3, "nthread": 1,
        "seed": seed, "base_score": 0.5, "subsample": 0.7,
    }  # fmt: skip
    return xgboost.train(settings | options, xgboost.DMatrix(table, label=label, nthread=1), rounds)


def boosters(*models, slots=SLOTS):
    return Boosters(COLUMNS, (Block(slots, tuple((bytes(m.save_raw("json")), 1.0) for m in models)),))


def theirs(model, X, slots=SLOTS):
    """Return xgboost's margins, shape (rows, slots), and its contributions (rows, slots, columns)."""
    data = [xgboost.DMatrix(np.column_stack([np.full(len(X), slot), X]), nthread=1) for slot in range(slots)]
    return np.column_stack([model.predict(each, output_margin=True) for each in data])


@pytest.fixture(scope="module")
def models():
    return trained(1), trained(2, max_depth=2), trained(3, num_parallel_tree=3, rounds=4)


@pytest.fixture(scope="module")
def summed(models):
    found = weighted_sum([(boosters(model), weight) for model, weight in zip(models, WEIGHTS, strict=True)])
    assert found is not None
    return found


def test_margins_are_xgboosts(models):
    X = patients(50)
    for model in models:
        np.testing.assert_allclose(boosters(model).margins(X), theirs(model, X), rtol=0, atol=1e-6)


def test_a_weighted_sum_has_the_weighted_sum_of_margins(models, summed):
    X = patients(50)
    expected = sum(weight * theirs(model, X) for model, weight in zip(models, WEIGHTS, strict=True))
    np.testing.assert_allclose(summed.margins(X), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(summed.tabulate().margins(X), expected, rtol=0, atol=1e-5)


def test_a_weighted_sum_is_explained_by_the_weighted_sum_of_explanations(models, summed):
    """Leaves are rounded to 32 bits when they are weighted, as the file keeps them."""
    X, tables = patients(50), summed.tabulate()
    each = [(boosters(model).tabulate(), weight) for model, weight in zip(models, WEIGHTS, strict=True)]
    for ask in (lambda t: t.contributions(X), Trees.expected):
        expected = sum(weight * ask(one) for one, weight in each)
        np.testing.assert_allclose(ask(tables), expected, rtol=0, atol=1e-6)


def test_a_sum_of_sums_is_the_sum_of_all(models):
    X = patients(20)
    one, other, _ = (boosters(model) for model in models)
    inner = weighted_sum([(one, 0.5), (other, 0.5)])
    outer = weighted_sum([(inner, 0.5), (one, 0.5)])
    expected = 0.75 * theirs(models[0], X) + 0.25 * theirs(models[1], X)
    np.testing.assert_allclose(outer.margins(X), expected, rtol=0, atol=1e-5)


def test_what_has_no_weight_is_left_out(models):
    one, other, _ = (boosters(model) for model in models)
    assert weighted_sum([]) is None
    assert weighted_sum([(one, 0.0), (other, 0.0)]) is None
    kept = weighted_sum([(one, 0.0), (other, 1.0)])
    assert kept.blocks[0].merged() == other.blocks[0].merged()


def test_the_merged_file_is_a_model_of_xgboost_with_the_same_margins(summed, tmp_path):
    X, file = patients(50), tmp_path / "merged.json"
    file.write_bytes(summed.blocks[0].merged())
    merged = xgboost.Booster({"nthread": 1}, model_file=str(file))
    assert merged.num_boosted_rounds() == 8 + 8 + 3 * 4
    np.testing.assert_allclose(theirs(merged, X), summed.margins(X), rtol=0, atol=1e-5)
    again = Boosters(COLUMNS, (Block(SLOTS, ((summed.blocks[0].merged(), 1.0),)),))
    assert again.blocks[0].merged() == summed.blocks[0].merged()
    assert again.tabulate().to_bytes() == summed.tabulate().to_bytes()


def test_slots_of_several_blocks_follow_one_another(models):
    X, short = patients(30), trained(4, slots=2)
    parts = [boosters(models[0]), Boosters.none(COLUMNS, 3), boosters(short, slots=2)]
    found = side_by_side(parts)
    assert found.slots == SLOTS + 3 + 2
    expected = np.hstack([theirs(models[0], X), np.zeros((30, 3)), theirs(short, X, slots=2)])
    np.testing.assert_allclose(found.margins(X), expected, rtol=0, atol=1e-5)
    tables = found.tabulate()
    np.testing.assert_allclose(tables.margins(X), expected, rtol=0, atol=1e-5)
    alone = [part.tabulate() for part in parts]
    together = np.concatenate([part.contributions(X) for part in alone], axis=1)
    np.testing.assert_allclose(tables.contributions(X), together, rtol=0, atol=1e-12)
    means = np.concatenate([part.expected() for part in alone])
    np.testing.assert_allclose(tables.expected(), means, rtol=0, atol=1e-12)


def test_rows_asked_for_together_have_the_margins_of_each_alone(models, monkeypatch):
    X, found = patients(25), boosters(models[0])
    together = found.margins(X)
    monkeypatch.setattr("models.trees.boosters.AT_ONCE", 4 * SLOTS)
    assert [rows.stop - rows.start for rows, _ in slot_tables(X, SLOTS)] == [4] * 6 + [1]
    np.testing.assert_array_equal(found.margins(X), together)
    assert found.margins(X[:0]).shape == (0, SLOTS)


def test_boosters_sent_to_another_process_answer_there(models):
    X, found = patients(5), boosters(models[0])
    expected = found.margins(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).margins(X), expected)


def test_boosters_are_checked_against_their_tables_alone(models, summed):
    tables = summed.tabulate()
    summed.check(tables)
    with pytest.raises(ValueError, match="boosters are not as they must be"):
        boosters(models[0]).check(tables)
    with pytest.raises(ValueError, match="boosters are not as they must be"):
        Boosters(COLUMNS - 2, summed.blocks).check(tables)
