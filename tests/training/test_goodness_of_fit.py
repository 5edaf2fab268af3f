"""Goodness of fit: the truth is seldom rejected, a wrong curve is, however much is censored."""

import numpy as np
import pytest
from scipy.stats import kstest

from features.censoring import Outcome
from training.goodness_of_fit import CELLS, a_calibration, at_own_time, d_calibration

TIMES = np.arange(2.0, 61.0, 2.0)


def made(seed, *, patients=500, followed=80.0):
    rng = np.random.default_rng(seed)
    hazard = 0.03 * np.exp(rng.normal(0.0, 0.7, patients))
    death, censored = rng.exponential(1.0 / hazard), rng.uniform(1.0, followed, patients)
    return hazard, Outcome(np.minimum(death, censored), death <= censored)


def curves(hazard):
    return np.exp(-np.outer(hazard, TIMES))


@pytest.mark.parametrize("followed", [40.0, 400.0])
def test_a_calibration_of_the_truth_is_uniform_and_d_calibration_no_smaller(followed):
    a, d = [], []
    for seed in range(300):
        hazard, outcome = made(seed, followed=followed)
        a.append(a_calibration(curves(hazard), outcome, TIMES).p)
        d.append(d_calibration(curves(hazard), outcome, TIMES).p)
    assert kstest(a, "uniform").pvalue > 0.001
    assert np.mean(np.array(d) < 0.05) < 0.08


@pytest.mark.parametrize("wrong", [0.6, 1.6])
def test_a_hazard_that_is_far_off_is_rejected(wrong):
    hazard, outcome = made(1, patients=1000)
    assert a_calibration(curves(wrong * hazard), outcome, TIMES).p < 0.001
    assert d_calibration(curves(wrong * hazard), outcome, TIMES).p < 0.05


def test_censoring_blinds_d_calibration_more_than_a_calibration():
    rejected = []
    for seed in range(60):
        hazard, outcome = made(seed, followed=15.0)
        wrong = curves(1.35 * hazard)
        found = (a_calibration(wrong, outcome, TIMES).p, d_calibration(wrong, outcome, TIMES).p)
        rejected.append([p < 0.05 for p in found])
    a, d = np.mean(rejected, axis=0)
    assert a > d + 0.2


def test_the_cells_of_d_calibration_as_haider_counts_them():
    hazard, outcome = made(3, patients=60)
    seen, survival = np.minimum(outcome.duration, 60.0), np.exp(-hazard * np.minimum(outcome.duration, 60.0))
    patients = np.zeros(CELLS)
    for own, happened, months in zip(survival, outcome.event, seen, strict=True):
        cell = min(int(own * CELLS), CELLS - 1)
        if happened and months < 60.0:
            patients[cell] += 1.0
            continue
        patients[cell] += (own - cell / CELLS) / own
        patients[:cell] += 1.0 / CELLS / own
    statistic = ((patients - 6.0) ** 2 / 6.0).sum()
    found = d_calibration(curves(hazard), outcome, TIMES)
    assert found.statistic == pytest.approx(statistic, rel=1e-9)
    assert found.freedom == CELLS - 1


def test_between_the_times_of_a_curve_the_hazard_is_constant():
    outcome = Outcome(np.array([1.0, 3.0, 60.0]), np.array([True, True, False]))
    hazard = np.array([0.1, 0.2, 0.01])
    found = at_own_time(curves(hazard), outcome, TIMES)
    np.testing.assert_allclose(found, np.exp(-hazard * outcome.duration))


def test_what_is_expected_in_all_is_one_cell_where_it_is_little():
    hazard, outcome = made(4)
    found = a_calibration(curves(hazard / 300.0), outcome, TIMES)
    assert found.freedom == 1
    assert found.p < 1e-6


def test_where_nothing_is_expected_there_is_no_p_value():
    _, outcome = made(5)
    found = a_calibration(np.ones((500, len(TIMES))), outcome, TIMES)
    assert found.freedom == 0
    assert np.isnan(found.p)
