"""Watches the watch: a dead `health_watch` is an alert, kept and told by the web processes."""

from datetime import UTC, datetime, timedelta

import structlog

from holdfast.db.pool import Pool
from holdfast.watch import store
from holdfast.watch.model import Alert, Evidence
from holdfast.watch.service import GUARDED
from holdfast.watch.telling import Teller

log = structlog.get_logger()

SILENT = timedelta(seconds=30)
"""How long `health_watch` may say nothing."""


class Guard:
    """One of them in every web process; the store sees to it that together they open one alert."""

    def __init__(self, teller: Teller, started_at: datetime | None = None) -> None:
        self._teller = teller
        self._started_at = started_at or datetime.now(UTC)
        self._is_dead = False
        self.silent_for: float | None = None
        """Seconds since `health_watch` last looked; None before the first check."""

    async def tick(self, pool: Pool, now: datetime | None = None) -> None:
        """Raises what `AWAY` lists: with the store away, `health_watch` itself tells."""
        now = now or datetime.now(UTC)
        beat = await store.last_beat(pool)
        since = max(beat.at, self._started_at) if beat is not None else self._started_at
        self.silent_for = (now - (beat.at if beat is not None else self._started_at)).total_seconds()
        if now - since > SILENT:
            await self._open(pool, since if beat is None else beat.at, beat is None, now)
        elif beat is not None and now - beat.at <= SILENT:
            await self._close(pool, now)

    async def _open(self, pool: Pool, since: datetime, never: bool, now: datetime) -> None:
        if self._is_dead:
            return
        silent = (now - since).total_seconds()
        alert = Alert(
            key=GUARDED,
            runbook="performance-degradation",
            cause="watch",
            severity="critical",
            title="health_watch never ran: nothing is watched" if never else "health_watch is dead: nothing is watched",
            why="No process leads it. Start `holdfast watch`, or look into its log.",
            since=since,
            opened_at=now,
            evidence=(Evidence("health_watch has been silent for", silent, SILENT.total_seconds(), "s", "limit"),),
        )
        async with pool.acquire() as connection, connection.transaction():
            alert_id, is_new = await store.keep(connection, alert, {}, now)
            if is_new:
                await store.announce(connection, alert_id, "opened", self._teller.names, now=now, wait=timedelta(0))
        self._is_dead = True
        if is_new:
            log.error("watch.dead", silent_for=round(silent))

    async def _close(self, pool: Pool, now: datetime) -> None:
        async with pool.acquire() as connection, connection.transaction():
            alert_id = await store.close(connection, GUARDED, now)
            if alert_id is not None:
                wait = timedelta(0)
                await store.announce(connection, alert_id, "closed", self._teller.names, now=now, wait=wait)
                log.info("watch.back")
        self._is_dead = False
