"""The breaker opens when a destination is down, probes it gently, and trusts no stale news."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.delivery.breaker import Breaker, BreakerState


def breaker(**options) -> Breaker:
    return Breaker(Random(1), **options)


def send(tested: Breaker, ok: bool, now: float) -> None:
    permit = tested.begin(now)
    assert permit is not None
    tested.record(permit, ok, now)


def state(tested: Breaker) -> BreakerState:
    return tested.state


def opened(now: float = 0.0) -> Breaker:
    tested = breaker()
    for _ in range(5):
        send(tested, False, now)
    assert state(tested) is BreakerState.OPEN
    return tested


def test_five_failures_in_a_row_open_it():
    tested = breaker()
    for _ in range(4):
        send(tested, False, 0)
    assert tested.allows(0)
    send(tested, False, 0)
    assert not tested.allows(0)
    assert tested.begin(0) is None


def test_a_success_interrupts_the_row():
    tested = breaker()
    for ok in (False, False, False, False, True, False, False, False, False):
        send(tested, ok, 0)
    assert state(tested) is BreakerState.CLOSED


def test_half_of_twenty_results_failing_within_ten_seconds_opens_it():
    tested = breaker()
    for turn in range(19):
        send(tested, turn % 2 == 0, turn * 0.4)
    assert state(tested) is BreakerState.CLOSED
    send(tested, False, 19 * 0.4)
    assert state(tested) is BreakerState.OPEN


def test_results_of_long_ago_do_not_count():
    tested = breaker()
    for turn in range(200):
        send(tested, turn % 2 == 0, turn * 1.0)  # half of them fail, but only ten within the window
    assert state(tested) is BreakerState.CLOSED


def test_after_about_a_second_one_probe_at_a_time_goes_out():
    tested = opened()
    assert 0.75 <= tested.retry_at <= 1.0
    assert not tested.allows(0.7)
    assert tested.allows(1.0)
    assert tested.begin(1.0) is not None
    assert state(tested) is BreakerState.HALF_OPEN
    assert not tested.allows(1.1)
    assert tested.begin(1.1) is None


def test_two_good_probes_close_it():
    tested = opened()
    send(tested, True, 1.0)
    assert state(tested) is BreakerState.HALF_OPEN
    send(tested, True, 1.1)
    assert state(tested) is BreakerState.CLOSED


def test_each_bad_probe_doubles_the_time_up_to_eight_seconds():
    tested, now, waits = opened(), 0.0, []
    for _ in range(6):
        waits.append(tested.retry_at - now)
        now = tested.retry_at
        send(tested, False, now)
    for wait, longest in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert 0.75 * longest <= wait <= longest + 1e-9


def test_failing_again_soon_after_closing_counts_as_the_same_trouble():
    tested = opened()
    send(tested, True, 1.0)
    send(tested, True, 1.0)
    for _ in range(5):
        send(tested, False, 2.0)
    assert tested.retry_at - 2.0 > 1.0


def test_failing_again_after_a_good_time_starts_with_the_shortest_wait():
    tested = opened()
    send(tested, True, 1.0)
    send(tested, True, 1.0)
    for _ in range(5):
        send(tested, False, 20.0)
    assert tested.retry_at - 20.0 <= 1.0


def test_what_began_before_it_opened_neither_closes_nor_reopens_it():
    tested = breaker()
    early = [tested.begin(0) for _ in range(10)]
    for permit in early[:5]:
        assert permit is not None
        tested.record(permit, False, 0.1)
    assert state(tested) is BreakerState.OPEN
    retry_at = tested.retry_at
    for permit in early[5:]:
        assert permit is not None
        tested.record(permit, False, 0.5)
    assert tested.retry_at == retry_at
    probe = tested.begin(1.2)
    assert probe is not None
    for late in (early[5], early[6]):
        assert late is not None
        tested.record(late, True, 1.3)
        tested.record(late, False, 1.3)
    assert state(tested) is BreakerState.HALF_OPEN
    assert not tested.allows(1.4)


def test_an_abandoned_probe_makes_room_for_the_next():
    tested = opened()
    probe = tested.begin(1.0)
    assert probe is not None
    tested.abandon(probe)
    assert tested.allows(1.0)


def test_a_probe_that_is_never_heard_of_again_does_not_block_for_ever():
    tested = opened()
    lost = tested.begin(1.0)
    assert lost is not None
    assert not tested.allows(90.9)
    assert tested.begin(91.0) is not None
    tested.record(lost, False, 91.5)
    assert state(tested) is BreakerState.HALF_OPEN


steps = st.lists(st.tuples(st.floats(0, 3), st.sampled_from(("begin", "ok", "failed", "abandon"))), max_size=150)


@given(steps=steps, seed=st.integers())
def test_whatever_happens_it_stays_sound(steps, seed):
    tested, now, out = Breaker(Random(seed)), 0.0, []
    probes: set[int] = set()
    for wait, step in steps:
        now += wait
        allowed = tested.allows(now)
        if step == "begin":
            permit = tested.begin(now)
            assert (permit is not None) == allowed
            if permit is not None:
                out.append(permit)
        elif out:
            permit = out.pop(0)
            if step == "abandon":
                tested.abandon(permit)
            else:
                tested.record(permit, step == "ok", now)
        if tested.state is BreakerState.OPEN:
            assert tested.retry_at <= now + 8.0
            probes.clear()
    assert tested.allows(now + 100.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_recovered_destination_is_closed_within_ten_seconds(seed):
    tested, now = Breaker(Random(seed)), 0.0
    while now < 60:
        permit = tested.begin(now)
        if permit is not None:
            tested.record(permit, False, now)
        now += 0.05
    while tested.state is not BreakerState.CLOSED:
        permit = tested.begin(now)
        if permit is not None:
            tested.record(permit, True, now)
        now += 0.05
    assert now < 70
