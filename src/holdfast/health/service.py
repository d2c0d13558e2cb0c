"""Probes everything in the background, each at its own pace, and keeps the board."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self

import aiohttp

from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.health import probes
from holdfast.health.board import Board
from holdfast.health.model import Finding
from holdfast.health.twilio_probe import TwilioProbe
from holdfast.loops import repeat

COMPONENTS = ("stripe", "twilio", "database", "inbox", "delivery", "messaging", "watch", "system")


class Health:
    """`board` holds what was found last. Use as `async with`, and run `loops()`."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        *,
        inbox_is_ready: Callable[[], bool],
        watch_silent_for: Callable[[], float | None],
        prepared: asyncio.Event,
    ) -> None:
        """`prepared` is set once the schema is up to date; `watch_silent_for` is None while not known."""
        self.board = Board(COMPONENTS)
        self._settings = settings
        self._pool = pool
        self._inbox_is_ready = inbox_is_ready
        self._watch_silent_for = watch_silent_for
        self._prepared = prepared
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        session = await self._stack.enter_async_context(aiohttp.ClientSession())
        key = self._settings.stripe_api_key
        self._stripe = probes.StripeProbe(
            session,
            self._settings.stripe_api_url,
            key.get_secret_value() if key is not None else None,
            self._settings.stripe_status_url,
        )
        self._twilio = TwilioProbe(session, self._settings, self._pool)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def loops(self, stop: asyncio.Event) -> list[Awaitable[None]]:
        """What has to run until `stop` is set."""
        plan: list[tuple[str, float, Callable[[], Awaitable[list[Finding]]]]] = [
            ("stripe_api", 30.0, self._stripe.api),
            ("stripe_status_page", 60.0, self._stripe.status_page),
            ("stripe_event_lag", 15.0, self._event_lag),
            ("twilio_api", 15.0, self._twilio.api),
            ("twilio_status_page", 60.0, self._twilio_status_page),
            ("twilio_calls", 60.0, self._twilio_calls),
            ("database", 5.0, partial(probes.database, self._pool)),
            ("texts", 15.0, self._texts),
            ("ourselves", 2.0, self._ourselves),
        ]
        loops = [
            repeat(f"probe_{name}", partial(self._tick, probe), every=every, stop=stop) for name, every, probe in plan
        ]
        return [*loops, repeat("poll_twilio_debugger", self._debugger, every=30.0, stop=stop)]

    async def _tick(self, probe: Callable[[], Awaitable[list[Finding]]]) -> None:
        self.board.put(await probe(), datetime.now(UTC))

    async def _event_lag(self) -> list[Finding]:
        return await probes.event_lag(self._pool, datetime.now(UTC)) if self._prepared.is_set() else []

    async def _twilio_status_page(self) -> list[Finding]:
        return await self._twilio.status_page() if self._prepared.is_set() else []

    async def _twilio_calls(self) -> list[Finding]:
        return await self._twilio.calls(datetime.now(UTC)) if self._prepared.is_set() else []

    async def _texts(self) -> list[Finding]:
        return await probes.texts(self._pool, datetime.now(UTC)) if self._prepared.is_set() else []

    async def _debugger(self) -> None:
        """What Twilio's Debugger tells is asked for, since its webhook may be the very thing that cannot reach us."""
        if self._prepared.is_set():
            await self._twilio.debugger(datetime.now(UTC))
        self.board.put(self._twilio.debuggers(), datetime.now(UTC))

    async def _ourselves(self) -> list[Finding]:
        watch = probes.watch(self._watch_silent_for())
        return [*probes.queues(inbox_is_ready=self._inbox_is_ready()), *watch, *probes.machine()]
