"""The SQL by which the whole ledger is read once more."""

from collections.abc import AsyncIterator, Sequence

import asyncpg

from holdfast.db.pool import Connection

_ROWS = """
    SELECT consent.*, customer.salt AS customer_salt, customer.phone, customer.id AS known_customer,
           disclosure.digest AS disclosure_digest, disclosure.text AS disclosure_text,
           consent_detail.customer_id AS detail_customer, consent_detail.salt AS detail_salt, consent_detail.said
    FROM consent
    LEFT JOIN customer ON customer.id = consent.customer_id
    LEFT JOIN disclosure ON disclosure.id = consent.disclosure_id
    LEFT JOIN consent_detail ON consent_detail.seq = consent.seq
    ORDER BY consent.seq
"""


async def erased(db: Connection) -> dict[int, int]:
    """Customer to the row of the ledger that says that they were erased, the last of them."""
    rows = await db.fetch("SELECT customer_id, max(seq) FROM consent WHERE source = 'erasure' GROUP BY customer_id")
    return {row[0]: row[1] for row in rows}


async def rows(db: Connection, page: int) -> AsyncIterator[Sequence[asyncpg.Record]]:
    """All of the ledger in the order of writing, never more than a page of it in memory. In a transaction."""
    cursor = await db.cursor(_ROWS)
    while found := await cursor.fetch(page):
        yield found


async def orphan(db: Connection) -> int | None:
    """A detail of a row that the ledger does not have."""
    found: int | None = await db.fetchval(
        "SELECT min(seq) FROM consent_detail WHERE NOT EXISTS (SELECT FROM consent WHERE consent.seq = "
        "consent_detail.seq)"
    )
    return found
