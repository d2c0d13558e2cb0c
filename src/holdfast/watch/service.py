"""`health_watch`: one leader that looks at everything every five seconds, and keeps its alerts in the store."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from holdfast.db.pool import AWAY, Pool
from holdfast.signals.buckets import Levels
from holdfast.signals.frame import Frame
from holdfast.signals.registry import REGISTRY, Gauge
from holdfast.watch import store
from holdfast.watch.model import Alert, Report
from holdfast.watch.reader import FrameReader
from holdfast.watch.reports import REPORTS
from holdfast.watch.settings import WatchSettings
from holdfast.watch.telling import Teller
from holdfast.watch.watcher import Watcher

log = structlog.get_logger()

EVERY = 5.0
REPLAYED = timedelta(hours=3)
"""How much of the past a new leader looks at, so that it knows what is usual."""
AT_ONCE = timedelta(minutes=10)
"""How much of it is read at once: it may be of many processes."""
REPORTED = timedelta(minutes=30)
"""How long a report counts as evidence."""
OPEN = REGISTRY.add(Gauge("alerts_open", "Open alerts by runbook and severity.", ("runbook", "severity")))
TOOK = REGISTRY.add(Gauge("watch_tick_seconds", "How long the last look at everything took."))

Locate = Callable[[Alert], Awaitable[Mapping[str, Any]]]
"""Finds out whom an alert affects: lanes, merchants, destinations."""


class HealthWatch:
    """Ticks while it leads. Its alerts are those of the store; a new leader takes them over."""

    def __init__(
        self,
        pool: Pool,
        watcher: Callable[[], Watcher],
        teller: Teller,
        settings: WatchSettings,
        locate: Locate,
    ) -> None:
        """`watcher` makes a fresh one, that knows nothing of the past yet."""
        self._pool = pool
        self._new_watcher = watcher
        self._teller = teller
        self._settings = settings
        self._locate = locate
        self._watcher: Watcher | None = None
        self._reader: FrameReader | None = None
        self._stored: dict[str, Alert] = {}
        self._told: dict[str, set[str]] = {}
        self._away_since: datetime | None = None

    @property
    def leads(self) -> bool:
        """Whether it was the leader at the last tick."""
        return self._watcher is not None

    @property
    def is_well(self) -> bool:
        """Whether the last tick saw everything."""
        return self._watcher is not None and self._away_since is None

    def rest(self) -> None:
        """Not the leader, or not any more: what was known is forgotten."""
        self._watcher = self._reader = None
        self._stored, self._told = {}, {}

    async def tick(self, now: datetime | None = None) -> None:
        """Look at what came in since the last tick. With the store away, it says so, and through the channels."""
        now = now or datetime.now(UTC)
        began = time.perf_counter()
        try:
            if self._watcher is None:
                await self._begin(now)
            async with asyncio.timeout(4 * EVERY):
                alerts = await self._look(now)
                await self._keep(alerts, now)
                took = time.perf_counter() - began
                await store.beat(self._pool, now, socket.gethostname(), os.getpid(), took)
            self._away_since = None
        except AWAY as error:
            await self._without_store(now, error)
            return
        TOOK.set(took)
        counted: dict[tuple[str, str], float] = {}
        for alert in alerts:
            key = (alert.runbook, alert.severity)
            counted[key] = counted.get(key, 0) + 1
        OPEN.replace(counted.items())

    async def _look(self, now: datetime) -> Sequence[Alert]:
        assert self._watcher is not None
        assert self._reader is not None
        reports = await store.reports(self._pool, now - REPORTED)
        for frame in await self._reader.read(self._pool, now):
            self._watcher.tick(_with_reports(frame, reports))
        return self._watcher.open

    async def _begin(self, now: datetime) -> None:
        """Learn from the last hours what is usual, and take over what is open."""
        watcher, reader = self._new_watcher(), FrameReader(now - REPLAYED)
        last = now - timedelta(seconds=EVERY)
        for number in range(1, REPLAYED // AT_ONCE + 1):
            for frame in await reader.read(self._pool, min(last, now - REPLAYED + number * AT_ONCE)):
                watcher.tick(frame)
            await asyncio.sleep(0)
        kept = await store.open_alerts(self._pool)
        watcher.adopt(one.alert for one in kept if one.alert.key != GUARDED)
        self._watcher, self._reader = watcher, reader
        self._stored = {one.alert.key: one.alert for one in kept if one.alert.key != GUARDED}
        log.info("watch.leads", open=len(self._stored))

    async def _keep(self, alerts: Sequence[Alert], now: datetime) -> None:
        """Make the store say what is open, and put down what is to be told."""
        current = {alert.key: alert for alert in alerts}
        for key, alert in current.items():
            before = self._stored.get(key)
            if before is None or _differs(before, alert):
                await self._write(alert, is_new=before is None, now=now)
                self._stored[key] = alert
        for key in [key for key in self._stored if key not in current]:
            async with self._pool.acquire() as connection, connection.transaction():
                alert_id = await store.close(connection, key, now)
                if alert_id is not None:
                    wait = timedelta(0)
                    await store.announce(connection, alert_id, "closed", self._teller.names, now=now, wait=wait)
            log.info("alert.closed", key=key)
            del self._stored[key]
        await store.announce_again(self._pool, timedelta(seconds=self._settings.tell_again), self._teller.names, now)

    async def _write(self, alert: Alert, *, is_new: bool, now: datetime) -> None:
        affected = await self._located(alert) if is_new else None
        async with self._pool.acquire() as connection, connection.transaction():
            alert_id, inserted = await store.keep(connection, alert, affected, now)
            if inserted:
                told = self._told.pop(alert.key, set())
                channels = [name for name in self._teller.names if name not in told]
                wait = timedelta(seconds=self._settings.group_wait)
                await store.announce(connection, alert_id, "opened", channels, now=now, wait=wait)
        if inserted:
            log.warning("alert.opened", key=alert.key, runbook=alert.runbook, cause=alert.cause, title=alert.title)

    async def _located(self, alert: Alert) -> Mapping[str, Any]:
        """Whom it affects, if that can be found out soon: the alert goes out in any case."""
        try:
            async with asyncio.timeout(EVERY):
                return await self._locate(alert)
        except Exception:
            log.exception("alert.not_located", key=alert.key)
            return {}

    async def _without_store(self, now: datetime, error: BaseException) -> None:
        """Alerts are told without the store when it is the store that is the trouble."""
        self._away_since = self._away_since or now
        log.warning("watch.store_away", error=type(error).__name__)
        if self._watcher is None or now - self._away_since < timedelta(seconds=2 * EVERY):
            return
        frame = Frame(now, {"database_away": Levels({"": (now - self._away_since).total_seconds()})})
        for alert in self._watcher.tick(frame):
            if alert.key not in self._stored and alert.key not in self._told:
                log.error("alert.opened", key=alert.key, title=alert.title)
                self._told[alert.key] = await self._teller.tell_now(alert, now)


GUARDED = "health-watch/dead"
"""The alert that others keep of `health_watch` itself."""


def _with_reports(frame: Frame, reports: Sequence[Report]) -> Frame:
    counted: dict[str, float] = {}
    for report in reports:
        if report.at <= frame.at:
            counted[report.kind] = counted.get(report.kind, 0.0) + 1
    if not counted:
        return frame
    return replace(frame, data={**frame.data, REPORTS: Levels(counted)})


def _differs(before: Alert, now: Alert) -> bool:
    """Whether there is news worth writing down: figures alone are, when they moved by a tenth."""
    if (before.cause, before.severity, len(before.evidence)) != (now.cause, now.severity, len(now.evidence)):
        return True
    return any(
        abs(new.observed - old.observed) > 0.1 * max(abs(old.observed), 1e-9)
        for old, new in zip(before.evidence, now.evidence, strict=True)
    )
