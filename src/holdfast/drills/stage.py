"""Stages incidents in the demonstration, one after the other: each is worked by its runbook until its review."""

import asyncio
import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from holdfast.config import Settings
from holdfast.db.pool import AWAY, Pool
from holdfast.desk import open_desk
from holdfast.drills import call_town, text_town
from holdfast.drills.call_town import Shop
from holdfast.drills.operator import Operator
from holdfast.drills.text_town import Texting
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from holdfast.incidents import people_store, store
from holdfast.incidents.model import Incident
from holdfast.review import service as reviews
from holdfast.review.rendering import FORMS, render
from holdfast.runbooks import store as steps_store

AFTER = 30.0
"""Seconds of usual traffic before each."""
LONGEST = 180.0
"""Seconds that a fault lasts at most."""
REVIEW = ("root-cause", "prevention", "runbook-verdict")
"""The steps that are done by writing the review."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A fault and what is written of it. It is `over` once that step of its runbook is finished.

    `begin` returns what ends it; None where it cannot begin.
    """

    runbook: str
    over: str
    begin: Callable[[], Callable[[], None] | None]
    begins: str
    ends: str
    cause: str
    lessons: str
    item: str


def hung_worker(up: int) -> Scene:
    """A worker process of `holdfast up` (its process id) is alive, but does nothing."""

    def begin() -> Callable[[], None] | None:
        try:
            children = psutil.Process(up).children()
        except psutil.NoSuchProcess:
            return None
        hung = next((child for child in children if child.cmdline()[-1:] == ["worker"]), None)
        if hung is None:
            return None
        hung.suspend()

        def end() -> None:
            with suppress(psutil.NoSuchProcess):
                hung.resume()

        return end

    return Scene(
        runbook="webhook-backlog",
        over="health.drained",
        begin=begin,
        begins="A worker process hangs now: it is alive, but does nothing. Watch what becomes of it.",
        ends="The worker that hung works again.",
        cause="A worker process hung: it kept its place and did nothing, so nothing was routed.",
        lessons="The backlog was seen within a minute; an added worker drained it. A hung worker should be replaced.",
        item="Replace a worker that has not been seen for a minute",
    )


def failing_region(twilio: EmulatedTwilio) -> Scene:
    """Twilio puts nobody through in one of two regions."""

    def begin() -> Callable[[], None]:
        twilio.faults = TwilioFaults.of(Rule("leg_fails", region=call_town.EAST))
        twilio.set_status("major", {"Voice, United States": "partial_outage"})

        def end() -> None:
            twilio.faults = TwilioFaults()
            twilio.set_status("none", {"Voice, United States": "operational"})

        return end

    return Scene(
        runbook="twilio-outage",
        over="comms.notify_merchants",
        begin=begin,
        begins=f"Twilio puts nobody through in {call_town.EAST} now. Watch where the calls go.",
        ends=f"Twilio puts calls through in {call_town.EAST} again.",
        cause="Twilio could not put calls through in one region; calls there rang nobody.",
        lessons="Calls went round the region within a minute. Shops with nobody elsewhere took messages.",
        item="Give every shop somebody in a second region",
    )


