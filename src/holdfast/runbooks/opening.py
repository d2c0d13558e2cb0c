"""Opens incidents: for alerts that no incident has yet, and by hand."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from holdfast.db.locks import Lock
from holdfast.db.pool import Connection, Pool
from holdfast.incidents import people_store, store
from holdfast.incidents.model import ENGINE, Incident
from holdfast.runbooks import store as steps
from holdfast.runbooks.messages import Messages
from holdfast.runbooks.model import Runbook
from holdfast.watch import store as watch
from holdfast.watch.model import Kept, Severity

log = structlog.get_logger()


AFTER_ALL = timedelta(minutes=30)
"""An alert that stays open for so long after its incident was resolved gets another one."""


class Library(Protocol):
    """The runbooks there are."""

    def for_alert(self, runbook: str, key: str) -> Runbook | None: ...

    def get(self, runbook_id: str) -> Runbook: ...


def scope(key: str) -> str:
    """What of a runbook's matter an alert is about: what follows the second slash of its key; mostly nothing."""
    return key.split("/", 2)[2] if key.count("/") >= 2 else ""


async def open_from_alerts(pool: Pool, library: Library, messages: Messages, now: datetime) -> list[Incident]:
    """An incident for every open alert that has a runbook; related ones join. Returns those that are new.

    A silenced alert opens none: whoever silenced it knows of it.
    """
    kept = await watch.open_alerts(pool)
    if not kept:
        return []
    known = await _spoken_for(pool, kept, now)
    silences = await watch.silences(pool, now)
    opened = []
    # The worst first: what an incident is called is what is worst.
    for one in sorted(kept, key=lambda one: one.alert.severity != "critical"):
        if one.id in known or any(one.alert.key.startswith(silence.matches) for silence in silences):
            continue
        book = library.for_alert(one.alert.runbook, one.alert.key)
        if book is None:
            continue
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", int(Lock.INCIDENTS))
            made = await _open_for(connection, book, one, kept, now)
            if made is not None:
                await _call(connection, messages, made, now)
        if made is not None:
            opened.append(made)
    return opened


async def _call(db: Connection, messages: Messages, incident: Incident, now: datetime) -> None:
    """Whose week it is hears of it at once, by itself: the team's channel may be read by nobody."""
    on_call = [one for one in await people_store.people(db) if one.key == incident.commander]
    number = incident.id
    text = f"Incident {number}: {incident.title}.\nIt is your week. Acknowledge it: holdfast incidents ack {number}"
    if on_call:
        await messages.page(db, f"incident-{number}/opened", on_call, text, incident=incident, now=now)


async def _spoken_for(pool: Pool, kept: Sequence[Kept], now: datetime) -> set[int]:
    """Alerts that have an incident. One that was resolved over an open alert counts for a while only."""
    known = await store.joined(pool, [one.id for one in kept])
    found = set()
    for alert_id, incident_id in known.items():
        incident = await store.get(pool, incident_id)
        assert incident is not None
        ended = incident.resolved_at
        if incident.is_open or incident.merged_into is not None or (ended is not None and now - ended < AFTER_ALL):
            found.add(alert_id)
    return found


async def _open_for(db: Connection, book: Runbook, one: Kept, others: Sequence[Kept], now: datetime) -> Incident | None:
    """The incident if it is new. Raises nothing if another engine was faster. `others`: alerts that are open too."""
    alert = one.alert
    before = (await store.joined(db, [one.id])).get(one.id)
    if before is not None:
        earlier = await store.lock(db, before)
        if earlier is None or earlier.is_open:
            return None
    severity: Severity = "critical" if "critical" in (alert.severity, book.severity) else "warning"
    incident = await store.open_of(db, book.id, scope(alert.key))
    if incident is not None:  # nobody resolves it while the alert joins
        incident = await store.lock(db, incident.id)
        incident = incident if incident is not None and incident.is_open else None
    is_new = incident is None
    if incident is None:
        incident = await open_incident(
            db,
            book,
            title=alert.title,
            severity=severity,
            cause=alert.cause,
            since=alert.since,
            actor=ENGINE,
            scope=scope(alert.key),
            affected=one.affected,
            now=now,
        )
    assert incident is not None
    if before is None:
        await store.join(db, incident.id, one.id, now)
    else:
        await store.move_alert(db, one.id, incident.id, now)
        said = f"its alert is still open and has incident {incident.id} now: {alert.title}"
        await store.write(db, before, "alert", said, actor=ENGINE, now=now)
    await store.write(
        db,
        incident.id,
        "alert",
        f"{alert.title}. Probable cause: {alert.cause}. {alert.why}",
        actor="health_watch",
        now=now,
        evidence={
            "alert": one.id,
            "key": alert.key,
            "severity": alert.severity,
            "since": alert.since,
            "figures": [str(figure) for figure in alert.evidence],
        },
    )
    if not is_new:
        await _take_over(db, incident, one, others, severity, now)
    return incident if is_new else None


