"""What one destination may get now: its limiter, its breaker, its retry budget, and a pause it asked for."""

from random import Random

from holdfast.delivery.backoff import RetryBudget
from holdfast.delivery.breaker import Breaker, BreakerState
from holdfast.delivery.limiter import Limiter
from holdfast.delivery.model import Attempt, Outcome

LONGEST_PAUSE = 60.0
"""Seconds that a destination's Retry-After holds all deliveries to it; one delivery may have to wait longer."""
LONGEST_QUEUE = 30.0
IDLE = 600.0


class Gate:
    """One destination in one process. Times are monotonic seconds."""

    __slots__ = ("_retry_turn", "breaker", "budget", "limiter", "paused_until", "used_at")

    def __init__(self, rng: Random, ceiling: int, timeout: float, now: float) -> None:
        self.limiter = Limiter(ceiling)
        self.breaker = Breaker(rng, probe_patience=timeout + 30.0)
        self.budget = RetryBudget()
        self.paused_until = 0.0
        self.used_at = now
        self._retry_turn = 0.0

    def slots(self, now: float) -> int:
        """How many deliveries may begin now: one while the breaker probes, none while it is open or paused."""
        if now < self.paused_until or not self.breaker.allows(now):
            return 0
        if self.breaker.state is not BreakerState.CLOSED:
            return 1
        return self.limiter.slots()

    def begin(self, now: float, *, retry: bool) -> int | float:
        """A permit (int) for one attempt, which must be ended; or the seconds to wait (float) for one."""
        self.used_at = now
        if now < self.paused_until:
            return float(self.paused_until - now)
        if retry and self.breaker.state is BreakerState.CLOSED:
            wait = self.budget.take(now)
            if wait > 0:
                return self._queue_up(now, wait)
        permit = self.breaker.begin(now)
        if permit is None:
            return min(1.0, max(0.05, self.breaker.retry_at - now))
        if not retry:
            self.budget.deposit()
        self.limiter.acquire()
        return permit

    def _queue_up(self, now: float, wait: float) -> float:
        """Retries above the budget get a turn each, or they would all come back at once, to be refused again."""
        turn = max(now + wait, self._retry_turn)
        self._retry_turn = turn + 1.0 / max(self.budget.floor_per_s, 0.1)
        return float(min(turn - now, LONGEST_QUEUE))

    def end(self, permit: int, attempt: Attempt, now: float) -> None:
        """What came of the attempt."""
        self.used_at = now
        if attempt.outcome is Outcome.REFUSED:
            self.cancel(permit)
            return
        if attempt.congested or attempt.outcome is Outcome.DELIVERED:
            self.limiter.release(attempt.latency, not attempt.congested, now)
        else:
            self.limiter.abandon()
        self.breaker.record(permit, not attempt.down, now)
        if attempt.congested and attempt.retry_after:
            self.paused_until = max(self.paused_until, now + min(attempt.retry_after, LONGEST_PAUSE))

    def cancel(self, permit: int) -> None:
        """The attempt came to no result that says anything about the destination."""
        self.limiter.abandon()
        self.breaker.abandon(permit)

    def is_idle(self, now: float) -> bool:
        """Whether it can be forgotten: nothing is known that a new one would not know."""
        return (
            self.limiter.in_flight == 0
            and self.breaker.state is BreakerState.CLOSED
            and now > max(self.paused_until, self.used_at + IDLE)
        )
