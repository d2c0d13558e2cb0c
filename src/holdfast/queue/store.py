"""The SQL of the queue, but for claims (`claim_store`). One function, one statement; `now` None: the store's clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.queue.model import Lane, NewWork, Postponed, Settled, Stage, Work

Executor = Connection | Pool

ADD = "INSERT INTO work (stage, ref, lane, merchant_id, destination_id, due_at, received_at)"
"""For rooms that store something and queue it in one statement, so that there is never one without the other."""
ADD_DONE = (
    "INSERT INTO done (stage, ref, lane, merchant_id, destination_id, received_at, done_at, attempts, outcome, note)"
)
"""The same for what is done as soon as it is stored."""
_WORKED = "NOT (stage = 1 AND attempts = 0)"
"""Of `done`: what went through the queue. The rest was done when it was stored and says nothing of how fast it goes."""


async def enqueue(db: Executor, stage: Stage, works: Sequence[NewWork], *, now: datetime | None) -> int:
    """Add work, due now; work that is live already stays as it is. Returns how many were added."""
    status = await db.execute(
        f"""
        {ADD}
        SELECT $1, ref, lane, merchant_id, destination_id, coalesce($7, now()), received_at
        FROM unnest($2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::timestamptz[])
             AS n(ref, lane, merchant_id, destination_id, received_at)
        ON CONFLICT DO NOTHING
        """,
        stage,
        [work.ref for work in works],
        [work.lane for work in works],
        [work.merchant_id for work in works],
        [work.destination_id for work in works],
        [work.received_at for work in works],
        now,
    )
    return int(status.rpartition(" ")[2])


async def settle(
    db: Executor, stage: Stage, works: Sequence[Work], results: Sequence[Settled], *, now: datetime | None
) -> set[int]:
    """Take finished work out of the queue and into `done`; returns the refs that were still ours.

    A ref that is missing from the answer was claimed again by somebody else after our lease ended: whoever settles
    inside a transaction must then not apply its effects.
    """
    leases = {work.ref: work.lease for work in works}
    rows = await db.fetch(
        """
        WITH gone AS (
            DELETE FROM work w
            USING unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
                  AS s(ref, lease, outcome, note, merchant_id)
            WHERE w.stage = $1 AND w.ref = s.ref AND w.lease = s.lease
            RETURNING w.ref, w.lane, coalesce(s.merchant_id, w.merchant_id) AS merchant_id, w.destination_id,
                      w.received_at, w.attempts, s.outcome, s.note
        )
        INSERT INTO done (stage, ref, lane, merchant_id, destination_id, received_at, done_at, attempts, outcome, note)
        SELECT $1, ref, lane, merchant_id, destination_id, received_at, coalesce($7, clock_timestamp()), attempts,
               outcome, note
        FROM gone
        RETURNING ref
        """,
        stage,
        [result.ref for result in results],
        [leases[result.ref] for result in results],
        [result.outcome for result in results],
        [result.note for result in results],
        [result.merchant_id for result in results],
        now,
    )
    return {row[0] for row in rows}


async def postpone(
    db: Executor, stage: Stage, works: Sequence[Work], later: Sequence[Postponed], *, now: datetime | None
) -> set[int]:
    """Give claimed work back, due after its delay; returns the refs that were still ours."""
    leases = {work.ref: work.lease for work in works}
    rows = await db.fetch(
        """
        UPDATE work w
        SET due_at = coalesce($6, now()) + s.delay, lease = NULL,
            attempts = w.attempts - CASE WHEN s.tried THEN 0 ELSE 1 END
        FROM unnest($2::bigint[], $3::bigint[], $4::interval[], $5::bool[]) AS s(ref, lease, delay, tried)
        WHERE w.stage = $1 AND w.ref = s.ref AND w.lease = s.lease
        RETURNING w.ref
        """,
        stage,
        [item.ref for item in later],
        [leases[item.ref] for item in later],
        [timedelta(seconds=item.delay) for item in later],
        [item.tried for item in later],
        now,
    )
    return {row[0] for row in rows}


async def renew(
    db: Executor, stage: Stage, works: Sequence[Work], lasts: timedelta, *, now: datetime | None
) -> set[int]:
    """Prolong leases; returns the refs that were still ours."""
    rows = await db.fetch(
        """
        UPDATE work w SET due_at = coalesce($4, now()) + $5
        FROM unnest($2::bigint[], $3::bigint[]) AS s(ref, lease)
        WHERE w.stage = $1 AND w.ref = s.ref AND w.lease = s.lease
        RETURNING w.ref
        """,
        stage,
        [work.ref for work in works],
        [work.lease for work in works],
        now,
        lasts,
    )
    return {row[0] for row in rows}


_OURS = "(stage = 2 AND destination_id IN (SELECT id FROM destination WHERE kind IN ('contact', 'team')))"
"""Messages of ours. What waits because our own mail server is down is no backlog of anybody's notifications."""


