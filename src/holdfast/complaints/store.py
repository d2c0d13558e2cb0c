"""The SQL of complaints: the rows, what is owed for them, and which incident they belong to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from holdfast.complaints.model import Complaint
from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool
_COLUMNS = (
    "id, customer_id, merchant_id, source, key, text, answer_to, received_at, recorded_at, due_at, filed_by, "
    "suppression_id, consent_seq, cancelled, answered_at, answered_by, answer_how, answer, cause, closed_at, closed_by"
)


async def insert(
    db: Connection,
    *,
    customer_id: int,
    merchant_id: int,
    source: str,
    key: str | None,
    text: str | None,
    answer_to: str | None,
    received_at: datetime,
    due_at: datetime,
    filed_by: str,
    now: datetime,
) -> int | None:
    """Its number; None if there is one with this key. Who comes second with a key waits for the first."""
    number: int | None = await db.fetchval(
        """
        INSERT INTO complaint (customer_id, merchant_id, source, key, text, answer_to, received_at, recorded_at, due_at,
                               filed_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (key) DO NOTHING RETURNING id
        """,
        customer_id,
        merchant_id,
        source,
        key,
        text,
        answer_to,
        received_at,
        now,
        due_at,
        filed_by,
    )
    return number


async def stopped(
    db: Connection, complaint_id: int, suppression_id: int, consent_seq: int | None, cancelled: int
) -> None:
    await db.execute(
        "UPDATE complaint SET suppression_id = $2, consent_seq = $3, cancelled = $4 WHERE id = $1",
        complaint_id,
        suppression_id,
        consent_seq,
        cancelled,
    )


async def get(db: Executor, complaint_id: int) -> Complaint | None:
    return _read(await db.fetchrow(f"SELECT {_COLUMNS} FROM complaint WHERE id = $1", complaint_id))


async def lock(db: Connection, complaint_id: int) -> Complaint | None:
    """The complaint, which nobody else changes until the transaction ends."""
    return _read(await db.fetchrow(f"SELECT {_COLUMNS} FROM complaint WHERE id = $1 FOR UPDATE", complaint_id))


async def by_key(db: Executor, key: str) -> Complaint | None:
    return _read(await db.fetchrow(f"SELECT {_COLUMNS} FROM complaint WHERE key = $1", key))


async def listing(
    db: Executor,
    *,
    unanswered: bool = False,
    is_open: bool = False,
    limit: int = 100,
    before: int | None = None,
) -> list[Complaint]:
    """Newest first; `is_open`: those not closed; `before` is the id to go on behind."""
    rows = await db.fetch(
        f"""
        SELECT {_COLUMNS} FROM complaint
        WHERE (NOT $1 OR answered_at IS NULL AND closed_at IS NULL) AND (NOT $2 OR closed_at IS NULL)
          AND ($3::bigint IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4
        """,
        unanswered,
        is_open,
        before,
        limit,
    )
    return [Complaint(*row) for row in rows]


async def answer(db: Connection, complaint_id: int, *, how: str, text: str, actor: str, now: datetime) -> None:
    await db.execute(
        "UPDATE complaint SET answered_at = $2, answered_by = $3, answer_how = $4, answer = $5 WHERE id = $1",
        complaint_id,
        now,
        actor,
        how,
        text,
    )


async def close(db: Connection, complaint_id: int, *, cause: str, actor: str, now: datetime) -> None:
    await db.execute(
        "UPDATE complaint SET cause = $2, closed_at = coalesce(closed_at, $3), closed_by = coalesce(closed_by, $4) "
        "WHERE id = $1",
        complaint_id,
        cause,
        now,
        actor,
    )


async def waiting(db: Executor) -> tuple[int, datetime | None]:
    """How many are unanswered, and when the first of them is due."""
    row = await db.fetchrow(
        "SELECT count(*), min(due_at) FROM complaint WHERE answered_at IS NULL AND closed_at IS NULL"
    )
    assert row is not None
    return row[0], row[1]


async def by_merchant(db: Executor, limit: int) -> list[tuple[int, int]]:
    """(merchant or 0, how many) of those that are not closed, the most first."""
    rows = await db.fetch(
        """
        SELECT merchant_id, count(*) FROM complaint WHERE closed_at IS NULL
        GROUP BY merchant_id ORDER BY 2 DESC, 1 LIMIT $1
        """,
        limit,
    )
    return [(row[0], row[1]) for row in rows]


async def erased_unanswered(db: Executor, limit: int) -> list[int]:
    """Those that wait for an answer to people who were erased since; the oldest first."""
    rows = await db.fetch(
        """
        SELECT complaint.id FROM complaint JOIN customer ON customer.id = complaint.customer_id
        WHERE answered_at IS NULL AND closed_at IS NULL AND customer.erased_at >= complaint.recorded_at
        ORDER BY complaint.id LIMIT $1
        """,
        limit,
    )
    return [row[0] for row in rows]


# Their incidents


async def unlinked(db: Connection, limit: int) -> list[Complaint]:
    """Those of no incident that are not closed, the oldest first; nobody else takes them."""
    rows = await db.fetch(
        f"""
        SELECT {_COLUMNS} FROM complaint
        WHERE closed_at IS NULL AND NOT EXISTS (SELECT FROM incident_complaint WHERE complaint_id = complaint.id)
        ORDER BY id LIMIT $1 FOR UPDATE OF complaint SKIP LOCKED
        """,
        limit,
    )
    return [Complaint(*row) for row in rows]


async def has_unlinked(db: Executor) -> bool:
    """Whether there is one of no incident that is not closed."""
    found: bool = await db.fetchval(
        """
        SELECT EXISTS (SELECT FROM complaint WHERE closed_at IS NULL
                       AND NOT EXISTS (SELECT FROM incident_complaint WHERE complaint_id = complaint.id))
        """
    )
    return found


async def link(db: Connection, complaint_ids: Sequence[int], incident_id: int, now: datetime) -> list[int]:
    """Those that are the incident's now; one that belongs to another stays there."""
    rows = await db.fetch(
        """
        INSERT INTO incident_complaint (complaint_id, incident_id, joined_at)
        SELECT id, $2, $3 FROM unnest($1::bigint[]) AS id ON CONFLICT DO NOTHING RETURNING complaint_id
        """,
        complaint_ids,
        incident_id,
        now,
    )
    return [row[0] for row in rows]


async def incident_of(db: Executor, complaint_id: int) -> int | None:
    found: int | None = await db.fetchval(
        "SELECT incident_id FROM incident_complaint WHERE complaint_id = $1", complaint_id
    )
    return found


async def of_incident(db: Executor, incident_id: int, limit: int) -> list[Complaint]:
    """The oldest first."""
    rows = await db.fetch(
        f"""
        SELECT {", ".join(f"complaint.{name}" for name in _COLUMNS.split(", "))} FROM complaint
        JOIN incident_complaint ON complaint_id = complaint.id
        WHERE incident_id = $1 ORDER BY complaint.id LIMIT $2
        """,
        incident_id,
        limit,
    )
    return [Complaint(*row) for row in rows]


# Texts that are complaints


@dataclass(frozen=True, slots=True)
class Complaining:
    """Texts that met one of `rules`, or one of `named` while they say what `naming` says, are complaints."""

    rules: Sequence[str]
    named: Sequence[str]
    naming: str


async def complaining_texts(db: Executor, which: Complaining, since: datetime, limit: int) -> list[asyncpg.Record]:
    """(sid, phone, merchant_id, body, received_at) of those for which no complaint was filed, the oldest first.

    What a person judged to be ordinary is none.
    """
    return await db.fetch(
        """
        SELECT sid, customer.phone, merchant_id, body, received_at FROM inbound_text
        JOIN customer ON customer.id = inbound_text.customer_id
        WHERE received_at >= $4 AND verdict IN ('stop', 'doubtful')
          AND (rules && $1::text[] OR rules && $2::text[] AND body ~* $3)
          AND decision IS DISTINCT FROM 'ordinary' AND customer.phone IS NOT NULL
          AND NOT EXISTS (SELECT FROM complaint WHERE complaint.key = 'text:' || inbound_text.sid)
        ORDER BY received_at LIMIT $5
        """,
        which.rules,
        which.named,
        which.naming,
        since,
        limit,
    )


async def inbound_text(db: Executor, sid: str) -> asyncpg.Record | None:
    """(sid, phone, merchant_id, body, received_at); phone None: the person was erased."""
    return await db.fetchrow(
        """
        SELECT sid, customer.phone, merchant_id, body, received_at FROM inbound_text
        JOIN customer ON customer.id = inbound_text.customer_id WHERE sid = $1
        """,
        sid,
    )


async def texting_merchants(db: Executor, customer_id: int, since: datetime) -> list[int]:
    """Whose texts went, or were to go, to a person."""
    rows = await db.fetch(
        """
        SELECT DISTINCT merchant_id FROM message
        WHERE customer_id = $1 AND created_at >= $2 AND state <> 'refused' AND kind = 'text' AND merchant_id > 0
        ORDER BY merchant_id
        """,
        customer_id,
        since,
    )
    return [row[0] for row in rows]


def _read(row: asyncpg.Record | None) -> Complaint | None:
    return Complaint(*row) if row is not None else None
