"""What holds for an incident as a whole: its state follows its alerts, and what is overdue is chased."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from holdfast.db.pool import Connection, Pool
from holdfast.incidents import people_store, store
from holdfast.incidents.model import ENGINE, Incident, Obligation, Person
from holdfast.runbooks import opening

NAGS = timedelta(minutes=15)
"""How often what is overdue is told again while the incident is open."""
NAGS_LATER = timedelta(days=1)
"""And after that: action items of the review, and the review itself."""


class Messages(Protocol):
    """How the engine speaks to people. Each message goes out once under its key, with the caller's transaction."""

    async def post(
        self, db: Connection, key: str, subject: str, text: str, *, incident: Incident, now: datetime
    ) -> int:
        """To the team's channels; how many there are."""
        ...

    async def page(
        self, db: Connection, key: str, people: Sequence[Person], text: str, *, incident: Incident, now: datetime
    ) -> int:
        """To these people, wherever they can be reached; how many addresses that were."""
        ...


async def look_after(pool: Pool, messages: Messages, incident: Incident, now: datetime) -> Incident:
    """Bring its state up to date, and tell of what is overdue; returns it as it is then."""
    async with pool.acquire() as connection, connection.transaction():
        found = await store.lock(connection, incident.id)
        assert found is not None
        incident = await opening.refresh_calm(connection, found, now)
        incident = await _follow(connection, incident, now)
        nags = NAGS if incident.is_open else NAGS_LATER
        for one in await store.overdue(connection, incident.id, now, nags):
            if one.kind == "acknowledge":
                said = await _escalate(connection, messages, incident, one, now)
            else:
                said = await _remind(connection, messages, incident, one, now)
            await store.told(connection, one.id, now)
            await store.write(connection, incident.id, "obligation", said, actor=ENGINE, now=now, step=one.step)
    return incident


async def _follow(db: Connection, incident: Incident, now: datetime) -> Incident:
    """mitigating once something was changed, monitoring once all alerts are over, and back when one is open again."""
    calm, state = incident.calm_at is not None, incident.state
    if state in ("acknowledged", "mitigating") and calm:
        state = "monitoring"
    elif (state == "monitoring" and not calm) or (state == "acknowledged" and incident.mitigating_at is not None):
        state = "mitigating"
    if state == incident.state:
        return incident
    await store.set_state(db, incident.id, state, now)
    await store.write(db, incident.id, "state", f"{incident.state} → {state}", actor=ENGINE, now=now)
    return replace(incident, state=state)


async def _escalate(db: Connection, messages: Messages, incident: Incident, one: Obligation, now: datetime) -> str:
    """Whom nobody answers for is passed over: the next on the rota is called, one after the other, then everybody."""
    rota = await people_store.rota(db)
    line = rota.from_now(now) if rota is not None else ()
    level = one.told + 1
    people = line[level : level + 1] or await people_store.people(db)
    names = ", ".join(person.key for person in people) or "nobody, for there is no rota"
    text = (
        f"Incident {incident.id} is not acknowledged: {incident.title}.\nCalled now: {names}.\n"
        f"Acknowledge it: holdfast incidents ack {incident.id}"
    )
    await messages.page(db, _key(incident, one), people, text, incident=incident, now=now)
    return f"nobody has acknowledged it, {lasted(now - one.due_at)} over time; called: {names}"


async def _remind(db: Connection, messages: Messages, incident: Incident, one: Obligation, now: datetime) -> str:
    owner = one.owner or incident.commander or "nobody"
    said = f"overdue by {lasted(now - one.due_at)}: {one.text} (of {owner})"
    subject = f"Overdue: {one.text}"
    await messages.post(db, _key(incident, one), subject, f"Incident {incident.id}, {said}", incident=incident, now=now)
    return said


def _key(incident: Incident, one: Obligation) -> str:
    return f"incident-{incident.id}/overdue/{one.id}/{one.told + 1}"


def lasted(length: timedelta) -> str:
    """`40 s`, `12 min`, `3 h`, `2 d`."""
    seconds = max(0, round(length.total_seconds()))
    for unit, size in (("d", 172_800), ("h", 7_200), ("min", 60)):
        if seconds >= size:
            return f"{round(seconds / {'d': 86_400, 'h': 3_600, 'min': 60}[unit])} {unit}"
    return f"{seconds} s"
