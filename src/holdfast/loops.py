"""Runs background loops: one small `tick` each, which tests call directly."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from holdfast.db.pool import AWAY
from holdfast.signals.registry import REGISTRY, Counter

log = structlog.get_logger()

FAILED = REGISTRY.add(Counter("loop_errors", "Ticks of background loops that failed.", ("loop", "why")))
LONGEST_WAIT = 2.0
"""Seconds between tries while a loop fails."""


async def repeat(
    name: str,
    tick: Callable[[], Awaitable[int | None]],
    *,
    every: float,
    stop: asyncio.Event,
    wake: asyncio.Event | None = None,
    pause: float = 0.0,
) -> None:
    """Tick until `stop` is set: again at once while a tick says that it did something, else when woken, or `every` s.

    `pause` is slept before each tick that was woken, so that what comes in a moment is done together. A tick that
    fails is tried again, ever later up to `LONGEST_WAIT`; with the store away that is no error, only a wait.
    """
    wake = wake or asyncio.Event()
    failures = 0
    while not stop.is_set():
        wake.clear()
        try:
            busy = await tick()
            failures = 0
        except AWAY as error:
            failures += 1
            FAILED.inc(1, name, "away")
            if failures == 1:
                log.warning("loop.store_away", loop=name, error=type(error).__name__)
            await _first_of(min(LONGEST_WAIT, 0.1 * 2**failures), stop)
        except Exception:
            failures += 1
            FAILED.inc(1, name, "error")
            log.exception("loop.failed", loop=name)
            await _first_of(min(LONGEST_WAIT, 0.5 * 2**failures), stop)
        else:
            if not busy:
                await _first_of(every, stop, wake)
                if pause and wake.is_set():
                    await _first_of(pause, stop)


async def _first_of(timeout: float, *events: asyncio.Event) -> None:
    """Until one of the events is set, or for `timeout` seconds."""
    if any(event.is_set() for event in events):
        return
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
