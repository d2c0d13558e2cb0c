"""What callers meet when a region of Twilio fails, without and with going round it; and when all of it fails.

The whole of Holdfast runs: `health_watch` has to see it, and the runbook to do something about it. Its waits are those
of the demonstration, and people talk sixty times as fast as in life; how soon it is seen is measured in real seconds.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from bench.harness import free_port, say
from holdfast.config import Settings
from holdfast.db.pool import Pool, create_pool
from holdfast.desk import open_desk
from holdfast.drills import call_town
from holdfast.drills.demo import Demo, Place, opened
from holdfast.drills.operator import Operator
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from holdfast.incidents import store
from holdfast.incidents.model import Incident
from holdfast.runbooks import store as steps_store
from holdfast.service import Database

RATE, SPEED = 10.0, 60.0
RUNBOOK, REDISTRIBUTE = "twilio-outage", "voice.redistribute"
_PATIENCE = 240.0
T = TypeVar("T")


def run(*, quick: bool) -> dict[str, Any]:
    place = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir="/var/tmp"))
    place.chmod(0o711)
    settings = Settings(data_dir=place / "var", listen=f"127.0.0.1:{free_port()}")
    try:
        with Database(settings) as database:
            return asyncio.run(_run(Place(settings.data_dir, database.url, settings.listen), 8.0 if quick else 30.0))
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def _run(place: Place, seconds: float) -> dict[str, Any]:
    async with opened(place, SPEED) as town, _on_duty(town) as pool:
        over = asyncio.get_running_loop().create_future()
        calling = asyncio.create_task(town.twilio.run(RATE, over, call_town.CALLERS))
        try:
            found = await _regional(town, pool, seconds)
            found |= await _total(town, seconds)
        finally:
            over.set_result(None)
            await calling
    before, without, with_ = (found[name]["person"] for name in ("before", "without", "with"))
    voicemail = found["all_fails"]["voicemail"]
    return {
        "value": with_,
        "target": "gone round: 0.95 of as many reach a person as before, or more; all fails: 100 % reach voicemail",
        "ok": with_ >= 0.95 * before and without < with_ and voicemail == 1.0,
        **found,
    }


async def _regional(town: Demo, pool: Pool, seconds: float) -> dict[str, Any]:
    """Before, and during a failure of the east: until redistributing has begun, and from then on."""
    await asyncio.sleep(3.0)
    usual = time.time()
    await asyncio.sleep(seconds)
    failed = time.time()
    town.twilio.faults = TwilioFaults.of(Rule("leg_fails", region=call_town.EAST))
    town.twilio.set_status("major", {"Voice, United States": "partial_outage"})
    say("the east fails")
    incident = await _until_redistributed(pool)
    redistributed = time.time()
    say(
        f"gone round after {redistributed - failed:.0f} s; opened after {incident.opened_at.timestamp() - failed:.0f} s"
    )
    await asyncio.sleep(seconds)
    end = time.time()
    await _settled(town)
    town.twilio.faults = TwilioFaults()
    town.twilio.set_status("none", {"Voice, United States": "operational"})
    resolved = await _until_resolved(pool)
    say(f"over after {resolved - end:.0f} s more")
    after = time.time()
    await asyncio.sleep(seconds / 2)
    await _settled(town)
    return {
        "before": _shares(town, usual, failed),
        "without": _shares(town, failed, redistributed - 1.0),
        "with": _shares(town, redistributed + 1.0, end),
        "after": _shares(town, after, time.time()),
        "opened_after_s": round(incident.opened_at.timestamp() - failed, 1),
        "gone_round_after_s": round(redistributed - failed, 1),
        "resolved_after_s": round(resolved - end, 1),
    }


async def _total(town: Demo, seconds: float) -> dict[str, Any]:
    """Nobody at all can be put through to."""
    town.twilio.faults = TwilioFaults.of(Rule("leg_fails"))
    began = time.time()
    say("everything fails")
    await asyncio.sleep(2 * seconds)
    end = time.time()
    await _settled(town)
    return {"all_fails": _shares(town, began, end)}


async def _settled(town: Demo) -> None:
    """Let calls that began come to their end: the longest lasts some minutes of simulated time."""
    await asyncio.sleep(300 / SPEED)


def _shares(town: Demo, since: float, until: float) -> dict[str, Any]:
    found = town.twilio.shares(since, until)
    return {
        "calls": found.calls,
        "person": round(found.person, 3),
        "voicemail": round(found.voicemail, 3),
        "neither": round(abs(1 - found.person - found.voicemail), 3) if found.calls else 0.0,
    }


async def _until_redistributed(pool: Pool) -> Incident:
    async def found() -> Incident | None:
        for incident in await store.listing(pool, runbook=RUNBOOK, limit=1):
            steps = await steps_store.steps(pool, incident.id)
            if any(step.action == REDISTRIBUTE and step.state in ("done", "waiting") for step in steps):
                return incident
        return None

    return await _until("nothing was redistributed", found)


async def _until_resolved(pool: Pool) -> float:
    async def found() -> float | None:
        (incident,) = await store.listing(pool, runbook=RUNBOOK, limit=1)
        return time.time() if incident.state in ("resolved", "reviewed") else None

    return await _until("the incident was not resolved", found)


async def _until(what: str, found: Callable[[], Awaitable[T | None]]) -> T:
    end = time.monotonic() + _PATIENCE
    while (value := await found()) is None:
        if time.monotonic() > end:
            raise RuntimeError(what)
        await asyncio.sleep(0.2)
    return value


@asynccontextmanager
async def _on_duty(town: Demo) -> AsyncIterator[Pool]:
    """Somebody who approves what is asked."""
    pool = await create_pool(town.place.database_url, size=4, name="holdfast bench")
    operator = Operator(open_desk(pool, town.settings), "dana", thinks=timedelta(seconds=1))

    async def work() -> None:
        while True:
            await asyncio.sleep(0.5)
            await operator.tick(datetime.now(UTC))

    working = asyncio.create_task(work())
    try:
        yield pool
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        pool.terminate()
