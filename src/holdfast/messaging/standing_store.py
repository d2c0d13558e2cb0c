"""The SQL of how merchants' texts stand: what was sent and stopped, by import and form, and what else is out of line.

Texts are counted into `text_tally` as they go out, so that no look counts more than the last half hour of them; people
who stopped are few, and are found from their suppressions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from holdfast.consent.store import BLOCKING
from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool

QUARTER: Final = timedelta(minutes=15)
DAY: Final = timedelta(days=1)
KEPT: Final = timedelta(days=32)
COARSE_AFTER: Final = timedelta(hours=26)
SYNCED: Final = timedelta(minutes=10)
"""How long a merchant's own list may lag behind a suppression."""
_FORM: Final = (
    "CASE WHEN consent.batch_id IS NULL AND consent.source NOT IN ('opt-in-message', 'link') "
    "THEN left(coalesce(consent.origin, ''), 100) ELSE '' END"
)
"""What a person texted themselves is no form."""
_SENT: Final = "message.kind = 'text' AND message.state IN ('sending', 'sent')"


@dataclass(frozen=True, slots=True)
class Tally:
    """Texts of a merchant whose consents came in one way, and how many people stopped them within a day.

    `lately_…`: of the texts of the last hours. `batch_id` 0: of no import; `origin` "": of no form that is known.
    """

    merchant_id: int
    batch_id: int
    origin: str
    sent: int
    stopped: int
    lately_sent: int
    lately_stopped: int
    first_stop_at: datetime | None


@dataclass(frozen=True, slots=True)
class Count:
    """How much of something a merchant (or batch) has, of how many people, since when."""

    of: int
    count: int
    people: int
    since: datetime


async def counted_until(db: Executor) -> datetime | None:
    """The newest quarter of an hour that was counted."""
    found: datetime | None = await db.fetchval("SELECT max(at) FROM text_tally WHERE NOT is_day")
    return found


async def count_sent(db: Executor, since: datetime, until: datetime) -> None:
    """Count the texts of the quarters from `since` on, which begins one, to `until`, which ends one or is now, anew."""
    await db.execute(
        f"""
        WITH counted AS MATERIALIZED (
            SELECT date_bin($3::interval, message.tried_at, $1::timestamptz) AS at, message.merchant_id,
                   coalesce(consent.batch_id, 0) AS batch_id,
                   {_FORM} AS origin,
                   count(*) AS sent
            FROM message LEFT JOIN consent ON consent.seq = message.consent_seq
            WHERE message.tried_at >= $1 AND message.tried_at < $2 AND {_SENT}
            GROUP BY 1, 2, 3, 4
        ),
        gone AS (
            UPDATE text_tally SET sent = 0
            WHERE NOT is_day AND at >= $1 AND at < $2 AND sent > 0 AND NOT EXISTS (
                SELECT FROM counted WHERE (counted.at, counted.merchant_id, counted.batch_id, counted.origin)
                    = (text_tally.at, text_tally.merchant_id, text_tally.batch_id, text_tally.origin))
        )
        INSERT INTO text_tally (at, merchant_id, batch_id, origin, sent) SELECT * FROM counted
        ON CONFLICT (is_day, at, merchant_id, batch_id, origin) DO UPDATE SET sent = excluded.sent
        WHERE text_tally.sent <> excluded.sent
        """,
        since,
        until,
        QUARTER,
    )


