"""All SQL of the status page: published updates and subscribers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from holdfast.comms.status import Impact, Update, UpdateState
from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool

_UPDATE = "id, incident_id, at, state, impact, components, title, body"
_SUBSCRIBER = "id, email, handle, secret, asked_at, confirmed_at"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Somebody who asked for mail; they get it once `confirmed_at` is set."""

    id: int
    email: str
    handle: str
    secret: str
    asked_at: datetime
    confirmed_at: datetime | None


# Updates


async def insert(
    db: Executor,
    *,
    incident_id: int,
    key: str,
    state: UpdateState,
    impact: Impact,
    components: Mapping[str, str],
    title: str,
    body: str,
    now: datetime,
) -> int | None:
    """The new update's number; None if there is one under this key."""
    number: int | None = await db.fetchval(
        """
        INSERT INTO status_update (incident_id, key, at, state, impact, components, title, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (key) DO NOTHING RETURNING id
        """,
        incident_id,
        key,
        now,
        state,
        impact,
        json.dumps(dict(components)),
        title,
        body,
    )
    return number


async def latest(db: Executor, incident_id: int) -> tuple[Update, str] | None:
    """The incident's last update and its key; None: it is not public."""
    row = await db.fetchrow(
        f"SELECT {_UPDATE}, key FROM status_update WHERE incident_id = $1 ORDER BY id DESC LIMIT 1", incident_id
    )
    return (_update(row), row["key"]) if row is not None else None


async def get(db: Executor, update_id: int) -> Update | None:
    row = await db.fetchrow(f"SELECT {_UPDATE} FROM status_update WHERE id = $1", update_id)
    return _update(row) if row is not None else None


async def published(db: Executor, since: datetime, limit: int) -> list[Update]:
    """The newest `limit` updates, newest first, of the incidents that are open or were so after `since`."""
    rows = await db.fetch(
        f"""
        WITH last AS (
            SELECT DISTINCT ON (incident_id) incident_id, state, at FROM status_update ORDER BY incident_id, id DESC
        )
        SELECT {", ".join(f"u.{name.strip()}" for name in _UPDATE.split(","))}
        FROM status_update u JOIN last USING (incident_id)
        WHERE last.state <> 'resolved' OR last.at >= $1 ORDER BY u.id DESC LIMIT $2
        """,
        since,
        limit,
    )
    return [_update(row) for row in rows]


async def still_open(db: Executor) -> list[int]:
    """The incidents that the page shows as open."""
    rows = await db.fetch(
        """
        SELECT incident_id FROM (
            SELECT DISTINCT ON (incident_id) incident_id, state FROM status_update ORDER BY incident_id, id DESC
        ) last WHERE state <> 'resolved' ORDER BY incident_id
        """
    )
    return [row[0] for row in rows]


async def move(db: Executor, incident_id: int, into: int) -> None:
    """What was said of an incident was said of the one that it was merged into."""
    await db.execute("UPDATE status_update SET incident_id = $2 WHERE incident_id = $1", incident_id, into)


# Mail of updates


async def next_to_mail(db: Connection, since: datetime) -> tuple[Update, int] | None:
    """The oldest update after `since` that is not mailed to everybody, and to whom last; nobody else's meanwhile."""
    row = await db.fetchrow(
        f"""
        SELECT {_UPDATE}, mailed_to FROM status_update WHERE mailed_at IS NULL AND at >= $1
        ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
        """,
        since,
    )
    return (_update(row), row["mailed_to"]) if row is not None else None


async def readers(db: Executor, at: datetime, after: int, limit: int) -> list[Subscriber]:
    """Who had confirmed by then, in the order of their numbers, behind `after`."""
    rows = await db.fetch(
        f"SELECT {_SUBSCRIBER} FROM subscriber WHERE confirmed_at <= $1 AND id > $2 ORDER BY id LIMIT $3",
        at,
        after,
        limit,
    )
    return [Subscriber(**row) for row in rows]


async def mailed(db: Executor, update_id: int, to: int, now: datetime | None) -> None:
    """Up to subscriber `to`; `now` when that was the last."""
    await db.execute("UPDATE status_update SET mailed_to = $2, mailed_at = $3 WHERE id = $1", update_id, to, now)


# Subscribers


async def ask(
    db: Connection,
    email: str,
    handle: str,
    secret: str,
    *,
    pause: timedelta,
    window: timedelta,
    most: int,
    now: datetime,
) -> Subscriber | None:
    """Remember that somebody asked; None: this address did within `pause`, or `most` did within `window`.

    Who is known keeps the links and the confirmation.
    """
    row = await db.fetchrow(
        f"""
        INSERT INTO subscriber (email, handle, secret, asked_at)
        SELECT $1, $2, $3, $4::timestamptz
        WHERE (SELECT count(*) FROM subscriber WHERE asked_at > $4::timestamptz - $6::interval) < $7
        ON CONFLICT (email) DO UPDATE SET asked_at = excluded.asked_at
            WHERE subscriber.asked_at <= $4::timestamptz - $5::interval
        RETURNING {_SUBSCRIBER}
        """,
        email,
        handle,
        secret,
        now,
        pause,
        window,
        most,
    )
    return Subscriber(**row) if row is not None else None


async def asked(db: Executor, since: datetime) -> int:
    """How many addresses asked after that."""
    return int(await db.fetchval("SELECT count(*) FROM subscriber WHERE asked_at > $1", since))


async def by_handle(db: Executor, handle: str) -> Subscriber | None:
    row = await db.fetchrow(f"SELECT {_SUBSCRIBER} FROM subscriber WHERE handle = $1", handle)
    return Subscriber(**row) if row is not None else None


async def confirm(db: Executor, subscriber_id: int, now: datetime) -> None:
    """From the first confirmation on."""
    await db.execute(
        "UPDATE subscriber SET confirmed_at = coalesce(confirmed_at, $2) WHERE id = $1", subscriber_id, now
    )


async def leave(db: Executor, subscriber_id: int) -> None:
    await db.execute("DELETE FROM subscriber WHERE id = $1", subscriber_id)


async def forget(db: Executor, before: datetime) -> list[str]:
    """Addresses that nobody confirmed in time; which those were."""
    rows = await db.fetch("DELETE FROM subscriber WHERE confirmed_at IS NULL AND asked_at < $1 RETURNING email", before)
    return [row[0] for row in rows]


async def subscribers(db: Executor, *, after: int = 0, limit: int = 1000) -> Sequence[Subscriber]:
    rows = await db.fetch(f"SELECT {_SUBSCRIBER} FROM subscriber WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
    return [Subscriber(**row) for row in rows]


def _update(row: asyncpg.Record) -> Update:
    return Update(
        id=row["id"],
        incident_id=row["incident_id"],
        at=row["at"],
        state=row["state"],
        impact=row["impact"],
        components=json.loads(row["components"]),
        title=row["title"],
        body=row["body"],
    )
