"""All SQL of deliveries and their attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import msgspec

from holdfast.db.places import place
from holdfast.db.pool import Connection, Pool
from holdfast.delivery.model import Attempt
from holdfast.inbox.window_store import PATIENCE, RECEIVED
from holdfast.queue import store as queue
from holdfast.queue.model import Stage, Work

Executor = Connection | Pool
_headers = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """One notification to send: an event to a destination. `merchant_id` is the event's, which it is fair among."""

    event_seq: int
    destination_id: int
    merchant_id: int
    lane: int


# One delivery an event and destination, however often the event is routed.
PLAN = f"""
WITH added AS (
    INSERT INTO delivery (event_seq, destination_id, merchant_id, lane, created_at)
    SELECT event_seq, destination_id, merchant_id, lane, now()
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[])
        AS n(event_seq, destination_id, merchant_id, lane)
    ORDER BY event_seq, destination_id
    ON CONFLICT (event_seq, destination_id) DO NOTHING
    RETURNING id, lane, merchant_id, destination_id, created_at
)
{queue.ADD}
SELECT $5, id, lane, merchant_id, destination_id, created_at, created_at FROM added
"""


async def plan(db: Executor, deliveries: Sequence[NewDelivery]) -> int:
    """Add deliveries and queue them; those that exist already stay as they are. Returns how many are new."""
    if not deliveries:
        return 0
    status = await db.execute(
        PLAN,
        [item.event_seq for item in deliveries],
        [item.destination_id for item in deliveries],
        [item.merchant_id for item in deliveries],
        [item.lane for item in deliveries],
        Stage.DELIVER,
    )
    return int(status.rpartition(" ")[2])


@dataclass(frozen=True, slots=True)
class Loaded:
    """What there is to send: the delivery with its event."""

    delivery_id: int
    event_seq: int
    event_id: str
    type: str
    created_at: datetime
    received_at: datetime
    account: str | None
    merchant_id: int
    livemode: bool
    body: bytes
    headers: dict[str, str]


async def load(db: Executor, ids: Sequence[int]) -> dict[int, Loaded]:
    rows = await db.fetch(
        """
        SELECT d.id AS delivery_id, e.seq AS event_seq, e.event_id, e.type, e.created_at, e.received_at, e.account,
               d.merchant_id, e.livemode, e.body, e.headers
        FROM delivery d JOIN event e ON e.seq = d.event_seq WHERE d.id = ANY($1::bigint[])
        """,
        ids,
    )
    return {row["delivery_id"]: _loaded(row) for row in rows}


def _loaded(row: asyncpg.Record) -> Loaded:
    return Loaded(**{**row, "headers": _headers(row["headers"])})


async def record(db: Executor, tried: Sequence[tuple[Work, Attempt]], *, now: datetime | None) -> None:
    """Append what came of attempts."""
    await db.execute(
        """
        INSERT INTO attempt (delivery_id, attempt, at, outcome, status, latency, error, response)
        SELECT delivery_id, attempt, coalesce($8, clock_timestamp()), outcome, status, latency, error, response
        FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::smallint[], $5::real[], $6::text[], $7::bytea[])
            AS n(delivery_id, attempt, outcome, status, latency, error, response)
        """,
        [work.ref for work, _ in tried],
        [work.attempts for work, _ in tried],
        [attempt.outcome for _, attempt in tried],
        [attempt.status for _, attempt in tried],
        [attempt.latency for _, attempt in tried],
        [attempt.error for _, attempt in tried],
        [attempt.response or None for _, attempt in tried],
        now,
    )


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries: every field that is set must fit. `state` is one of `STATES`."""

    ids: Sequence[int] | None = None
    event_seqs: Sequence[int] | None = None
    destination_id: int | None = None
    merchant_id: int | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None


STATES = ("live", "delivered", "dead")
"""live: in the queue; delivered: taken by the destination; dead: given up, for people to look at and replay."""

_STATE = "CASE WHEN w.ref IS NOT NULL THEN 'live' ELSE coalesce(done.outcome, 'live') END"
_JOINED = """
    FROM delivery d
    LEFT JOIN work w ON w.stage = 2 AND w.ref = d.id
    LEFT JOIN LATERAL (
        SELECT outcome, note, done_at, attempts FROM done WHERE stage = 2 AND ref = d.id ORDER BY done_at DESC LIMIT 1
    ) done ON true
