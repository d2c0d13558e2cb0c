"""The SQL of customers, of the ledger's end and rows, and of suppressions. One function, one statement."""

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import asyncpg

from holdfast.consent.model import Block, Row, Suppression
from holdfast.db.locks import CUSTOMER
from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool

BLOCKING = """
    suppression.lifted_at IS NULL AND (suppression.merchant_id = {merchant}
        OR suppression.merchant_id = 0 AND NOT {merchant} = ANY(suppression.excepted))
"""
"""Whether a suppression of a customer keeps this merchant's texts from them: for the rooms that decide in their SQL."""
_APPLYING = """
    consent.merchant_id IN ({merchant}, 0) AND consent.channel IN ('text', 'all')
    AND (consent.purpose IN ({purpose}, 'all')
         OR consent.action = 'grant' AND consent.purpose = 'marketing' AND {purpose} = 'informational')
    AND consent.source <> 'import-undone'
    AND NOT (consent.action = 'grant' AND consent.batch_id IS NOT NULL
             AND EXISTS (SELECT FROM consent AS undone
                         WHERE undone.customer_id = consent.customer_id AND undone.source = 'import-undone'
                           AND undone.batch_id = consent.batch_id AND undone.batch_row = consent.batch_row{then}))
"""
APPLYING = _APPLYING.replace("{then}", "")
"""Whether a row of the ledger says anything of texts of this merchant and purpose. What an import brought that was
undone says nothing, and neither does the undoing, so that what the person said before and since holds."""
APPLYING_THEN = _APPLYING.replace("{then}", " AND undone.recorded_at <= {at}")
"""The same as it was at a time: what was undone later did hold then."""
LATEST = "consent.given_at DESC, consent.action DESC, consent.seq DESC"
"""The row that holds comes first: what happened last, and of two at the same time the revocation."""
SUPPRESSION = tuple(one.name for one in fields(Suppression))

COLUMNS = (
    "seq", "customer_id", "merchant_id", "action", "purpose", "channel", "source", "given_at", "recorded_at",
    "disclosure_id", "origin", "collector", "batch_id", "batch_row", "actor", "who", "detail", "previous", "hash"
)  # fmt: skip


async def customers(db: Executor, phones: Sequence[str], keys: Sequence[bytes]) -> list[asyncpg.Record]:
    """By number, and of erased ones by the hash of it."""
    return await db.fetch(
        """
        SELECT id, phone, phone_key, zones, created_at, erased_at FROM customer
        WHERE phone = ANY($1::text[])
        UNION ALL
        SELECT id, phone, phone_key, zones, created_at, erased_at FROM customer
        WHERE phone_key = ANY($2::bytea[])
        """,
        phones,
        keys,
    )


async def customer(db: Executor, customer_id: int) -> asyncpg.Record | None:
    return await db.fetchrow(
        "SELECT id, phone, phone_key, zones, created_at, erased_at FROM customer WHERE id = $1", customer_id
    )


async def add_customers(
    db: Executor, phones: Sequence[str], salts: Sequence[bytes], zones: Sequence[Sequence[str]], now: datetime
) -> None:
    """Those that are there already stay as they are."""
    await db.execute(
        """
        INSERT INTO customer (phone, salt, zones, created_at)
        SELECT phone, salt, string_to_array(zones, ' '), $4
        FROM unnest($1::text[], $2::bytea[], $3::text[]) AS n(phone, salt, zones)
        ON CONFLICT DO NOTHING
        """,
        phones,
        salts,
        [" ".join(each) for each in zones],
        now,
    )


async def zone_names(db: Executor) -> frozenset[str]:
    """Time zones that the server knows; it takes the server 30 ms to say so."""
    return frozenset(row[0] for row in await db.fetch("SELECT name FROM pg_timezone_names"))


async def lock(db: Connection, customer_ids: Sequence[int]) -> None:
    """In this order, so that two who lock several never wait for each other."""
    await db.execute(
        "SELECT pg_advisory_xact_lock($1::bigint + id) FROM unnest($2::bigint[]) AS id", CUSTOMER, customer_ids
    )


async def key_fingerprint(db: Executor) -> bytes | None:
    found: bytes | None = await db.fetchval("SELECT fingerprint FROM erasure_key")
    return found


