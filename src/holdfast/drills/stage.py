"""Stages one incident in the demonstration: a worker process hangs, and the runbook is worked until the review."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from holdfast.config import Settings
from holdfast.db.pool import AWAY, Pool
from holdfast.desk import open_desk
from holdfast.drills.operator import Operator
from holdfast.incidents import people_store, store
from holdfast.incidents.model import Incident
from holdfast.review import service as reviews
from holdfast.review.rendering import FORMS, render
from holdfast.runbooks import store as steps_store

AFTER = 30.0
"""Seconds of usual traffic before it."""
LONGEST = 180.0
"""Seconds that the worker hangs at most."""
REVIEW = ("root-cause", "prevention", "runbook-verdict")
"""The steps that are done by writing the review."""


class StagedIncident:
    """`up` is the process id of `holdfast up`, `say` what is told of it as it happens."""

    def __init__(self, pool: Pool, settings: Settings, up: int, say: Callable[[str], None]) -> None:
        self._pool = pool
        self._desk = open_desk(pool, settings)
        self._up = up
        self._say = say
        self._told = 0
        self._operator = Operator(self._desk, "dana", thinks=timedelta(seconds=4), leaves=REVIEW)

    async def play(self, directory: Path) -> None:
        """The whole story; its review goes into the directory. Ends early, and quietly, with the store away."""
        await people_store.put(self._pool, "dana", "Dana", "dana@company.example", "admin")
        await people_store.put(self._pool, "eli", "Eli", "eli@company.example", "responder")
        await people_store.set_rota(self._pool, ["dana", "eli"], datetime.now(UTC) - timedelta(hours=1))
        await asyncio.sleep(AFTER)
        hung = self._worker()
        if hung is None:
            return
        self._say("A worker process hangs now: it is alive, but does nothing. Watch what becomes of it.")
        hung.suspend()
        try:
            async with asyncio.timeout(LONGEST):
                while not await self._is_drained():
                    await self._go_on()
        except TimeoutError:
            pass
        finally:
            with suppress(psutil.NoSuchProcess):
                hung.resume()
        self._say("The worker that hung works again.")
        while (incident := await self._incident()) is None or incident.state != "reviewed":
            await self._go_on()
            if incident is not None and incident.state == "resolved":
                await self._review(incident)
        files = await self._export(incident, directory)
        self._say(f"Over, and reviewed. The review: {', '.join(str(file) for file in files)}")

    def _worker(self) -> psutil.Process | None:
        try:
            children = psutil.Process(self._up).children()
            return next((child for child in children if child.cmdline()[-1:] == ["worker"]), None)
        except psutil.NoSuchProcess:
            return None

    async def _incident(self) -> Incident | None:
        found = await store.listing(self._pool, runbook="webhook-backlog", limit=1)
        return found[0] if found else None

    async def _is_drained(self) -> bool:
        incident = await self._incident()
        step = await steps_store.step(self._pool, incident.id, "health.drained") if incident is not None else None
        return step is not None and step.is_finished

    async def _go_on(self) -> None:
        """Let some time pass, with somebody on duty; tell what is new in the log."""
        await asyncio.sleep(1.0)
        try:
            await self._operator.tick(datetime.now(UTC))
            incident = await self._incident()
            if incident is None:
                return
            for entry in await store.entries(self._pool, incident.id, after=self._told):
                self._told = entry.id
                self._say(f"incident {incident.id}  {entry.actor:12}  {' '.join(entry.text.split())[:160]}")
        except AWAY:
            return

    async def _review(self, incident: Incident) -> None:
        """What people add once everything else is done."""
        drafted = await steps_store.step(self._pool, incident.id, "review.draft")
        if drafted is None or not drafted.is_finished:
            return
        now = datetime.now(UTC)
        cause = "A worker process hung: it kept its place and did nothing, so nothing was routed."
        lessons = "The backlog was seen within a minute; an added worker drained it. A hung worker should be replaced."
        await reviews.write(self._pool, incident.id, root_cause=cause, lessons=lessons, actor="dana", now=now)
        await reviews.add_item(
            self._pool,
            incident.id,
            "Replace a worker that has not been seen for a minute",
            owner="eli",
            due_at=now + timedelta(days=14),
            actor="dana",
            now=now,
        )
        await reviews.verdict(
            self._pool, incident.id, "unchanged", "every step did what it should", actor="dana", now=now
        )
        await reviews.close(self._pool, incident.id, actor="dana", now=now)

    async def _export(self, incident: Incident, directory: Path) -> list[Path]:
        now = datetime.now(UTC)
        case = await reviews.case(self._pool, incident.id, now)
        files = []
        for form in FORMS:
            file = directory / f"review-{incident.id}.{form}"
            file.write_bytes(await asyncio.to_thread(render, case, form, now))
            files.append(file)
        return files
