"""Intervals: the jackknife against sampling, bounds of every kind of model, true risks held. Synthetic."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from models.estimators.hazard import BoostedHazard

from features.censoring import Outcome
from features.errors import InvalidInput
from models.estimators.competing import CompetingModel
from models.estimators.cox import RidgeCox
from models.estimators.cross_fitted import CrossFitted
from models.estimators.interface import CrossFit, probabilities
from models.uncertainty.intervals import (
    DOCUMENT,
    UNLEARNED,
    Intervals,
    distance,
    jackknife_variance,
    shrinkage,
)
from tests.models.endpoint_doubles import (
    competing_double,
    hazard_double,
    mixture_double,
    patients,
    response_double,
)

COLUMNS = 5
HORIZONS = np.array([6.0, 12.0, 24.0, 48.0])
MONTHS = np.linspace(0.1, 70.0, 200)
DOUBLES = {
    "mixture": mixture_double(COLUMNS, seed=1),
    "hazard": hazard_double(COLUMNS, seed=1),
    "competing": competing_double(COLUMNS, seed=1),
    "response": response_double(COLUMNS, seed=1),
}


def moved(model, rng):
    """Return a member: the model with another baseline."""
    name = "base" if hasattr(model, "base") else "strata"
    baseline = getattr(model, name)
    return replace(model, **{name: baseline + rng.normal(0.0, 0.1, baseline.shape)})


def cross_fit(name):
    model, rng = DOUBLES[name], np.random.default_rng(7)
    members = tuple(moved(model, rng) for _ in range(10))
    return CrossFit(model, members, held_out=np.empty((0, 0)), fold_share=0.2)


def fitted(name):
    X, strata = patients(300, COLUMNS, seed=2)
    return Intervals.fit(cross_fit(name), X, strata, HORIZONS)


@pytest.fixture(params=DOUBLES)
def name(request):
    return request.param


@dataclass(frozen=True)
class Mean:
    """One log odds for everybody."""

    value: float
    outcomes = ("response",)
    timed = False

    def scores(self, X, strata, times):
        return np.full((len(X), 1), self.value)

    def probabilities(self, scores, times):
        return (1.0 / (1.0 + np.exp(-scores)))[:, :, None]


def test_the_jackknife_estimates_the_sampling_variance_of_a_mean():
    """The mean of 50 numbers has a fiftieth of their variance; members are means of four fifths of them."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(2000):
        folds = rng.normal(0.0, 2.0, (5, 10))
        members = tuple(Mean(np.delete(folds, out, axis=0).mean()) for out in range(5))
        fit = CrossFit(Mean(folds.mean()), members, np.empty((0, 0)), 0.2)
        found.append(jackknife_variance(fit, np.zeros((1, 1)), np.zeros(1, dtype=int), np.zeros(1)).item())
    assert np.mean(found) == pytest.approx(4.0 / 50, rel=0.05)


def test_errors_are_the_jackknife_s_over_the_cohort():
    X, strata = patients(300, COLUMNS, seed=2)
    fit = cross_fit("competing")
    variance = jackknife_variance(fit, X, strata, HORIZONS)
    found = Intervals.fit(fit, X, strata, HORIZONS)
    np.testing.assert_allclose(found.errors**2, variance.mean(axis=(0, 2)))


def test_squared_biases_add_up_to_the_inflation():
    X, strata = patients(300, COLUMNS, seed=2)
    relapse, death = (
        replace(DOUBLES["hazard"], outcome=name, chosen={"cox_penalty": penalty})
        for name, penalty in (("relapse", 0.0), ("death", 500.0))
    )
    model = CompetingModel((relapse, death))
    found = Intervals.fit(CrossFit(model, (model,) * 5, np.empty((0, 0)), 0.2), X, strata, HORIZONS)
    lost = shrinkage(model, probabilities(model, X, strata, HORIZONS)) - 1.0
    assert lost[0] == 0.0 < lost[1]
    np.testing.assert_allclose(found.inflation**2, 1.0 + lost + UNLEARNED)


def test_a_ridge_estimate_is_as_far_from_the_truth_as_its_shrinkage_says():
    """Effects drawn as the penalty supposes: squared error is the sampling variance times 1 + 60 / 240."""
    rng, events, penalty = np.random.default_rng(6), 240.0, 60.0
    effects = rng.normal(0.0, 1.0 / np.sqrt(penalty), (20000, 1))
    estimates = (events * effects + np.sqrt(events) * rng.normal(size=(20000, 30))) / (events + penalty)
    error, sampling = ((estimates - effects) ** 2).mean(), estimates.var(axis=1, ddof=1).mean()
    model = replace(DOUBLES["hazard"], chosen={"cox_penalty": penalty})
    survival = np.full((400, 1, 2), [0.7, 0.4])
    assert shrinkage(model, survival).item() == pytest.approx(1.25)
    assert error / sampling == pytest.approx(1.25, rel=0.02)


def test_shrinkage_is_each_outcome_s_own():
    relapse, death = (replace(DOUBLES["hazard"], outcome=name) for name in ("relapse", "death"))
    model = CompetingModel(
        (replace(relapse, chosen={"cox_penalty": 10.0}), replace(death, chosen={"cox_penalty": 90.0}))
    )
    incidence = np.full((100, 2, 1), 0.1) * np.array([[[5.0], [1.0]]])
    np.testing.assert_allclose(shrinkage(model, incidence), [1.2, 10.0])
    assert shrinkage(DOUBLES["response"], np.full((100, 2, 1), 0.5)).tolist() == [1.0, 1.0]


