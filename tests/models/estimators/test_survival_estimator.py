"""The survival estimator on tables: what it learns, needs and refuses. Simulated patients."""

import datetime as dt
import decimal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError

from features.errors import InvalidInput, NotFittable
from models.estimators.scikit import default_model, table_columns
from tests.models.estimators.tables import TIMES, made, outcome, quick


@pytest.fixture(scope="module")
def fitted():
    table, duration, event, _ = made()
    return default_model().fit(table, outcome(duration, event))


def test_curves_start_near_one_never_rise_and_stay_in_0_1(fitted):
    survival = fitted.predict_survival_function(made(80, seed=5)[0], TIMES)
    assert survival.shape == (80, len(TIMES))
    assert ((survival >= 0.0) & (survival <= 1.0)).all()
    assert (np.diff(survival, axis=1) <= 0.0).all()
    assert (survival[:, 0] > 0.7).all()
    assert (fitted.predict_survival_function(made(3, seed=5)[0], [0.0]) == 1.0).all()


def test_without_times_curves_are_at_event_times(fitted):
    table, duration, event, _ = made()
    own = fitted.event_times_
    assert (np.diff(own) > 0.0).all()
    assert duration[event].min() <= own[0] < own[-1] <= duration[event].max()
    assert len(own) == 50
    np.testing.assert_array_equal(
        fitted.predict_survival_function(table), fitted.predict_survival_function(table, own)
    )


def test_the_risk_is_minus_the_mean_survival_time_up_to_the_last_event_time(fitted):
    table, *_ = made(40, seed=5)
    months = np.linspace(0.0, fitted.event_times_[-1], 20_001)
    mean = np.trapezoid(fitted.predict_survival_function(table, months), months, axis=1)
    np.testing.assert_allclose(fitted.predict(table), -mean, rtol=0.01)


def test_the_risk_orders_new_patients_as_the_truth_does(fitted):
    table, *_, risk = made(400, seed=6)
    assert pd.Series(fitted.predict(table)).corr(pd.Series(risk), method="spearman") > 0.85


def test_a_new_patient_with_everything_missing_is_answered(fitted):
    table, *_ = made(2, seed=7)
    table["burden"], table["stage"] = np.nan, pd.Categorical([None, None], categories=["early"])
    assert np.isfinite(fitted.predict_survival_function(table, TIMES)).all()


def test_nobody_is_answered_with_nothing(fitted):
    assert fitted.predict_survival_function(made(2)[0].iloc[:0], TIMES).shape == (0, len(TIMES))


def test_a_category_that_training_did_not_see_is_none_of_the_known_ones(fitted):
    table, *_ = made(1, seed=8)
    strange, early = table.assign(stage="unheard of"), table.assign(stage="early")
    np.testing.assert_array_equal(
        fitted.predict_survival_function(strange, TIMES), fitted.predict_survival_function(early, TIMES)
    )


def test_the_same_seed_gives_the_same_curves():
    table, duration, event, _ = made(150)
    one, two = (default_model(seed=3).fit(table, outcome(duration, event)) for _ in range(2))
    np.testing.assert_array_equal(
        one.predict_survival_function(table, TIMES), two.predict_survival_function(table, TIMES)
    )


def test_times_may_be_in_any_unit():
    table, duration, event, _ = made(150)
    days = default_model().fit(table, outcome(duration * 30.0, event))
    months = default_model().fit(table, outcome(duration, event))
    np.testing.assert_allclose(
        days.predict_survival_function(table, TIMES * 30.0),
        months.predict_survival_function(table, TIMES),
        atol=0.02,
    )


# --- columns ---------------------------------------------------------------------------------------------


def test_constant_columns_and_rare_categories_make_no_column():
    table = pd.DataFrame(
        {
            "same": np.ones(40),
            "one_name": ["x"] * 40,
            "nothing": [None] * 40,
            "site": ["liver"] * 30 + ["lung"] * 9 + ["heart"],
        }
    )
    assert [(c.name, c.category) for c in table_columns(table)] == [("site", "liver"), ("site", "lung")]


def test_of_two_categories_one_column_is_made():
    table = pd.DataFrame({"sex": ["f"] * 20 + ["m"] * 10})
    assert [(c.name, c.category) for c in table_columns(table)] == [("sex", "m")]


def test_a_missing_category_is_missing_and_not_a_category():
    column = table_columns(pd.DataFrame({"sex": ["f"] * 20 + ["m"] * 10}))[0]
    read = column.read(pd.DataFrame({"sex": ["m", None, "f"]}))
    np.testing.assert_array_equal(read, [1.0, np.nan, 0.0])


# --- refusals --------------------------------------------------------------------------------------------


def refused(table, y):
    with pytest.raises(InvalidInput) as caught:
        quick().fit(table, y)
    return {(problem.field, problem.problem) for problem in caught.value.problems}


