"""Lower bounds on survival time: by hand, against split conformal, and coverage in simulation. Synthetic."""

import json
from dataclasses import replace

import numpy as np
import pytest

from features.censoring import Outcome
from features.errors import InvalidInput, NotFittable
from models.estimators.blending import HeldOutScores
from models.estimators.interface import CrossFit
from models.uncertainty.conformal import (
    MOST_PATIENTS,
    SurvivalBounds,
    calibrated_chance,
    survival_lower_bound,
)
from tests.models.uncertainty.linear import survival

COLUMNS = 4
TRUE = survival(COLUMNS, seed=1)
WRONG = replace(TRUE, base=TRUE.base + np.array([[-0.5], [0.7]]))
LIMITS = (40.0, 55.0)
TIMES = np.linspace(0.25, 60.0, 240)


def drawn(count, rng, *, followed=(5.0, 90.0)):
    """Return patients' true event times, what is observed of them, and curves too hopeful and too alike."""
    score = rng.normal(size=count)
    event = 20.0 * rng.weibull(1.3, count) * np.exp(-0.8 * score)
    censored = rng.uniform(*followed, count)
    outcome = Outcome(np.minimum(event, censored), event <= censored)
    curves = np.exp(-np.exp(0.5 * score)[:, None] * TIMES / 45.0)
    return event, outcome, curves


