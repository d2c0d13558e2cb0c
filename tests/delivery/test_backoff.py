"""When the next try is, and how many retries a destination may cause."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.delivery.backoff import Backoff, RetryBudget, parse_retry_after

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
seconds = st.floats(0, 1e6)


@given(attempt=st.integers(1, 5_000), seed=st.integers())
def test_a_wait_lies_between_nothing_and_its_ceiling(attempt, seed):
    backoff = Backoff()
    assert 0 <= backoff.delay(attempt, Random(seed)) <= backoff.ceiling(attempt) <= backoff.cap


def test_ceilings_grow_by_the_factor_up_to_the_cap():
    backoff = Backoff(base=5, factor=4, cap=1000)
    assert [backoff.ceiling(attempt) for attempt in range(1, 7)] == [5, 20, 80, 320, 1000, 1000]


def test_waits_are_spread_over_the_whole_range():
    rng = Random(1)
    waits = [Backoff().delay(3, rng) for _ in range(2_000)]
    assert min(waits) < 2
    assert max(waits) > 78
    assert 37 < sum(waits) / len(waits) < 43


@given(attempt=st.integers(1, 15), retry_after=st.none() | seconds, seed=st.integers())
def test_the_destinations_wish_is_the_least_wait_up_to_the_cap(attempt, retry_after, seed):
    backoff = Backoff()
    wait = backoff.next_try(attempt, retry_after, Random(seed))
    assert wait is not None
    assert min(retry_after or 0, backoff.cap) <= wait <= backoff.cap


def test_tries_are_used_up():
    backoff = Backoff(tries=3)
    assert backoff.next_try(2, None, Random(1)) is not None
    assert backoff.next_try(3, 10, Random(1)) is None


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", 120),
        (" 0 ", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        ("Wed, 04 Mar 2026 05:06:00 GMT", 0),
        ("Wednesday, 04-Mar-26 05:07:07 GMT", 60),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("Wed, 99 Mar 2026 05:06:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, wait):
    assert parse_retry_after(value, NOW) == wait


@given(st.text())
def test_no_retry_after_is_an_error(value):
    wait = parse_retry_after(value, NOW)
    assert wait is None or wait >= 0


@given(
    steps=st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=200),
    ratio=st.floats(0, 1),
    floor=st.floats(0.01, 10),
)
def test_retries_never_exceed_the_share_and_the_floor(steps, ratio, floor):
    budget = RetryBudget(ratio, floor, burst=10)
    now, firsts, retries = 0.0, 0, 0
    for wait, first in steps:
        now += wait
        if first:
            budget.deposit()
            firsts += 1
        elif budget.take(now) == 0:
            retries += 1
    assert retries <= 10 + firsts * ratio + now * floor + 1e-6


@given(start=seconds, floor=st.floats(0.01, 50))
def test_who_waits_as_long_as_told_is_let_through(start, floor):
    budget = RetryBudget(0.1, floor, burst=3)
    now = start
    for _ in range(10):
        wait = budget.take(now)
        if wait:
            now += wait
            assert budget.take(now) == pytest.approx(0, abs=1e-6)


def test_first_tries_earn_retries():
    budget = RetryBudget(ratio=0.5, floor_per_s=0, burst=1)
    assert budget.take(0) == 0
    assert budget.take(1e9) == float("inf")
    budget.deposit()
    budget.deposit()
    assert budget.take(1e9) == 0


def test_a_quiet_destination_is_still_retried():
    budget = RetryBudget(ratio=0.1, floor_per_s=2, burst=1)
    assert budget.take(0) == 0
    assert budget.take(0) == pytest.approx(0.5)
    assert budget.take(0.5) == 0


def test_time_that_goes_back_earns_nothing():
    budget = RetryBudget(burst=1)
    assert budget.take(100) == 0
    assert budget.take(50) > 0
    assert budget.take(100) > 0
