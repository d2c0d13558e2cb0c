"""All SQL of the inbox.

`append` also puts the new events into the queue: one statement, so there is never one without the other.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from holdfast.db.places import place
from holdfast.db.pool import Connection, Pool
from holdfast.inbox.model import NO_MERCHANT, OWN, ROUTED, Event, NewEvent
from holdfast.queue import store as queue
from holdfast.queue.model import Lane, Stage

Executor = Connection | Pool
_COLUMNS = "seq, provider, event_id, type, lane, object_id, account, livemode, created_at, received_at, headers, body"

_QUEUED_AT = "to_timestamp(extract(epoch FROM now())::float8 - greatest($14 - received, 0))"
"""When an event was received, by the store's clock: how long ago that was when it was sent ($14), by the sender's.

Claims compare it with the store's clock and with what others received, whose clocks may differ."""

# For what is all new, as nearly every batch is: rows go straight from the arrays into both tables, with numbers given
# beforehand, so that nothing is joined and nothing kept aside. Stores nothing, and says so, if any is held.
APPEND_NEW = f"""
WITH given AS MATERIALIZED (
    SELECT CASE WHEN NOT EXISTS (SELECT FROM event WHERE event_id = ANY ($2::text[]))
           THEN ARRAY(SELECT nextval('event_seq_seq') FROM generate_series(1, cardinality($2))) END AS seqs
),
added AS (
    INSERT INTO event (seq, provider, event_id, type, lane, object_id, account, livemode, created_at, received_at,
                       headers, body)
    OVERRIDING SYSTEM VALUE
    SELECT n.seq, provider, event_id, type, lane, object_id, account, livemode, to_timestamp(created),
           to_timestamp(received), headers::json, body
    FROM given, unnest(seqs, $1::text[], $2, $3::text[], $4::smallint[], $5::text[], $6::text[], $7::bool[],
                       $8::float8[], $9::float8[], $10::text[], $11::bytea[])
        AS n(seq, provider, event_id, type, lane, object_id, account, livemode, created, received, headers, body)
    WHERE seqs IS NOT NULL
),
queued AS (
    {queue.ADD}
    SELECT $13, n.seq, lane, merchant_id, 0, {_QUEUED_AT}, {_QUEUED_AT}
    FROM given, unnest(seqs, $4, $9, $12::bigint[]) AS n(seq, lane, received, merchant_id)
    WHERE seqs IS NOT NULL
)
SELECT seqs IS NOT NULL FROM given
"""

# For what may be held already.
# Sorted by the bytes of ids, as Python does: processes that store the same events wait for each other then, instead
# of deadlocking.
APPEND = f"""
WITH incoming AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::bool[],
                         $8::float8[], $9::float8[], $10::text[], $11::bytea[], $12::bigint[])
        AS n(provider, event_id, type, lane, object_id, account, livemode, created, received, headers, body,
             merchant_id)
),
added AS (
    INSERT INTO event (provider, event_id, type, lane, object_id, account, livemode, created_at, received_at, headers,
                       body)
    SELECT provider, event_id, type, lane, object_id, account, livemode, to_timestamp(created), to_timestamp(received),
           headers::json, body
    FROM incoming ORDER BY event_id COLLATE "C", provider COLLATE "C"
    ON CONFLICT (event_id, provider) DO NOTHING
    RETURNING seq, provider, event_id, lane
),
queued AS (
    {queue.ADD}
    SELECT $13, a.seq, a.lane, i.merchant_id, 0, {_QUEUED_AT}, {_QUEUED_AT}
    FROM added a JOIN incoming i USING (provider, event_id)
),
known AS (
    INSERT INTO duplicate (provider, event_id, received_at)
    SELECT provider, event_id, to_timestamp(received) FROM incoming i
    WHERE NOT EXISTS (SELECT FROM added a WHERE a.provider = i.provider AND a.event_id = i.event_id)
    RETURNING provider, event_id
)
SELECT provider, event_id FROM known
"""


