"""What one worker does for all: judges how merchants' texts stand, and audits what went out."""

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog

from holdfast import detectors
from holdfast.config import Settings
from holdfast.consent.keys import PhoneKey
from holdfast.db.leadership import Leadership
from holdfast.db.locks import Lock
from holdfast.db.pool import AWAY, Pool
from holdfast.loops import repeat
from holdfast.messaging import auditing, standing
from holdfast.messaging.missing import Missing
from holdfast.twilio import store as twilio
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import TwilioError

log = structlog.get_logger()

GAUGES_EVERY = 5.0


class TextWatch:
    """Use as `async with`, and run `loops`. Of all workers, the one that holds the lock does it; others wait for it."""

    def __init__(self, settings: Settings, pool: Pool, url: str) -> None:
        self._settings = settings
        self._pool = pool
        self._limits = detectors.consent_settings(settings.watch_file)
        self._key = PhoneKey.load(settings)
        self._leadership = Leadership(url, Lock.TEXTS, name="holdfast text watch")
        self._auditor = auditing.Auditor(Missing.of(settings, pool))
        self._to_stand, self._to_audit = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leadership.release()

    def loops(self, stop: asyncio.Event) -> list[Awaitable[None]]:
        """What has to run until `stop` is set."""
        return [
            repeat("lead_text_watch", self._lead, every=GAUGES_EVERY, stop=stop),
            repeat("standing_of_texts", self._stand, every=standing.EVERY, stop=stop, wake=self._to_stand),
            repeat("audit_texts", self._audit, every=auditing.EVERY, stop=stop, wake=self._to_audit),
        ]

    async def _lead(self) -> None:
        """Takes the lock where nobody has it, and says what is not settled: that changes by hand as well."""
        led = self._leadership.is_held
        try:
            leads = await self._leadership.hold()
        except AWAY:
            leads = False
        if leads:
            if not led:  # whoever did it before may have been gone for a while
                self._to_stand.set()
                self._to_audit.set()
            await auditing.measure(self._pool)
        else:
            standing.forget()
            auditing.forget()

    async def _stand(self) -> None:
        if self._leadership.is_held:
            await standing.measure(self._pool, datetime.now(UTC), self._limits)

    async def _audit(self) -> None:
        if not self._leadership.is_held:
            return
        accounts = await twilio.accounts(self._pool)
        async with AsyncExitStack() as stack:
            try:
                client = await stack.enter_async_context(TwilioClient.of(self._settings, accounts))
            except TwilioError:
                client = None  # no account is set: what we sent is looked at all the same
            subaccounts = [account.sid for account in accounts]
            await self._auditor.tick(self._pool, datetime.now(UTC), client, subaccounts, self._key)
        await auditing.measure(self._pool)