"""
_WHERE = f"""
    ($1::bigint[] IS NULL OR d.id = ANY($1)) AND ($2::bigint[] IS NULL OR d.event_seq = ANY($2))
    AND ($3::bigint IS NULL OR d.destination_id = $3) AND ($4::bigint IS NULL OR d.merchant_id = $4)
    AND ($5::text IS NULL OR $5 = {_STATE})
    AND ($6::timestamptz IS NULL OR d.created_at >= $6) AND ($7::timestamptz IS NULL OR d.created_at < $7)
    AND ($5::text IS DISTINCT FROM 'dead' OR d.id IN (SELECT ref FROM done WHERE stage = 2 AND outcome = 'dead'))
"""


def _arguments(chosen: Filter) -> list[object]:
    return [
        chosen.ids,
        chosen.event_seqs,
        chosen.destination_id,
        chosen.merchant_id,
        chosen.state,
        chosen.since,
        chosen.until,
    ]


async def listing(db: Executor, chosen: Filter, *, limit: int, before: int | None) -> list[asyncpg.Record]:
    """Deliveries newest first with what became of them; `before` is the id to go on behind."""
    return await db.fetch(
        f"""
        SELECT d.id, d.event_seq, e.event_id, e.type, d.destination_id, d.merchant_id, d.lane, d.created_at,
               {_STATE} AS state, coalesce(w.attempts, done.attempts, 0) AS attempts, done.note, done.done_at,
               CASE WHEN w.lease IS NULL THEN w.due_at END AS next_try
        {_JOINED} JOIN event e ON e.seq = d.event_seq
        WHERE {_WHERE} AND ($8::bigint IS NULL OR d.id < $8) ORDER BY d.id DESC LIMIT $9
        """,
        *_arguments(chosen),
        before,
        limit,
    )


async def matching(db: Executor, chosen: Filter, *, after: int, limit: int) -> list[asyncpg.Record]:
    """id, lane, merchant_id and destination_id of the chosen deliveries, oldest first, behind id `after`."""
    return await db.fetch(
        f"""
        SELECT d.id, d.lane, d.merchant_id, d.destination_id {_JOINED}
        WHERE {_WHERE} AND d.id > $8 ORDER BY d.id LIMIT $9
        """,
        *_arguments(chosen),
        after,
        limit,
    )


async def count(db: Executor, chosen: Filter) -> int:
    return int(await db.fetchval(f"SELECT count(*) {_JOINED} WHERE {_WHERE}", *_arguments(chosen)))


async def attempts(db: Executor, delivery_id: int) -> list[asyncpg.Record]:
    return await db.fetch(
        "SELECT attempt, at, outcome, status, latency, error, response FROM attempt WHERE delivery_id = $1 ORDER BY at",
        delivery_id,
    )


async def pace(db: Executor, window: timedelta, *, now: datetime | None) -> list[asyncpg.Record]:
    """Per destination_id over the window: tries, failed (of these: to be tried again), latency (mean, seconds)."""
    return await db.fetch(
        """
        SELECT d.destination_id, count(*) AS tries, count(*) FILTER (WHERE a.outcome = 'retry') AS failed,
               avg(a.latency)::float8 AS latency
        FROM attempt a JOIN delivery d ON d.id = a.delivery_id
        WHERE a.at > coalesce($2, now()) - $1::interval AND a.at <= coalesce($2, now()) GROUP BY d.destination_id
        """,
        window,
        now,
    )


async def unsettled(db: Executor, event_seqs: Sequence[int]) -> list[asyncpg.Record]:
    """The deliveries of these events that are not delivered: id, event_seq, destination_id, state."""
    return await db.fetch(
        f"""
        SELECT d.id, d.event_seq, d.destination_id, {_STATE} AS state {_JOINED}
        WHERE d.event_seq = ANY($1::bigint[]) AND {_STATE} <> 'delivered' ORDER BY d.id
        """,
        event_seqs,
    )


GATHERED = "window_delivery"
"""What `gather` makes of a window: the deliveries of its events."""


async def gather(db: Connection) -> int:
    """Note the deliveries of a window's events (`inbox.window_store.gather`) until the transaction ends; how many."""
    await db.execute(f"CREATE TEMPORARY TABLE {GATHERED} (LIKE delivery) ON COMMIT DROP")
    status = await db.execute(
        f"""
        INSERT INTO {GATHERED} SELECT d.* FROM delivery d JOIN {RECEIVED} e ON e.seq = d.event_seq
        WHERE d.event_seq BETWEEN (SELECT min(seq) FROM {RECEIVED}) AND (SELECT max(seq) FROM {RECEIVED})
        """,
        timeout=PATIENCE,
    )
    await db.execute(f"ANALYZE {GATHERED}")
    return int(status.rpartition(" ")[2])


