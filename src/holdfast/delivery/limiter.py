"""How many requests a destination gets at the same time: as many as it takes well.

Source: TCP's slow start and AIMD (RFC 5681) with congestion window validation (RFC 7661); latency gradient and windowed
minimum from Netflix concurrency-limits and BBR (Cardwell et al., ACM Queue 2016).
"""

_INFINITE = float("inf")
START = 8
"""Requests at once to a destination of which nothing is known."""
_SLOW_FACTOR, _SLOW_MARGIN = 2.0, 0.020
"""Slow: more than twice the baseline plus 20 ms."""
_CLIP = 4.0
"""One sample counts as at most this many times the present latency, so that an outlier alone proves nothing."""
_WEIGHT = 0.2
"""Of a new sample in the short-term latency: about the last ten requests."""
_BASELINE_WINDOW = 20.0
"""Seconds; the baseline is the least over three of them, so a lasting change is relearned within a minute."""
_DRIFTED = 1.2
_HEALING = 2.0, 12.0
"""Without a cut for so many seconds and so many round trips, the way up is searched by doubling again."""


class Limiter:
    """Adaptive concurrency of one destination; O(1) a call; times are monotonic seconds, latencies seconds.

    Grows by one per success (doubling every round trip) up to a threshold, then by one per round trip, but only while
    the limit is in use. Congestion halves it, lasting slowness takes a tenth off, each at most once a round trip: only
    a request that began after the last cut can cause the next one.
    """

    __slots__ = (
        "_baseline",
        "_cut_at",
        "_full",
        "_full_before",
        "_last",
        "_older",
        "_round_ends",
        "_short",
        "_threshold",
        "_window_ends",
        "_window_least",
        "ceiling",
        "in_flight",
        "limit",
    )

    def __init__(self, ceiling: int = 64) -> None:
        self.ceiling = max(1, ceiling)
        """The most requests at once; may be changed at any time (a lever)."""
        self.limit = float(min(START, self.ceiling))
        """Now allowed at once; its whole part counts."""
        self.in_flight = 0
        self._threshold = _INFINITE
        self._cut_at = -_INFINITE
        self._full = self._full_before = False
        self._round_ends = -_INFINITE
        self._short = 0.0
        self._baseline = self._window_least = self._last = self._older = _INFINITE
        self._window_ends = _INFINITE

    def slots(self) -> int:
        """How many more requests may begin now."""
        free = int(self.limit if self.limit < self.ceiling else self.ceiling) - self.in_flight
        return free if free > 0 else 0

    def acquire(self) -> None:
        """A request begins. Whoever begins more than `slots()` is counted all the same."""
        self.in_flight += 1
        if self.in_flight >= int(self.limit):
            self._full = True

    def abandon(self) -> None:
        """A request ended in a way that says nothing about capacity, such as a quick 404 or 500."""
        self.in_flight -= 1

    def release(self, latency: float, ok: bool, now: float) -> None:
        """A request ended at `now` after `latency` seconds: well, or not `ok` (`Attempt.congested`)."""
        self.in_flight -= 1
        began = now - latency
        if not ok:
            if began >= self._cut_at:
                self._cut(0.5, now)
            return
        self._observe(latency, now)
        if now >= self._round_ends:
            self._full_before, self._full = self._full, False
            self._round_ends = now + self._short
        if began < self._cut_at:
            return  # it saw the load of before the last cut
        if self._short > _SLOW_FACTOR * self._baseline + _SLOW_MARGIN:
            self._cut(0.9, now)
        elif self._full or self._full_before:
            self._grow(now)

    def _grow(self, now: float) -> None:
        limit = self.limit
        if limit >= self.ceiling:
            self.limit = float(self.ceiling)
            return
        if limit >= self._threshold and now - self._cut_at > max(_HEALING[0], _HEALING[1] * self._short):
            self._threshold = _INFINITE
        limit += 1.0 if limit < self._threshold else 1.0 / limit
        self.limit = min(limit, float(self.ceiling))

    def _cut(self, factor: float, now: float) -> None:
        self.limit = max(1.0, min(self.limit, self.ceiling) * factor)
        self._threshold = self.limit
        self._cut_at = now

    def _observe(self, latency: float, now: float) -> None:
        """Follow the short-term latency, and its least value over the last windows: the baseline."""
        if now >= self._window_ends + 2 * _BASELINE_WINDOW:
            self._forget_latency()  # nothing for long: what was known is no longer true
        if self._short == 0.0:
            self._short = latency
            self._window_ends = now + _BASELINE_WINDOW
        else:
            most = _CLIP * self._short + _SLOW_MARGIN
            self._short += _WEIGHT * ((latency if latency < most else most) - self._short)
        if now >= self._window_ends:
            self._turn_window(now)
        if self._short < self._window_least:
            self._window_least = self._short
            self._baseline = min(self._baseline, self._short)

    def _turn_window(self, now: float) -> None:
        if self._window_least > _DRIFTED * self._baseline:
            # The baseline was not seen for a window. The destination's new pace, or our own queue in it? A moment of
            # little load tells, or the baseline would follow the queue (BBR's ProbeRTT).
            before = self.limit
            self._cut(0.25, now)
            self._threshold = before
        self._last, self._older = self._window_least, self._last
        self._window_least = self._short
        self._window_ends = now + _BASELINE_WINDOW
        self._baseline = min(self._last, self._older, self._window_least)

    def _forget_latency(self) -> None:
        self._short = 0.0
        self._baseline = self._window_least = self._last = self._older = _INFINITE
