"""Publishes to the status page: what the public is told of an incident, in words that are made for it.

Titles and texts that were not written by a person come from here, never from an incident's own words: those name
merchants, levers and people.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from holdfast.comms import status_store
from holdfast.comms.status import (
    COMPONENT_STATES,
    COMPONENTS,
    IMPACTS,
    LONGEST_BODY,
    LONGEST_TITLE,
    UPDATE_STATES,
    ComponentState,
    Impact,
    StatusError,
    Update,
    UpdateState,
)
from holdfast.db.pool import Connection, Pool
from holdfast.incidents import store as incidents
from holdfast.incidents.model import ENGINE, Incident, State


@dataclass(frozen=True, slots=True)
class _Told:
    """What an incident of a runbook is called in public, what it touches, and what is said of it at first."""

    title: str
    components: Mapping[str, ComponentState]
    what: str
    safe: str


_TOLD: Mapping[str, _Told] = {
    "twilio-outage": _Told(
        "Some calls are not put through",
        {"calls": "partial_outage"},
        "Some calls to our merchants' numbers have not been put through as usual",
        "Where a call cannot be put through, callers can leave a message; each one is kept.",
    ),
    "stripe-retry-storm": _Told(
        "Payment events are delayed",
        {"payments": "degraded_performance"},
        "Payment events are being processed with a delay",
        "No event is lost: each one that reaches us is stored and will be processed.",
    ),
    "webhook-backlog": _Told(
        "Notifications to merchants are delayed",
        {"notifications": "degraded_performance"},
        "Notifications to merchants are being sent with a delay",
        "No notification is lost: each one is stored and will be sent.",
    ),
    "performance-degradation": _Told(
        "Slower service than usual",
        {"api": "degraded_performance"},
        "Our service answers more slowly than usual",
        "No payment event is lost.",
    ),
}
_OTHERWISE = _Told("Disturbed service", {}, "Part of our service is disturbed", "")
_STATES: Mapping[State, UpdateState] = {
    "detected": "investigating",
    "acknowledged": "investigating",
    "mitigating": "identified",
    "monitoring": "monitoring",
    "resolved": "resolved",
    "reviewed": "resolved",
}
_OURS = "follow/"
"""How keys begin of what was said because an incident's state changed, not because a person wrote it."""
_SAID: Mapping[UpdateState, str] = {
    "investigating": "We see it again and are looking into it.",
    "identified": "We know what it is and have taken measures against it.",
    "monitoring": "The situation is improving. We keep watching until it is back to normal.",
    "resolved": "This is resolved: the service works as usual.",
}


async def publish(
    db: Connection | Pool,
    incident: Incident,
    key: str,
    state: UpdateState,
    body: str,
    *,
    impact: Impact | None = None,
    components: Mapping[str, ComponentState] | None = None,
    title: str | None = None,
    now: datetime,
    actor: str = ENGINE,
    step: str | None = None,
) -> int | None:
    """Publish an update, the first one makes the incident public; its number, or None if `key` is published already.

    What is not given stays as the update before had it; for the first one it follows from the runbook and the severity.
    Once resolved, every component that the incident touched is operational. Given a connection, it is part of the
    caller's transaction. Raises StatusError.
    """
    if isinstance(db, asyncpg.Pool):
        async with db.acquire() as connection:
            return await publish(
                connection,
                incident,
                key,
                state,
                body,
                impact=impact,
                components=components,
                title=title,
                now=now,
                actor=actor,
                step=step,
            )
    body, title = _body(body), _title(title)
    _known(state, impact, components)
    async with db.transaction():
        # Whoever publishes of the same incident waits: an update builds upon the one before.
        if await incidents.lock(db, incident.id) is None:
            raise StatusError(f"there is no incident {incident.id}")
        found = await status_store.latest(db, incident.id)
        before = found[0] if found is not None else None
        chosen = _chosen(incident, before, state, impact, components)
        number = await status_store.insert(
            db,
            incident_id=incident.id,
            key=key,
            state=state,
            impact=chosen[0],
            components=chosen[1],
            title=title or (before.title if before else public_title(incident)),
            body=body,
            now=max(now, before.at) if before else now,
        )
        if number is not None:
            said = f"Status page, {state}: {body}"
            evidence = {"status_update": number, "impact": chosen[0], "components": chosen[1]}
            await incidents.write(db, incident.id, "message", said, actor=actor, now=now, step=step, evidence=evidence)
    return number


