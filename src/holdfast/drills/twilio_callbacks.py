"""Callbacks of the emulated Twilio: requests that nobody waits for, in order, and as unreliable as the faults say."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from holdfast.drills.tasks import Tasks
from holdfast.drills.twilio_faults import Effect, Facts, TwilioFaults
from holdfast.drills.twilio_webhooks import Answer, Ask, WebhookPoster

_MOST_WAITING: Final = 20_000
_ALWAYS_KEPT: Final = ("AccountSid", "CallSid", "MessageSid")


@dataclass(frozen=True, slots=True)
class Callback:
    """One to send. Those with the same `resource_sid` go out in order, unless they have a `delay`.

    `complaint` is the code of the Debugger alert if it fails, `None` for none. `delay` is in real seconds.
    """

    ask: Ask
    facts: Facts
    resource_sid: str
    complaint: int | None = 11200
    delay: float = 0.0


class Callbacks:
    """Sends callbacks in the background. `failed` is told of those that our server did not take."""

    def __init__(
        self, poster: WebhookPoster, faults: Callable[[], TwilioFaults], rng: random.Random, concurrency: int
    ) -> None:
        self.failed: Callable[[Callback, Answer], None] | None = None
        self.dropped = 0
        """How many were never sent because too many were waiting."""
        self._poster = poster
        self._faults = faults
        self._rng = rng
        self._slots = asyncio.Semaphore(concurrency)
        self._tasks = Tasks()
        self._last: dict[str, asyncio.Task[None]] = {}

    def send(self, callback: Callback) -> None:
        """Send it as soon as those before it are through, as the faults in force now want it."""
        faults, struck = self._faults(), self._strike
        if faults.down(self._rng) or struck(callback, "callback_lost"):
            return
        if struck(callback, "callback_malformed"):
            callback = replace(callback, ask=self._mangled(callback.ask))
        late = faults.struck(self._rng, callback.facts, "callback_late")
        astray = faults.struck(self._rng, callback.facts, "callback_reordered")
        delay = callback.delay + (late.seconds if late else 0) + (self._rng.random() * astray.seconds if astray else 0)
        in_order = astray is None and not callback.delay
        for _ in range(2 if struck(callback, "callback_duplicated") else 1):
            self._begin(callback, delay, in_order=in_order)

    async def settled(self) -> None:
        """Wait until all are through."""
        await self._tasks.settled()

    async def close(self) -> None:
        await self._tasks.close()

    def _strike(self, callback: Callback, effect: Effect) -> bool:
        return self._faults().struck(self._rng, callback.facts, effect) is not None

    def _mangled(self, ask: Ask) -> Ask:
        kept = {
            name: value for name, value in ask.params.items() if name in _ALWAYS_KEPT[:1] or self._rng.random() < 0.5
        }
        for name in _ALWAYS_KEPT[1:]:
            kept.pop(name, None)
        return replace(ask, params=kept)

    def _begin(self, callback: Callback, delay: float, *, in_order: bool) -> None:
        if len(self._tasks) >= _MOST_WAITING:
            self.dropped += 1
            return
        key = callback.resource_sid
        before = self._last.get(key) if in_order else None
        task = self._tasks.begin(self._deliver(callback, delay, before))
        if in_order:
            self._last[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))

    def _forget(self, key: str, done: asyncio.Task[None]) -> None:
        if self._last.get(key) is done:
            del self._last[key]

    async def _deliver(self, callback: Callback, delay: float, before: asyncio.Task[None] | None) -> None:
        if delay:
            await asyncio.sleep(delay)
        if before is not None:
            await asyncio.wait((before,))
        async with self._slots:
            answer = await self._poster.ask(callback.ask)
        if answer.error is not None and self.failed is not None:
            self.failed(callback, answer)