# For what is done once it is kept, such as callbacks: the end of a statement whose `incoming` has provider, event_id
# (each once), type, lane, object_id, account, received (Unix time), headers, body, merchant_id, note. Gives the ids
# that are new; others are counted as duplicates, but for what {uncounted} says. Sorted as above.
_KEEP_DONE = f"""
added AS (
    INSERT INTO event (provider, event_id, type, lane, object_id, account, livemode, created_at, received_at, headers,
                       body)
    SELECT provider, event_id, type, lane, object_id, account, true, to_timestamp(received), to_timestamp(received),
           headers::json, body
    FROM incoming ORDER BY event_id COLLATE "C", provider COLLATE "C"
    ON CONFLICT (event_id, provider) DO NOTHING
    RETURNING seq, event_id, lane, received_at
),
settled AS (
    {queue.ADD_DONE}
    SELECT {Stage.ROUTE.value}, seq, added.lane, merchant_id, 0, received_at, received_at, 0, 'stored', note
    FROM added JOIN incoming USING (event_id)
),
known AS (
    INSERT INTO duplicate (provider, event_id, received_at)
    SELECT provider, event_id, to_timestamp(received) FROM incoming
    WHERE NOT EXISTS (SELECT FROM added WHERE added.event_id = incoming.event_id) {{uncounted}}
)
SELECT event_id FROM added
"""
KEEP_DONE = _KEEP_DONE.format(uncounted="")
KEEP_DONE_SPOOLED = _KEEP_DONE.format(
    uncounted="""AND NOT EXISTS (
        SELECT FROM event WHERE event.event_id = incoming.event_id AND event.provider = incoming.provider
          AND event.received_at = to_timestamp(incoming.received))"""
)
"""The same receipt again, which was put to disk as well, is no duplicate."""


async def append(
    db: Executor,
    events: Sequence[NewEvent],
    lanes: Sequence[int],
    merchants: Sequence[int],
    *,
    sent: float | None = None,
) -> set[tuple[str, str]]:
    """Store and queue events (no two with the same provider and id).

    `sent`: the time now (Unix time), by the clock that says when they were received; None: this machine's.

    Returns the (provider, id) of those that we held already, which are counted as duplicates.
    """
    # Sorted here for APPEND_NEW, as in APPEND.
    order = sorted(range(len(events)), key=lambda place: (events[place].event_id, events[place].provider))
    events = [events[place] for place in order]
    columns = (
        [event.provider for event in events],
        [event.event_id for event in events],
        [event.type for event in events],
        [lanes[place] for place in order],
        [event.object_id for event in events],
        [event.account for event in events],
        [event.livemode for event in events],
        [event.created for event in events],
        [event.received for event in events],
        [event.headers for event in events],
        [event.body for event in events],
        [merchants[place] for place in order],
        Stage.ROUTE,
        time.time() if sent is None else sent,
    )
    with suppress(asyncpg.UniqueViolationError):  # another process stored one of them meanwhile
        if await db.fetchval(APPEND_NEW, *columns):
            return set()
    return {(row[0], row[1]) for row in await db.fetch(APPEND, *columns)}


Repeat = tuple[str, str, float]
"""A redelivery: provider, event id, and when it came, in Unix seconds."""


async def count_duplicates(db: Executor, repeats: Sequence[Repeat]) -> None:
    await db.execute(
        """
        INSERT INTO duplicate (provider, event_id, received_at)
        SELECT provider, event_id, to_timestamp(received)
        FROM unnest($1::text[], $2::text[], $3::float8[]) AS n(provider, event_id, received)
        """,
        [provider for provider, _, _ in repeats],
        [event_id for _, event_id, _ in repeats],
        [received for _, _, received in repeats],
    )


