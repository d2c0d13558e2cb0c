"""The SQL of the proof: texts of ours to a person around a time, and what they texted themselves."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool


async def handed_over(db: Executor, customer_id: int, since: datetime) -> list[asyncpg.Record]:
    """(id, merchant_id, sid, tried_at) of texts that were handed to Twilio after `since`, though the person had not
    come back: no consent that was recorded later stands behind them. Confirmations and HELP apart.
    """
    return await db.fetch(
        """
        SELECT message.id, message.merchant_id, message.sid, message.tried_at FROM message
        LEFT JOIN consent ON consent.seq = message.consent_seq
        WHERE message.customer_id = $1 AND message.kind = 'text' AND message.state IN ('sending', 'sent')
          AND message.tried_at > $2
          AND NOT coalesce(consent.action = 'grant' AND consent.recorded_at > $2, false)
        ORDER BY message.id
        """,
        customer_id,
        since,
    )


async def counts(
    db: Executor, customer_id: int, suppression_id: int | None, excepted: Sequence[int]
) -> tuple[int, int, int]:
    """(cancelled by this block, still waiting though of no merchant `excepted`, on its way) of a person's texts."""
    row = await db.fetchrow(
        """
        SELECT count(*) FILTER (WHERE state = 'cancelled' AND suppression_id = $2),
               count(*) FILTER (WHERE state = 'queued' AND NOT merchant_id = ANY($3::bigint[])),
               count(*) FILTER (WHERE state = 'sending' AND sending_until > clock_timestamp())
        FROM message WHERE customer_id = $1 AND kind = 'text'
        """,
        customer_id,
        suppression_id,
        excepted,
    )
    assert row is not None
    return row[0], row[1], row[2]


async def refused(db: Executor, customer_id: int, since: datetime) -> int:
    """Texts that somebody wanted sent after that, and were not."""
    found: int = await db.fetchval(
        "SELECT count(*) FROM message WHERE customer_id = $1 AND created_at > $2 AND state = 'refused'",
        customer_id,
        since,
    )
    return found


async def known(db: Executor, sids: Sequence[str]) -> dict[str, asyncpg.Record]:
    """Of texts at Twilio those that are ours: (sid, id, kind, tried_at, granted, recorded_at), of its consent."""
    rows = await db.fetch(
        """
        SELECT message.sid, message.id, message.kind, message.tried_at, consent.action = 'grant' AS granted,
               consent.recorded_at
        FROM message LEFT JOIN consent ON consent.seq = message.consent_seq WHERE message.sid = ANY($1::text[])
        """,
        sids,
    )
    return {row["sid"]: row for row in rows}


async def texted(db: Executor, customer_id: int, since: datetime) -> list[tuple[str, datetime]]:
    """(number of ours, when) of what a person texted."""
    rows = await db.fetch(
        "SELECT phone, received_at FROM inbound_text WHERE customer_id = $1 AND received_at >= $2",
        customer_id,
        since - timedelta(minutes=10),
    )
    return [(row[0], row[1]) for row in rows]
