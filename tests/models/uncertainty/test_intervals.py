"""Intervals: the jackknife against sampling, bounds of every kind of model, true risks held. Synthetic."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from features.censoring import Outcome
from features.endpoints import ENDPOINTS
from features.errors import InvalidInput
from models.estimators.boosting import Boosting
from models.estimators.cox import RidgeCox
from models.estimators.cross_fitted import CrossFitted
from models.estimators.interface import NO_TIME, CrossFit
from models.estimators.links import LINKS
from models.uncertainty.intervals import (
    BORROWED,
    BY_DISTANCE,
    BY_PROGNOSIS,
    DOCUMENT,
    EVEN,
    FARTHEST,
    Intervals,
    by_disease,
    distance,
    jackknife_variance,
    shrinkage,
)
from tests.models.uncertainty.linear import competing, mixture, moved, patients, response, survival

COLUMNS = 5
HORIZONS = np.array([6.0, 12.0, 24.0, 48.0])
MONTHS = np.linspace(0.1, 70.0, 200)
UNLEARNED = 0.85
NORMAL_QUANTILE = 1.6448536
MODELS = {
    "survival": survival(COLUMNS, seed=1),
    "mixture": mixture(COLUMNS, seed=1),
    "competing": competing(COLUMNS, seed=1),
    "response": response(COLUMNS, seed=1),
}
DECLARED = {
    "survival": ENDPOINTS["overall_survival"],
    "mixture": ENDPOINTS["overall_survival"],
    "competing": ENDPOINTS["relapse_and_non_relapse_mortality"],
    "response": ENDPOINTS["response"],
}


def cross_fit(name):
    model, rng = MODELS[name], np.random.default_rng(7)
    return CrossFit(model, tuple(moved(model, rng) for _ in range(10)), held_out=None, fold_share=0.2)


def times_of(name, times=HORIZONS):
    return times if DECLARED[name].timed else NO_TIME


def fit(found, name, X, strata, unlearned=UNLEARNED):
    return Intervals.fit(found, X, strata, times_of(name), endpoint=DECLARED[name], unlearned=unlearned)


def fitted(name):
    return fit(cross_fit(name), name, *patients(300, COLUMNS, seed=2))


def interval(found, name, X, strata, times, **options):
    """Return the ends around what the model answers."""
    times = times_of(name, times)
    return found.around(MODELS[name].predict(X, strata, times), X, strata, times, **options)


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@dataclass(frozen=True)
class Mean:
    """One log odds for everybody."""

    value: float
    outcomes = ("response",)
    timed = False

    def predict(self, X, strata, times):
        return np.full((len(X), 1, 1), 1.0 / (1.0 + np.exp(-self.value)))


def test_the_jackknife_estimates_the_sampling_variance_of_a_mean():
    """The mean of 50 numbers has a fiftieth of their variance; members are means of four fifths of them."""
    rng, nobody = np.random.default_rng(3), (np.zeros((1, 1)), np.zeros(1, dtype=int), NO_TIME)
    found = []
    for _ in range(2000):
        folds = rng.normal(0.0, 2.0, (5, 10))
        members = tuple(Mean(np.delete(folds, out, axis=0).mean()) for out in range(5))
        whole = CrossFit(Mean(folds.mean()), members, None, 0.2)
        found.append(jackknife_variance(whole, *nobody, LINKS["log_odds"]).item())
    assert np.mean(found) == pytest.approx(4.0 / 50, rel=0.05)


def towards_all(values, strata):
    """Return each disease's mean, that of all patients counting as much as 20 of its own."""
    means = []
    for disease in range(strata.max() + 1):
        own = values[strata == disease]
        means.append((own.sum(axis=0) + 20.0 * values.mean(axis=0)) / (len(own) + 20.0))
    return np.stack(means)


def test_errors_are_the_jackknife_s_over_each_disease_at_each_horizon(name):
    X, strata = patients(300, COLUMNS, seed=2)
    whole, times = cross_fit(name), times_of(name)
    found = fit(whole, name, X, strata)
    variance = jackknife_variance(whole, X, strata, times, LINKS[DECLARED[name].link])
    np.testing.assert_allclose(found.errors**2, towards_all(variance, strata))
    values = on_link(name, MODELS[name].predict(X, strata, times))
    centres = towards_all(values, strata)
    np.testing.assert_allclose(found.centres, centres, rtol=1e-5)
    spreads = np.sqrt(towards_all((values - centres[strata]) ** 2, strata))
    np.testing.assert_allclose(found.spreads, spreads, rtol=1e-4)
    np.testing.assert_array_equal(found.times, times)