async def append_own(
    db: Executor,
    event_id: str,
    event_type: str,
    merchant_id: int,
    *,
    lane: Lane = Lane.CRITICAL,
    headers: str,
    body: bytes,
    now: datetime,
) -> int | None:
    """Store an event of our own, which is done already: nothing routes it. Its seq; None if it was there.

    Whoever comes second with an id waits until the first has committed, or gives it up.
    """
    seq: int | None = await db.fetchval(
        f"""
        WITH added AS (
            INSERT INTO event (provider, event_id, type, lane, livemode, created_at, received_at, headers, body)
            VALUES ($1, $2, $3, $4, true, $5, $5, $6::json, $7)
            ON CONFLICT (event_id, provider) DO NOTHING RETURNING seq
        ),
        settled AS (
            {queue.ADD_DONE} SELECT $8, seq, $4, $9, 0, $5, $5, 0, 'stored', NULL FROM added
        )
        SELECT seq FROM added
        """,
        OWN,
        event_id,
        event_type,
        lane,
        now,
        headers,
        body,
        Stage.ROUTE,
        merchant_id,
    )
    return seq


async def own_events(db: Executor, prefix: str, event_type: str) -> list[tuple[str, datetime]]:
    """Our own events of a type whose ids begin with `prefix`, oldest first: ids, and when they were made."""
    rows = await db.fetch(
        """
        SELECT event_id, created_at FROM event
        WHERE provider = $1 AND event_id >= $2 AND event_id < $2 || chr(1114111) AND type = $3 ORDER BY seq
        """,
        OWN,
        prefix,
        event_type,
    )
    return [(row[0], row[1]) for row in rows]


async def load(db: Executor, seqs: Sequence[int]) -> list[Event]:
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM event WHERE seq = ANY($1::bigint[])", seqs)
    return [_event(row) for row in rows]


async def lane_rules(db: Executor) -> dict[str, Lane]:
    return {row[0]: Lane(row[1]) for row in await db.fetch("SELECT pattern, lane FROM lane_rule ORDER BY pattern")}


async def set_lane_rule(db: Executor, pattern: str, lane: Lane) -> None:
    await db.execute(
        "INSERT INTO lane_rule VALUES ($1, $2) ON CONFLICT (pattern) DO UPDATE SET lane = excluded.lane", pattern, lane
    )


async def clear_lane_rule(db: Executor, pattern: str) -> bool:
    return await db.execute("DELETE FROM lane_rule WHERE pattern = $1", pattern) == "DELETE 1"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events: every field that is set must fit. `state` is one of `STATES`."""

    ids: Sequence[str] | None = None
    type: str | None = None
    lane: Lane | None = None
    account: str | None = None
    merchant_id: int | None = None
    object_id: str | None = None
    livemode: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    state: str | None = None
    routed: bool | None = None
    """Whether they are of the provider whose events are routed: not messages of ours, nor callbacks about calls."""


TROUBLE = ("unmatched", "unreadable", "unfetched", "dead")
STATES = ("live", "applied", "stored", *TROUBLE)
"""live: in the queue; applied: in the ledger; stored: about nothing that the ledger holds; unmatched: no merchant has
its account; unreadable: about a payment, but in an unknown form; unfetched: thin, and its object could not be had;
dead: it could not be routed."""

_WHERE = f"""
    ($1::text[] IS NULL OR event_id = ANY($1)) AND ($2::text IS NULL OR type LIKE $2)
    AND ($3::smallint IS NULL OR e.lane = $3) AND ($4::text IS NULL OR account = $4
        OR (account IS NULL AND d.outcome = 'unmatched' AND d.note = '{NO_MERCHANT}' || $4))
    AND ($5::bool IS NULL OR livemode = $5)
    AND ($6::timestamptz IS NULL OR e.received_at >= $6) AND ($7::timestamptz IS NULL OR e.received_at < $7)
    AND ($8::text IS NULL OR $8 = CASE WHEN w.ref IS NOT NULL THEN 'live' ELSE d.outcome END)
    AND ($8::text IS DISTINCT FROM 'live' OR e.seq IN (SELECT ref FROM work WHERE stage = 1))
    AND ($8::text IS NULL OR $8 NOT IN ('unmatched', 'unreadable', 'unfetched', 'dead') OR e.seq IN (
        SELECT ref FROM done WHERE stage = 1 AND outcome = $8
            AND outcome IN ('dead', 'unmatched', 'unreadable', 'unfetched')))
    AND ($9::bigint IS NULL OR coalesce(d.merchant_id, w.merchant_id) = $9)
    AND ($10::text IS NULL OR object_id = $10)
    AND ($11::bool IS NULL OR $11 = (provider = '{ROUTED}'))
    AND ($12::bigint IS NULL OR e.seq >= $12) AND ($13::bigint IS NULL OR e.seq < $13)