async def _take_over(  # noqa: PLR0917 - what, and beside what
    db: Connection, incident: Incident, one: Kept, others: Sequence[Kept], severity: Severity, now: datetime
) -> None:
    """What a further alert adds to what is known: one that is worse than all before says what the incident is about."""
    worse = severity == "critical" and incident.severity != "critical"
    joined = await store.joined(db, [other.id for other in others if other.id != one.id])
    known = [other.alert.severity for other in others if joined.get(other.id) == incident.id]
    is_worst = one.alert.severity == "critical" and bool(known) and "critical" not in known
    await store.set_facts(
        db,
        incident.id,
        severity="critical" if worse else incident.severity,
        cause=one.alert.cause if worse or is_worst else incident.cause,
        title=one.alert.title if worse or is_worst else incident.title,
        affected=_together(incident.affected, one.affected),
    )
    if worse:
        await store.write(db, incident.id, "state", "severity is critical now", actor=ENGINE, now=now)


def _together(first: Any, second: Any) -> dict[str, Any]:
    """Lists of both, without repeating what has the same name."""
    merged = {key: list(value) for key, value in dict(first).items()}
    for key, value in dict(second).items():
        known = [_name(item) for item in merged.get(key, [])]
        merged.setdefault(key, []).extend(item for item in value if _name(item) not in known)
    return merged


def _name(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return next((item[key] for key in ("batch", "form", "merchant", "destination", "lane") if key in item), str(item))


async def open_incident(
    db: Connection,
    book: Runbook,
    *,
    title: str,
    severity: Severity,
    cause: str,
    since: datetime,
    actor: str,
    now: datetime,
    scope: str = "",
    affected: Any = None,
) -> Incident | None:
    """Open one with the steps of the runbook as it is now; None if one of this runbook and scope is open.

    Its commander is whose week it is. Somebody must acknowledge it within the runbook's clock.
    """
    rota = await people_store.rota(db)
    on_call = rota.on_call(now) if rota is not None else None
    await store.keep_text(db, book.version, book.id, book.text, now)
    incident = await store.insert(
        db,
        runbook=book.id,
        version=book.version,
        scope=scope,
        title=title,
        severity=severity,
        cause=cause,
        since=since,
        opened_by=actor,
        commander=on_call.key if on_call is not None else None,
        affected=affected or {},
        now=now,
    )
    if incident is None:
        return None
    await steps.add(db, incident.id, book.steps)
    await store.write(
        db,
        incident.id,
        "opened",
        f"{title} ({book.title}, version {book.version})",
        actor=actor,
        now=now,
        evidence={"runbook": book.id, "version": book.version, "severity": severity},
    )
    await store.oblige(
        db,
        incident.id,
        "acknowledge",
        "acknowledge the incident",
        owner=incident.commander,
        due_at=now + book.clocks.acknowledge,
    )
    return incident


async def refresh_calm(db: Connection, incident: Incident, now: datetime) -> Incident:
    """Bring `calm_at` up to date with the incident's alerts; one opened by hand is calm when somebody says so."""
    ids = await store.alert_ids(db, incident.id)
    if not ids:
        return incident
    closed = [one.alert.closed_at for one in await watch.by_ids(db, ids)]
    times = [time for time in closed if time is not None]
    calm_at = max(times) if len(times) == len(closed) and times else None
    if calm_at is not None and incident.reopened_at is not None and calm_at <= incident.reopened_at:
        return incident  # somebody said that it was not over although its alerts were: somebody says when it is
    if not closed or calm_at == incident.calm_at:
        return incident
    await store.set_calm(db, incident.id, calm_at)
    text = "all its alerts are over" if calm_at is not None else "an alert is open again"
    if (calm_at is None) != (incident.calm_at is None):
        await store.write(db, incident.id, "alert", text, actor="health_watch", now=now)
    found = await store.get(db, incident.id)
    assert found is not None
    return found