async def depths(db: Executor) -> list[asyncpg.Record]:
    """Per stage and lane that has any: depth, in_flight, oldest_age in seconds, without messages of ours; and of those,
    messages and messages_age.
    """
    return await db.fetch(
        f"""
        SELECT stage, lane, count(*) FILTER (WHERE NOT ours) AS depth,
               count(*) FILTER (WHERE lease IS NOT NULL AND due_at > now() AND NOT ours) AS in_flight,
               coalesce(extract(epoch FROM now() - min(received_at) FILTER (WHERE NOT ours)), 0)::float8 AS oldest_age,
               count(*) FILTER (WHERE ours) AS messages,
               coalesce(extract(epoch FROM now() - min(received_at) FILTER (WHERE ours)), 0)::float8 AS messages_age
        FROM (SELECT stage, lane, lease, due_at, received_at, {_OURS} AS ours FROM work) AS live GROUP BY stage, lane
        """
    )


async def depths_of(
    db: Executor, merchants: Sequence[int], destinations: Sequence[int]
) -> list[tuple[Stage, Lane, int | None, int | None, int]]:
    """(stage, lane, merchant, destination, depth) of these merchants' work, and of that for these destinations.

    What is of one of the merchants counts for that merchant, with no destination; the rest the other way round.
    """
    rows = await db.fetch(
        """
        SELECT stage, lane, CASE WHEN of_merchant THEN merchant_id END,
               CASE WHEN NOT of_merchant THEN destination_id END, count(*)
        FROM work, LATERAL (SELECT merchant_id = ANY($1::bigint[]) AS of_merchant) AS which
        WHERE of_merchant OR destination_id = ANY($2::bigint[])
        GROUP BY 1, 2, 3, 4
        """,
        merchants,
        destinations,
    )
    return [(Stage(stage), Lane(lane), *others) for stage, lane, *others in rows]


async def lane_stats(db: Executor, window: timedelta, *, now: datetime | None) -> list[asyncpg.Record]:
    """Per stage and lane: depth, waiting, in_flight, delayed, oldest_age, arrived and served in the window.

    The oldest is none of our own messages.
    """
    return await db.fetch(_stats("lane"), window, now)


async def bucket_stats(db: Executor, key: str, window: timedelta, *, now: datetime | None) -> list[asyncpg.Record]:
    """The same per stage and `key`: merchant_id or destination_id."""
    if key not in ("merchant_id", "destination_id"):
        raise ValueError(key)
    return await db.fetch(_stats(key), window, now)


