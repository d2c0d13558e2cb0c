"""When to try again, and how many retries a destination may cause.

Source: AWS Architecture Blog, Exponential Backoff And Jitter; Amazon Builders' Library, Timeouts, retries, and backoff
with jitter; Google SRE Book ch. 21 and Finagle's RetryBudget for the budget.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random

_EXACT = 1e-9
"""Tokens that rounding may lose: who waits as long as told is let through."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: the wait after try n is uniform between 0 and `base * factor ** (n - 1)`, at most `cap` (seconds).

    With the defaults the ceiling passes a minute after the third try and reaches 8 hours at the eighth; 16 tries span
    about a day and a half on average.
    """

    base: float = 5.0
    factor: float = 4.0
    cap: float = 8 * 3600.0
    tries: int = 16

    def delay(self, attempt: int, rng: Random) -> float:
        """Seconds to wait after try `attempt` (from 1)."""
        return rng.uniform(0.0, self.ceiling(attempt))

    def ceiling(self, attempt: int) -> float:
        """The longest wait after try `attempt`."""
        try:
            return min(self.cap, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            return self.cap

    def next_try(self, attempt: int, retry_after: float | None, rng: Random, stretch: float = 1.0) -> float | None:
        """Seconds until the next try, or None when the tries are used up.

        `stretch` makes waits that many times as long, up to `cap`. The destination's `retry_after` counts if it is
        longer, up to `cap` too: it may not park a delivery for ever.
        """
        if attempt >= self.tries:
            return None
        delay = min(self.cap, stretch * self.delay(attempt, rng))
        return max(delay, min(retry_after or 0.0, self.cap))


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds asked for by a `Retry-After` header (seconds or an HTTP date); None if it is missing or unreadable.

    Source: RFC 9110 section 10.2.3.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())


class RetryBudget:
    """Bounds the retries to one destination to a share of its first tries, so that retries cannot keep it down.

    Every first try puts in `ratio` of a token, every retry takes one; `floor_per_s` tokens a second come in always, so
    that a quiet destination is still retried. At most `burst` tokens are kept. Times are monotonic seconds.
    """

    __slots__ = ("_at", "_tokens", "burst", "floor_per_s", "ratio")

    def __init__(self, ratio: float = 0.1, floor_per_s: float = 2.0, burst: float = 20.0) -> None:
        self.ratio = ratio
        self.floor_per_s = floor_per_s
        self.burst = max(burst, 1.0)
        self._tokens = self.burst
        self._at = -math.inf

    def deposit(self) -> None:
        """A first try was made."""
        self._tokens = min(self.burst, self._tokens + self.ratio)

    def take(self, now: float) -> float:
        """0 if a retry may be made now (it is then paid for), else the seconds until one could be."""
        if now > self._at:
            earned = (now - self._at) * self.floor_per_s if self.floor_per_s else 0.0
            self._tokens = min(self.burst, self._tokens + earned)
            self._at = now
        if self._tokens + _EXACT >= 1.0:
            self._tokens = max(0.0, self._tokens - 1.0)
            return 0.0
        return (1.0 - self._tokens) / self.floor_per_s if self.floor_per_s else math.inf
