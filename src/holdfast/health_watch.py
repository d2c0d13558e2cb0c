"""The watch process: `health_watch`, and the engine that runs runbooks.

One `health_watch` leads; others, as many as wanted, take over when it is gone. Engines share the incidents.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import aiohttp
import structlog

from holdfast import actions, detectors
from holdfast.comms.speaking import Speaker
from holdfast.config import Settings
from holdfast.db.leadership import Leadership
from holdfast.db.locks import Lock
from holdfast.db.pool import AWAY
from holdfast.loops import repeat
from holdfast.runbooks import engine
from holdfast.runbooks.library import Library
from holdfast.service import Database, background, common_loops, pool, settle_memory
from holdfast.signals.system import System
from holdfast.voice import health as voice_health
from holdfast.watch.channels import open_channels
from holdfast.watch.model import Alert
from holdfast.watch.service import EVERY, HealthWatch
from holdfast.watch.telling import Teller

log = structlog.get_logger()

HEARTBEAT = 60.0
_PATIENCE = aiohttp.ClientTimeout(total=10)


async def watch(settings: Settings, database: Database, stop: asyncio.Event) -> int:
    """Watch until `stop` is set. Raises MigrationError, WatchError."""
    own = detectors.watch_settings(settings.watch_file)
    detectors.watcher(settings.watch_file)  # mistakes in it are said before anything starts
    if not await database.bring_up(stop):
        return 0
    async with AsyncExitStack() as stack:
        general = await stack.enter_async_context(pool(database.url, size=3, name="watch"))
        # Of its own: what steps read must not keep `health_watch` waiting for a connection.
        stepping = await stack.enter_async_context(pool(database.url, size=engine.AT_ONCE + 2, name="engine"))
        prepared = asyncio.Event()
        prepared.set()
        system = System("watch", settings.data_dir, {"general": general, "engine": stepping})
        await stack.enter_async_context(common_loops(database, general, system, prepared, stop))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        teller = Teller(open_channels(settings.team_channels, settings.alert_webhooks, session, settings.public))
        leadership = Leadership(database.url, Lock.WATCH, name="holdfast watch leader")
        stack.callback(leadership.release)

        async def locate(alert: Alert) -> Mapping[str, Any]:
            return await detectors.affected(general, alert)

        watching = HealthWatch(general, lambda: detectors.watcher(settings.watch_file), teller, own, locate)

        async def tick() -> None:
            try:
                leads = await leadership.hold()
            except AWAY:
                leads = watching.leads  # who led when the store went away says so
            if leads:
                await watching.tick()
            else:
                watching.rest()

        async def tell() -> int:
            return await teller.tick(general) if leadership.is_held else 0

        async def measure_calls() -> None:
            # Here and not in the web process: with thousands of targets it takes a while, and calls wait for nothing.
            if leadership.is_held:
                await voice_health.measure(general, datetime.now(UTC))
            else:
                voice_health.forget()

        async def ping() -> None:
            if leadership.is_held and watching.is_well and settings.heartbeat_url is not None:
                await _ping(session, settings.heartbeat_url.get_secret_value())

        registry = actions.registry()
        for line in actions.missing():
            log.error("actions.not_loaded", reason=line)
        library = Library(settings.runbooks_dir, registry)
        running = engine.Engine(stepping, settings, library, registry, Speaker(settings))

        async def advance() -> None:
            await running.tick(patience=engine.EVERY)

        stack.push_async_callback(running.stop)
        log.info("watch.started", channels=teller.names, runbooks=[book.id for book in library.all()])
        settle_memory()
        async with background(
            repeat("tell_alerts", tell, every=1.0, stop=stop),
            repeat("run_runbooks", advance, every=engine.EVERY, stop=stop),
            repeat("heartbeat_out", ping, every=HEARTBEAT, stop=stop),
            repeat("voice_gauges", measure_calls, every=EVERY, stop=stop),
            stop=stop,
        ):
            await repeat("health_watch", tick, every=EVERY, stop=stop)
    log.info("watch.stopped")
    return 0


async def _ping(session: aiohttp.ClientSession, url: str) -> None:
    """Tell somebody outside that all is watched, so that they notice when nobody does."""
    try:
        async with session.get(url, timeout=_PATIENCE, allow_redirects=False) as answer:
            if answer.status >= 300:
                log.warning("heartbeat.refused", status=answer.status)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        log.warning("heartbeat.failed", error=type(error).__name__)
