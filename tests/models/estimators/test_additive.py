"""The additive model: its scores by plain numpy and xgboost, its tables, its files, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest

from models.estimators.additive import AdditiveModel
from models.estimators.transforms import IntervalHazards, probabilities
from tests.models.endpoint_doubles import competing_double, hazard_double, patients, response_double

COLUMNS = 6
TIMES = np.array([0.5, 6.0, 12.0, 30.0, 70.0])
MODELS = {
    "survival": hazard_double(COLUMNS, seed=1),
    "interacting": hazard_double(COLUMNS, seed=2, interacting=True),
    "competing": competing_double(COLUMNS, seed=3),
    "uneven": competing_double(COLUMNS, seed=4, uneven=True),
    "response": response_double(COLUMNS, seed=5),
    "linear": response_double(COLUMNS, seed=6, trees=False),
}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def cohort():
    return patients(200, COLUMNS, seed=7)


def margins(model, X):
    """Return the trees' margins as xgboost gives them."""
    return np.zeros((len(X), model.base.shape[1])) if model.trees is None else model.trees.margins(X)


def test_scores_are_stretched_sums_of_baseline_linear_terms_and_trees(model, cohort):
    X, strata = cohort
    centred = np.nan_to_num(X - model.means[strata], nan=0.0)
    linear = (centred[:, None, :] * model.coefficients[strata]).sum(axis=2)
    expected = model.stretch * (model.base[strata] + linear + margins(model, X)) + model.shift
    np.testing.assert_allclose(model.scores(X, strata), expected, atol=1e-5)


def test_answers_follow_from_the_scores(model, cohort):
    X, strata = cohort
    found = model.predict(X, strata, TIMES)
    assert found.shape == (200, len(model.outcomes), len(TIMES) if model.timed else 1)
    np.testing.assert_array_equal(found, probabilities(model.transform, model.scores(X, strata), TIMES))


def test_tables_answer_as_xgboost_does_and_each_patient_as_alone(model, cohort):
    X, strata = cohort
    plain = replace(model, tables=None)
    assert model.tabulated().trees is model.trees
    np.testing.assert_allclose(plain.scores(X, strata), model.scores(X, strata), atol=1e-5)
    alone = [model.scores(X[[row]], strata[[row]])[0] for row in range(40)]
    np.testing.assert_array_equal(model.scores(X, strata)[:40], alone)


def test_the_trees_contributions_sum_to_their_margins(model, cohort):
    X, _ = cohort
    found = model.tree_contributions(X)
    assert found.shape == (200, model.base.shape[1], COLUMNS)
    expected = 0.0 if model.tables is None else model.tables.expected()
    np.testing.assert_allclose(found.sum(axis=2) + expected, margins(model, X), atol=1e-5)


def test_contributions_of_rows_that_differ_in_few_columns_are_the_same_together(model, cohort):
    X, _ = cohort
    for columns in ((0,), (1, 4), tuple(range(COLUMNS)), ()):
        rows = np.repeat(X[:1], 9, axis=0)
        rows[1:, columns] = X[20:28][:, columns]
        rows[3, columns] = np.nan
        found = model.tree_contributions(rows, columns)
        np.testing.assert_allclose(found, model.tree_contributions(rows), rtol=0, atol=1e-12)


def test_a_missing_value_adds_nothing_beside_the_trees():
    plain = MODELS["linear"]
    strata = np.array([0, 1])
    missing = plain.scores(np.full((2, COLUMNS), np.nan), strata)
    np.testing.assert_allclose(missing, plain.scores(plain.means[strata], strata))
    np.testing.assert_allclose(missing, plain.stretch * plain.base + plain.shift)


def test_absurd_values_give_probabilities_all_the_same(model):
    absurd = np.full((3, COLUMNS), np.nan)
    absurd[0], absurd[1] = 1e30, -1e30
    found = model.predict(absurd, np.array([0, 1, 0]), np.array([1.0, 60.0, 1e6]))
    assert np.isfinite(found).all()
    assert ((found >= 0.0) & (found <= 1.0)).all()


# Files


def test_files_give_the_same_answers_and_the_same_bytes(model, cohort):
    X, strata = cohort
    files = model.files()
    again = AdditiveModel.from_files(files)
    again.check(columns=COLUMNS, strata=2)
    assert again.files() == files == replace(model, tables=None).files()
    assert (again.outcomes, again.hyperparameters) == (model.outcomes, model.hyperparameters)
    np.testing.assert_array_equal(again.scores(X, strata), model.scores(X, strata))
    np.testing.assert_allclose(
        replace(again, tables=None).scores(X, strata), model.scores(X, strata), atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("survival", {"model.json", "trees.npz", "booster-0.json"}),
        ("competing", {"model.json", "trees.npz", "booster-0.json", "booster-1.json"}),
        ("uneven", {"model.json", "trees.npz", "booster-0.json"}),
        ("linear", {"model.json"}),
    ],
)
def test_each_block_of_trees_has_a_file_of_xgboosts(name, files):
    assert set(MODELS[name].files()) == files
    assert json.loads(MODELS[name].files()["model.json"])["outcomes"] == list(MODELS[name].outcomes)


# Refusals


def longer(array):
    return np.concatenate([array, array[..., :1]], axis=-1)


def without_a_number(array):
    spoiled = array.copy()
    spoiled.flat[-1] = np.inf
    return spoiled


@pytest.mark.parametrize("spoil", [longer, without_a_number])
@pytest.mark.parametrize("part", ["base", "means", "coefficients", "stretch", "shift", "penalties"])
def test_a_part_of_another_shape_or_not_finite_is_named(model, part, spoil):
    model.check(columns=COLUMNS, strata=2)
    with pytest.raises(ValueError, match=f"{part} is not as it must be"):
        replace(model, **{part: spoil(getattr(model, part))}).check(columns=COLUMNS, strata=2)


def test_other_columns_or_diseases_are_refused(model):
    for columns, strata in ((COLUMNS + 1, 2), (COLUMNS, 3)):
        with pytest.raises(ValueError, match="not as it must be"):
            model.check(columns=columns, strata=strata)


def test_outcomes_and_trees_must_fit_the_transform():
    model = MODELS["competing"]
    wrong = {
        "outcomes": {"outcomes": ("relapse", "relapse")},
        "trees": {"tables": MODELS["survival"].tables},
        "edges": {"transform": IntervalHazards(np.array([3.0, 2.0]))},
    }
    for part, changed in wrong.items():
        with pytest.raises(ValueError, match=f"{part} are not as they must be"):
            replace(model, **changed).check(columns=COLUMNS, strata=2)
    with pytest.raises(ValueError, match="trees are not as they must be"):
        replace(model, tables=None).check(columns=COLUMNS, strata=2)
