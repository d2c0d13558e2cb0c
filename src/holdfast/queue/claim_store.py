"""The SQL of a claim: the one statement that decides what is worked on next; `now` None means the database's clock."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from holdfast.db.pool import Connection, Pool
from holdfast.queue.model import Lane, Shared, Stage, Work

LANES = tuple(Lane)
Bucket = tuple[int, int]
"""(merchant id, destination id): what a claim is fair between."""


@dataclass(frozen=True, slots=True)
class Part:
    """One lane's part in a claim: its share, from which end it is served, and behind which bucket the walk goes on.

    `most`: it may take no more, even if others leave theirs; None for no such limit.
    """

    lane: Lane
    share: int
    newest: bool
    after: Bucket
    most: int | None = None


@dataclass(slots=True)
class Page:
    """What a claim saw of one part. `end`: its last bucket; `full`: there may be more behind it.

    `more`: its buckets have more due than was looked at. `offered`: how many merchants had something due.
    `last_served`: the last bucket that got its first turn, None if nothing was taken. `second_turn`: somebody got a
    second turn, so everybody offered had a first one. `shared`: the destinations of what took a `Shared` slot.
    """

    end: Bucket | None = None
    full: bool = False
    more: bool = False
    offered: int = 0
    served: int = 0
    last_served: Bucket | None = None
    second_turn: bool = False
    shared: list[int] = field(default_factory=list)


# For each part of the claim: walk its lane's buckets from the cursor on (a loose index scan: one index probe a bucket,
# however deep its backlog; it finds the oldest work, which tells whether anything is due), look at a few due works of
# each that has any, and deal them out like cards: first one of every merchant, then the second … so that nobody waits
# behind a noisy neighbour. Every part may take its share, and what others leave; every destination gets no more than
# its free slots. The more urgent lanes come first in both, and the two ends of a late lane keep their proportion.
# A row with ref NULL tells of each part's page: its last bucket, how many buckets, how many merchants have work,
# whether there is more of that (as attempts), and the store's clock (as received_at).
_TEMPLATE = """
WITH slots AS MATERIALIZED (
    SELECT * FROM unnest($8::bigint[], $9::int[]) AS s(destination_id, free)
),
found AS MATERIALIZED (
    SELECT chosen.*, l.lane, l.share FROM unnest($2::smallint[], $3::int[], $4::bool[], $5::bigint[], $6::bigint[])
        WITH ORDINALITY AS l(lane, share, newest, after_merchant, after_destination, part)
    CROSS JOIN LATERAL (
        WITH RECURSIVE bucket AS (
            (SELECT merchant_id, destination_id, due_at FROM work
             WHERE stage = $1 AND lane = l.lane
               AND (merchant_id, destination_id) > (l.after_merchant, l.after_destination)
             ORDER BY merchant_id, destination_id, due_at LIMIT 1)
            UNION ALL
            SELECT following.merchant_id, following.destination_id, following.due_at
            FROM bucket, LATERAL (
                SELECT merchant_id, destination_id, due_at FROM work
                WHERE stage = $1 AND lane = l.lane
                  AND (merchant_id, destination_id) > (bucket.merchant_id, bucket.destination_id)
                ORDER BY merchant_id, destination_id, due_at LIMIT 1) AS following
        ),
        page AS MATERIALIZED (
            SELECT sized.*, due_at <= coalesce($10, now()) AND free > 0 AND merchant_id <> ALL ($15::bigint[]) AS is_due
            FROM (
                SELECT first.*, {shared} AS shared, {free} AS free
                FROM (SELECT * FROM bucket LIMIT $7) AS first LEFT JOIN slots USING (destination_id) {kinds}
            ) AS sized
        ),
        sharing AS MATERIALIZED (
            SELECT page.*, $14::int / count(*) OVER () + 1 AS enough FROM page WHERE is_due
        ),
        due AS (
            SELECT w.ref, page.merchant_id, page.destination_id, page.shared, enough, free,
                   row_number() OVER (PARTITION BY page.merchant_id, page.destination_id ORDER BY w.turn) AS turn
            FROM sharing AS page
            CROSS JOIN LATERAL (
                (SELECT ref, extract(epoch FROM due_at) AS turn FROM work
                 WHERE NOT l.newest AND stage = $1 AND lane = l.lane AND merchant_id = page.merchant_id
                   AND destination_id = page.destination_id AND due_at <= coalesce($10, now())
                 ORDER BY due_at LIMIT least(page.enough, page.free))
                UNION ALL
                (SELECT ref, -extract(epoch FROM due_at) AS turn FROM work
                 WHERE l.newest AND stage = $1 AND lane = l.lane AND merchant_id = page.merchant_id
                   AND destination_id = page.destination_id AND due_at <= coalesce($10, now())
                 ORDER BY due_at DESC LIMIT least(page.enough, page.free))
            ) AS w
        ),
        dealt AS (
            SELECT ref, merchant_id, destination_id, shared,
                   row_number() OVER (PARTITION BY merchant_id ORDER BY turn, destination_id) AS round
            FROM due
        )
        (SELECT ref, l.part, merchant_id, destination_id, shared, round,
                row_number() OVER (ORDER BY round, merchant_id) AS nth, false AS more
         FROM dealt ORDER BY round, merchant_id LIMIT $14::int)
        UNION ALL
        (SELECT NULL, l.part, merchant_id, destination_id, false, (SELECT count(*) FROM page), seen.offered, seen.more
         FROM page, (SELECT count(DISTINCT merchant_id) AS offered,
                            count(*) > $14::int OR coalesce(bool_or(turn = enough AND enough < free), false) AS more
                     FROM due) AS seen
         ORDER BY merchant_id DESC, destination_id DESC LIMIT 1)
    ) AS chosen
),
ordered AS (
    SELECT DISTINCT ON (ref) ref, part, lane, destination_id, shared, round, nth > share AS beyond,
           nth::float8 / share AS place
    FROM found WHERE ref IS NOT NULL ORDER BY ref, nth > share, part
),
picked AS MATERIALIZED (
    SELECT ref, part, round, shared FROM (
        SELECT fair.*{taken} FROM (
            SELECT fitting.*{nth_shared} FROM (
                SELECT ordered.*, coalesce(slots.free, $11) AS free,
                       row_number() OVER (PARTITION BY destination_id ORDER BY beyond, lane, place) AS slot
                FROM ordered LEFT JOIN slots USING (destination_id)) AS fitting
            WHERE slot <= free) AS fair
        WHERE {is_fair}) AS served
    WHERE {within} ORDER BY beyond, lane, place LIMIT $14::int
),
claimed AS (
    UPDATE work w
    SET due_at = coalesce($10, now()) + $12, lease = $13, attempts = attempts + 1
    FROM (
        SELECT work.ref, picked.part, picked.round, picked.shared FROM work JOIN picked USING (ref)
        WHERE work.stage = $1 AND work.due_at <= coalesce($10, now())
        FOR UPDATE OF work SKIP LOCKED
    ) AS free
    WHERE w.stage = $1 AND w.ref = free.ref
    RETURNING w.ref, free.part, w.lane, w.merchant_id, w.destination_id, w.received_at, w.attempts, free.round,
              free.shared
)
SELECT ref, part, lane, merchant_id, destination_id, received_at, attempts, round, shared::int AS offered FROM claimed
UNION ALL
SELECT NULL, part, NULL, merchant_id, destination_id, coalesce($10, now()), more::int, round, nth
FROM found WHERE ref IS NULL
"""
CLAIM = _TEMPLATE.format(
    kinds="", shared="false", free="coalesce(slots.free, $11)", nth_shared="", is_fair="true", taken="", within="true"
)
BOUNDED_CLAIM = _TEMPLATE.format(
    kinds="LEFT JOIN destination d ON d.id = first.destination_id AND d.kind = ANY ($17::text[])",
    shared="d.id IS NOT NULL",
    free="least(coalesce(slots.free, $11), CASE WHEN d.id IS NOT NULL THEN $18::int END)",
    nth_shared=", row_number() OVER (PARTITION BY shared ORDER BY beyond, lane, place) AS nth_shared",
    is_fair="NOT shared OR nth_shared <= $18::int",
    taken=", row_number() OVER (PARTITION BY part ORDER BY beyond, place) AS taken",
    within="taken <= coalesce(($16::int[])[part], $14::int)",
)
"""The same, where destinations of some kinds ($17) share free slots ($18), and parts may have a most ($16), each
counted once those before it have had their say. A statement of its own, so that nothing is slower where neither is
asked for."""


async def claim(
    db: Connection | Pool,
    stage: Stage,
    parts: Sequence[Part],
    *,
    limit: int,
    lease: int,
    lasts: timedelta,
    buckets: int,
    slots: Mapping[int, int],
    default_slots: int,
    paused_merchants: Collection[int],
    shared: Shared | None,
    now: datetime | None,
) -> tuple[list[Work], list[Page], datetime | None]:
    """Claim up to `limit` due works; returns them, what was seen of each part, and the store's clock if it was told.

    `slots`: destination id → how many it may take now (0 skips it); others may take `default_slots`.
    `shared`: what destinations of some kinds may take together.
    """
    mosts = [part.most for part in parts]
    is_bounded = shared is not None or any(most is not None for most in mosts)
    sharing = shared or Shared((), 0)
    rows = await db.fetch(
        BOUNDED_CLAIM if is_bounded else CLAIM,
        stage,
        [part.lane for part in parts],
        [part.share for part in parts],
        [part.newest for part in parts],
        [part.after[0] for part in parts],
        [part.after[1] for part in parts],
        buckets,
        list(slots),
        list(slots.values()),
        now,
        default_slots,
        lasts,
        lease,
        limit,
        list(paused_merchants),
        *((mosts, sharing.kinds, sharing.free) if is_bounded else ()),
    )
    works: list[Work] = []
    pages = [Page() for _ in parts]
    clock: datetime | None = None
    for ref, part, lane, merchant_id, destination_id, received_at, attempts, turn, offered in rows:
        page = pages[part - 1]
        if ref is None:
            page.end, page.full, page.offered = (merchant_id, destination_id), turn >= buckets, offered
            page.more, clock = bool(attempts), received_at
            continue
        page.served += 1
        if offered:
            page.shared.append(destination_id)
        if turn > 1:
            page.second_turn = True
        elif page.last_served is None or (merchant_id, destination_id) > page.last_served:
            page.last_served = (merchant_id, destination_id)
        works.append(Work(stage, ref, LANES[lane], merchant_id, destination_id, received_at, attempts, lease))
    return works, pages, clock
