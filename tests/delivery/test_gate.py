"""What one destination may get now."""

from random import Random

from holdfast.delivery.breaker import BreakerState
from holdfast.delivery.gate import IDLE, LONGEST_PAUSE, LONGEST_QUEUE, Gate
from holdfast.delivery.model import Attempt, Outcome

OK = Attempt(Outcome.DELIVERED, 200, 0.01)
DOWN = Attempt(Outcome.RETRY, None, 0.01, "connect refused", down=True, congested=True)
REFUSED = Attempt(Outcome.REFUSED, None, 0.0, "not public")
ERROR = Attempt(Outcome.RETRY, 404, 0.01, "answered 404")


def gate(ceiling: int = 4) -> Gate:
    return Gate(Random(1), ceiling, timeout=15.0, now=0.0)


def begun(one: Gate, now: float, *, retry: bool = False) -> int:
    permit = one.begin(now, retry=retry)
    assert isinstance(permit, int)
    return permit


def opened(now: float = 0.0) -> Gate:
    one = gate(ceiling=64)
    for _ in range(5):
        one.end(begun(one, now), DOWN, now)
    assert one.breaker.state is BreakerState.OPEN
    return one


def test_its_slots_are_what_the_limiter_leaves():
    one = gate(ceiling=4)
    assert one.slots(0) == 4
    begun(one, 0)
    assert one.slots(0) == 3


def test_while_the_breaker_is_open_there_are_none_and_then_one_for_the_probe():
    one = opened()
    assert one.slots(0) == 0
    wait = one.begin(0.0, retry=False)
    assert isinstance(wait, float)
    assert 0 < wait <= 1
    assert one.slots(2) == 1
    probe = begun(one, 2)
    assert one.slots(2) == 0
    assert isinstance(one.begin(2, retry=False), float)
    one.end(probe, OK, 2.1)
    one.end(begun(one, 2.2), OK, 2.3)
    assert one.breaker.state is BreakerState.CLOSED
    assert one.slots(2.4) > 1


def test_a_destination_that_asks_for_time_gets_it_but_not_for_ever():
    one = gate()
    asked = Attempt(Outcome.RETRY, 429, 0.01, "answered 429", retry_after=10.0, congested=True, down=True)
    one.end(begun(one, 0), asked, 0)
    assert one.slots(9) == 0
    assert one.begin(4, retry=True) == 6.0
    assert one.slots(10) > 0
    for_ever = Attempt(Outcome.RETRY, 503, 0.01, "answered 503", retry_after=1e6, congested=True, down=True)
    one.end(begun(one, 10), for_ever, 10)
    assert one.slots(10 + LONGEST_PAUSE) > 0


def test_retries_above_the_budget_queue_up_one_behind_the_other():
    one = gate(ceiling=64)
    while isinstance(permit := one.begin(0, retry=True), int):
        one.end(permit, ERROR, 0)
    waits = [permit, *(one.begin(0, retry=True) for _ in range(100))]
    assert waits == sorted(waits)
    assert waits[5] - waits[4] == 0.5
    assert waits[-1] == LONGEST_QUEUE
    assert isinstance(one.begin(0, retry=False), int), "first tries have no budget"


def test_a_refusal_of_ours_says_nothing_about_the_destination():
    one = gate()
    for _ in range(50):
        one.end(begun(one, 0), REFUSED, 0)
    assert one.breaker.state is BreakerState.CLOSED
    assert one.slots(0) == 4


def test_it_can_be_forgotten_when_nothing_is_known_that_a_new_one_would_not_know():
    one = gate()
    permit = begun(one, 0)
    assert not one.is_idle(IDLE + 1)
    one.end(permit, OK, 1)
    assert not one.is_idle(IDLE)
    assert one.is_idle(IDLE + 2)
    assert not opened().is_idle(10 * IDLE)