def test_the_bound_is_where_the_curve_reaches_the_chance():
    curves = np.array([[0.875, 0.875, 0.4], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    bound = survival_lower_bound(curves, np.array([1.0, 2.0, 3.0]), chance=0.125)
    np.testing.assert_allclose(bound, [1.0, 3.0, 0.125])


def test_a_chance_of_nothing_bounds_at_the_start():
    assert survival_lower_bound(np.array([[0.9, 0.5]]), np.array([1.0, 2.0]), chance=0.0).tolist() == [0.0]


def test_without_censoring_it_is_the_split_conformal_quantile():
    """With n patients the bound at 1 - a is set by the floor(a (n + 1)) smallest chance."""
    rng = np.random.default_rng(1)
    event, _, curves = drawn(49, rng)
    event = np.minimum(event, TIMES[-1])
    found = calibrated_chance(curves, TIMES, Outcome(event, np.ones(49, dtype=bool)), level=0.9)
    own = [np.interp(t, TIMES, 1.0 - curve) for t, curve in zip(event, curves, strict=True)]
    assert found == pytest.approx(np.sort(own)[4], abs=1e-12)


@pytest.mark.parametrize("patients", [100, 400])
def test_nine_in_ten_outlive_their_bound_though_curves_are_wrong(patients):
    """Over 200 calibrations with a third censored; the curves' own tenth is outlived by far fewer."""
    rng = np.random.default_rng(patients)
    outlived, naive = [], []
    for _ in range(200):
        _, outcome, curves = drawn(patients, rng)
        chance = calibrated_chance(curves, TIMES, outcome, level=0.9)
        event, _, new = drawn(500, rng)
        outlived.append(np.mean(event >= survival_lower_bound(new, TIMES, chance=chance)))
        naive.append(np.mean(event >= survival_lower_bound(new, TIMES, chance=0.1)))
    assert 0.895 < np.mean(outlived) < 0.915
    assert not 0.87 < np.mean(naive) < 0.93


def test_heavy_censoring_does_not_bring_the_bound_down():
    """Ignoring censored patients would take early events for all events."""
    rng = np.random.default_rng(5)
    chances = [
        calibrated_chance(curves, TIMES, outcome)
        for _, outcome, curves in (drawn(2000, rng, followed=(1.0, 30.0)) for _ in range(20))
    ]
    event, _, new = drawn(20000, rng)
    outlived = np.mean(event >= survival_lower_bound(new, TIMES, chance=float(np.mean(chances))))
    assert abs(outlived - 0.9) < 0.01


def test_too_few_patients_are_refused():
    _, outcome, curves = drawn(8, np.random.default_rng(0))
    with pytest.raises(NotFittable, match="9 are needed"):
        calibrated_chance(curves, TIMES, outcome, level=0.9)


def test_just_enough_patients_are_bounded_by_the_smallest_chance():
    rng = np.random.default_rng(2)
    event, _, curves = drawn(9, rng)
    found = calibrated_chance(curves, TIMES, Outcome(event, np.ones(9, dtype=bool)), level=0.9)
    assert found == min(np.interp(t, TIMES, 1.0 - c) for t, c in zip(event, curves, strict=True))


def test_no_event_is_refused():
    outcome = Outcome(np.full(50, 4.0), np.zeros(50, dtype=bool))
    with pytest.raises(NotFittable, match="nobody"):
        calibrated_chance(np.full((50, 240), 0.5), TIMES, outcome)


def test_every_fault_is_named_at_once():
    _, outcome, curves = drawn(50, np.random.default_rng(0))
    with pytest.raises(InvalidInput, match=r"level.*times"):
        calibrated_chance(curves, TIMES[::-1], outcome, level=1.0)


def people(count, rng, *, rare=0.5):
    """Return columns, diseases, true event times and what is observed of them."""
    X, strata = rng.normal(size=(count, COLUMNS)), (rng.random(count) < rare).astype(np.int64)
    curves, left = TRUE.predict(X, strata, TIMES)[:, 0], rng.random(count)
    event = np.array([
        np.interp(-u, -np.append(1.0, curve), np.append(0.0, TIMES)) if u > curve[-1] else np.inf
        for u, curve in zip(left, curves, strict=True)
    ])  # fmt: skip
    censored = rng.uniform(5.0, 90.0, count)
    return X, strata, event, Outcome(np.maximum(np.minimum(event, censored), 1e-3), event <= censored)


def bounds(X, strata, outcome, **options):
    """Calibrate the wrong model, which is too hopeful in one disease and too gloomy in the other."""
    fit = CrossFit(WRONG, (), HeldOutScores(WRONG.transform, WRONG.scores(X, strata)), 0.2)
    return SurvivalBounds.fit(fit, strata, outcome, limits=dict(zip("ab", LIMITS, strict=True)), **options)


def test_nine_in_ten_outlive_their_bound_in_each_disease_though_the_model_is_wrong_in_both():
    rng = np.random.default_rng(21)
    new, strata, event, _ = people(8000, rng)
    each = []
    for _ in range(12):
        X, known, _, outcome = people(800, rng)
        outlived = event >= bounds(X, known, outcome).bound(WRONG, new, strata)
        each.append([outlived[strata == at].mean() for at in (0, 1)])
    np.testing.assert_allclose(np.mean(each, axis=0), 0.9, atol=0.015)


def test_a_small_disease_is_calibrated_with_all_others():
    X, strata, _, outcome = people(900, np.random.default_rng(22), rare=0.1)
    months = np.append(np.arange(0.25, 55.0, 0.25), 55.0)
    found = bounds(X, strata, outcome)
    assert (outcome.event & (strata == 1)).sum() < 100
    assert found.chances[1] == calibrated_chance(WRONG.predict(X, strata, months)[:, 0], months, outcome)
    assert found.chances[0] != found.chances[1]


def test_fewer_than_a_hundred_events_before_the_limit_bound_nothing():
    X, strata, _, outcome = people(900, np.random.default_rng(23))
    late = np.flatnonzero(outcome.event)[99:]
    few = outcome.event.copy()
    few[late] = False
    assert bounds(X, strata, Outcome(outcome.duration, few)) is None
    beyond = np.where(np.arange(900) % 2, outcome.duration + 60.0, outcome.duration)
    assert bounds(X, strata, Outcome(np.where(outcome.event, beyond + 60.0, beyond), outcome.event)) is None


def test_no_bound_is_later_than_the_limit_and_a_higher_level_is_earlier():
    X, strata, _, outcome = people(900, np.random.default_rng(24))
    nine, half = (bounds(X, strata, outcome, level=level).bound(WRONG, X, strata) for level in (0.9, 0.5))
    assert (nine > 0.0).all()
    assert (nine <= half).all()
    assert (half <= np.array(LIMITS)[strata]).all()
    assert (half == np.array(LIMITS)[strata]).any()


def test_a_disease_that_no_follow_up_supports_is_bounded_by_nothing():
    X, strata, _, outcome = people(900, np.random.default_rng(25))
    found = replace(bounds(X, strata, outcome), limits=(40.0, 0.0))
    assert (found.bound(WRONG, X, strata)[strata == 1] == 0.0).all()


def test_a_large_cohort_is_calibrated_on_some_of_it():
    X, strata, _, outcome = people(1000, np.random.default_rng(26))
    many = MOST_PATIENTS // 1000 + 1
    whole = bounds(np.tile(X, (many, 1)), np.tile(strata, many), outcome.take(np.tile(np.arange(1000), many)))
    np.testing.assert_allclose(whole.chances, bounds(X, strata, outcome).chances, atol=0.01)


def test_patients_are_judged_by_members_that_never_saw_them():
    """Held-out curves alone are calibrated: the model that learned from the patients is never asked."""
    X, strata, _, outcome = people(600, np.random.default_rng(28))
    held_out = HeldOutScores(WRONG.transform, WRONG.scores(X, strata))
    limits = dict(zip("ab", LIMITS, strict=True))
    found = SurvivalBounds.fit(CrossFit(None, (), held_out, 0.2), strata, outcome, limits=limits)
    assert found == bounds(X, strata, outcome)


def test_plain_values_give_back_the_same_bounds():
    X, strata, _, outcome = people(600, np.random.default_rng(27))
    found = bounds(X, strata, outcome)
    assert SurvivalBounds.from_dict(json.loads(json.dumps(found.as_dict()))) == found