def test_of_a_disease_of_few_patients_the_mean_is_nearly_that_of_all():
    values = np.arange(102.0)[:, None]
    few = by_disease(values, np.repeat([0, 1], [100, 2]), 2)
    np.testing.assert_allclose(few, towards_all(values, np.repeat([0, 1], [100, 2])))
    assert abs(few[1] - values.mean()) < 0.1 * abs(values[100:].mean() - values.mean()) + 1.0


def test_squared_biases_add_up_to_the_inflation():
    X, strata = patients(300, COLUMNS, seed=2)
    penalties, endpoint = np.array([0.0, 500.0]), DECLARED["competing"]
    model = replace(MODELS["competing"], penalties=penalties)
    found = fit(CrossFit(model, (model,) * 5, None, 0.2), "competing", X, strata)
    lost = shrinkage(penalties, model.predict(X, strata, HORIZONS[-1:]), endpoint) - 1.0
    assert lost[0] == 0.0 < lost[1]
    np.testing.assert_allclose(found.inflation**2, 1.0 + lost + UNLEARNED * borrowed(strata))


def borrowed(strata):
    """Return by how much the unlearned share is larger in each disease, (strata, 1)."""
    return 1.0 + BORROWED * (1.0 - np.bincount(strata)[:, None] / len(strata))


def test_what_an_estimator_says_is_unlearned_widens_its_intervals(name):
    """An estimator whose bias was not measured says 0: its intervals allow for sampling alone."""
    X, strata = patients(300, COLUMNS, seed=2)
    found = fit(cross_fit(name), name, X, strata, unlearned=0.0)
    np.testing.assert_array_equal(found.inflation, np.ones((2, len(MODELS[name].outcomes))))
    wider = np.sqrt(1.0 + UNLEARNED * borrowed(strata)) * found.inflation
    np.testing.assert_allclose(fitted(name).inflation, wider)
    np.testing.assert_array_equal(fitted(name).errors, found.errors)


def test_a_ridge_estimate_is_as_far_from_the_truth_as_its_shrinkage_says():
    """Effects drawn as the penalty supposes: squared error is the sampling variance times 1 + 60 / 240."""
    rng, events, penalty = np.random.default_rng(6), 240.0, 60.0
    effects = rng.normal(0.0, 1.0 / np.sqrt(penalty), (20000, 1))
    estimates = (events * effects + np.sqrt(events) * rng.normal(size=(20000, 30))) / (events + penalty)
    error, sampling = ((estimates - effects) ** 2).mean(), estimates.var(axis=1, ddof=1).mean()
    alive = np.full((400, 1, 2), [0.7, 0.4])
    assert shrinkage(np.array([penalty]), alive, DECLARED["survival"]).item() == pytest.approx(1.25)
    assert error / sampling == pytest.approx(1.25, rel=0.02)


def test_shrinkage_is_each_outcome_s_own():
    incidence = np.full((100, 2, 1), 0.1) * np.array([[[5.0], [1.0]]])
    found = shrinkage(np.array([10.0, 90.0]), incidence, DECLARED["competing"])
    np.testing.assert_allclose(found, [1.2, 10.0])
    half = np.full((100, 2, 1), 0.5)  # of 100 patients, each with an information of a quarter
    np.testing.assert_allclose(shrinkage(np.array([0.0, 25.0]), half, DECLARED["response"]), [1.0, 2.0])


def test_the_point_lies_between_bounds_within_0_and_1(name):
    X, strata = patients(50, COLUMNS, seed=3)
    point = MODELS[name].predict(X, strata, times_of(name, MONTHS))
    low, high = interval(fitted(name), name, X, strata, MONTHS)
    assert low.shape == high.shape == point.shape
    assert (low >= 0.0).all()
    assert (high <= 1.0).all()
    assert (low <= point).all()
    assert (point <= high).all()
    assert (low < high).mean() > 0.99


def test_a_bound_does_not_depend_on_the_other_times_asked_for(name):
    X, strata = patients(20, COLUMNS, seed=3)
    together = interval(fitted(name), name, X, strata, HORIZONS)
    alone = interval(fitted(name), name, X, strata, HORIZONS[-1:])
    for whole, one in zip(together, alone, strict=True):
        np.testing.assert_allclose(whole[:, :, -1], one[:, :, 0], rtol=1e-12)


def on_link(name, probability):
    """Return probabilities on the scale of the endpoint's link."""
    return {
        "log_cumulative_hazard": lambda p: np.log(-np.log(p)),
        "complementary_log_log": lambda p: np.log(-np.log(1.0 - p)),
        "log_odds": lambda p: np.log(p / (1.0 - p)),
    }[DECLARED[name].link](probability)


