"""Stops sending to a destination that is down, and finds out gently when it is back.

Source: Nygard, Release It!, "Circuit Breaker"; the sliding window of failures as in resilience4j.
"""

from enum import StrEnum
from random import Random

_BUCKETS = 10


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """One destination's breaker: a pure state machine; times are monotonic seconds.

    Closed → open after `consecutive` failures in a row, or when at least `ratio` of `volume` or more results within
    `window` seconds failed. Open for about `first_open` seconds, doubling with every re-opening up to `longest_open`.
    Then half open: one probe at a time; `successes` of them close it, a failure opens it again for longer.

    A request asks `begin` for a permit and reports it back with `record`, or `abandon` if it came to no result. A
    permit tells in which state it was given: what began before the last change of state cannot open or close anything.
    What counts as a failure is the sender's word (`Attempt.down`).
    """

    def __init__(
        self,
        rng: Random,
        *,
        consecutive: int = 5,
        ratio: float = 0.5,
        volume: int = 20,
        window: float = 10.0,
        first_open: float = 1.0,
        longest_open: float = 8.0,
        successes: int = 2,
        probe_patience: float = 90.0,
    ) -> None:
        """`probe_patience`: a probe without a result for this long is given up; longer than any time-out."""
        self._rng = rng
        self._consecutive = consecutive
        self._ratio = ratio
        self._volume = volume
        self._window = window
        self._first_open = first_open
        self._longest_open = longest_open
        self._successes = successes
        self._probe_patience = probe_patience

        self._state = BreakerState.CLOSED
        self._epoch = 0
        self._failures_in_row = 0
        self._results = _Window(window)
        self._openings = 0
        self._closed_at = -window
        self._retry_at = 0.0
        self._probe_since: float | None = None
        self._probes_passed = 0

    @property
    def state(self) -> BreakerState:
        """As of the last call; an open breaker whose time is over becomes half open with the next `begin`."""
        return self._state

    @property
    def retry_at(self) -> float:
        """While open: when the first probe may go. While a probe is out: when it is given up. Else 0."""
        if self._state is BreakerState.OPEN:
            return self._retry_at
        if self._probe_since is not None:
            return self._probe_since + self._probe_patience
        return 0.0

    def allows(self, now: float) -> bool:
        """Whether a request may begin now. Changes nothing."""
        return self._state is BreakerState.CLOSED or now >= self.retry_at

    def begin(self, now: float) -> int | None:
        """A permit for one request, or None if it may not be sent. Unless closed, the request is the probe."""
        if self._state is BreakerState.CLOSED:
            return self._epoch
        if now < self.retry_at:
            return None
        if self._state is BreakerState.OPEN:
            self._probes_passed = 0
            self._enter(BreakerState.HALF_OPEN)
        elif self._probe_since is not None:
            self._epoch += 1  # the probe that was given up must not speak for the new one
        self._probe_since = now
        return self._epoch

    def record(self, permit: int, ok: bool, now: float) -> None:
        """The result of a request: `ok` unless the destination was down."""
        if permit != self._epoch:
            return
        if self._state is BreakerState.CLOSED:
            self._record_closed(ok, now)
        elif self._state is BreakerState.HALF_OPEN:
            self._record_probe(ok, now)

    def abandon(self, permit: int) -> None:
        """The request came to no result that says anything about the destination."""
        if permit == self._epoch:
            self._probe_since = None

    def _record_closed(self, ok: bool, now: float) -> None:
        self._results.add(ok, now)
        self._failures_in_row = 0 if ok else self._failures_in_row + 1
        if ok:
            return
        failed, total = self._results.failed, self._results.total
        if self._failures_in_row >= self._consecutive or (total >= self._volume and failed >= self._ratio * total):
            if now - self._closed_at >= self._window:
                self._openings = 0  # it has been well for long enough: start with the shortest time again
            self._open(now)

    def _record_probe(self, ok: bool, now: float) -> None:
        self._probe_since = None
        if not ok:
            self._open(now)
            return
        self._probes_passed += 1
        if self._probes_passed >= self._successes:
            self._closed_at = now
            self._failures_in_row = 0
            self._results.clear()
            self._enter(BreakerState.CLOSED)

    def _open(self, now: float) -> None:
        longest = min(self._longest_open, self._first_open * 2.0 ** min(self._openings, 30))
        self._openings += 1
        self._retry_at = now + longest * self._rng.uniform(0.75, 1.0)  # jitter: processes must not probe in step
        self._enter(BreakerState.OPEN)

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._epoch += 1
        self._probe_since = None


class _Window:
    """Failures and results of the last `span` seconds, in buckets: constant memory and time."""

    def __init__(self, span: float) -> None:
        self._width = span / _BUCKETS
        self.clear()

    def clear(self) -> None:
        self._failed = [0] * _BUCKETS
        self._total = [0] * _BUCKETS
        self._head: int | None = None
        self.failed = 0
        self.total = 0

    def add(self, ok: bool, now: float) -> None:
        self._turn(int(now // self._width))
        bucket = (self._head or 0) % _BUCKETS
        self._total[bucket] += 1
        self.total += 1
        if not ok:
            self._failed[bucket] += 1
            self.failed += 1

    def _turn(self, head: int) -> None:
        if self._head is None:
            self._head = head
        for passed in range(self._head + 1, min(head, self._head + _BUCKETS) + 1):
            bucket = passed % _BUCKETS
            self.failed -= self._failed[bucket]
            self.total -= self._total[bucket]
            self._failed[bucket] = self._total[bucket] = 0
        self._head = max(self._head, head)