"""
_JOINED = """
    FROM event e
    LEFT JOIN work w ON w.stage = 1 AND w.ref = e.seq
    LEFT JOIN LATERAL (
        SELECT outcome, note, done_at, attempts, merchant_id FROM done
        WHERE stage = 1 AND ref = e.seq ORDER BY done_at DESC LIMIT 1
    ) d ON true
"""


LATEST = timedelta(days=1)
"""No event is stored longer after it was received than this, nor is any clock so far off."""


async def _place(db: Executor, moment: datetime) -> int | None:
    return await place(db, "event", "seq", "received_at", moment)


async def _arguments(db: Executor, chosen: Filter) -> list[object]:
    pattern = chosen.type and chosen.type.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
    return [
        chosen.ids,
        pattern and pattern.replace("*", "%"),
        chosen.lane,
        chosen.account,
        chosen.livemode,
        chosen.since,
        chosen.until,
        chosen.state,
        chosen.merchant_id,
        chosen.object_id,
        chosen.routed,
        chosen.since and await _place(db, chosen.since - LATEST),
        chosen.until and await _place(db, chosen.until + LATEST),
    ]


async def listing(db: Executor, chosen: Filter, *, limit: int, before: int | None) -> list[asyncpg.Record]:
    """Events newest first with what became of them; `before` is the seq to go on behind."""
    return await db.fetch(
        f"""
        SELECT e.seq, event_id, type, e.lane, object_id, account, livemode, created_at, e.received_at,
               length(body) AS size,
               CASE WHEN w.ref IS NOT NULL THEN 'live' ELSE d.outcome END AS state, d.note, d.done_at,
               coalesce(d.merchant_id, w.merchant_id) AS merchant_id
        {_JOINED} WHERE {_WHERE} AND ($14::bigint IS NULL OR e.seq < $14) ORDER BY e.seq DESC LIMIT $15
        """,
        *await _arguments(db, chosen),
        before,
        limit,
    )


async def matching(db: Executor, chosen: Filter, *, after: int, limit: int) -> list[asyncpg.Record]:
    """seq, lane, received_at and merchant_id of the chosen events, oldest first, behind seq `after`."""
    return await db.fetch(
        f"""
        SELECT e.seq, e.lane, e.received_at, coalesce(d.merchant_id, w.merchant_id, 0) AS merchant_id
        {_JOINED} WHERE {_WHERE} AND e.seq > $14 ORDER BY e.seq LIMIT $15
        """,
        *await _arguments(db, chosen),
        after,
        limit,
    )


async def queue_again(db: Executor, seqs: Sequence[int], merchants: Sequence[int], *, now: datetime | None) -> int:
    """Queue events for routing, due now; how many were added: neither those that are queued nor those that are gone.

    Retention that is deleting one of them is waited for.
    """
    status = await db.execute(
        f"""
        {queue.ADD}
        SELECT $1, e.seq, e.lane, merchant_id, 0, coalesce($4, now()), coalesce($4, now())
        FROM (SELECT seq, lane FROM event WHERE seq = ANY($2::bigint[]) ORDER BY seq FOR KEY SHARE) AS e
        JOIN unnest($2::bigint[], $3::bigint[]) AS n(seq, merchant_id) ON n.seq = e.seq
        ON CONFLICT DO NOTHING
        """,
        Stage.ROUTE,
        seqs,
        merchants,
        now,
    )
    return int(status.rpartition(" ")[2])


async def count(db: Executor, chosen: Filter) -> int:
    total = await db.fetchval(f"SELECT count(*) {_JOINED} WHERE {_WHERE}", *await _arguments(db, chosen))
    return int(total)


async def show(db: Executor, event_id: str) -> Event | None:
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM event WHERE event_id = $1 ORDER BY seq LIMIT 1", event_id)
    return _event(rows[0]) if rows else None


async def duplicates(db: Executor, provider: str, event_id: str) -> list[datetime]:
    rows = await db.fetch(
        "SELECT received_at FROM duplicate WHERE provider = $1 AND event_id = $2 ORDER BY 1", provider, event_id
    )
    return [row[0] for row in rows]


async def about(db: Executor, object_ids: Sequence[str]) -> list[int]:
    """The seqs of the events, of those that are routed, about these objects."""
    rows = await db.fetch(
        "SELECT seq FROM event WHERE object_id = ANY($1::text[]) AND provider = $2 ORDER BY seq", object_ids, ROUTED
    )
    return [row[0] for row in rows]


async def providers(db: Executor, event_ids: Sequence[str]) -> list[tuple[str, str]]:
    """(event id, provider) of those that we hold, of whatever provider."""
    rows = await db.fetch(
        "SELECT event_id, provider FROM event WHERE event_id = ANY($1::text[]) ORDER BY event_id, provider", event_ids
    )
    return [(row[0], row[1]) for row in rows]


async def held(db: Executor, provider: str, event_ids: Sequence[str]) -> Mapping[str, int]:
    """provider id → seq, of those that we hold."""
    rows = await db.fetch(
        "SELECT event_id, seq FROM event WHERE provider = $1 AND event_id = ANY($2::text[])", provider, event_ids
    )
    return {row[0]: row[1] for row in rows}


async def prune(db: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` events received before `before`, never one whose routing or deliveries are still live.

    In a transaction: they are locked before it is looked whether anything of them is live, so that what is replayed
    meanwhile stays.
    """
    is_over = """NOT EXISTS (SELECT FROM work w WHERE w.stage = 1 AND w.ref = e.seq)
        AND NOT EXISTS (SELECT FROM delivery d JOIN work w ON w.stage = 2 AND w.ref = d.id WHERE d.event_seq = e.seq)"""
    rows = await db.fetch(
        f"""
        SELECT seq FROM event e WHERE seq < $1 AND received_at < $2 AND {is_over}
        ORDER BY seq LIMIT $3 FOR UPDATE SKIP LOCKED
        """,
        await _place(db, before),
        before,
        limit,
    )
    status = await db.execute(
        f"DELETE FROM event e WHERE seq = ANY ($1::bigint[]) AND {is_over}", [row[0] for row in rows]
    )
    return int(status.rpartition(" ")[2])


