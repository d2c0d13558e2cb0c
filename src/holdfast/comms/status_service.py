"""The status page of a web process: its doors, and what keeps it up to date and mails it."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime

import structlog
from starlette.routing import Route

from holdfast.comms import publishing, status_board, subscribing
from holdfast.comms.status_board import StatusBoard
from holdfast.comms.status_page import StatusPage
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.loops import repeat

log = structlog.get_logger()


class PublicStatus:
    """`routes` are the doors; run `loops()` beside them."""

    def __init__(self, settings: Settings, pool: Pool, prepared: asyncio.Event) -> None:
        """`prepared` is set once the schema is up to date."""
        self._settings = settings
        self._pool = pool
        self._prepared = prepared
        self._board = StatusBoard(settings)
        self._recalled = False
        if settings.smtp_url is not None and not subscribing.is_on(settings):
            # Links that begin with the address that we listen on would lead nowhere.
            log.warning("status.no_subscriptions", reason="HOLDFAST_PUBLIC_URL is not set")

    @property
    def routes(self) -> list[Route]:
        return StatusPage(self._settings, self._pool, self._board).routes

    def loops(self, stop: asyncio.Event) -> list[Awaitable[None]]:
        """What has to run until `stop` is set."""
        return [
            repeat("show_status", self._show, every=status_board.EVERY, stop=stop),
            repeat("settle_status", self._settle, every=5.0, stop=stop),
            repeat("mail_status", self._mail, every=3.0, stop=stop),
        ]

    async def _show(self) -> None:
        if not self._recalled:
            self._recalled = True
            await self._board.recall(datetime.now(UTC))
        await self._board.tick(self._pool, prepared=self._prepared.is_set())

    async def _settle(self) -> int:
        return await publishing.settle(self._pool, datetime.now(UTC)) if self._prepared.is_set() else 0

    async def _mail(self) -> int:
        if not subscribing.is_on(self._settings) or not self._prepared.is_set():
            return 0
        return await subscribing.mail(self._pool, self._settings)
