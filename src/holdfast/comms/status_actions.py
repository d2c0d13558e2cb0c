"""Actions on the public status page: ask whether to publish, and follow what was published."""

from datetime import datetime, timedelta

from holdfast.comms import publishing, status_store
from holdfast.comms.affected import about_calls, affected
from holdfast.comms.names import named_in
from holdfast.comms.status import StatusError, UpdateState
from holdfast.db.pool import Pool
from holdfast.incidents.model import Incident
from holdfast.queue import service as queue
from holdfast.queue.model import Lane
from holdfast.runbooks.actions import Done, Duration, Failed, NotApplicable, Outcome, Run, Waiting, action

DELAY = timedelta(minutes=5)
AGAIN = timedelta(minutes=1)
NOTICED_BY = 2
"""Merchants whose calls are hit before it is the public's: of one alone, that one is told."""
_NOTICED = (Lane.CRITICAL, Lane.STANDARD)
"""Nobody waits for what is in the bulk lane."""


def is_noticeable(*, oldest: timedelta, delay: timedelta) -> bool:
    """Whether the outside sees the trouble: what somebody waits for has waited `delay`."""
    return oldest >= delay


async def oldest_waiting(pool: Pool, now: datetime) -> timedelta:
    """How long the oldest work has waited that somebody waits for.

    Lanes where everything waits for its next try are left out: that is a destination's trouble, not ours.
    """
    ages = [
        lane.oldest_age
        for lane in await queue.lane_stats(pool, now=now)
        if lane.lane in _NOTICED and lane.waiting + lane.in_flight
    ]
    return timedelta(seconds=max(ages, default=0.0))


@action("status.publish")
async def publish(run: Run, *, delay: Duration = DELAY) -> Outcome:
    """Publish the incident on the public status page."""
    incident = run.incident
    if run.text:
        named = named_in(run.text, [one.name for one in await affected(run.pool, incident, run.now, delay)])
        if named:
            return Failed(f"the text names {named}, and everybody would read it: write it without names")
    text = run.text or await _draft(run)
    state: UpdateState = "identified" if incident.state == "mitigating" else "investigating"
    try:
        number = await publishing.publish(
            run.pool, incident, run.key, state, text, now=run.now, actor=run.actor, step=run.step
        )
    except StatusError as error:
        return Failed(str(error))
    page = f"{run.settings.public}/status/incidents/{incident.id}"
    said = "published" if number is not None else "published already"
    return Done(f"{said}: {page}", {"status_update": number, "text": text})


@publish.draft
async def _(run: Run, *, delay: Duration = DELAY) -> str:
    return await _draft(run)


async def _draft(run: Run) -> str:
    """How long payment events have waited says nothing of calls."""
    oldest = None if about_calls(run.incident) else await oldest_waiting(run.pool, run.now)
    return publishing.draft(run.incident, oldest)


@publish.offer
async def _(run: Run, *, delay: Duration = DELAY) -> Outcome | None:
    """Nobody is asked about what nobody outside notices; while the trouble lasts, that may still change."""
    incident = run.incident
    if await status_store.latest(run.pool, incident.id) is not None:
        return Done("it is public already")
    if about_calls(incident):
        return await _offer_of_calls(run, delay)
    oldest = await oldest_waiting(run.pool, run.now)
    if is_noticeable(oldest=oldest, delay=delay):
        return None
    evidence = {"severity": incident.severity, "oldest_seconds": oldest.total_seconds()}
    said = f"not noticeable outside: nothing that somebody waits for is older than {_minutes(delay)}"
    if _lasts(incident):
        return Waiting(said, AGAIN, evidence)
    return NotApplicable(said, evidence)


async def _offer_of_calls(run: Run, delay: timedelta) -> Outcome | None:
    """It is noticed outside once callers of several merchants did not come through, for longer than a moment."""
    incident = run.incident
    hit = await affected(run.pool, incident, run.now)
    calls = sum(one.calls.hit for one in hit if one.calls is not None)
    lasts = run.now - incident.since
    if len(hit) >= NOTICED_BY and lasts >= delay:
        return None
    evidence = {"severity": incident.severity, "merchants": len(hit), "calls": calls}
    said = f"not noticeable outside: {calls:,} calls of {len(hit):,} merchants were hit in {_minutes(lasts)}"
    return Waiting(said, AGAIN, evidence) if _lasts(incident) else NotApplicable(said, evidence)


@action("status.follow")
async def follow(run: Run) -> Outcome:
    """Say on the status page what a public incident has come to."""
    if await status_store.latest(run.pool, run.incident.id) is None:
        return NotApplicable("the incident is not public")
    state = await publishing.follow(run.pool, run.incident, run.key, now=run.now, actor=run.actor, step=run.step)
    return Done(f"published: {state}" if state is not None else "the page says so already")


def _lasts(incident: Incident) -> bool:
    return incident.state in ("detected", "acknowledged", "mitigating") and incident.calm_at is None


def _minutes(length: timedelta) -> str:
    return f"{length.total_seconds() / 60:.3g} min"
