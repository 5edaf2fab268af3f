"""The survival estimator with scikit-learn: its own checks, its tools, tables and outcomes of every kind."""

import pickle
from contextlib import contextmanager
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import column_or_1d
from sksurv.metrics import concordance_index_censored

from features.errors import InvalidInput
from models.estimators.scikit import SurvivalEstimator, default_model
from tests.models.estimators.tables import made, outcome, quick

NUMBERS, NAMES = ["burden", "noise"], ["stage", "fit"]


@pytest.fixture(scope="module")
def fitted():
    table, duration, event, _ = made()
    return default_model().fit(table, outcome(duration, event))


# --- scikit-learn's own checks ---------------------------------------------------------------------------


class RankedSurvival(SurvivalEstimator):
    """Takes the plain y of scikit-learn's checks: everybody has the event, in the order of y."""

    def fit(self, X, y):
        return super().fit(X, _ranked(y))

    def score(self, X, y):
        return super().score(X, _ranked(y))


@contextmanager
def drawing():
    """Let scikit-learn's checks draw from numpy's global generator, which is put back as it was."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _ranked(y):
    times = rankdata(column_or_1d(y, dtype=None, warn=True))
    return np.column_stack([np.ones(len(times)), times])


@parametrize_with_checks(
    [RankedSurvival(name, folds=2) for name in ("cox", "cross_fitted", "xgboost_aft")],
    expected_failed_checks=lambda estimator: {},  # there is none that cannot hold for survival
    xfail_strict=True,
)
@pytest.mark.filterwarnings("ignore:SCIPY_ARRAY_API is not set")
def test_scikit_learn_s_checks_hold(estimator, check):
    with drawing():
        check(estimator)


def test_parameters_are_read_set_and_cloned():
    model = SurvivalEstimator("cox", folds=4, repeats=2, random_state=7, options={"intervals": 5})
    given = {"estimator": "cox", "folds": 4, "repeats": 2, "random_state": 7, "options": {"intervals": 5}}
    assert model.get_params() == clone(model).get_params() == given
    model.set_params(folds=3, options=None)
    assert (model.folds, model.options) == (3, None)
    with pytest.raises(ValueError, match="Invalid parameter 'depth'"):
        model.set_params(depth=3)
    assert default_model(seed=5).get_params() == {
        "estimator": "cross_fitted", "folds": 5, "repeats": 1, "random_state": 5, "options": None,
    }  # fmt: skip


def test_options_reach_the_estimator_and_its_fit_leaves_parameters_alone():
    table, duration, event, _ = made(150)
    options = {"intervals": 4}
    model = quick(options=options).fit(table, outcome(duration, event))
    assert len(model.model_.transform.edges) == 4
    assert model.options is options
    with pytest.raises(TypeError, match="leaves"):
        quick(options={"leaves": 3}).fit(table, outcome(duration, event))


def test_an_estimator_that_is_not_registered_is_refused_with_what_is():
    table, duration, event, _ = made(50)
    with pytest.raises(InvalidInput, match="weibull is no estimator of the kind survival here"):
        SurvivalEstimator("weibull").fit(table, outcome(duration, event))


def test_a_fitted_estimator_is_sent_to_another_process(fitted):
    table, *_ = made(20, seed=9)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(table), fitted.predict(table))


# --- with scikit-learn's tools ---------------------------------------------------------------------------


def pipeline(**options):
    """Return a pipeline that imputes, scales and encodes before it fits."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = ColumnTransformer([("numbers", numbers, NUMBERS), ("names", OneHotEncoder(), NAMES)])
    return make_pipeline(columns, quick(**options))


@pytest.mark.parametrize("output", ["default", "pandas"])
def test_a_pipeline_fits_and_orders_new_patients(output):
    table, duration, event, _ = made()
    model = pipeline(estimator="cross_fitted")
    if output == "pandas":
        model[0].set_params(names__sparse_output=False).set_output(transform="pandas")
    model.fit(table, outcome(duration, event))
    new, later, died, risk = made(400, seed=6)
    assert pd.Series(model.predict(new)).corr(pd.Series(risk), method="spearman") > 0.85
    theirs = concordance_index_censored(died, later, model.predict(new))[0]
    assert model.score(new, outcome(later, died)) == pytest.approx(theirs, abs=1e-12)


def test_a_grid_is_searched_over_estimators_and_folds():
    table, duration, event, _ = made(150)
    names, folds = ["cox", "xgboost_aft"], [2, 3]
    grid = {"survivalestimator__estimator": names, "survivalestimator__folds": folds}
    found = GridSearchCV(pipeline(), grid, cv=3).fit(table, outcome(duration, event))
    tried = [tuple(p.values()) for p in found.cv_results_["params"]]
    assert sorted(tried) == sorted(product(names, folds))
    scores = found.cv_results_["mean_test_score"]
    assert (scores > 0.6).all()
    assert len(set(scores.round(6))) > 1, "settings differ"
    assert found.best_estimator_[-1].estimator == found.best_params_["survivalestimator__estimator"]
    assert found.best_score_ == scores.max()