async def count_stopped(db: Executor, since: datetime, until: datetime) -> None:
    """Count who stopped the texts of the quarters from `since` on, which begins one, anew.

    A person counts once for a merchant, for the last text before they stopped: when they said so, not when an old
    wish of theirs was entered.
    """
    await db.execute(
        f"""
        WITH stops AS MATERIALIZED (
            SELECT DISTINCT ON (suppression.customer_id, sent.merchant_id)
                   whose.said_at, sent.merchant_id, sent.tried_at, sent.consent_seq
            FROM suppression
            LEFT JOIN complaint ON complaint.id = suppression.complaint_id
            LEFT JOIN consent AS wish ON wish.seq = suppression.consent_seq
            CROSS JOIN LATERAL (
                SELECT coalesce(nullif(suppression.merchant_id, 0), nullif(complaint.merchant_id, 0)) AS merchant_id,
                       least(suppression.made_at, wish.given_at) AS said_at
            ) AS whose
            CROSS JOIN LATERAL (
                SELECT message.merchant_id, message.tried_at, message.consent_seq FROM message
                WHERE message.customer_id = suppression.customer_id AND {_SENT}
                  AND message.merchant_id = coalesce(whose.merchant_id, message.merchant_id)
                  AND message.tried_at <= whose.said_at
                  AND message.tried_at >= greatest($1, whose.said_at - $4::interval)
                ORDER BY message.tried_at DESC LIMIT 1
            ) AS sent
            WHERE suppression.made_at >= $1 AND suppression.made_at <= $2
              AND suppression.reason IN ('opt_out', 'doubtful', 'provider_block', 'complaint')
            ORDER BY suppression.customer_id, sent.merchant_id, whose.said_at
        ),
        counted AS MATERIALIZED (
            SELECT date_bin($3::interval, stops.tried_at, $1::timestamptz) AS at, stops.merchant_id,
                   coalesce(consent.batch_id, 0) AS batch_id,
                   {_FORM} AS origin,
                   count(*) AS stopped, min(said_at) AS first_stop_at
            FROM stops LEFT JOIN consent ON consent.seq = stops.consent_seq
            GROUP BY 1, 2, 3, 4
        ),
        gone AS (
            UPDATE text_tally SET stopped = 0, first_stop_at = NULL
            WHERE NOT is_day AND at >= $1 AND stopped > 0 AND NOT EXISTS (
                SELECT FROM counted WHERE (counted.at, counted.merchant_id, counted.batch_id, counted.origin)
                    = (text_tally.at, text_tally.merchant_id, text_tally.batch_id, text_tally.origin))
        )
        INSERT INTO text_tally (at, merchant_id, batch_id, origin, stopped, first_stop_at)
        SELECT * FROM counted
        ON CONFLICT (is_day, at, merchant_id, batch_id, origin) DO UPDATE SET
            stopped = excluded.stopped, first_stop_at = excluded.first_stop_at
        WHERE text_tally.stopped <> excluded.stopped
        """,
        since,
        until,
        QUARTER,
        DAY,
    )


async def coarsen(db: Executor, now: datetime) -> None:
    """Quarters that are long over become days; days that are too old go."""
    await db.execute(
        """
        WITH over AS (
            DELETE FROM text_tally
            WHERE NOT is_day AND at < $1::timestamptz - $2::interval OR is_day AND at < $1::timestamptz - $3::interval
            RETURNING *
        )
        INSERT INTO text_tally (at, is_day, merchant_id, batch_id, origin, sent, stopped)
        SELECT date_trunc('day', at, 'UTC'), true, merchant_id, batch_id, origin, sum(sent), sum(stopped)
        FROM over WHERE NOT is_day GROUP BY 1, 3, 4, 5
        ON CONFLICT (is_day, at, merchant_id, batch_id, origin) DO UPDATE SET
            sent = text_tally.sent + excluded.sent, stopped = text_tally.stopped + excluded.stopped
        """,
        now,
        COARSE_AFTER,
        KEPT,
    )


async def tallies(db: Executor, since: datetime, lately: datetime, least: int) -> list[Tally]:
    """Of the texts since then, of merchants that at least so many people stopped."""
    rows = await db.fetch(
        """
        WITH recent AS MATERIALIZED (SELECT * FROM text_tally WHERE NOT is_day AND at >= $1),
        stopped AS (SELECT merchant_id FROM recent GROUP BY merchant_id HAVING sum(stopped) >= $3)
        SELECT merchant_id, batch_id, origin, sum(sent), sum(stopped), coalesce(sum(sent) FILTER (WHERE at >= $2), 0),
               coalesce(sum(stopped) FILTER (WHERE at >= $2), 0), min(first_stop_at)
        FROM recent JOIN stopped USING (merchant_id) GROUP BY merchant_id, batch_id, origin
        """,
        since,
        lately,
        least,
    )
    return [Tally(*row) for row in rows]


_NOT_BLOCKED: Final = f"""
    NOT EXISTS (SELECT FROM suppression WHERE suppression.customer_id = consent.customer_id
                AND {BLOCKING.format(merchant="consent.merchant_id")})
"""


async def over(db: Executor, merchant_id: int, batch_id: int, origin: str) -> bool:
    """Whether nobody who consented by this batch (else, by this form) can be texted through it any more: all of them
    are blocked, or the import was undone."""
    came = "consent.merchant_id = $1 AND consent.action = 'grant' AND " + (
        "consent.batch_id = $2::bigint AND $3::text = ''"
        if batch_id
        else "consent.batch_id IS NULL AND $2::bigint = 0 AND consent.origin = $3"
    )
    found: bool = await db.fetchval(
        f"""
        SELECT EXISTS (SELECT FROM import_batch WHERE id = $2 AND state = 'undone')
            OR EXISTS (SELECT FROM consent WHERE {came})
               AND NOT EXISTS (SELECT FROM consent WHERE {came} AND {_NOT_BLOCKED})
        """,
        merchant_id,
        batch_id,
        origin,
    )
    return found