async def follow(
    db: Connection | Pool, incident: Incident, key: str, *, now: datetime, actor: str = ENGINE, step: str | None = None
) -> UpdateState | None:
    """Say what a public incident has come to; returns the state that was published, None where nothing was to be said.

    It never takes back what a person published ahead of it. An incident that was opened again after this had called it
    resolved is open on the page again.
    """
    found = await status_store.latest(db, incident.id)
    if found is None:
        return None
    (before, last_key), wanted = found, _STATES[incident.state]
    ahead = UPDATE_STATES.index(wanted) > UPDATE_STATES.index(before.state)
    again = before.state == "resolved" and wanted != "resolved" and last_key.startswith(_OURS)
    if not (ahead or again):
        return None
    number = await publish(db, incident, _OURS + key, wanted, _SAID[wanted], now=now, actor=actor, step=step)
    return wanted if number is not None else None


async def settle(db: Pool, now: datetime) -> int:
    """Leave nothing open on the page that is over: resolved incidents, and those that became part of another one.

    Returns how many were put right.
    """
    settled = 0
    for incident_id in await status_store.still_open(db):
        async with db.acquire() as connection, connection.transaction():
            incident = await incidents.lock(connection, incident_id)
            if incident is None:
                continue
            if incident.merged_into is not None:
                await status_store.move(connection, incident.id, incident.merged_into)
                settled += 1
            elif not incident.is_open:
                since = incident.resolved_at or now
                key = f"incident-{incident.id}/resolved/{since.isoformat()}"
                settled += await follow(connection, incident, key, now=now) is not None
    return settled


def public_title(incident: Incident) -> str:
    return _TOLD.get(incident.runbook, _OTHERWISE).title


def draft(incident: Incident, oldest: timedelta | None) -> str:
    """What to say at first: what is affected, since when, how late, what we do. `oldest`: of what waits."""
    told = _TOLD.get(incident.runbook, _OTHERWISE)
    began = incident.since.astimezone(UTC)
    since = f"{began.day} {began:%b, %H:%M} UTC"
    minutes = round(oldest.total_seconds() / 60) if oldest is not None else 0
    late = f", at present by up to {minutes} minutes" if minutes > 1 else ""
    parts = (f"{told.what} since {since}{late}.", told.safe, "We are working on it and keep this page up to date.")
    return " ".join(part for part in parts if part)


def _chosen(
    incident: Incident,
    before: Update | None,
    state: UpdateState,
    impact: Impact | None,
    components: Mapping[str, ComponentState] | None,
) -> tuple[Impact, dict[str, ComponentState]]:
    if before is None or before.state == "resolved":  # it begins, or begins again
        usual: Impact = "major" if incident.severity == "critical" else "minor"
        touched = dict(_TOLD.get(incident.runbook, _OTHERWISE).components)
    else:
        usual, touched = before.impact, dict(before.components)
    touched |= components or {}
    if state == "resolved":
        return impact or "none", dict.fromkeys(touched, "operational")
    return impact or usual, touched


def _known(state: str, impact: str | None, components: Mapping[str, str] | None) -> None:
    if state not in UPDATE_STATES:
        raise StatusError(f"{state!r} is no state of an update: write {', '.join(UPDATE_STATES)}")
    if impact is not None and impact not in IMPACTS:
        raise StatusError(f"{impact!r} is no impact: write {', '.join(IMPACTS)}")
    keys = [component.key for component in COMPONENTS]
    for key, as_it_is in (components or {}).items():
        if key not in keys:
            raise StatusError(f"there is no component {key!r}: there are {', '.join(keys)}")
        if as_it_is not in COMPONENT_STATES:
            raise StatusError(f"{as_it_is!r} is no state of a component: write {', '.join(COMPONENT_STATES)}")


def _title(title: str | None) -> str | None:
    if title is None:
        return None
    title = " ".join(_plain(title).split())
    if not 1 <= len(title) <= LONGEST_TITLE:
        raise StatusError(f"a title has 1 to {LONGEST_TITLE} characters")
    return title


def _body(body: str) -> str:
    body = _plain(body.replace("\r\n", "\n")).strip()
    if not 1 <= len(body) <= LONGEST_BODY:
        raise StatusError(f"an update has 1 to {LONGEST_BODY} characters")
    return body


def _plain(text: str) -> str:
    """Without control characters: XML cannot hold them."""
    return "".join(char if char.isprintable() or char in "\n\u00a0" else " " for char in text)
