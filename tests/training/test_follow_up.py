"""Follow-up: who died was followed, and who is censored at the last month was followed to it."""

import numpy as np
import pytest

from features.censoring import Outcome
from training.follow_up import FOLLOWED, followed_together, followed_until
from training.status import Status


def censored_at(*months):
    return Outcome(np.array(months, dtype=np.float64), np.zeros(len(months), dtype=bool))


def test_it_ends_where_a_tenth_are_left():
    assert FOLLOWED == 0.10
    assert followed_until(censored_at(*range(1, 21))) == 19.0  # after it one of twenty is left
    assert followed_until(censored_at(10, 10, 10)) == 10.0


def test_deaths_do_not_end_it():
    died = Outcome(np.arange(1.0, 21.0), np.ones(20, dtype=bool))
    assert followed_until(died) == np.inf
    last = Outcome(np.append(died.duration, 30.0), np.append(died.event, False))
    assert followed_until(last) == 30.0


def test_everyone_is_followed_no_longer_than_nine_in_ten_patients_are_by_disease():
    long, short = np.full(80, 60.0), np.full(20, 10.0)
    outcome = Outcome(np.concatenate([long, short]), np.zeros(100, dtype=bool))
    strata = np.repeat([0, 1], [80, 20])
    assert followed_until(outcome) == 60.0
    assert followed_together(outcome, strata) == 10.0
    assert followed_together(outcome.take(np.arange(88)), strata[:88]) == 60.0


def test_status_at_the_very_month_of_censoring_is_known():
    outcome = Outcome(np.array([5.0, 24.0, 24.0, 12.0, 40.0]), np.array([True, True, False, False, False]))
    status = Status.by(outcome, horizon=24.0)
    assert status.event.tolist() == [True, True, False, False, False]
    # of four at risk at month 12 one is censored, so each of the others counts for four thirds
    np.testing.assert_allclose(status.weight, [1.0, 4 / 3, 4 / 3, 0.0, 4 / 3])
    assert status.weight.sum() == pytest.approx(len(outcome))
    assert status.shortage == "2 patients with the outcome, fewer than 10"
