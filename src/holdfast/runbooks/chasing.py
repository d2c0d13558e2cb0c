"""What holds for an incident as a whole: its state follows its alerts, and what is overdue is chased."""

from dataclasses import replace
from datetime import datetime, timedelta

from holdfast.db.pool import Connection, Pool
from holdfast.durations import lasted
from holdfast.incidents import people_store, store
from holdfast.incidents.model import ENGINE, Incident, Obligation
from holdfast.runbooks import opening
from holdfast.runbooks.messages import Messages

NAGS = timedelta(minutes=15)
"""How often what is overdue is told again while the incident is open."""
NAGS_LATER = timedelta(days=1)
"""And after that: action items of the review, and the review itself."""
WARNED = (timedelta(minutes=30), timedelta(minutes=10))
"""How long before a person's answer is due whoever owes it is warned: at half of its hour, and shortly before."""


async def follow(pool: Pool, incident: Incident, now: datetime) -> Incident:
    """Bring its state up to date with its alerts; returns it as it is then."""
    async with pool.acquire() as connection, connection.transaction():
        found = await store.lock(connection, incident.id)
        assert found is not None
        return await _follow(connection, await opening.refresh_calm(connection, found, now), now)


async def chase(pool: Pool, messages: Messages, incident: Incident, now: datetime) -> None:
    """Tell of what is overdue; of answers that people wait for, before they are."""
    async with pool.acquire() as connection, connection.transaction():
        found = await store.lock(connection, incident.id)
        if found is None or found.merged_into is not None:
            return
        for one in await store.pressing(connection, found.id, now, max(WARNED)):
            if not _is_to_tell(found, one, now):
                continue
            if one.kind == "acknowledge":
                said = await _escalate(connection, messages, found, one, now)
            elif one.kind == "reply":
                said = await _press(connection, messages, found, one, now)
            else:
                said = await _remind(connection, messages, found, one, now)
            await store.told(connection, one.id, now)
            await store.write(connection, found.id, "obligation", said, actor=ENGINE, now=now, step=one.step)


def _is_to_tell(incident: Incident, one: Obligation, now: datetime) -> bool:
    """Whether a moment has come, since it was told last, at which it is told."""
    if one.told_at is None:
        return True
    if one.due_at > now:
        return any(one.told_at < one.due_at - ahead <= now for ahead in WARNED)
    return one.told_at < one.due_at or now - one.told_at >= _interval(incident, one)


def _interval(incident: Incident, one: Obligation) -> timedelta:
    """How long until it is told again: an acknowledgement as soon as it was due at first."""
    if one.kind == "acknowledge":
        return max(timedelta(minutes=1), min(NAGS, one.due_at - incident.opened_at))
    return NAGS if incident.is_open or one.kind == "reply" else NAGS_LATER


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
    """Whom nobody answers for is passed over: the next on the rota is called, one after the other, then everybody.

    Once the trouble is over only whoever commands it is reminded.
    """
    rota = await people_store.rota(db)
    line = rota.from_now(now) if rota is not None else ()
    level = one.told + 1
    people = line[level : level + 1] or await people_store.people(db)
    if incident.calm_at is not None:
        people = [one for one in await people_store.people(db) if one.key == incident.commander]
    names = ", ".join(person.key for person in people) or "nobody, for there is no rota"
    over = f"\nIt is over since {incident.calm_at:%H:%M %Z}." if incident.calm_at is not None else ""
    text = (
        f"Incident {incident.id} is not acknowledged: {incident.title}.{over}\nCalled now: {names}.\n"
        f"Acknowledge it: holdfast incidents ack {incident.id}"
    )
    await messages.page(db, _key(incident, one), people, text, incident=incident, now=now)
    return f"nobody has acknowledged it, {lasted(now - one.due_at)} over time; called: {names}"


async def _press(db: Connection, messages: Messages, incident: Incident, one: Obligation, now: datetime) -> str:
    """Somebody outside waits for it: the commander is called before it is due, everybody once it is overdue."""
    team = await people_store.people(db)
    commander = [person for person in team if person.key == incident.commander]
    left = one.due_at - now
    late = left <= timedelta()
    when = f"overdue by {lasted(-left)}" if late else f"due in {lasted(left)}"
    said = f"{when}: {one.text} (of {one.owner or incident.commander or 'nobody'})"
    text = f"Incident {incident.id}, {said}.\nWhat to do: holdfast incidents show {incident.id}"
    people = team if late or not commander else commander
    await messages.page(db, _key(incident, one), people, text, incident=incident, now=now)
    return said


async def _remind(db: Connection, messages: Messages, incident: Incident, one: Obligation, now: datetime) -> str:
    owner = one.owner or incident.commander or "nobody"
    said = f"overdue by {lasted(now - one.due_at)}: {one.text} (of {owner})"
    subject = f"Overdue: {one.text}"
    await messages.post(db, _key(incident, one), subject, f"Incident {incident.id}, {said}", incident=incident, now=now)
    return said


def _key(incident: Incident, one: Obligation) -> str:
    return f"incident-{incident.id}/overdue/{one.id}/{one.told + 1}"