def _stats(key: str) -> str:
    oldest = f" FILTER (WHERE NOT {_OURS})" if key == "lane" else ""
    # What arrived in the window is either still live or done by now: no counter has to be kept.
    return f"""
    WITH clock AS (SELECT coalesce($2, now()) AS at),
    live AS (
        SELECT stage, {key} AS key, count(*) AS depth,
               count(*) FILTER (WHERE due_at <= clock.at) AS waiting,
               count(*) FILTER (WHERE due_at > clock.at AND lease IS NOT NULL) AS in_flight,
               count(*) FILTER (WHERE due_at > clock.at AND lease IS NULL) AS delayed,
               min(received_at){oldest} AS oldest,
               count(*) FILTER (WHERE received_at > clock.at - $1::interval) AS arrived
        FROM work, clock GROUP BY stage, {key}
    ),
    past AS (
        SELECT stage, {key} AS key, count(*) AS served,
               count(*) FILTER (WHERE received_at > clock.at - $1::interval) AS arrived
        FROM done, clock WHERE done_at > clock.at - $1::interval AND {_WORKED} GROUP BY stage, {key}
    )
    SELECT stage, key, coalesce(depth, 0) AS depth, coalesce(waiting, 0) AS waiting,
           coalesce(in_flight, 0) AS in_flight, coalesce(delayed, 0) AS delayed,
           extract(epoch FROM clock.at - oldest)::float8 AS oldest_age,
           coalesce(live.arrived, 0) + coalesce(past.arrived, 0) AS arrived, coalesce(served, 0) AS served
    FROM live FULL JOIN past USING (stage, key), clock
    ORDER BY stage, depth DESC, key
    """


async def flows(
    db: Executor, slot: timedelta, slots: int, *, now: datetime | None
) -> list[tuple[Stage, Lane, str, int, int]]:
    """(stage, lane, what, slot, count): what is `due`, `in_flight`, or `later` now (slot 0), and what `arrived` and was
    `served` in each of the last slots of time, the newest being 0.
    """
    rows = await db.fetch(
        f"""
        WITH clock AS (SELECT coalesce($3, now()) AS at, coalesce($3, now()) - $1::interval * $2::int AS since),
        moved AS (
            SELECT stage, lane, 'arrived' AS what, received_at AS moved_at FROM work, clock WHERE received_at > since
            UNION ALL
            SELECT stage, lane, 'arrived', received_at FROM done, clock
            WHERE done_at > since AND received_at > since AND {_WORKED}
            UNION ALL
            SELECT stage, lane, 'served', done_at FROM done, clock WHERE done_at > since AND {_WORKED}
        )
        SELECT stage, lane, what, floor(extract(epoch FROM at - moved_at) / extract(epoch FROM $1::interval))::int,
               count(*)
        FROM moved, clock WHERE moved_at <= at GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT stage, lane,
               CASE WHEN due_at <= at THEN 'due' WHEN lease IS NOT NULL THEN 'in_flight' ELSE 'later' END, 0, count(*)
        FROM work, clock GROUP BY 1, 2, 3
        """,
        slot,
        slots,
        now,
    )
    return [
        (Stage(stage), Lane(lane), what, min(number, slots - 1), count) for stage, lane, what, number, count in rows
    ]


async def live(db: Executor, stage: Stage, refs: Sequence[int]) -> set[int]:
    """Which of these refs are in the queue."""
    rows = await db.fetch("SELECT ref FROM work WHERE stage = $1 AND ref = ANY($2::bigint[])", stage, refs)
    return {row[0] for row in rows}


async def outcomes(db: Executor, stage: Stage, refs: Sequence[int]) -> dict[int, asyncpg.Record]:
    """ref → its newest `done` row (outcome, note, attempts, done_at), for those that were ever done."""
    rows = await db.fetch(
        """
        SELECT DISTINCT ON (ref) ref, outcome, note, attempts, done_at, merchant_id FROM done
        WHERE stage = $1 AND ref = ANY($2::bigint[]) ORDER BY ref, done_at DESC
        """,
        stage,
        refs,
    )
    return {row["ref"]: row for row in rows}


async def prune(db: Executor, before: datetime, limit: int) -> int:
    """Delete up to `limit` old `done` rows; live work is not here."""
    status = await db.execute(
        "DELETE FROM done WHERE ctid IN (SELECT ctid FROM done WHERE done_at < $1 LIMIT $2)", before, limit
    )
    return int(status.rpartition(" ")[2])
