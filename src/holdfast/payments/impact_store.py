"""SQL of the ledger over the time of an incident: the payments that late events were about."""

import asyncpg

from holdfast.db.pool import Connection
from holdfast.inbox.impact_store import WAITED
from holdfast.queue.model import Lane


async def concerned(db: Connection) -> list[asyncpg.Record]:
    """The payments of late critical events (`inbox.impact_store.gather`): livemode, currency, payments, amount.

    Each amount counts once: a payment intent, its charges, its invoice and its checkout session are the same money, and
    a refund of a payment that is counted is a part of it. `currency` is NULL for those whose amount is not known;
    amounts are in minor units, and numeric, for sums may be larger than any one.
    """
    # `top` is what all of one payment ends in when one goes from each object to what it belongs to, be that in the
    # ledger or not. An invoice and its intent may point at each other: then the intent is the top.
    return await db.fetch(
        f"""
        WITH RECURSIVE late AS MATERIALIZED (
            SELECT DISTINCT object_id AS id FROM {WAITED} WHERE late AND lane = $1 AND object_id IS NOT NULL
        ),
        up AS (
            SELECT id, id AS top, 0 AS height FROM payment JOIN late USING (id)
            UNION ALL
            SELECT up.id, p.belongs_to, up.height + 1 FROM up JOIN payment p ON p.id = up.top
            WHERE p.belongs_to IS NOT NULL AND up.height < 6 AND NOT (p.kind = 'payment_intent' AND EXISTS (
                SELECT FROM payment bill WHERE bill.id = p.belongs_to AND bill.belongs_to = p.id))
        ),
        placed AS (
            SELECT p.livemode, p.amount, p.currency, top, height, p.kind IN ('refund', 'dispute', 'transfer') AS is_part
            FROM (SELECT DISTINCT ON (id) id, top, height FROM up ORDER BY id, height DESC) AS highest
            JOIN payment p USING (id) WHERE p.kind <> 'payout'
        ),
        whole AS (
            SELECT DISTINCT ON (top) * FROM placed WHERE NOT is_part
            ORDER BY top, amount IS NULL, height, amount DESC
        ),
        counted AS (
            SELECT * FROM whole
            UNION ALL
            SELECT * FROM placed WHERE is_part AND NOT EXISTS (SELECT FROM whole WHERE whole.top = placed.top)
        )
        SELECT livemode, CASE WHEN amount IS NOT NULL THEN currency END AS currency, count(*) AS payments,
               coalesce(sum(amount), 0) AS amount
        FROM counted GROUP BY 1, 2 ORDER BY livemode DESC, 2 NULLS LAST
        """,
        Lane.CRITICAL,
    )