async def prune_duplicates(db: Executor, before: datetime, limit: int) -> int:
    status = await db.execute(
        "DELETE FROM duplicate WHERE ctid IN (SELECT ctid FROM duplicate WHERE received_at < $1 LIMIT $2)",
        before,
        limit,
    )
    return int(status.rpartition(" ")[2])


async def rates(db: Executor, window: timedelta) -> asyncpg.Record:
    """Events that are routed, and duplicates of such, that came in over the window."""
    row = await db.fetchrow(
        """
        SELECT (SELECT count(*) FROM event WHERE received_at > now() - $1::interval AND provider = $2) AS events,
               (SELECT count(*) FROM duplicate WHERE received_at > now() - $1::interval AND provider = $2) AS duplicates
        """,
        window,
        ROUTED,
    )
    assert row is not None
    return row


async def repeated(db: Executor, window: timedelta, limit: int) -> list[tuple[str | None, int]]:
    """(account, duplicates over the window), the most first; None is the platform's own."""
    rows = await db.fetch(
        """
        SELECT e.account, count(*) FROM duplicate d JOIN event e USING (provider, event_id)
        WHERE d.received_at > now() - $1::interval AND d.provider = $3 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $2
        """,
        window,
        limit,
        ROUTED,
    )
    return [(row[0], row[1]) for row in rows]


def _event(row: asyncpg.Record) -> Event:
    return Event(
        row["seq"],
        row["provider"],
        row["event_id"],
        row["type"],
        Lane(row["lane"]),
        row["object_id"],
        row["account"],
        row["livemode"],
        row["created_at"],
        row["received_at"],
        row["headers"],
        row["body"],
    )
