"""Whether Twilio works again: by its API, by our own calls and alerts, and, as evidence only, by its status page."""

from datetime import datetime, timedelta
from typing import Any

import aiohttp

from holdfast.durations import lasted
from holdfast.health.model import Finding
from holdfast.health.twilio_probe import TwilioProbe
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import Done, Outcome, Run, Waiting, action
from holdfast.voice.isolation import isolation

AGAIN = timedelta(seconds=15)
LOOK = timedelta(minutes=3)
"""Our own calls are judged by those of so long: older failures are of the outage."""
_SINCE, _LOOKED = "well_since", "looked_at"
DOUBTED = 3
"""How many times as long all must be well while the status page says otherwise."""
UNWATCHED = timedelta(minutes=2)
"""When nobody looked for so long, nobody knows that all was well meanwhile."""


@action("voice.watch_restoration")
async def watch_restoration(run: Run, *, stable: timedelta = timedelta(minutes=5), look: timedelta = LOOK) -> Outcome:
    """Wait until Twilio's API answers and our own calls are put through, and that has been so for a while.

    Its status page decides nothing, since it lags by half an hour: while it speaks of trouble, the while is longer.
    What is gone round, or goes to voicemail, is not rung, so nothing speaks against it: bringing it back shows it.
    """
    async with aiohttp.ClientSession() as session:
        probe = TwilioProbe(session, run.settings, run.pool)
        api, page = await probe.api(), await probe.status_page()
    found = await isolation(run.pool, run.now, window=look)
    reasons = [f"API: {one.output}" for one in api if one.status in ("warn", "fail")]
    if found.extent in ("all", "regions", "numbers") or found.whose in ("ours", "twilio"):
        reasons.append(f"calls: {found.said}")
    evidence = _evidence(api, page, found.tried, found.failed)
    if reasons:
        return Waiting(f"not yet well: {'; '.join(reasons)}", AGAIN, evidence)
    since = await _well_since(run)
    evidence |= {_SINCE: since.isoformat(), _LOOKED: run.now.isoformat()}
    said = "; ".join(
        f"its status page says {one.output}" for one in page if one.status in ("warn", "fail") and one.output
    )
    aside = f" ({said})" if said else ""
    long = stable * DOUBTED if said else stable
    if run.now - since < long:
        return Waiting(f"well for {lasted(run.now - since)} of {lasted(long)}{aside}", AGAIN, evidence)
    return Done(f"Twilio works again, since {since:%H:%M:%S %Z}{aside}", evidence)


async def _well_since(run: Run) -> datetime:
    """Since when all looks at it found it well: the last one left word of that."""
    step = await steps.step(run.pool, run.incident.id, run.step)
    told = step.evidence if step is not None else {}
    try:
        since, looked = (datetime.fromisoformat(str(told[name])) for name in (_SINCE, _LOOKED))
    except (KeyError, ValueError):
        return run.now
    return since if run.now - looked <= UNWATCHED else run.now


def _evidence(api: list[Finding], page: list[Finding], tried: int, failed: int) -> dict[str, Any]:
    findings = {one.what: {"status": one.status, "why": one.output} for one in (*api, *page)}
    return {"findings": findings, "legs": tried, "legs_failed": failed}