def reach(found, name, X, strata, times):
    """Return how far an interval reaches on the link's scale: three parts of the variance, times the bias."""
    errors, centres, spreads = (
        np.stack([[np.interp(times, found.times, own) for own in of] for of in table])[strata]
        for table in (found.errors, found.centres, found.spreads)
    )
    values = on_link(name, MODELS[name].predict(X, strata, times))
    off = np.minimum(np.abs(values - centres) / spreads, FARTHEST)
    apart = distance(X, found.means, found.scales)[:, None, None]
    scale = EVEN + BY_DISTANCE * apart + BY_PROGNOSIS * off**2
    return NORMAL_QUANTILE * found.inflation[strata][:, :, None] * errors * np.sqrt(scale)


@pytest.mark.parametrize("times", [HORIZONS, np.array([3.0, 9.0, 20.0, 60.0])])
def test_on_the_link_s_scale_bounds_are_as_far_off_as_the_normal_quantile_says(name, times):
    """At the months of the errors, and between them, where errors are interpolated."""
    X, strata = patients(20, COLUMNS, seed=3)
    found, times = fitted(name), times_of(name, times)
    low, high = (on_link(name, end) for end in interval(found, name, X, strata, times, level=0.9))
    expected = 2.0 * reach(found, name, X, strata, times)
    np.testing.assert_allclose(np.abs(high - low), expected, rtol=1e-5)


def test_parts_of_the_variance_are_those_of_a_patient_at_the_mean():
    """One whose columns and prediction are as far off as on average has the errors as they are."""
    assert pytest.approx(1.0) == EVEN + BY_DISTANCE + BY_PROGNOSIS


def test_what_unknown_values_would_change_adds_its_variance(name):
    X, strata = patients(20, COLUMNS, seed=3)
    found, times = fitted(name), times_of(name)
    spread = np.random.default_rng(0).uniform(0.0, 0.3, MODELS[name].predict(X, strata, times).shape)
    low, high = (on_link(name, end) for end in interval(found, name, X, strata, times, spread=spread))
    known = reach(found, name, X, strata, times)
    expected = 2.0 * np.sqrt(known**2 + NORMAL_QUANTILE**2 * spread)
    np.testing.assert_allclose(np.abs(high - low), expected, rtol=1e-5)
    nothing = interval(found, name, X, strata, times, spread=0.0 * spread)
    np.testing.assert_array_equal(nothing, interval(found, name, X, strata, times))


def test_a_prediction_far_from_the_disease_s_mean_has_a_wider_interval():
    found, X = fitted("response"), np.full((2, COLUMNS), 0.1)
    strata = np.zeros(2, dtype=np.int64)
    for outcome in range(2):
        centre = found.centres[0, outcome, 0]
        widths = []
        for value in (centre, centre + 3.0 * found.spreads[0, outcome, 0]):
            probability = np.full((2, 2, 1), 1.0 / (1.0 + np.exp(-value)))
            ends = [on_link("response", end) for end in found.around(probability, X, strata, NO_TIME)]
            widths.append((ends[1] - ends[0])[0, outcome, 0])
        ratio = (EVEN + BY_DISTANCE * distance(X, found.means, found.scales)[0] + 9.0 * BY_PROGNOSIS) / (
            EVEN + BY_DISTANCE * distance(X, found.means, found.scales)[0]
        )
        assert widths[1] / widths[0] == pytest.approx(np.sqrt(ratio), rel=1e-5)


def test_a_higher_level_is_wider(name):
    X, strata = patients(20, COLUMNS, seed=3)
    (low, high), (lower, higher) = (
        interval(fitted(name), name, X, strata, HORIZONS, level=level) for level in (0.5, 0.95)
    )
    assert (lower < low).all()
    assert (higher > high).all()


@pytest.mark.parametrize("level", [90.0, 0.0, 1.0, -0.5])
def test_a_level_that_is_no_share_is_refused(level):
    X, strata = patients(2, COLUMNS, seed=3)
    with pytest.raises(InvalidInput, match="level"):
        interval(fitted("survival"), "survival", X, strata, HORIZONS, level=level)


def test_the_distance_is_1_on_average_and_where_all_is_missing():
    X = np.random.default_rng(0).normal(3.0, 2.0, (4000, 6))
    found = distance(X, np.full(6, 3.0), np.full(6, 2.0))
    assert found.mean() == pytest.approx(1.0, abs=0.03)
    assert distance(np.full((1, 6), np.nan), np.full(6, 3.0), np.full(6, 2.0)).tolist() == [1.0]


