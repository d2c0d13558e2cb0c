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
from holdfast.runbooks.messages import Messages
from holdfast.runbooks.order import next_step
from holdfast.runbooks.turn import LEASE, LeaseLost, Overtaken, Turn

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
        self._working: dict[asyncio.Task[int], int] = {}

    async def tick(self, now: datetime | None = None, *, patience: float | None = None) -> int:
        """Returns how many steps were worked on. Raises what `AWAY` lists.

        `patience`: seconds after which those incidents whose steps take longer are left to themselves until a later
        tick; None waits for all.
        """
        clock = _Clock(now or datetime.now(UTC))
        opened = await opening.open_from_alerts(self._pool, self._library, self._messages, clock.now())
        for incident in opened:
            log.warning("incident.opened", incident=incident.id, runbook=incident.runbook, title=incident.title)
        free = AT_ONCE - len(self._working)
        if free > 0:
            for incident, lease in await store.claim(self._pool, LEASE, clock.now(), free):
                self._working[asyncio.create_task(self._advance(incident, lease, clock))] = incident.id
        if self._working:
            await asyncio.wait(self._working, timeout=patience)
        return self._collect()

    async def stop(self) -> None:
        """Break off what is under way: its leases end by themselves."""
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    def _collect(self) -> int:
        """What came of those that ended. Raises what `AWAY` lists."""
        worked, away = 0, None
        for task in [task for task in self._working if task.done()]:
            number = self._working.pop(task)
            error = task.exception()
            match error:
                case None:
                    worked += task.result()
                case LeaseLost():
                    log.info("incident.lease_lost", incident=number)
                case Exception() if not isinstance(error, AWAY):
                    log.error("incident.not_advanced", incident=number, exc_info=error)
                case _:
                    away = error
        if away is not None:
            raise away
        return worked

    async def _advance(self, incident: Incident, lease: int, clock: "_Clock") -> int:
        keeping = asyncio.create_task(self._keep(incident, lease, clock))
        try:
            return await self._work(incident, lease, clock)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _keep(self, incident: Incident, lease: int, clock: "_Clock") -> None:
        """Renew the lease for as long as the work takes."""
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            try:
                await store.renew(self._pool, incident.id, lease, clock.now() + LEASE)
            except AWAY as error:
                log.warning("incident.lease_not_renewed", incident=incident.id, error=type(error).__name__)

    async def _work(self, incident: Incident, lease: int, clock: "_Clock") -> int:
        incident = await chasing.follow(self._pool, incident, clock.now())
        worked: set[str] = set()
        while len(worked) < MOST_STEPS and incident.merged_into is None:
            now = clock.now()
            rows = await steps_store.steps(self._pool, incident.id)
            step = next_step(rows, incident, now, frozenset(worked))
            if step is None:
                break
            worked.add(step.key)
            try:
                await self._turn(incident, step, lease, now).take()
            except Overtaken:
                log.info("step.overtaken", incident=incident.id, step=step.key)
            found = await store.get(self._pool, incident.id)
            assert found is not None
            incident = found
        await chasing.chase(self._pool, self._messages, incident, clock.now())
        await store.release(self._pool, incident.id, lease, clock.now())
        return len(worked)

    def _turn(self, incident: Incident, step: StepRow, lease: int, now: datetime) -> Turn:
        return Turn(self._pool, self._settings, self._registry, self._messages, incident, step, lease, now)


class _Clock:
    """The time of a tick, which goes on while its steps take their time; to the second."""

    def __init__(self, began: datetime) -> None:
        self._began = began
        self._from = time.monotonic()

    def now(self) -> datetime:
        return self._began + timedelta(seconds=int(time.monotonic() - self._from))
