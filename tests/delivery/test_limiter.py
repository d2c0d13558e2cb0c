"""The limiter finds how much a destination takes, gives way, and comes back. The destination is simulated."""

import heapq
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from holdfast.delivery.limiter import Limiter

Serve = Callable[[int, float], tuple[float, bool]]
"""In flight and time to latency and whether it went well."""


class Load:
    """Always as many requests in flight as the limiter allows (or `demand`)."""

    def __init__(self, limiter: Limiter, serve: Serve, demand: int = 10_000) -> None:
        self.limiter = limiter
        self.serve = serve
        self.demand = demand
        self.now = 0.0
        self.done: list[tuple[float, bool]] = []
        self._running: list[tuple[float, float, bool]] = []

    def run(self, seconds: float) -> "Load":
        until = self.now + seconds
        while self.now < until:
            while self.limiter.slots() and self.limiter.in_flight < self.demand:
                self.limiter.acquire()
                latency, ok = self.serve(self.limiter.in_flight, self.now)
                heapq.heappush(self._running, (self.now + latency, latency, ok))
            self.now, latency, ok = heapq.heappop(self._running)
            self.limiter.release(latency, ok, self.now)
            self.done.append((self.now, ok))
        return self

    def failed_share(self) -> float:
        return sum(not ok for _, ok in self.done) / len(self.done)


def steady(latency: float) -> Serve:
    return lambda _in_flight, _now: (latency, True)


def queueing(servers: int, service: float) -> Serve:
    """Serves so many at once; what is more waits."""
    return lambda in_flight, _now: (service * max(1.0, in_flight / servers), True)


def test_it_starts_with_eight():
    assert Limiter(64).slots() == 8
    assert Limiter(3).slots() == 3


def test_it_doubles_every_round_trip_while_all_goes_well():
    load = Load(Limiter(64), steady(0.1)).run(0.15)
    assert 15 <= load.limiter.limit <= 17
    load.run(0.3)
    assert load.limiter.limit == 64


def test_it_does_not_grow_while_it_is_not_used():
    assert Load(Limiter(64), steady(0.05), demand=4).run(10).limiter.limit == 8


def test_congestion_halves_it_once_a_round_trip():
    limiter = Limiter(64)
    for _ in range(8):
        limiter.acquire()
    for turn in range(8):
        limiter.release(15.0, False, 15.0 + turn / 100)
    assert limiter.limit == 4


def test_it_settles_around_what_a_destination_takes_with_little_waste():
    load = Load(Limiter(64), lambda in_flight, _now: (0.05, in_flight <= 20)).run(30)
    assert 10 <= load.limiter.limit <= 21
    assert load.failed_share() < 0.05


def test_it_keeps_the_queue_short_at_a_destination_that_only_gets_slower():
    load = Load(Limiter(64), queueing(10, 0.1)).run(30)
    assert 10 <= load.limiter.limit <= 28
    load.run(270)
    assert 10 <= load.limiter.limit <= 28, "the baseline followed our own queue"


def test_a_brownout_is_answered_and_afterwards_the_full_rate_is_back_within_seconds():
    def slowed(_in_flight: int, now: float) -> tuple[float, bool]:
        return (1.0 if 20 <= now < 50 else 0.01), True

    load = Load(Limiter(64), slowed).run(20)
    assert load.limiter.limit == 64
    load.run(29)
    assert load.limiter.limit < 10
    load.run(5)
    assert load.limiter.limit == 64


def test_after_an_outage_the_full_rate_is_back_within_seconds():
    load = Load(Limiter(64), lambda _in_flight, now: (0.05, not 10 <= now < 40)).run(39.9)
    assert load.limiter.limit == 1
    load.run(6)
    assert load.limiter.limit == 64


def test_a_lasting_change_of_pace_is_relearned_in_about_a_minute():
    load = Load(Limiter(64), lambda _in_flight, now: (0.01 if now < 60 else 0.3, True)).run(75)
    assert load.limiter.limit < 20
    load.run(75)
    assert load.limiter.limit == 64


def test_a_few_slow_answers_among_many_are_no_reason_to_slow_down():
    turn = iter(range(10**9))
    load = Load(Limiter(64), lambda _in_flight, _now: (1.0 if next(turn) % 50 == 0 else 0.02, True)).run(60)
    assert load.limiter.limit > 48


def test_a_slow_but_steady_destination_gets_its_full_rate():
    assert Load(Limiter(64), steady(5.0)).run(60).limiter.limit == 64


def test_quick_errors_do_not_make_good_answers_look_slow():
    limiter = Limiter(64)
    for turn in range(1000):
        limiter.acquire()
        if turn % 2:
            limiter.abandon()
        else:
            limiter.release(0.2, True, turn * 0.2)
    assert limiter.limit == 8
    assert limiter.in_flight == 0


def test_after_a_long_silence_the_old_baseline_is_forgotten():
    limiter = Limiter(64)
    load = Load(limiter, lambda _in_flight, now: (0.01 if now < 100 else 0.5, True), demand=8).run(10)
    load.now = 1000.0
    load._running.clear()
    limiter.in_flight = 0
    before = limiter.limit
    load.run(20)
    assert limiter.limit >= before


def test_the_ceiling_is_a_lever():
    limiter = Load(Limiter(64), steady(0.01)).run(5).limiter
    limiter.ceiling = 5
    assert limiter.slots() <= 5
    load = Load(limiter, steady(0.01))
    limiter.in_flight = 0
    assert load.run(2).limiter.limit == 5


calls = st.lists(
    st.tuples(st.sampled_from(("acquire", "ok", "failed", "abandon")), st.floats(0, 30), st.floats(0, 30)), max_size=300
)


@given(calls=calls, ceiling=st.integers(1, 100))
def test_whatever_happens_it_stays_within_its_bounds(calls, ceiling):
    limiter, now, running = Limiter(ceiling), 0.0, 0
    for call, wait, latency in calls:
        now += wait
        if call == "acquire":
            if limiter.slots():
                limiter.acquire()
                running += 1
        elif running:
            running -= 1
            if call == "abandon":
                limiter.abandon()
            else:
                limiter.release(latency, call == "ok", now)
        assert limiter.in_flight == running <= ceiling
        assert 1 <= limiter.limit <= ceiling
        assert limiter.slots() >= 0
        assert limiter.slots() > 0 or running > 0