def test_a_patient_unlike_the_cohort_has_a_wider_interval_up_to_a_limit():
    found, half = fitted("response"), np.full((1, 2, 1), 0.5)
    centre, far, farther = (np.full((1, COLUMNS), value) for value in (0.1, 3.0, 1e9))
    nobody = np.zeros(1, dtype=np.int64)
    near, wide, widest = (
        on_link("response", found.around(half, X, nobody, NO_TIME)[1]) for X in (centre, far, farther)
    )
    assert (near < wide).all()
    assert (wide < widest).all()
    at_most = np.sqrt(EVEN + (BY_DISTANCE + BY_PROGNOSIS) * FARTHEST**2)
    assert (widest[0] <= at_most * NORMAL_QUANTILE * found.inflation[0][:, None] * found.errors[0]).all()


def test_a_column_that_never_varies_or_is_never_known_does_no_harm():
    X, strata = patients(100, COLUMNS, seed=2)
    X[:, 0], X[:, 1] = 7.0, np.nan
    found = fit(cross_fit("survival"), "survival", X, strata)
    assert np.isfinite(np.stack(interval(found, "survival", X, strata, HORIZONS))).all()


def test_files_give_back_the_same_intervals_and_bytes(name):
    found = fitted(name)
    read = Intervals.from_files(found.files(), DECLARED[name])
    assert read.files() == found.files() == fitted(name).files()
    assert list(found.files()) == [DOCUMENT]
    X, strata = patients(9, COLUMNS, seed=4)
    ours, theirs = (interval(each, name, X, strata, HORIZONS) for each in (read, found))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("scales", 0.0), ("scales", -1.0), ("scales", np.nan), ("errors", -0.1), ("errors", np.inf),
        ("inflation", -1.0), ("means", np.nan), ("spreads", 0.0), ("spreads", np.nan), ("centres", np.inf),
        ("times", np.nan),
    ],
)  # fmt: skip
def test_intervals_that_cannot_be_are_refused(name, part, value):
    found, outcomes = fitted(name), len(MODELS[name].outcomes)
    found.check(columns=COLUMNS, strata=2, outcomes=outcomes)
    array = getattr(found, part).copy()
    array[0] = value
    wrong = replace(found, **{part: array})
    for columns, strata, bad in ((COLUMNS, 2, wrong), (COLUMNS + 1, 2, found), (COLUMNS, 3, found)):
        with pytest.raises(ValueError, match=r"intervals' .* as (it|they) must be"):
            bad.check(columns=columns, strata=strata, outcomes=outcomes)


def test_months_that_do_not_rise_are_refused():
    found = fitted("survival")
    for times in (HORIZONS[::-1], np.full(4, 6.0)):
        with pytest.raises(ValueError, match=r"intervals' .* as (it|they) must be"):
            replace(found, times=times).check(columns=COLUMNS, strata=2, outcomes=1)


def test_intervals_hold_true_survival_of_new_patients():
    """Weibull survival with linear effects: about nine in ten, and fewer if bias is not allowed for."""
    rng = np.random.default_rng(11)
    effects = np.array([0.5, -0.4, 0.3, 0.2, 0.0, 0.0, 0.0, 0.0])
    quick = Boosting(depth=2, learning_rate=0.1, rounds=15)
    estimator = CrossFitted(
        cox=RidgeCox(penalties=(10.0, 30.0, 100.0)), started=quick, free=quick, intervals=8, repeats=1
    )
    covered, too_narrow = [], []
    for seed in range(4):
        X, new = rng.normal(size=(300, 8)), rng.normal(size=(300, 8))
        event = rng.exponential(20.0 * np.exp(-X @ effects))
        censored = rng.uniform(6.0, 60.0, 300)
        outcome, strata = (
            Outcome(np.minimum(event, censored), event <= censored),
            np.zeros(300, dtype=np.int64),
        )
        cross_fitted = replace(estimator, seed=seed).cross_fit(X, strata, outcome)
        found = Intervals.fit(
            cross_fitted,
            X,
            strata,
            HORIZONS[:3],
            endpoint=DECLARED["survival"],
            unlearned=estimator.unlearned,
        )
        truth = np.exp(-np.exp(new @ effects)[:, None] * HORIZONS[:3] / 20.0)
        point = cross_fitted.model.predict(new, strata, HORIZONS[:3])
        for intervals, shares in (
            (found, covered),
            (replace(found, inflation=np.array([[0.5]])), too_narrow),
        ):
            low, high = (bound[:, 0] for bound in intervals.around(point, new, strata, HORIZONS[:3]))
            shares.append(((low <= truth) & (truth <= high)).mean())
    assert 0.85 < np.mean(covered) < 0.99
    assert np.mean(too_narrow) < 0.75
