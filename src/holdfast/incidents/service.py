"""What people do with an incident as a whole: acknowledge, take over, note, merge, re-open. All of it is in the log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.incidents import people_store, store
from holdfast.incidents.model import Incident, IncidentError, Person, RefusedError, UnknownError
from holdfast.watch import store as watch

LONGEST = 10_000
"""Characters of a note or a reason."""


async def who(db: Connection | Pool, actor: str) -> Person | None:
    """The person who acts; None where nobody was introduced yet, and anybody may. Raises RefusedError."""
    if not actor or len(actor) > 200 or not actor.isprintable():
        raise IncidentError("say who acts: --as NAME")
    found = await people_store.person(db, actor)
    if found is None:
        known = await people_store.people(db)
        if known:
            names = ", ".join(person.key for person in known[:20])
            raise RefusedError(
                f"{actor!r} is not on the team ({names}); say who acts: --as, HOLDFAST_PERSON, or `actor`"
            )
    return found


@asynccontextmanager
async def working(pool: Pool, incident_id: int, actor: str) -> AsyncIterator[tuple[Connection, Incident]]:
    """A transaction in which somebody of the team has the incident to themselves. Raises UnknownError, RefusedError."""
    async with pool.acquire() as connection, connection.transaction():
        await who(connection, actor)
        incident = await store.lock(connection, incident_id)
        if incident is None:
            raise UnknownError(f"there is no incident {incident_id}; see `holdfast incidents list --all`")
        yield connection, incident


async def get(db: Connection | Pool, incident_id: int) -> Incident:
    """Raises UnknownError."""
    found = await store.get(db, incident_id)
    if found is None:
        raise UnknownError(f"there is no incident {incident_id}; see `holdfast incidents list --all`")
    return found


async def acknowledge(pool: Pool, incident_id: int, *, actor: str, now: datetime) -> Incident:
    """Somebody is on it: nobody else is called. Who does so where there is no commander becomes it."""
    async with working(pool, incident_id, actor) as (db, incident):
        must_be_open(incident)
        if incident.state != "detected":
            raise RefusedError(f"incident {incident_id} is {incident.state} already")
        await store.set_state(db, incident_id, "acknowledged", now)
        await store.meet(db, incident_id, "acknowledge", now)
        await store.write(db, incident_id, "state", "detected → acknowledged", actor=actor, now=now)
        if incident.commander is None:
            await _command(db, incident, actor, actor, now)
        return await get(db, incident_id)


async def assign(pool: Pool, incident_id: int, commander: str, *, actor: str, now: datetime) -> Incident:
    """Make somebody the commander; oneself: take over."""
    async with working(pool, incident_id, actor) as (db, incident):
        must_be_open(incident)
        await who(db, commander)
        if incident.commander == commander:
            raise RefusedError(f"{commander} commands incident {incident_id} already")
        await _command(db, incident, commander, actor, now)
        return await get(db, incident_id)


async def _command(db: Connection, incident: Incident, commander: str, actor: str, now: datetime) -> None:
    await store.set_commander(db, incident.id, commander)
    await store.hand_over(db, incident.id, commander)
    before = f" (was {incident.commander})" if incident.commander else ""
    said = f"{commander} takes command{before}" if actor == commander else f"{commander} is commander{before}"
    await store.write(db, incident.id, "person", said, actor=actor, now=now)


async def note(pool: Pool, incident_id: int, text: str, *, actor: str, now: datetime) -> int:
    """Write into the log; returns the entry's number."""
    bounded(text, "a note")
    async with working(pool, incident_id, actor) as (db, _):
        return await store.write(db, incident_id, "note", text, actor=actor, now=now)


async def calm(pool: Pool, incident_id: int, *, actor: str, reason: str, now: datetime) -> Incident:
    """Say that the trouble is over, where no alert tells: of an incident opened by hand, or re-opened."""
    async with working(pool, incident_id, actor) as (db, incident):
        must_be_open(incident)
        kept = await watch.by_ids(db, await store.alert_ids(db, incident_id))
        if incident.calm_at is not None:
            raise RefusedError(f"incident {incident_id} is calm since {incident.calm_at:%H:%M:%S %Z} already")
        if any(one.alert.closed_at is None for one in kept):
            raise RefusedError(f"incident {incident_id} has alerts that are open: it is over when they are")
        await store.set_calm(db, incident_id, now)
        await store.write(db, incident_id, "note", f"the trouble is over: {reason}", actor=actor, now=now)
        return await get(db, incident_id)


async def merge(pool: Pool, incident_id: int, into: int, *, actor: str, now: datetime) -> Incident:
    """Go on with both as one: the alerts of the first become the second's, and nothing more runs for the first.

    Raises RefusedError.
    """
    if incident_id == into:
        raise RefusedError("an incident cannot be merged into itself")
    async with pool.acquire() as db, db.transaction():
        await who(db, actor)
        found = {number: await store.lock(db, number) for number in sorted((incident_id, into))}
        one, other = found[incident_id], found[into]
        for number, incident in found.items():
            if incident is None:
                raise UnknownError(f"there is no incident {number}; see `holdfast incidents list --all`")
            must_be_open(incident)
        assert one is not None
        assert other is not None
        await store.merge(db, incident_id, into)
        for kind in ("acknowledge", "update"):
            await store.meet(db, incident_id, kind, now)
        await store.write(db, incident_id, "state", f"merged into incident {into}", actor=actor, now=now)
        said = f"incident {incident_id} was merged into this: {one.title}"
        await store.write(db, into, "state", said, actor=actor, now=now, evidence={"incident": incident_id})
        if one.severity == "critical" and other.severity != "critical":
            await store.set_severity(db, into, "critical")
            await store.write(db, into, "state", "severity is critical now", actor=actor, now=now)
        return await get(db, into)


async def reopen(db: Connection, incident: Incident, *, actor: str, reason: str, now: datetime) -> Incident:
    """It was not over after all. Raises RefusedError while another one of its runbook and scope is open."""
    bounded(reason, "a reason")
    if incident.merged_into is not None or incident.is_open:
        state = "merged" if incident.merged_into is not None else incident.state
        raise RefusedError(f"incident {incident.id} is {state}: there is nothing to re-open")
    other = await store.open_of(db, incident.runbook, incident.scope)
    if other is not None:
        raise RefusedError(f"incident {other.id} is open for the same; work on that one")
    try:
        await store.reopen(db, incident.id, now)
    except asyncpg.UniqueViolationError:
        raise RefusedError("another incident was opened for the same at this moment; work on that one") from None
    await store.meet(db, incident.id, "review", now)
    if incident.acknowledged_at is None:
        text = "acknowledge the incident"
        await store.oblige(db, incident.id, "acknowledge", text, owner=incident.commander, due_at=now)
    await store.write(db, incident.id, "state", f"re-opened: {reason}", actor=actor, now=now)
    return await get(db, incident.id)


def must_be_open(incident: Incident) -> None:
    """Raises RefusedError."""
    if incident.merged_into is not None:
        raise RefusedError(f"incident {incident.id} was merged into {incident.merged_into}; work on that one")
    if not incident.is_open:
        raise RefusedError(f"incident {incident.id} is {incident.state}; `holdfast incidents reopen` if it is not over")


def bounded(text: str, what: str) -> None:
    """Raises IncidentError."""
    if not text.strip() or len(text) > LONGEST or "\0" in text:
        raise IncidentError(f"write {what} of 1 to {LONGEST} characters")
