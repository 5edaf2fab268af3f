"""The default survival model on tables: what it learns, needs and refuses. Simulated patients."""

import numpy as np
import pandas as pd
import pytest
from models.estimators.table import default_model, table_columns

from features.errors import InvalidInput, NotFittable

TIMES = np.array([0.5, 3.0, 6.0, 12.0, 24.0, 60.0])


def made(patients=300, *, seed=0):
    """Make a table with numbers, text, flags and missing values, and exponential times with known hazards."""
    rng = np.random.default_rng(seed)
    stage = rng.choice(["early", "late", "relapsed"], patients, p=[0.5, 0.3, 0.2])
    burden = rng.normal(size=patients)
    table = pd.DataFrame(
        {
            "burden": np.where(rng.random(patients) < 0.1, np.nan, burden),
            "noise": rng.normal(size=patients),
            "stage": pd.Categorical(stage),
            "fit": rng.random(patients) < 0.6,
        }
    )
    risk = 0.7 * burden + 0.8 * (stage == "late") + 1.2 * (stage == "relapsed")
    death = rng.exponential(1.0 / (0.03 * np.exp(risk)))
    end = rng.uniform(6.0, 72.0, patients)
    return table, np.minimum(death, end), death <= end, risk


@pytest.fixture(scope="module")
def fitted():
    table, duration, event, _ = made()
    return default_model().fit(table, duration, event)


def test_curves_start_near_one_never_rise_and_stay_in_0_1(fitted):
    survival = fitted.predict_survival(made(80, seed=5)[0], TIMES)
    assert survival.shape == (80, len(TIMES))
    assert ((survival >= 0.0) & (survival <= 1.0)).all()
    assert (np.diff(survival, axis=1) <= 0.0).all()
    assert (survival[:, 0] > 0.7).all()
    assert (fitted.predict_survival(made(3, seed=5)[0], [0.0]) == 1.0).all()


def test_the_risk_orders_new_patients_as_the_truth_does(fitted):
    table, *_, risk = made(400, seed=6)
    found = pd.Series(fitted.predict_risk(table)).corr(pd.Series(risk), method="spearman")
    assert found > 0.85


def test_a_new_patient_with_everything_missing_is_answered(fitted):
    table, *_ = made(2, seed=7)
    table["burden"], table["stage"] = np.nan, pd.Categorical([None, None], categories=["early"])
    assert np.isfinite(fitted.predict_survival(table, TIMES)).all()


def test_a_category_that_training_did_not_see_is_none_of_the_known_ones(fitted):
    table, *_ = made(1, seed=8)
    strange, early = table.assign(stage="unheard of"), table.assign(stage="early")
    np.testing.assert_array_equal(
        fitted.predict_survival(strange, TIMES), fitted.predict_survival(early, TIMES)
    )


def test_the_same_seed_gives_the_same_curves():
    table, duration, event, _ = made(150)
    one, two = (default_model(seed=3).fit(table, duration, event) for _ in range(2))
    np.testing.assert_array_equal(one.predict_survival(table, TIMES), two.predict_survival(table, TIMES))


def test_times_may_be_in_any_unit():
    table, duration, event, _ = made(150)
    days = default_model().fit(table, duration * 30.0, event).predict_survival(table, TIMES * 30.0)
    months = default_model().fit(table, duration, event).predict_survival(table, TIMES)
    np.testing.assert_allclose(days, months, atol=0.02)


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


def test_everything_wrong_is_named_at_once():
    table, duration, event, _ = made(50)
    table.loc[3, "noise"] = np.inf
    duration[0], event = 0.0, event.astype(float)
    event[1] = 2.0
    with pytest.raises(InvalidInput) as refused:
        default_model().fit(table, duration, event)
    assert {p.field for p in refused.value.problems} == {"duration", "event", "noise"}


def test_without_any_event_nothing_is_fitted():
    table, duration, event, _ = made(50)
    with pytest.raises(InvalidInput, match="event: never happens"):
        default_model().fit(table, duration, np.zeros_like(event))


def test_fewer_events_than_folds_are_not_enough():
    table, duration, event, _ = made(50)
    few = np.zeros_like(event)
    few[:3] = True
    with pytest.raises(NotFittable, match="3 events"):
        default_model().fit(table, duration, few)


def test_one_event_per_predictor_is_answered_near_the_average():
    rng = np.random.default_rng(2)
    table = pd.DataFrame(rng.normal(size=(60, 20)), columns=[f"x{i}" for i in range(20)])
    duration, event = rng.exponential(12.0, 60), np.arange(60) % 3 == 0
    survival = default_model().fit(table, duration, event).predict_survival(table, TIMES)
    assert np.isfinite(survival).all()
    assert survival[:, 3].std() < 0.15


def test_asking_before_fitting_or_without_a_column_is_refused(fitted):
    table, *_ = made(2)
    with pytest.raises(InvalidInput, match="not fitted"):
        default_model().predict_survival(table, TIMES)
    with pytest.raises(InvalidInput, match="burden: is missing"):
        fitted.predict_survival(table.drop(columns="burden"), TIMES)


def test_a_table_in_which_nothing_varies_is_refused():
    _, duration, event, _ = made(100)
    with pytest.raises(InvalidInput, match="columns: none varies"):
        default_model().fit(pd.DataFrame({"same": np.ones(100)}), duration, event)
