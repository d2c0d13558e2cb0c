"""How fast things happen at the emulated providers: traffic at random moments, and limits on requests."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

YIELD_EVERY: Final = 50  # acts in one go before other tasks get a turn


class RequestBudget:
    """A token bucket of `per_second` requests, one second deep. `take` answers whether a request fits at time `now`."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._depth = max(1.0, per_second)
        self._tokens = self._depth
        self._at = 0.0

    def take(self, now: float) -> bool:
        self._tokens = min(self._depth, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


async def paced(rate_per_s: float, until: Awaitable[object], act: Callable[[], object], rng: random.Random) -> int:
    """Call `act` as a Poisson process of `rate_per_s` (more than 0) until `until` is done; returns how often.

    It falls behind no further than the event loop does.
    """
    end = asyncio.ensure_future(until)
    now = asyncio.get_running_loop().time
    due, acted = now(), 0
    try:
        while not end.done():
            due += rng.expovariate(rate_per_s)
            wait = due - now()
            if wait > 0:
                await asyncio.wait((end,), timeout=wait)
            elif acted % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            if not end.done():
                act()
                acted += 1
    finally:
        end.cancel()
        await asyncio.gather(end, return_exceptions=True)
    if not end.cancelled():
        end.result()  # what `until` raises is the caller's to know
    return acted


def discard(until: Awaitable[object]) -> None:
    """Dispose of an awaitable that will not be awaited, so that Python does not warn about it."""
    asyncio.ensure_future(until).cancel()
