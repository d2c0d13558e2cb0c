"""SQL of the ledger over the time of an incident: the payments that late events were about."""

import asyncpg

from holdfast.db.pool import Connection
from holdfast.inbox.impact_store import WAITED
from holdfast.queue.model import Lane


async def concerned(db: Connection) -> list[asyncpg.Record]:
    """The payments of late critical events (`inbox.impact_store.gather`): livemode, currency, payments, amount.

    Each amount counts once: an intent and its charge are the same money, and a refund of a payment that is counted is
    a part of it. `currency` is NULL for those whose amount is not known; amounts are in minor units, and numeric, for
    sums may be larger than any one.
    """
    return await db.fetch(
        f"""
        WITH RECURSIVE late AS MATERIALIZED (
            SELECT DISTINCT object_id AS id FROM {WAITED} WHERE late AND lane = $1 AND object_id IS NOT NULL
        ),
        up AS (
            SELECT p.id, p.belongs_to, 1 AS height FROM payment p JOIN late USING (id) WHERE p.belongs_to IS NOT NULL
            UNION ALL
            SELECT up.id, p.belongs_to, up.height + 1 FROM up JOIN payment p ON p.id = up.belongs_to
            WHERE p.belongs_to IS NOT NULL AND up.height < 5
        ),
        part AS (SELECT DISTINCT up.id FROM up JOIN late ON late.id = up.belongs_to)
        SELECT p.livemode, CASE WHEN p.amount IS NOT NULL THEN p.currency END AS currency, count(*) AS payments,
               coalesce(sum(p.amount), 0) AS amount
        FROM payment p JOIN late USING (id)
        WHERE p.kind <> 'payout' AND NOT EXISTS (SELECT FROM part WHERE part.id = p.id)
        GROUP BY 1, 2 ORDER BY p.livemode DESC, 2 NULLS LAST
        """,
        Lane.CRITICAL,
    )
