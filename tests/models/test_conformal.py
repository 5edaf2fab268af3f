"""Lower bounds on survival time: by hand, against split conformal, and coverage in simulation. Synthetic."""

import numpy as np
import pytest

from features.censoring import Outcome
from features.errors import InvalidInput, NotFittable
from models.conformal import calibrated_chance, survival_lower_bound

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
