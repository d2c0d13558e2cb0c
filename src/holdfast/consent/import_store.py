"""The SQL of imports: batches, their rejects, what a chunk meets on record, contacts, and undoing them."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from holdfast.consent.import_files import Unread
from holdfast.consent.store import APPLYING, BLOCKING, Executor
from holdfast.db.pool import Connection

_BATCH = (
    "id, merchant_id, file, sha256, origin, state, counts::text, options::text, next_row, actor, began_at, applied_at, "
    "undone_at, undone_by, undone_why"
)

_ANY = APPLYING.format(merchant="$1", purpose="coalesce(asked.purpose, 'marketing')")


@dataclass(frozen=True, slots=True)
class Batch:
    """A file that was imported. `counts`: what it came to; `next_row`: the line at which it goes on."""

    id: int
    merchant_id: int
    file: str
    sha256: bytes
    origin: str
    state: str
    counts: Mapping[str, Any]
    options: Mapping[str, Any]
    next_row: int
    actor: str
    began_at: datetime
    applied_at: datetime | None
    undone_at: datetime | None
    undone_by: str | None
    undone_why: str | None


def _read(row: asyncpg.Record) -> Batch:
    values = dict(row)
    return Batch(**{**values, "counts": json.loads(values["counts"]), "options": json.loads(values["options"])})


async def batches(db: Executor, *, merchant_id: int | None, before: int | None, limit: int) -> list[Batch]:
    """Newest first."""
    rows = await db.fetch(
        f"""
        SELECT {_BATCH} FROM import_batch
        WHERE ($1::bigint IS NULL OR merchant_id = $1) AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        """,
        merchant_id,
        before,
        limit,
    )
    return [_read(row) for row in rows]


async def batch(db: Executor, batch_id: int) -> Batch | None:
    row = await db.fetchrow(f"SELECT {_BATCH} FROM import_batch WHERE id = $1", batch_id)
    return _read(row) if row is not None else None


async def lock_batch(db: Connection, batch_id: int) -> Batch | None:
    row = await db.fetchrow(f"SELECT {_BATCH} FROM import_batch WHERE id = $1 FOR UPDATE", batch_id)
    return _read(row) if row is not None else None


async def of_file(db: Executor, merchant_id: int, sha256: bytes) -> list[Batch]:
    """Imports of the same bytes for a merchant, newest first."""
    rows = await db.fetch(
        f"SELECT {_BATCH} FROM import_batch WHERE merchant_id = $1 AND sha256 = $2 ORDER BY id DESC",
        merchant_id,
        sha256,
    )
    return [_read(row) for row in rows]


async def begin(
    db: Executor, merchant_id: int, file: str, sha256: bytes, *, origin: str, options: str, actor: str, now: datetime
) -> int:
    found: int = await db.fetchval(
        """
        INSERT INTO import_batch (merchant_id, file, sha256, origin, state, options, actor, began_at)
        VALUES ($1, $2, $3, $4, 'applying', $5, $6, $7) RETURNING id
        """,
        merchant_id,
        file,
        sha256,
        origin,
        options,
        actor,
        now,
    )
    return found


async def advance(db: Connection, batch_id: int, next_row: int, counts: str) -> None:
    await db.execute("UPDATE import_batch SET next_row = $2, counts = $3 WHERE id = $1", batch_id, next_row, counts)


async def finish(db: Executor, batch_id: int, now: datetime) -> None:
    await db.execute(
        "UPDATE import_batch SET state = 'applied', applied_at = $2 WHERE id = $1 AND state = 'applying'", batch_id, now
    )


async def add_rejects(db: Connection, batch_id: int, rejects: Iterable[Unread]) -> None:
    await db.copy_records_to_table(
        "import_reject",
        records=[(batch_id, one.line, one.reason, one.said) for one in rejects],
        columns=("batch_id", "line", "reason", "said"),
    )


async def rejects(db: Executor, batch_id: int, *, after: int, limit: int) -> list[Unread]:
    """Behind a line, in order."""
    rows = await db.fetch(
        "SELECT line, reason, said FROM import_reject WHERE batch_id = $1 AND line > $2 ORDER BY line LIMIT $3",
        batch_id,
        after,
        limit,
    )
    return [Unread(*row) for row in rows]


async def hold(db: Connection, customer_ids: Sequence[int]) -> set[int]:
    """They are not erased until the transaction ends; those who were already."""
    rows = await db.fetch(
        "SELECT id, erased_at FROM customer WHERE id = ANY($1::bigint[]) ORDER BY id FOR KEY SHARE", customer_ids
    )
    return {row[0] for row in rows if row[1] is not None}


async def met(
    db: Executor,
    merchant_id: int,
    asked: Sequence[tuple[int, str | None, str | None, datetime | None, bytes | None]],
) -> list[asyncpg.Record]:
    """What is on record of each (customer, action, purpose, given_at, digest of the disclosure), by its place n.

    blocked: reasons or NULL; outdated: a later revocation. is_known: the same row, which no undoing of an import takes
    away, and with a disclosure where there is one now; is_otherwise: that with another. is_of_import: the same consent,
    by an import. And name, email, reference, has_contact.
    """
    return await db.fetch(
        f"""
        SELECT asked.n, blocks.reasons AS blocked,
               EXISTS (SELECT FROM consent WHERE consent.customer_id = asked.customer_id AND consent.action = 'revoke'
                       AND asked.action = 'grant' AND consent.given_at >= asked.given_at
                       AND {APPLYING.format(merchant="$1", purpose="asked.purpose")}) AS outdated,
               coalesce(same.is_known, false) AS is_known, coalesce(same.is_otherwise, false) AS is_otherwise,
               coalesce(same.is_of_import, false) AS is_of_import,
               contact.name, contact.email, contact.reference, contact.customer_id IS NOT NULL AS has_contact
        FROM unnest($2::int[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::bytea[])
             AS asked(n, customer_id, action, purpose, given_at, digest)
        LEFT JOIN contact ON contact.customer_id = asked.customer_id AND contact.merchant_id = $1
        LEFT JOIN LATERAL (
            SELECT bool_or(lasts AND (asked.digest IS NULL OR disclosure.digest IS NOT NULL)) AS is_known,
                   bool_or(lasts AND disclosure.digest <> asked.digest)
                       AND NOT coalesce(bool_or(lasts AND disclosure.digest = asked.digest), false) AS is_otherwise,
                   bool_or(NOT lasts) AS is_of_import
            FROM (SELECT consent.disclosure_id, consent.batch_id IS NULL OR consent.action = 'revoke' AS lasts
                  FROM consent
                  WHERE consent.customer_id = asked.customer_id AND consent.action = asked.action
                    AND consent.merchant_id = $1 AND consent.given_at = asked.given_at
                    AND consent.purpose = coalesce(asked.purpose, 'all') AND {_ANY}) AS row
            LEFT JOIN disclosure ON disclosure.id = row.disclosure_id
        ) AS same ON true
        LEFT JOIN LATERAL (
            SELECT array_agg(DISTINCT suppression.reason) AS reasons FROM suppression
            WHERE suppression.customer_id = asked.customer_id AND {BLOCKING.format(merchant="$1")}
        ) AS blocks ON true
        """,
        merchant_id,
        list(range(len(asked))),
        [one[0] for one in asked],
        [one[1] for one in asked],
        [one[2] for one in asked],
        [one[3] for one in asked],
        [one[4] for one in asked],
    )


async def put_contacts(
    db: Connection, merchant_id: int, batch_id: int, rows: Sequence[tuple[int, int, Any, Any, Any]], now: datetime
) -> tuple[int, int]:
    """(customer, line, name, email, reference) of each, no customer twice; (new, changed). What is not said stays.

    What they were before is kept in `contact_before`, also of those that say the same: they are this batch's from now
    on, and stay when the one before is undone. All that writes contacts locks them in the order of customers.
    """
    rows = sorted(rows)
    people = [row[0] for row in rows]
    await lock_contacts(db, people)
    found = await db.fetchrow(
        """
        WITH given AS MATERIALIZED (
            SELECT * FROM unnest($3::bigint[], $4::int[], $5::text[], $6::text[], $7::text[])
                AS g(customer_id, line, name, email, reference)
        ),
        before AS MATERIALIZED (
            SELECT c.*, (c.name, c.email, c.reference) IS DISTINCT FROM (coalesce(given.name, c.name),
                        coalesce(given.email, c.email), coalesce(given.reference, c.reference)) AS differs
            FROM contact AS c JOIN given USING (customer_id) WHERE c.merchant_id = $1
        ),
        kept AS (
            INSERT INTO contact_before (batch_id, customer_id, name, email, reference, was_batch_id, was_batch_row,
                                        was_changed_at)
            SELECT $2, customer_id, name, email, reference, batch_id, batch_row, changed_at
            FROM before WHERE batch_id IS DISTINCT FROM $2
            ON CONFLICT DO NOTHING
        ),
        put AS (
            INSERT INTO contact AS c (customer_id, merchant_id, name, email, reference, batch_id, batch_row, changed_at)
            SELECT customer_id, $1, name, email, reference, $2, line, $8 FROM given ORDER BY customer_id
            ON CONFLICT (customer_id, merchant_id) DO UPDATE SET
                name = coalesce(excluded.name, c.name), email = coalesce(excluded.email, c.email),
                reference = coalesce(excluded.reference, c.reference), batch_id = excluded.batch_id,
                batch_row = excluded.batch_row, changed_at = excluded.changed_at
            RETURNING xmax = 0 AS is_new
        )
        SELECT (SELECT count(*) FROM put WHERE is_new), (SELECT count(*) FROM before WHERE differs)
        """,
        merchant_id,
        batch_id,
        people,
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
        [row[4] for row in rows],
        now,
    )
    assert found is not None
    return found[0], found[1]


async def lock_contacts(db: Connection, customer_ids: Sequence[int]) -> None:
    """Those that are there, and what they were before, in the order of customers, until the transaction ends."""
    for table in ("contact", "contact_before"):
        await db.execute(
            f"SELECT FROM {table} WHERE customer_id = ANY($1::bigint[]) ORDER BY customer_id, ctid FOR UPDATE",
            customer_ids,
        )


async def hold_file(db: Connection, merchant_id: int, sha256: bytes) -> bool:
    """Nobody else imports the same file for the merchant until the connection gives it up. False: somebody does."""
    found: bool = await db.fetchval("SELECT pg_try_advisory_lock($1)", _file_lock(merchant_id, sha256))
    return found


async def release_file(db: Connection, merchant_id: int, sha256: bytes) -> None:
    await db.execute("SELECT pg_advisory_unlock($1)", _file_lock(merchant_id, sha256))


def _file_lock(merchant_id: int, sha256: bytes) -> int:
    digest = hashlib.blake2b(b"import %d %b" % (merchant_id, sha256), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


async def begin_undo(db: Connection, batch_id: int, *, actor: str, why: str) -> None:
    await db.execute(
        "UPDATE import_batch SET state = 'undoing', undone_by = $2, undone_why = $3 WHERE id = $1", batch_id, actor, why
    )


async def finish_undo(db: Executor, batch_id: int, now: datetime) -> None:
    await db.execute("UPDATE import_batch SET state = 'undone', undone_at = $2 WHERE id = $1", batch_id, now)


async def people(db: Executor, batch_id: int, after: int, limit: int) -> list[int]:
    """Customers that a batch brought or changed something of, behind one, by id."""
    rows = await db.fetch(
        """
        (SELECT DISTINCT customer_id FROM consent WHERE batch_id = $1 AND customer_id > $2
         ORDER BY customer_id LIMIT $3)
        UNION
        (SELECT customer_id FROM contact WHERE batch_id = $1 AND customer_id > $2 ORDER BY customer_id LIMIT $3)
        UNION
        (SELECT customer_id FROM contact_before WHERE batch_id = $1 AND customer_id > $2 ORDER BY customer_id LIMIT $3)
        ORDER BY customer_id LIMIT $3
        """,
        batch_id,
        after,
        limit,
    )
    return [row[0] for row in rows]


async def not_undone(db: Connection, batch_id: int, customer_ids: Sequence[int]) -> list[asyncpg.Record]:
    """Grants of a batch for these that no row takes back yet."""
    return await db.fetch(
        """
        SELECT customer_id, merchant_id, purpose, channel, given_at, batch_row FROM consent
        WHERE batch_id = $1 AND customer_id = ANY($2::bigint[]) AND action = 'grant'
          AND NOT EXISTS (SELECT FROM consent AS undone WHERE undone.customer_id = consent.customer_id
                          AND undone.batch_id = $1 AND undone.batch_row = consent.batch_row
                          AND undone.source = 'import-undone')
        ORDER BY seq
        """,
        batch_id,
        customer_ids,
    )


async def restore_contacts(db: Connection, batch_id: int, customer_ids: Sequence[int]) -> tuple[int, int]:
    """Contacts as they were before the batch, where it was the last to change them: (deleted, restored).

    Where another import came after it, what that one would restore is now what this one would have.
    """
    await lock_contacts(db, customer_ids)
    await db.execute(
        """
        UPDATE contact_before AS later SET name = own.name, email = own.email, reference = own.reference,
               was_batch_id = own.was_batch_id, was_batch_row = own.was_batch_row, was_changed_at = own.was_changed_at
        FROM contact_before AS of_later
        LEFT JOIN contact_before AS own ON own.batch_id = $1 AND own.customer_id = of_later.customer_id
        WHERE of_later.was_batch_id = $1 AND of_later.customer_id = ANY($2::bigint[])
          AND later.batch_id = of_later.batch_id AND later.customer_id = of_later.customer_id
        """,
        batch_id,
        customer_ids,
    )
    restored = await db.execute(
        """
        UPDATE contact SET name = own.name, email = own.email, reference = own.reference, batch_id = own.was_batch_id,
               batch_row = own.was_batch_row, changed_at = own.was_changed_at
        FROM contact_before AS own
        WHERE own.batch_id = $1 AND own.customer_id = contact.customer_id AND own.was_changed_at IS NOT NULL
          AND contact.batch_id = $1 AND contact.customer_id = ANY($2::bigint[])
        """,
        batch_id,
        customer_ids,
    )
    deleted = await db.execute(
        "DELETE FROM contact WHERE batch_id = $1 AND customer_id = ANY($2::bigint[])", batch_id, customer_ids
    )
    await db.execute(
        "DELETE FROM contact_before WHERE batch_id = $1 AND customer_id = ANY($2::bigint[])", batch_id, customer_ids
    )
    return int(deleted.rpartition(" ")[2]), int(restored.rpartition(" ")[2])


async def suppressed_by(db: Executor, batch_id: int) -> int:
    """Blocks in force that came with opt-outs of a batch."""
    found: int = await db.fetchval(
        "SELECT count(*) FROM suppression WHERE batch_id = $1 AND reason = 'import' AND lifted_at IS NULL", batch_id
    )
    return found


async def contacts(db: Executor, customer_id: int) -> list[asyncpg.Record]:
    """(merchant_id, name, email, reference, batch_id, batch_row, changed_at) of a customer, by merchant."""
    return await db.fetch(
        "SELECT merchant_id, name, email, reference, batch_id, batch_row, changed_at FROM contact "
        "WHERE customer_id = $1 ORDER BY merchant_id",
        customer_id,
    )