async def tally(db: Connection, late_since: Sequence[datetime], failing_since: datetime) -> list[asyncpg.Record]:
    """What became of the gathered deliveries; state is one of `STATES`, or lost: nowhere to be found.

    Per lane, merchant_id, destination_id and state: count, late, oldest (waiting since), examples (ids of those not
    well, up to five) and a note. And, with destination_id NULL, per lane: how many of the events have deliveries of
    which the worst is in this state. Late is what waits untried since before `late_since` (by lane), or was tried in
    vain since before `failing_since`.
    """
    return await db.fetch(
        f"""
        WITH sent AS MATERIALIZED (
            SELECT d.event_seq, d.lane, d.merchant_id, d.destination_id, d.id, done.note,
                   w.received_at AS waits_since,
                   w.received_at < CASE WHEN w.attempts = 0 OR (w.attempts = 1 AND w.lease IS NOT NULL)
                       THEN ($1::timestamptz[])[d.lane + 1] ELSE $2 END AS late,
                   CASE WHEN w.ref IS NOT NULL THEN 'live' ELSE coalesce(done.outcome, 'lost') END AS state
            FROM {GATHERED} d
            LEFT JOIN work w ON w.stage = 2 AND w.ref = d.id
            LEFT JOIN (
                SELECT DISTINCT ON (ref) ref, outcome, note FROM done
                WHERE stage = 2 AND ref BETWEEN (SELECT min(id) FROM {GATHERED}) AND (SELECT max(id) FROM {GATHERED})
                ORDER BY ref, done_at DESC
            ) AS done ON done.ref = d.id
        )
        SELECT lane, merchant_id, destination_id, state, count(*) AS count, count(*) FILTER (WHERE late) AS late,
               min(waits_since) AS oldest,
               (array_agg(id) FILTER (WHERE state IN ('dead', 'lost') OR late))[1:5] AS examples,
               max(note) FILTER (WHERE state = 'dead') AS note
        FROM sent GROUP BY lane, merchant_id, destination_id, state
        UNION ALL
        SELECT lane, NULL, NULL, state, count(*), 0, NULL, NULL, NULL
        FROM (
            SELECT lane, (ARRAY['lost', 'dead', 'live', 'delivered'])[min(
                CASE state WHEN 'lost' THEN 1 WHEN 'dead' THEN 2 WHEN 'live' THEN 3 ELSE 4 END)] AS state
            FROM sent GROUP BY event_seq, lane
        ) AS event GROUP BY lane, state
        """,
        late_since,
        failing_since,
        timeout=PATIENCE,
    )


async def given_up(db: Executor, since: datetime, until: datetime) -> list[asyncpg.Record]:
    """Dead deliveries of events received in the window, or that were given up in it: id, destination_id, and whether
    the event was `received` in the window.
    """
    return await db.fetch(
        """
        SELECT d.id, d.destination_id, e.received_at >= $1 AND e.received_at < $2 AS received
        FROM (SELECT DISTINCT ref FROM done WHERE stage = 2 AND outcome = 'dead' AND done_at >= $1) AS dead
        JOIN delivery d ON d.id = dead.ref
        JOIN event e ON e.seq = d.event_seq
        CROSS JOIN LATERAL (
            SELECT outcome, done_at FROM done WHERE stage = 2 AND ref = d.id ORDER BY done_at DESC LIMIT 1
        ) AS last
        WHERE last.outcome = 'dead' AND NOT EXISTS (SELECT FROM work w WHERE w.stage = 2 AND w.ref = d.id)
          AND ((e.received_at >= $1 AND e.received_at < $2) OR (last.done_at >= $1 AND last.done_at < $2))
        ORDER BY d.id
        """,
        since,
        until,
    )


async def prune(db: Executor, before: datetime, limit: int) -> int:
    """Delete up to `limit` deliveries of events that are gone, with their attempts; never live ones."""
    return int(
        await db.fetchval(
            """
            WITH old AS (
                SELECT d.id FROM delivery d
                WHERE d.id < $1 AND NOT EXISTS (SELECT FROM event e WHERE e.seq = d.event_seq)
                  AND NOT EXISTS (SELECT FROM work w WHERE w.stage = 2 AND w.ref = d.id)
                ORDER BY d.id LIMIT $2
            ),
            tries AS (DELETE FROM attempt a USING old WHERE a.delivery_id = old.id),
            gone AS (DELETE FROM delivery d USING old WHERE d.id = old.id RETURNING d.id)
            SELECT count(*) FROM gone
            """,
            await place(db, "delivery", "id", "created_at", before),
            limit,
        )
    )
