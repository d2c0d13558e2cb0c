"""What an incident was in figures: its times, and what it did to events, merchants and money."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import asyncpg

from holdfast.comms.affected import about_calls, about_consent
from holdfast.complaints import impact as complaints
from holdfast.db.pool import Connection, Pool
from holdfast.delivery import impact_store as deliveries
from holdfast.inbox import impact_store as events
from holdfast.inbox import window_store
from holdfast.incidents import store as incidents
from holdfast.incidents.model import Entry, Incident
from holdfast.levers import store as levers
from holdfast.levers.model import Change, written
from holdfast.merchants import store as merchants
from holdfast.payments import impact_store as payments
from holdfast.queue.model import ClaimPolicy, Lane
from holdfast.review.model import (
    AlertFacts,
    CallImpact,
    Concerned,
    Impact,
    LaneImpact,
    MerchantCalls,
    MerchantImpact,
    Times,
    Turn,
)
from holdfast.review.timeline import told
from holdfast.voice import impact_store as calls
from holdfast.watch import store as watch

PATIENCE = 60
"""Seconds that counting may take; a review without its impact is better than none."""
MOST_EVENTS = 5_000_000
MOST_MERCHANTS = 10_000
KEPT_MERCHANTS = 200
_BY_STEP = re.compile(r"incident (\d{1,18}), step (\S+)")
"""The reason that actions give for what they turn."""
_PROMISES = [ClaimPolicy().promises[lane] for lane in Lane]


def times(incident: Incident, alerts: Sequence[AlertFacts]) -> Times:
    """How long it took; see `Times`."""
    detected = min([incident.opened_at, *(alert.opened_at for alert in alerts)])

    def after(at: datetime | None, since: datetime = incident.since) -> float | None:
        return None if at is None else max((at - since).total_seconds(), 0.0)

    return Times(
        detect=after(detected),
        acknowledge=after(incident.acknowledged_at, detected),
        mitigate=after(incident.mitigating_at),
        recover=after(incident.calm_at or incident.monitoring_at),
        resolve=after(incident.resolved_at),
    )


async def impact(
    pool: Pool,
    incident: Incident,
    now: datetime,
    *,
    patience: float = PATIENCE,
    most_events: int = MOST_EVENTS,
) -> Impact:
    """What the incident did to what came in until it was over; `failed` says so where that could not be counted."""
    until = incident.calm_at or incident.resolved_at or now
    since = min(incident.since, until)
    if about_consent(incident):
        return await _complaints(pool, incident, (since, until), now, patience)
    gathering = events.Gathering(since, until, _PROMISES, now, most_events, patience)
    try:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL statement_timeout = '{patience * 1000:.0f}ms'")
            counted = await _counted(connection, gathering)
            if not about_calls(incident):
                return counted
            return replace(counted, calls=await _calls(connection, since, until))
    except (asyncpg.QueryCanceledError, TimeoutError):
        return Impact(since, until, failed=f"counting took longer than {patience:.0f} s")


async def _complaints(
    pool: Pool, incident: Incident, window: tuple[datetime, datetime], now: datetime, patience: float
) -> Impact:
    """Events and money have nothing to do with it."""
    try:
        async with asyncio.timeout(patience):
            return Impact(*window, complaints=await complaints.impact(pool, incident, now))
    except TimeoutError:
        return Impact(*window, failed=f"counting took longer than {patience:.0f} s")


async def _counted(db: Connection, gathering: events.Gathering) -> Impact:
    since, until = gathering.since, gathering.until
    found, last = await events.gather(db, gathering)
    await deliveries.gather(db, gathering)
    affected = await _merchants(db)
    return Impact(
        since,
        until,
        events=tuple(_lane(row, "received", "lost_way") for row in await events.lanes(db)),
        notifications=tuple(_lane(row, "planned", "dead") for row in await deliveries.lanes(db)),
        merchants=affected[:KEPT_MERCHANTS],
        merchants_affected=len(affected),
        money=tuple(
            Concerned(row["currency"], row["payments"], int(row["amount"]), row["livemode"])
            for row in await payments.concerned(db)
        ),
        duplicates=await window_store.redelivered(db, since, until),
        counted_to=last if found >= gathering.most else None,
    )


async def _calls(db: Connection, since: datetime, until: datetime) -> CallImpact:
    found = await calls.all_calls(db, since, until)
    hit = await calls.merchants(db, since, until)
    names: Mapping[int, tuple[str, str]] = await merchants.named(db, [row["merchant_id"] for row in hit])
    figures = ("calls", "answered", "to_voicemail", "missed", "failed", "messages")
    own = tuple(
        MerchantCalls(*names.get(row["merchant_id"], (None, "")), *(row[name] for name in figures))
        for row in hit[:KEPT_MERCHANTS]
    )
    return CallImpact(**{name: found[name] for name in figures}, merchants=own, merchants_affected=len(hit))


def _lane(row: asyncpg.Record, count: str, failed: str) -> LaneImpact:
    lane = Lane(row["lane"])
    return LaneImpact(
        lane.label,
        _PROMISES[lane].total_seconds(),
        row[count],
        row["late"],
        row["waiting"],
        row[failed],
        row["median"],
        row["p95"],
        row["worst"],
    )


async def _merchants(db: Connection) -> tuple[MerchantImpact, ...]:
    """Those with anything late or given up, who waited longest first."""
    by_events = {row["merchant_id"]: row for row in await events.merchants(db, MOST_MERCHANTS)}
    by_sent = {row["merchant_id"]: row for row in await deliveries.merchants(db, MOST_MERCHANTS)}
    names: Mapping[int, tuple[str, str]] = await merchants.named(db, [*by_events, *by_sent])
    found = []
    for merchant_id in {**by_events, **by_sent}:
        event, sent = by_events.get(merchant_id), by_sent.get(merchant_id)
        key, name = names.get(merchant_id, (None, "" if merchant_id else "nobody's, or the company's own"))
        worst = [row["worst"] for row in (event, sent) if row is not None and row["worst"] is not None]
        found.append(
            MerchantImpact(
                key,
                name,
                event["late"] if event is not None else 0,
                sent["late"] if sent is not None else 0,
                max(worst, default=None),
                sent["dead"] if sent is not None else 0,
            )
        )
    return tuple(sorted(found, key=lambda one: (-(one.worst or 0.0), -one.given_up, one.merchant or "")))


async def alerts(pool: Pool, incident_id: int) -> tuple[AlertFacts, ...]:
    """The incident's alerts, the oldest first."""
    return tuple(
        AlertFacts(
            kept.id,
            kept.alert.key,
            kept.alert.title,
            kept.alert.severity,
            kept.alert.cause,
            kept.alert.why,
            kept.alert.since,
            kept.alert.opened_at,
            kept.alert.closed_at,
            tuple(str(one) for one in kept.alert.evidence),
        )
        for kept in await watch.by_ids(pool, await incidents.alert_ids(pool, incident_id))
    )


async def turns(pool: Pool, incident: Incident, entries: Sequence[Entry], now: datetime) -> tuple[Turn, ...]:
    """The levers that were turned for the incident, or in its time for no other; who did is found in the log."""
    until = (incident.resolved_at or now) + timedelta(minutes=1)
    found = await levers.turns(pool, incident.id, incident.since, until)
    return tuple(_turn(change, incident.id, entries) for change in found)


def _turn(change: Change, incident_id: int, entries: Sequence[Entry]) -> Turn:
    ramps = change.ramp_id is not None
    turn = Turn(
        change.at,
        f"ramp {change.what.removeprefix('ramp ')}" if ramps else change.what,
        change.name,
        change.target,
        written(change.before),
        f"{change.percent} %" if change.percent is not None else written(change.value),
        change.actor,
        change.reason,
        for_incident=change.incident_id == incident_id,
    )
    step = next((entry.step for entry in entries if entry.step and told(entry.kind, entry.text, entry.at, turn)), None)
    said = _BY_STEP.fullmatch(change.reason)
    if said is not None and int(said[1]) == incident_id:
        step = said[2]
    return replace(turn, step=step)