async def usual(db: Executor, merchant_ids: Sequence[int], before: datetime) -> dict[int, tuple[int, int]]:
    """(texts, people who stopped them) of these merchants in the month before."""
    rows = await db.fetch(
        """
        SELECT merchant_id, sum(sent), sum(stopped) FROM text_tally
        WHERE (is_day OR at < $2) AND merchant_id = ANY($1::bigint[]) GROUP BY merchant_id
        """,
        merchant_ids,
        before,
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def suppressed_tries(db: Executor, since: datetime, until: datetime, least: int, limit: int) -> list[Count]:
    """By merchant: texts to people who had been suppressed for a while. The most first."""
    rows = await db.fetch(
        """
        SELECT message.merchant_id, count(*), count(DISTINCT message.customer_id), min(message.created_at)
        FROM message JOIN suppression ON suppression.id = message.suppression_id
        WHERE message.state = 'refused' AND message.rule = 'suppressed'
          AND message.created_at > $1 AND message.created_at <= $2
          AND message.created_at > suppression.made_at + $5::interval
        GROUP BY message.merchant_id HAVING count(*) >= $3 ORDER BY 2 DESC, 1 LIMIT $4
        """,
        since,
        until,
        least,
        limit,
        SYNCED,
    )
    return [Count(*row) for row in rows]


async def keyword_loops(db: Executor, since: datetime, until: datetime, least: int, limit: int) -> list[Count]:
    """By merchant: the most words such as STOP and HELP that one person sent, and how many people did."""
    rows = await db.fetch(
        """
        SELECT merchant_id, max(count), count(*), min(since) FROM (
            SELECT merchant_id, count(*), min(received_at) AS since FROM inbound_text
            WHERE received_at > $1 AND received_at <= $2 AND verdict <> 'other' AND customer_id <> 0
            GROUP BY merchant_id, customer_id HAVING count(*) >= $3
        ) AS person GROUP BY merchant_id ORDER BY 2 DESC, 1 LIMIT $4
        """,
        since,
        until,
        least,
        limit,
    )
    return [Count(*row) for row in rows]


async def similar_complaints(
    db: Executor, since: datetime, until: datetime, least: int, limit: int
) -> tuple[list[Count], list[Count]]:
    """By merchant, and by import batch: people who complained, one of whom at least still waits for an answer."""
    rows = await db.fetch(
        """
        WITH filed AS MATERIALIZED (
            SELECT id, customer_id, merchant_id, received_at, answered_at IS NULL AND closed_at IS NULL AS waits
            FROM complaint WHERE received_at > $1 AND received_at <= $2
        ),
        about AS (
            SELECT false AS is_batch, merchant_id AS of, filed.* FROM filed WHERE merchant_id <> 0
            UNION ALL
            SELECT true, batch.id, filed.* FROM filed CROSS JOIN LATERAL (
                SELECT DISTINCT consent.batch_id AS id FROM consent
                WHERE consent.customer_id = filed.customer_id AND consent.action = 'grant'
                  AND consent.batch_id IS NOT NULL AND filed.merchant_id IN (0, consent.merchant_id)
            ) AS batch
        )
        SELECT is_batch, of, count(DISTINCT customer_id), count(*), min(received_at) FROM about
        GROUP BY is_batch, of HAVING count(DISTINCT customer_id) >= $3 AND bool_or(waits)
        ORDER BY 3 DESC, 1, 2 LIMIT $4
        """,
        since,
        until,
        least,
        limit,
    )
    found: tuple[list[Count], list[Count]] = ([], [])
    for row in rows:
        found[row[0]].append(Count(row[1], row[2], row[2], row[4]))
    return found


@dataclass(frozen=True, slots=True)
class Going:
    """How sending goes. `tried` and `failed`: texts of the last while; `to_review`: doubtful replies that wait."""

    tried: int
    failed: int
    to_review: int
    oldest_review_at: datetime | None
    is_held: bool
    """The lever keeps all texts back, or refuses them."""


async def going(db: Executor, since: datetime) -> Going:
    """Failed is what we or Twilio could not do, not what a person's number or wish is the reason of."""
    row = await db.fetchrow(
        """
        SELECT sent.tried, sent.failed, review.waiting, review.oldest, EXISTS (
            SELECT FROM lever WHERE name = 'messaging.texts' AND target = '' AND value #>> '{}' <> 'normal'
              AND (expires_at IS NULL OR expires_at > now())
        ) FROM (
            SELECT count(*) AS tried, count(*) FILTER (WHERE state = 'failed' AND coalesce(error_code, 0) NOT IN
                (21211, 21610, 21612, 21614, 30003, 30004, 30005, 30006)) AS failed
            FROM message WHERE tried_at > $1
        ) AS sent, (
            SELECT count(*) AS waiting, min(received_at) AS oldest FROM inbound_text
            WHERE verdict = 'doubtful' AND reviewed_at IS NULL
        ) AS review
        """,
        since,
    )
    assert row is not None
    return Going(*row)
