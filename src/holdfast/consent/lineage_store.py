"""The SQL of lineage: through which batch or form people came in, and who else did.

The indexes `consent_batch`, `contact_batch` and `consent_origin` have each one's customers in order.
"""

from collections.abc import Sequence

import asyncpg

from holdfast.consent.store import BLOCKING, Executor

# $1 batch, $2 merchant, $3 origin: of which either the first is NULL or the last; $4: only customers behind this one.
_BY_BATCH = (
    "SELECT customer_id FROM consent WHERE batch_id = $1 AND action = 'grant' AND customer_id > $4",
    "SELECT customer_id FROM contact WHERE batch_id = $1 AND customer_id > $4",
)
_BY_ORIGIN = """
    SELECT customer_id FROM consent
    WHERE $1::bigint IS NULL AND merchant_id = $2 AND origin = $3 AND batch_id IS NULL AND action = 'grant'
      AND source NOT IN ('opt-in-message', 'link') AND customer_id > $4
"""

_EACH = (f"(SELECT DISTINCT * FROM ({one}) AS c ORDER BY 1 LIMIT $5)" for one in (*_BY_BATCH, _BY_ORIGIN))
_PAGE = f"SELECT customer_id FROM ({' UNION '.join(_EACH)}) AS came ORDER BY 1 LIMIT $5"
_COUNTED = f"""
    WITH came AS MATERIALIZED ({" UNION ".join((*_BY_BATCH, _BY_ORIGIN))})
    SELECT count(*),
           count(*) FILTER (WHERE EXISTS (SELECT FROM suppression WHERE suppression.customer_id = came.customer_id
                                          AND {BLOCKING.format(merchant="$2::bigint")})),
           count(*) FILTER (WHERE EXISTS (SELECT FROM complaint WHERE complaint.customer_id = came.customer_id)),
           count(*) FILTER (WHERE EXISTS (SELECT FROM message WHERE message.customer_id = came.customer_id
                                          AND merchant_id = $2 AND state IN ('sending', 'sent')))
    FROM came
"""


async def sources(db: Executor, customer_id: int, merchant_id: int | None) -> list[asyncpg.Record]:
    """A customer's grants with the files that they came in, and contacts that came without one; oldest first."""
    return await db.fetch(
        """
        SELECT consent.merchant_id, consent.batch_id, consent.origin, consent.source, consent.given_at, consent.seq,
               consent.batch_row, import_batch.file, import_batch.actor
        FROM consent LEFT JOIN import_batch ON import_batch.id = consent.batch_id
        WHERE consent.customer_id = $1 AND consent.action = 'grant'
          AND ($2::bigint IS NULL OR consent.merchant_id = $2)
        UNION ALL
        SELECT contact.merchant_id, contact.batch_id, nullif(import_batch.origin, ''), 'import', contact.changed_at,
               NULL, contact.batch_row, import_batch.file, import_batch.actor
        FROM contact JOIN import_batch ON import_batch.id = contact.batch_id
        WHERE contact.customer_id = $1 AND ($2::bigint IS NULL OR contact.merchant_id = $2)
          AND NOT EXISTS (SELECT FROM consent WHERE consent.customer_id = $1 AND consent.batch_id = contact.batch_id
                          AND consent.action = 'grant')
        ORDER BY given_at, seq NULLS LAST
        """,
        customer_id,
        merchant_id,
    )


async def cohort(
    db: Executor, batch_id: int | None, merchant_id: int, origin: str | None, *, after: int, limit: int
) -> list[int]:
    """Customers behind `after`, by id. With a batch, `origin` is not asked for."""
    rows = await db.fetch(_PAGE, batch_id, merchant_id, origin if batch_id is None else None, after, limit)
    return [row[0] for row in rows]


async def among(
    db: Executor, batch_id: int | None, merchant_id: int, origin: str | None, customer_ids: Sequence[int]
) -> set[int]:
    """Those of these customers who came that way."""
    rows = await db.fetch(
        f"""
        SELECT customer_id FROM ({" UNION ".join((*_BY_BATCH, _BY_ORIGIN))}) AS came
        WHERE customer_id = ANY($5::bigint[])
        """,
        batch_id,
        merchant_id,
        origin if batch_id is None else None,
        0,
        customer_ids,
    )
    return {row[0] for row in rows}


async def cohort_size(
    db: Executor, batch_id: int | None, merchant_id: int, origin: str | None
) -> tuple[int, int, int, int]:
    """(people, blocked for this merchant, complained, texted by this merchant)."""
    row = await db.fetchrow(_COUNTED, batch_id, merchant_id, origin if batch_id is None else None, 0)
    assert row is not None
    return row[0], row[1], row[2], row[3]