async def commitments(db: Executor, customer_ids: Sequence[int]) -> dict[int, tuple[bytes, str]]:
    """(salt, number) of those who are not erased."""
    rows = await db.fetch(
        "SELECT id, salt, phone FROM customer WHERE id = ANY($1::bigint[]) AND erased_at IS NULL", customer_ids
    )
    return {row[0]: (bytes(row[1]), row[2]) for row in rows}


async def disclosures(db: Executor, texts: Sequence[str], digests: Sequence[bytes]) -> dict[bytes, int]:
    """The ids of these texts, by digest; new ones are kept. Who asks has locked the head: nobody else adds any."""
    rows = await db.fetch(
        """
        WITH given AS (SELECT * FROM unnest($2::bytea[], $1::text[]) AS g(digest, text)),
        known AS (SELECT digest, id FROM disclosure WHERE digest = ANY($2::bytea[])),
        added AS (
            INSERT INTO disclosure (digest, text)
            SELECT digest, text FROM given WHERE NOT EXISTS (SELECT FROM known WHERE known.digest = given.digest)
            RETURNING digest, id
        )
        SELECT digest, id FROM known UNION ALL SELECT digest, id FROM added
        """,
        texts,
        digests,
    )
    return {bytes(row[0]): row[1] for row in rows}


async def lock_head(db: Connection) -> tuple[int, bytes]:
    """The number and hash of the last row; nobody else appends until the transaction ends."""
    row = await db.fetchrow("SELECT seq, hash FROM consent_head FOR UPDATE")
    assert row is not None
    return row[0], bytes(row[1])


async def head(db: Executor) -> tuple[int, bytes]:
    row = await db.fetchrow("SELECT seq, hash FROM consent_head")
    assert row is not None
    return row[0], bytes(row[1])


async def append(
    db: Connection, rows: Sequence[tuple[Any, ...]], details: Sequence[tuple[int, int, bytes, str]], digest: bytes
) -> None:
    """`rows` as in `COLUMNS`, `details` (seq, customer, salt, JSON); `digest`: the hash of the last one."""
    await db.copy_records_to_table("consent", records=rows, columns=COLUMNS)
    if details:
        await db.copy_records_to_table(
            "consent_detail", records=details, columns=("seq", "customer_id", "salt", "said")
        )
    await db.execute("UPDATE consent_head SET seq = $1, hash = $2", rows[-1][0], digest)


ROWS = """
    SELECT consent.*, disclosure.text AS disclosure, consent_detail.said FROM consent
    LEFT JOIN disclosure ON disclosure.id = consent.disclosure_id
    LEFT JOIN consent_detail ON consent_detail.seq = consent.seq
"""


async def rows_of(db: Executor, customer_id: int) -> list[asyncpg.Record]:
    """A customer's rows in the order in which they were written."""
    return await db.fetch(f"{ROWS} WHERE consent.customer_id = $1 ORDER BY consent.seq", customer_id)


async def row(db: Executor, seq: int) -> asyncpg.Record | None:
    return await db.fetchrow(f"{ROWS} WHERE consent.seq = $1", seq)


def read_row(row: asyncpg.Record) -> Row:
    return Row(
        seq=row["seq"],
        customer_id=row["customer_id"],
        merchant_id=row["merchant_id"],
        action=row["action"],
        purpose=row["purpose"],
        channel=row["channel"],
        source=row["source"],
        given_at=row["given_at"],
        recorded_at=row["recorded_at"],
        disclosure=row["disclosure"],
        origin=row["origin"],
        collector=row["collector"],
        batch_id=row["batch_id"],
        batch_row=row["batch_row"],
        actor=row["actor"],
        detail=json.loads(row["said"]) if row["said"] else {},
    )