def test_everything_wrong_is_named_at_once():
    table, duration, event, _ = made(50)
    table.loc[3, "noise"] = np.inf
    duration[0], event = 0.0, event.astype(float)
    event[1] = 2.0
    assert refused(table.assign(seen=pd.Timestamp("2020-01-01")), np.column_stack([event, duration])) == {
        ("time", "has values that are not above zero"),
        ("event", "has values other than 0 and 1"),
        ("noise", "has infinite values"),
        ("seen", "holds dates or spans of time"),
    }


DATES = pd.Series(pd.date_range("2020-01-01", periods=50))
NO_NUMBERS = {
    "dates": DATES,
    "dates of a zone": DATES.dt.tz_localize("Europe/Berlin"),
    "dates as objects": DATES.dt.date,
    "dates, some missing": DATES.dt.date.where(DATES.index > 9),
    "dates as categories": DATES.dt.date.astype("category"),
    "months": DATES.dt.to_period("M"),
    "spans": DATES - DATES[0],
    "spans as objects": pd.Series([dt.timedelta(days=at) for at in range(50)], dtype=object),
    "times of day": pd.Series([dt.time(at % 24) for at in range(50)], dtype=object),
}


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_dates_and_spans_are_refused_by_name(fitted, name):
    table, duration, event, _ = made(50)
    dated = table.assign(noise=NO_NUMBERS[name])
    wrong = {("noise", "holds dates or spans of time")}
    assert refused(dated, outcome(duration, event)) == wrong
    assert refused(dated[["noise"]].to_numpy(), outcome(duration, event)) == {("x0", next(iter(wrong))[1])}
    with pytest.raises(InvalidInput, match="noise: holds dates or spans of time"):
        fitted.predict(dated)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.arange(50) * 1j, "holds complex numbers"),
        ([decimal.Decimal(at) for at in range(50)], "holds decimal numbers"),
        (np.append(np.arange(49.0), np.inf), "has infinite values"),
        (pd.Series(np.append(np.arange(49.0), -np.inf), dtype="Float64"), "has infinite values"),
    ],
)
def test_odd_numbers_are_refused_by_name(values, problem):
    table, duration, event, _ = made(50)
    assert refused(table.assign(noise=values), outcome(duration, event)) == {("noise", problem)}


@pytest.mark.parametrize(
    "y",
    [
        None, 7, [], np.ones(50), np.ones((50, 3)), np.ones((50, 1)), np.ones((50, 2, 1)), [["a", "b"]] * 50,
        np.zeros(50, dtype=[("event", "?")]),
    ],
)  # fmt: skip
def test_an_outcome_of_another_form_is_refused(y):
    assert {field for field, _ in refused(made(50)[0], y)} == {"y"}


def test_an_outcome_of_other_patients_is_refused():
    table, duration, event, _ = made(50)
    assert refused(table, outcome(duration, event)[:40]) == {("y", "has 40 rows where X has 50")}


@pytest.mark.parametrize("time", [0.0, -1.0, np.nan, np.inf])
def test_times_must_be_above_zero(time):
    table, duration, event, _ = made(50)
    duration[7] = time
    y = np.column_stack([event, duration])
    assert refused(table, y) == {("time", "has values that are not above zero")}


def test_without_any_event_nothing_is_fitted():
    table, duration, event, _ = made(50)
    assert refused(table, outcome(duration, np.zeros_like(event))) == {("event", "never happens")}


def test_fewer_events_than_folds_are_not_enough():
    table, duration, event, _ = made(50)
    few = np.zeros_like(event)
    few[:3] = True
    with pytest.raises(NotFittable, match="3 events"):
        default_model().fit(table, outcome(duration, few))


def test_one_event_per_predictor_is_answered_near_the_average():
    rng = np.random.default_rng(2)
    table = pd.DataFrame(rng.normal(size=(60, 20)), columns=[f"x{i}" for i in range(20)])
    duration, event = rng.exponential(12.0, 60), np.arange(60) % 3 == 0
    model = default_model().fit(table, outcome(duration, event))
    survival = model.predict_survival_function(table, TIMES)
    assert np.isfinite(survival).all()
    assert survival[:, 3].std() < 0.15


def test_asking_before_fitting_is_refused():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        default_model().predict_survival_function(made(2)[0], TIMES)


def test_asking_without_a_column_or_with_others_is_refused_by_name(fitted):
    table, *_ = made(2)
    with pytest.raises(ValueError, match=r"seen at fit time, yet now missing:\n- burden"):
        fitted.predict(table.drop(columns="burden"))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- weight"):
        fitted.predict(table.assign(weight=1.0))
    with pytest.raises(ValueError, match="must be in the same order"):
        fitted.predict(table[table.columns[::-1]])


def test_a_table_in_which_nothing_varies_is_refused():
    _, duration, event, _ = made(100)
    constant = pd.DataFrame({"same": np.ones(100)})
    assert refused(constant, outcome(duration, event)) == {("columns", "none varies")}


def test_a_sparse_matrix_is_refused():
    _, duration, event, _ = made(50)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        quick().fit(sparse.csr_array(np.eye(50)), outcome(duration, event))
