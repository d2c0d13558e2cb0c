"""Which merchants an incident affects, by what happened to their events, calls or texts: never from a guess."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from holdfast.comms import consent_store
from holdfast.db.pool import Connection, Pool
from holdfast.delivery import late_store
from holdfast.health.probes import AGE_SECONDS
from holdfast.incidents.model import Incident
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY
from holdfast.queue.model import Lane
from holdfast.voice import impact_store

ABOUT_CALLS = frozenset({"twilio-outage"})
"""Runbooks whose incidents hit calls, not events."""
ABOUT_CONSENT = frozenset({"consent-complaint"})
"""Runbooks whose incidents are about texts that people did not want."""
BEFORE = timedelta(minutes=10)
"""What was received so long before the trouble began, as far as the signals tell, may have been caught by it."""


@dataclass(frozen=True, slots=True)
class CallFigures:
    """What became of calls since the trouble began.

    Those hit: `failed`, `missed`, and `to_voicemail` because of a lever or of targets that could not be reached;
    `messages` were left by callers of these. `last`: when the last call that was hit began.
    """

    calls: int
    answered: int
    to_voicemail: int
    missed: int
    failed: int
    messages: int
    last: datetime | None = None

    @property
    def hit(self) -> int:
        return self.to_voicemail + self.missed + self.failed


@dataclass(frozen=True, slots=True)
class ConsentFigures:
    """How an incident about consent stands; see `consent_store.figures`. `due_at`: None where no answer is owed."""

    complaints: int
    answered: int
    late: int
    due_at: datetime | None
    blocked: int
    held: int
    findings: int
    critical: int


@dataclass(frozen=True, slots=True)
class AffectedMerchant:
    """One merchant's own figures, in events and seconds; in an incident of calls, `calls` alone says how it was hit.
    In one about consent, `complaints` and `findings` of the audit do.

    `delayed` counts events that are late or were, `waiting` those of them that still wait, the oldest of which was
    received `oldest_s` ago; `longest_s` is the longest that any took, or takes. `given_up` counts notifications that
    were tried in vain until the last try. `destinations` are the addresses of the merchant's own that are down.
    """

    id: int
    key: str
    name: str
    email: str | None
    delayed: int
    waiting: int
    oldest_s: float
    given_up: int
    destinations: tuple[str, ...] = ()
    longest_s: float = 0.0
    calls: CallFigures | None = None
    complaints: int = 0
    findings: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing of its waits, and nothing was given up."""
        return not self.waiting and not self.given_up


def about_calls(incident: Incident) -> bool:
    return incident.runbook in ABOUT_CALLS


def about_consent(incident: Incident) -> bool:
    return incident.runbook in ABOUT_CONSENT


def promises(most: timedelta | None = None) -> tuple[timedelta, ...]:
    """From when on an event is late, by lane; not later than `most`."""
    given = (timedelta(seconds=AGE_SECONDS[lane].fail) for lane in Lane)
    return tuple(given if most is None else (min(promise, most) for promise in given))


async def affected(
    db: Connection | Pool, incident: Incident, now: datetime, most: timedelta | None = None
) -> list[AffectedMerchant]:
    """Those with anything late or given up since the trouble began, the longest waits first.

    Late is what takes longer than its lane's promise (`health.probes.AGE_SECONDS`, as for `verify`), or than `most`.
    In an incident of calls: those whose calls it hit, the most of them first. In one about consent: those of whose
    texts people complain, or the audit has findings.
    """
    if about_consent(incident):
        return await _by_complaints(db, incident)
    if about_calls(incident):
        return await _by_calls(db, incident, now)
    end = min(now, incident.resolved_at) if incident.resolved_at is not None else now
    async with _at_one_instant(db) as connection:
        late = await late_store.late(connection, incident.since - BEFORE, incident.since, end, promises(most))
        lost = {row["merchant_id"]: row for row in await late_store.given_up(connection, incident.since, end)}
    rows = {row["merchant_id"]: row for row in late}
    ids = [*rows, *(key for key in lost if key not in rows)]
    known = await merchants.by_ids(db, ids)
    down = await merchants.addresses(db, sorted({number for row in late for number in row["down"]}))
    found = []
    for key in ids:
        merchant, row, dead = known.get(key), rows.get(key), lost.get(key)
        if merchant is None:
            continue  # removed meanwhile
        own = (down.get(number, (COMPANY, "")) for number in (row["down"] if row else ()))
        found.append(
            AffectedMerchant(
                key,
                merchant.key,
                merchant.name,
                merchant.email,
                row["delayed"] if row else 0,
                row["waiting"] if row else 0,
                (end - row["oldest"]).total_seconds() if row and row["oldest"] else 0.0,
                dead["count"] if dead else 0,
                tuple(address for owner, address in own if owner == key),
                row["longest"] if row else 0.0,
            )
        )
    return found


async def _by_calls(db: Connection | Pool, incident: Incident, now: datetime) -> list[AffectedMerchant]:
    end = min(now, incident.resolved_at) if incident.resolved_at is not None else now
    async with _at_one_instant(db) as connection:
        rows = await impact_store.merchants(connection, incident.since, end)
    known = await merchants.by_ids(db, [row["merchant_id"] for row in rows])
    return [
        AffectedMerchant(one.id, one.key, one.name, one.email, 0, 0, 0.0, 0, calls=_figures(row))
        for row in rows
        if (one := known.get(row["merchant_id"])) is not None
    ]


async def _by_complaints(db: Connection | Pool, incident: Incident) -> list[AffectedMerchant]:
    rows = await consent_store.merchants(db, incident.id)
    known = await merchants.by_ids(db, [row["merchant_id"] for row in rows])
    return [
        AffectedMerchant(
            one.id, one.key, one.name, one.email, 0, 0, 0.0, 0, complaints=row["complaints"], findings=row["findings"]
        )
        for row in rows
        if (one := known.get(row["merchant_id"])) is not None
    ]


async def consent_figures(db: Connection | Pool, incident: Incident, now: datetime) -> ConsentFigures:
    """As they are now."""
    return ConsentFigures(**dict(await consent_store.figures(db, incident.id, now)))


def _figures(row: asyncpg.Record) -> CallFigures:
    return CallFigures(
        row["calls"],
        row["answered"],
        row["to_voicemail"],
        row["missed"],
        row["failed"],
        row["messages"],
        row.get("last"),
    )


async def calls_since(db: Connection | Pool, since: datetime, now: datetime) -> CallFigures:
    """What became of all calls that began in [since, now)."""
    return _figures(await impact_store.all_calls(db, since, now))


@asynccontextmanager
async def _at_one_instant(db: Connection | Pool) -> AsyncIterator[Connection]:
    """A transaction in which such statements get their time; a connection given is used as it is."""
    if not isinstance(db, asyncpg.pool.Pool):
        yield db
        return
    async with db.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await late_store.be_patient(connection)
        yield connection