def bought_list(texting: Texting, shop: Shop, directory: Path, env: Mapping[str, str]) -> Scene:
    """A shop texts a list that it was sold; people stop the texts, and one of them complains."""
    leads = text_town.bought_list(shop.numbers[call_town.WEST], shop.key)

    async def happen() -> None:
        file = directory / "leads.csv"
        file.write_text(text_town.written(leads, datetime.now(UTC)), encoding="utf-8")
        imported = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "holdfast", "contacts", "import", str(file), "--merchant", shop.key),
            *("--origin", "leads of a partner", "--apply", "--again"),
            env={**os.environ, **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await imported.wait()
        await texting.campaign(leads, "Open house on Friday! Reply STOP to end.")
        await asyncio.sleep(3.0)
        for one, words in zip(leads, itertools.islice(itertools.cycle(text_town.STOPS), 9), strict=False):
            await texting.twilio.text(one.phone, one.number, words)
        await texting.complain(leads[9], "I never gave you my number. Who did?", "angry@people.example")

    def begin() -> Callable[[], None]:
        task = asyncio.ensure_future(happen())

        def end() -> None:
            task.cancel()

        return end

    return Scene(
        runbook="consent-complaint",
        over="complaints.hold_cohort",
        begin=begin,
        begins=f"The {shop.key} imports a list that it was sold, and texts everybody on it. Watch what they say.",
        ends="Everybody on that list is held back, and whoever complained has an answer.",
        cause="A bought list was imported as if the people on it had agreed to be texted.",
        lessons="The complaint led to the import within seconds, and to all who came in by it.",
        item="Ask for proof of consent before a list is imported",
    )


class Theatre:
    """Plays scenes with somebody on duty. `say` is what is told of them as they happen."""

    def __init__(self, pool: Pool, settings: Settings, say: Callable[[str], None]) -> None:
        self._pool = pool
        self._desk = open_desk(pool, settings)
        self._say = say
        self._told = 0
        self._operator = Operator(self._desk, "dana", thinks=timedelta(seconds=4), leaves=REVIEW)

    async def play(self, scenes: Sequence[Scene], directory: Path) -> None:
        """All of them; their reviews go into the directory."""
        await people_store.put(self._pool, "dana", "Dana", "dana@company.example", "admin")
        await people_store.put(self._pool, "eli", "Eli", "eli@company.example", "responder")
        await people_store.set_rota(self._pool, ["dana", "eli"], datetime.now(UTC) - timedelta(hours=1))
        for scene in scenes:
            await asyncio.sleep(AFTER)
            await self._play(scene, directory)

    async def _play(self, scene: Scene, directory: Path) -> None:
        began = datetime.now(UTC)
        end = scene.begin()
        if end is None:
            return
        self._say(scene.begins)
        try:
            async with asyncio.timeout(LONGEST):
                while not await self._is_over(scene, began):
                    await self._go_on(scene, began)
        except TimeoutError:
            pass
        finally:
            end()
        self._say(scene.ends)
        while (incident := await self._incident(scene, began)) is None or incident.state != "reviewed":
            await self._go_on(scene, began)
            if incident is not None and incident.state == "resolved":
                await self._review(scene, incident)
        files = await self._export(incident, directory)
        self._say(f"Over, and reviewed. The review: {', '.join(str(file) for file in files)}")

    async def _incident(self, scene: Scene, began: datetime) -> Incident | None:
        found = await store.listing(self._pool, runbook=scene.runbook, limit=1)
        return found[0] if found and found[0].opened_at >= began else None

    async def _is_over(self, scene: Scene, began: datetime) -> bool:
        incident = await self._incident(scene, began)
        step = await steps_store.step(self._pool, incident.id, scene.over) if incident is not None else None
        return step is not None and step.is_finished

    async def _go_on(self, scene: Scene, began: datetime) -> None:
        """Let some time pass, with somebody on duty; tell what is new in the log."""
        await asyncio.sleep(1.0)
        try:
            await self._operator.tick(datetime.now(UTC))
            incident = await self._incident(scene, began)
            if incident is None:
                return
            for entry in await store.entries(self._pool, incident.id, after=self._told):
                self._told = entry.id
                self._say(f"incident {incident.id}  {entry.actor:12}  {' '.join(entry.text.split())[:160]}")
        except AWAY:
            return

    async def _review(self, scene: Scene, incident: Incident) -> None:
        """What people add once everything else is done."""
        drafted = await steps_store.step(self._pool, incident.id, "review.draft")
        if drafted is None or not drafted.is_finished:
            return
        now = datetime.now(UTC)
        await reviews.write(
            self._pool, incident.id, root_cause=scene.cause, lessons=scene.lessons, actor="dana", now=now
        )
        await reviews.add_item(
            self._pool, incident.id, scene.item, owner="eli", due_at=now + timedelta(days=14), actor="dana", now=now
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