def test_the_point_lies_between_bounds_within_0_and_1(name):
    X, strata = patients(50, COLUMNS, seed=3)
    low, high = fitted(name).interval(X, strata, MONTHS)
    point = probabilities(DOUBLES[name], X, strata, MONTHS)
    assert low.shape == high.shape == point.shape
    assert (low >= 0.0).all()
    assert (high <= 1.0).all()
    assert (low <= point).all()
    assert (point <= high).all()
    assert (low < high).mean() > 0.99


def test_bounds_run_in_time_as_curves_do():
    X, strata = patients(50, COLUMNS, seed=3)
    for bound in fitted("hazard").interval(X, strata, MONTHS):
        assert (np.diff(bound, axis=2) <= 1e-12).all()
    for bound in fitted("competing").interval(X, strata, MONTHS):
        assert (np.diff(bound[:, 0], axis=1) <= 1e-12).all()
        assert (np.diff(bound[:, 1:], axis=2) >= -1e-12).all()


def test_a_bound_does_not_depend_on_the_other_times_asked_for(name):
    X, strata = patients(20, COLUMNS, seed=3)
    together = fitted(name).interval(X, strata, HORIZONS)
    alone = fitted(name).interval(X, strata, HORIZONS[-1:])
    for whole, one in zip(together, alone, strict=True):
        np.testing.assert_allclose(whole[:, :, -1], one[:, :, 0], rtol=1e-12)


def test_on_the_link_s_scale_bounds_are_as_far_off_as_the_normal_quantile_says():
    X, strata = patients(20, COLUMNS, seed=3)
    found = fitted("response")
    low, high = found.interval(X, strata, np.zeros(1), level=0.9)
    width = np.log(high / (1.0 - high)) - np.log(low / (1.0 - low))
    np.testing.assert_allclose(width[:, :, 0], 2.0 * 1.6448536 * found.standard_errors(X), rtol=1e-6)


def test_a_higher_level_is_wider(name):
    X, strata = patients(20, COLUMNS, seed=3)
    (low, high), (lower, higher) = (
        fitted(name).interval(X, strata, HORIZONS, level=level) for level in (0.5, 0.95)
    )
    assert (lower < low).all()
    assert (higher > high).all()


def test_a_level_that_is_no_share_is_refused():
    X, strata = patients(2, COLUMNS, seed=3)
    with pytest.raises(InvalidInput, match="level"):
        fitted("hazard").interval(X, strata, HORIZONS, level=90.0)


def test_the_distance_is_1_on_average_and_where_all_is_missing():
    X = np.random.default_rng(0).normal(3.0, 2.0, (4000, 6))
    found = distance(X, np.full(6, 3.0), np.full(6, 2.0))
    assert found.mean() == pytest.approx(1.0, abs=0.03)
    assert distance(np.full((1, 6), np.nan), np.full(6, 3.0), np.full(6, 2.0)).tolist() == [1.0]


def test_a_patient_unlike_the_cohort_has_a_wider_interval_up_to_a_limit():
    found = fitted("hazard")
    centre, far, farther = (np.full((1, COLUMNS), value) for value in (0.1, 3.0, 1e9))
    near, wide, widest = (found.standard_errors(X).item() for X in (centre, far, farther))
    assert near < wide < widest < 5.0 * found.errors.item() * found.inflation.item()


def test_a_column_that_never_varies_or_is_never_known_does_no_harm():
    X, strata = patients(100, COLUMNS, seed=2)
    X[:, 0], X[:, 1] = 7.0, np.nan
    found = Intervals.fit(cross_fit("hazard"), X, strata, HORIZONS)
    assert np.isfinite(np.stack(found.interval(X, strata, HORIZONS))).all()


def test_files_give_back_the_same_intervals_and_bytes(name):
    found = fitted(name)
    read = Intervals.from_files(found.files(), DOUBLES[name])
    assert read.files() == found.files() == fitted(name).files()
    assert list(found.files()) == [DOCUMENT]
    X, strata = patients(9, COLUMNS, seed=4)
    for ours, theirs in zip(
        read.interval(X, strata, HORIZONS), found.interval(X, strata, HORIZONS), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_intervals_hold_true_survival_of_new_patients():
    """Weibull survival with linear effects: about nine in ten, and fewer if bias is not allowed for."""
    rng = np.random.default_rng(11)
    effects = np.array([0.5, -0.4, 0.3, 0.2, 0.0, 0.0, 0.0, 0.0])
    quick = BoostedHazard(depth=2, learning_rate=0.1, rounds=15)
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
        fit = replace(estimator, seed=seed).cross_fit(X, strata, outcome)
        found = Intervals.fit(fit, X, strata, HORIZONS[:3])
        truth = np.exp(-np.exp(new @ effects)[:, None] * HORIZONS[:3] / 20.0)
        for intervals, shares in ((found, covered), (replace(found, inflation=np.array([0.5])), too_narrow)):
            low, high = (bound[:, 0] for bound in intervals.interval(new, strata, HORIZONS[:3]))
            shares.append(((low <= truth) & (truth <= high)).mean())
    assert 0.85 < np.mean(covered) < 0.99
    assert np.mean(too_narrow) < 0.75