async def suppress(db: Connection, blocks: Sequence[Block], now: datetime) -> list[asyncpg.Record]:
    """(id, customer_id, merchant_id, reason, is_new) of each that is in force now; one that was there stays.

    But one from which the person had come back to some merchant ends with its exceptions, which tell what was allowed
    until now, and another begins.
    """
    return await db.fetch(
        """
        WITH given AS (
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                                 $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[]) AS g(customer_id, merchant_id,
                     reason, source, actor, note, consent_seq, complaint_id, incident_id, batch_id)
        ),
        ended AS (
            UPDATE suppression SET lifted_at = $11, lifted_by = given.actor,
                lifted_why = CASE suppression.reason WHEN 'erasure' THEN 'erased again' ELSE 'said stop again' END
            FROM given
            WHERE (suppression.customer_id, suppression.merchant_id, suppression.reason)
                = (given.customer_id, given.merchant_id, given.reason)
              AND suppression.lifted_at IS NULL AND suppression.excepted <> '{}'
            RETURNING 1
        ),
        added AS (
            INSERT INTO suppression (customer_id, merchant_id, reason, source, actor, note, consent_seq, complaint_id,
                                     incident_id, batch_id, made_at)
            SELECT DISTINCT ON (customer_id, merchant_id, reason) *, $11::timestamptz FROM given
            WHERE (SELECT count(*) FROM ended) >= 0  -- so that these have ended before
            ON CONFLICT (customer_id, merchant_id, reason) WHERE lifted_at IS NULL
                DO UPDATE SET excepted = suppression.excepted
            RETURNING id, customer_id, merchant_id, reason, (xmax = 0) AS is_new
        )
        SELECT * FROM added
        """,
        [one.customer_id for one in blocks],
        [one.merchant_id for one in blocks],
        [one.reason for one in blocks],
        [one.source for one in blocks],
        [one.actor for one in blocks],
        [one.note for one in blocks],
        [one.consent_seq for one in blocks],
        [one.complaint_id for one in blocks],
        [one.incident_id for one in blocks],
        [one.batch_id for one in blocks],
        now,
    )


async def lift(db: Connection, ids: Sequence[int], *, actor: str, why: str, now: datetime) -> list[int]:
    """Those of them that were in force."""
    rows = await db.fetch(
        """
        UPDATE suppression SET lifted_at = $2, lifted_by = $3, lifted_why = $4
        WHERE id = ANY($1::bigint[]) AND lifted_at IS NULL RETURNING id
        """,
        ids,
        now,
        actor,
        why,
    )
    return [row[0] for row in rows]


async def except_merchant(db: Connection, ids: Sequence[int], merchant_id: int) -> list[int]:
    """Those blocks of every merchant keep all but this one out from now on."""
    rows = await db.fetch(
        """
        UPDATE suppression SET excepted = array_append(excepted, $2::bigint)
        WHERE id = ANY($1::bigint[]) AND lifted_at IS NULL AND merchant_id = 0 AND NOT $2 = ANY(excepted) RETURNING id
        """,
        ids,
        merchant_id,
    )
    return [row[0] for row in rows]


async def suppressions_of(db: Executor, customer_id: int, *, live_only: bool = False) -> list[Suppression]:
    """A customer's, oldest first."""
    rows = await db.fetch(
        "SELECT * FROM suppression WHERE customer_id = $1 AND (NOT $2 OR lifted_at IS NULL) ORDER BY id",
        customer_id,
        live_only,
    )
    return [read_suppression(row) for row in rows]


async def suppressions(
    db: Executor,
    *,
    merchant_id: int | None = None,
    reason: str | None = None,
    live: bool | None = None,
    since: datetime | None = None,
    customer_id: int | None = None,
    before: int | None = None,
    limit: int,
) -> list[tuple[Suppression, str | None]]:
    """With the numbers of the people (None of erased ones), newest first. `merchant_id` 0: those of every merchant."""
    rows = await db.fetch(
        """
        SELECT suppression.*, customer.phone FROM suppression JOIN customer ON customer.id = suppression.customer_id
        WHERE ($1::bigint IS NULL OR suppression.merchant_id = $1) AND ($2::text IS NULL OR reason = $2)
          AND ($3::boolean IS NULL OR (lifted_at IS NULL) = $3) AND ($4::timestamptz IS NULL OR made_at >= $4)
          AND ($5::bigint IS NULL OR customer_id = $5) AND ($6::bigint IS NULL OR suppression.id < $6)
        ORDER BY suppression.id DESC LIMIT $7
        """,
        merchant_id,
        reason,
        live,
        since,
        customer_id,
        before,
        limit,
    )
    return [(read_suppression(row), row["phone"]) for row in rows]


async def suppression(db: Executor, suppression_id: int) -> Suppression | None:
    row = await db.fetchrow("SELECT * FROM suppression WHERE id = $1", suppression_id)
    return read_suppression(row) if row is not None else None


def read_suppression(row: asyncpg.Record) -> Suppression:
    values = {name: row[name] for name in SUPPRESSION}
    return Suppression(**{**values, "excepted": tuple(row["excepted"])})
