"""The engine: a reconciler that advances every open incident.

All that it knows is in the store. Any number of engines run at the same time, on any machine: an incident is advanced
by the one that has its lease.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import structlog

from holdfast.config import Settings
from holdfast.db.pool import AWAY, Pool
from holdfast.incidents import store
from holdfast.incidents.model import Incident, StepRow
from holdfast.runbooks import chasing, opening
from holdfast.runbooks import store as steps_store
from holdfast.runbooks.actions import Registry
from holdfast.runbooks.chasing import Messages
from holdfast.runbooks.order import next_step
from holdfast.runbooks.turn import LEASE, LeaseLost, Turn

log = structlog.get_logger()

EVERY = 2.0
AT_ONCE = 8
MOST_STEPS = 200
"""Steps of one incident in one tick."""


class Engine:
    """Opens incidents for alerts, and advances those that are open."""

    def __init__(
        self, pool: Pool, settings: Settings, library: opening.Library, registry: Registry, messages: Messages
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._library = library
        self._registry = registry
        self._messages = messages

    async def tick(self, now: datetime | None = None) -> int:
        """Returns how many steps were worked on. Raises what `AWAY` lists."""
        now = now or datetime.now(UTC)
        for incident in await opening.open_from_alerts(self._pool, self._library, now):
            log.warning("incident.opened", incident=incident.id, runbook=incident.runbook, title=incident.title)
        claimed = await store.claim(self._pool, LEASE, now, AT_ONCE)
        results = await asyncio.gather(
            *(self._advance(incident, lease, now) for incident, lease in claimed), return_exceptions=True
        )
        for (incident, _), result in zip(claimed, results, strict=True):
            match result:
                case int():
                    pass
                case LeaseLost():
                    log.info("incident.lease_lost", incident=incident.id)
                case Exception() if not isinstance(result, AWAY):
                    log.error("incident.not_advanced", incident=incident.id, exc_info=result)
                case _:
                    raise result
        return sum(result for result in results if isinstance(result, int))

    async def _advance(self, incident: Incident, lease: int, now: datetime) -> int:
        keeping = asyncio.create_task(self._keep(incident, lease, now))
        try:
            return await self._work(incident, lease, now)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _keep(self, incident: Incident, lease: int, now: datetime) -> None:
        """Renew the lease for as long as the work takes."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            passed = timedelta(seconds=time.monotonic() - began)
            try:
                await store.renew(self._pool, incident.id, lease, now + passed + LEASE)
            except AWAY as error:
                log.warning("incident.lease_not_renewed", incident=incident.id, error=type(error).__name__)

    async def _work(self, incident: Incident, lease: int, now: datetime) -> int:
        incident = await chasing.look_after(self._pool, self._messages, incident, now)
        worked: set[str] = set()
        while len(worked) < MOST_STEPS:
            rows = await steps_store.steps(self._pool, incident.id)
            step = next_step(rows, incident, now, frozenset(worked))
            if step is None:
                break
            await self._turn(incident, step, lease, now).take()
            worked.add(step.key)
            found = await store.get(self._pool, incident.id)
            assert found is not None
            incident = found
        await store.release(self._pool, incident.id, lease)
        return len(worked)

    def _turn(self, incident: Incident, step: StepRow, lease: int, now: datetime) -> Turn:
        return Turn(self._pool, self._settings, self._registry, self._messages, incident, step, lease, now)