def test_cross_validation_gives_the_score_of_each_fold_held_out():
    table, duration, event, _ = made(200)
    y, folds = outcome(duration, event), KFold(3, shuffle=True, random_state=0)
    found = cross_val_score(quick(), table, y, cv=folds, error_score="raise")
    by_hand = [
        quick().fit(table.iloc[rest], y[rest]).score(table.iloc[out], y[out])
        for rest, out in folds.split(table)
    ]
    np.testing.assert_array_equal(found, by_hand)
    assert found.mean() > 0.65
    held_out = cross_val_predict(quick(), table, y, cv=folds)
    assert concordance_index_censored(event, duration, held_out)[0] > 0.65


# --- tables and outcomes of every kind -------------------------------------------------------------------


def test_numpy_and_pandas_give_the_same_answers():
    table, duration, event, _ = made(150)
    numbers, y = table[NUMBERS], outcome(duration, event)
    named, plain = quick().fit(numbers, y), quick().fit(numbers.to_numpy(), y)
    np.testing.assert_array_equal(named.predict(numbers), plain.predict(numbers.to_numpy()))
    assert named.feature_names_in_.tolist() == NUMBERS
    assert plain.n_features_in_ == 2
    assert not hasattr(plain, "feature_names_in_")


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
def test_columns_without_names_are_read_by_their_place():
    """As everywhere in scikit-learn, which warns of it."""
    table, duration, event, _ = made(150)
    numbers, y = table[NUMBERS], outcome(duration, event)
    named, plain = quick().fit(numbers, y), quick().fit(numbers.to_numpy(), y)
    np.testing.assert_array_equal(named.predict(numbers.to_numpy()), named.predict(numbers))
    np.testing.assert_array_equal(plain.predict(numbers), named.predict(numbers))


def test_text_in_an_array_is_a_category_as_in_a_table():
    table, duration, event, _ = made(150)
    y, plain = outcome(duration, event), table.to_numpy(dtype=object)
    assert plain.dtype == object
    named = quick().fit(table, y)
    unnamed = quick().fit(plain, y)
    assert [column.category for column in unnamed.columns_] == [column.category for column in named.columns_]
    np.testing.assert_array_equal(unnamed.predict(plain), named.predict(table))


@pytest.mark.parametrize("kind", ["Float64", "float32", object])
def test_numbers_of_any_type_are_numbers(kind):
    table, duration, event, _ = made(150)
    y, plain = outcome(duration, event), table[NUMBERS].astype(np.float32).astype(np.float64)
    typed = plain.astype(kind)
    expected = quick().fit(plain, y).predict(plain)
    np.testing.assert_array_equal(quick().fit(typed, y).predict(typed), expected)


@pytest.mark.parametrize("kind", ["string", "category", object])
def test_text_of_any_type_is_a_category(kind):
    table, duration, event, _ = made(150)
    y, text = outcome(duration, event), table.assign(stage=table["stage"].astype(str))
    text.loc[:9, "stage"] = None
    typed = text.assign(stage=text["stage"].astype(kind))
    np.testing.assert_array_equal(quick().fit(typed, y).predict(typed), quick().fit(text, y).predict(text))


def test_flags_may_be_missing():
    table, duration, event, _ = made(150)
    flags = table["fit"].astype("boolean")
    flags[:9] = pd.NA
    some = table.assign(fit=flags)
    model = quick().fit(some, outcome(duration, event))
    assert np.isnan(model._matrix(some)[:9, -1]).all()
    assert np.isfinite(model.predict(some)).all()


def test_an_outcome_is_a_structured_array_or_two_columns():
    table, duration, event, _ = made(150)
    expected = quick().fit(table, outcome(duration, event)).predict(table)
    named = np.array(list(zip(event, duration, strict=True)), dtype=[("Status", "?"), ("Days", "<f8")])
    columns = np.column_stack([event, duration])
    for y in (named, columns, columns.tolist(), pd.DataFrame({"died": event, "months": duration})):
        np.testing.assert_array_equal(quick().fit(table, y).predict(table), expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_score_is_scikit_survival_s_concordance(fitted, seed):
    """With ties of times, and of risks."""
    table, duration, event, _ = made(120, seed=seed)
    table.loc[::4, :] = table.loc[0].to_numpy()
    tied = np.ceil(duration / 4.0) * 4.0
    theirs = concordance_index_censored(event, tied, fitted.predict(table))[0]
    assert fitted.score(table, outcome(tied, event)) == pytest.approx(theirs, abs=1e-12)
