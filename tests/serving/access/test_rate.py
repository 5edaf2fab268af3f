"""The rate of each client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.access.errors import TooManyRequests
from serving.access.principal import EVERY_SCOPE, CredentialKind, Principal
from serving.access.rate import BURST_SECONDS, MOST_CLIENTS, RateLimiter

WARD = Principal("ward", EVERY_SCOPE, CredentialKind.KEY)


class Clock:
    """Time that passes when told to."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def taken(rate, clock, *, seconds, step=0.01, principal=WARD):
    """Return how many requests pass when one comes at every step."""
    passed = 0
    for _ in range(round(seconds / step)):
        try:
            rate.take(principal)
        except TooManyRequests:
            pass
        else:
            passed += 1
        clock.now += step
    return passed


def test_a_burst_of_ten_seconds_worth_passes_and_then_the_rate():
    clock = Clock()
    rate = RateLimiter(600, clock=clock)
    assert taken(rate, clock, seconds=1.0) == 100
    assert taken(rate, clock, seconds=60.0) == pytest.approx(610, abs=3)


def test_each_worker_has_its_share():
    clock = Clock()
    rates = [RateLimiter(600, workers=4, clock=clock) for _ in range(4)]
    began = clock.now
    passed = sum(taken(rate, clock, seconds=0.0001, step=0.00001) for rate in rates for _ in range(10))
    assert passed == 100
    assert clock.now - began < 0.1


@given(per_minute=st.integers(1, 100_000), gaps=st.lists(st.floats(0.0, 20.0), max_size=60))
def test_who_waits_as_long_as_told_is_let_in(per_minute, gaps):
    clock = Clock()
    rate = RateLimiter(per_minute, clock=clock)
    for gap in gaps:
        clock.now += gap
        try:
            rate.take(WARD)
        except TooManyRequests as refused:
            clock.now += max(1, refused.retry_after)
            rate.take(WARD)


def test_clients_do_not_share_a_rate_though_they_share_a_name():
    rate = RateLimiter(6, clock=Clock())
    for how in (CredentialKind.KEY, CredentialKind.TOKEN):
        rate.take(Principal("ward", EVERY_SCOPE, how))
    with pytest.raises(TooManyRequests):
        rate.take(WARD)


def test_several_requests_at_once_count_as_many_and_a_refused_one_counts_nothing():
    clock = Clock()
    rate = RateLimiter(60, clock=clock)
    rate.take(WARD, 8)
    for _ in range(5):
        with pytest.raises(TooManyRequests):
            rate.take(WARD, 5)
    rate.take(WARD, 2)


def test_more_at_once_than_a_burst_pass_when_nothing_else_was_asked_for():
    clock = Clock()
    rate = RateLimiter(60, clock=clock)
    rate.take(WARD, 100)
    with pytest.raises(TooManyRequests) as refused:
        rate.take(WARD)
    assert refused.value.retry_after == 100 + 1 - BURST_SECONDS


def test_any_number_may_be_allowed():
    clock = Clock()
    assert taken(RateLimiter(0, clock=clock), clock, seconds=10.0) == 1000


def test_memory_is_bounded_and_who_asked_the_most_is_not_forgotten():
    clock = Clock()
    rate = RateLimiter(60, clock=clock)
    taken(rate, clock, seconds=0.5)
    for at in range(MOST_CLIENTS * 3):
        rate.take(Principal(f"client-{at}", EVERY_SCOPE, CredentialKind.TOKEN))
    assert len(rate._full_at) <= MOST_CLIENTS
    with pytest.raises(TooManyRequests):
        rate.take(WARD)
