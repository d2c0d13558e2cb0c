"""All SQL of the payments ledger."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from holdfast.db.locks import Lock
from holdfast.db.pool import Connection, Pool
from holdfast.inbox.window_store import PATIENCE, RECEIVED
from holdfast.payments.model import NEVER_NAME_AN_OWNER, Entry, State

Executor = Connection | Pool
_COLUMNS = (
    "id, kind, account, merchant_id, livemode, status, currency, amount, amount_settled, amount_reversed, belongs_to, "
    "created_at, first_event, first_event_at, last_event, last_event_at, last_rank, owner_at, owner_rank, owner_event"
)
_STATE = ("kind", "livemode", "status", "currency", "amount", "amount_settled", "amount_reversed", "belongs_to")
_NEWER = (
    "(excluded.last_event_at, excluded.last_rank, excluded.last_event) > (p.last_event_at, p.last_rank, p.last_event)"
)
_EARLIER = "(excluded.first_event_at, excluded.first_event) < (p.first_event_at, p.first_event)"
_OWNED = ("account", "merchant_id", "owner_at", "owner_rank", "owner_event")
_OWNER = (
    "({0}.merchant_id <> 0, {0}.account IS NOT NULL, coalesce({0}.owner_at, '-infinity'), coalesce({0}.owner_rank, 0), "
    "coalesce({0}.owner_event, ''), {0}.merchant_id, coalesce({0}.account, ''))"
)
_NAMES = f"{_OWNER.format('excluded')} > {_OWNER.format('p')}"

# The same as `model.merged`, which a test compares it with.
UPSERT = f"""
INSERT INTO payment AS p ({_COLUMNS})
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bool[], $6::text[], $7::text[], $8::bigint[],
                     $9::bigint[], $10::bigint[], $11::text[], $12::timestamptz[], $13::text[], $14::timestamptz[],
                     $15::text[], $16::timestamptz[], $17::bigint[], $18::timestamptz[], $19::bigint[],
                     $20::text[])
ON CONFLICT (id) DO UPDATE SET
    {", ".join(f"{name} = CASE WHEN {_NEWER} THEN excluded.{name} ELSE p.{name} END" for name in _STATE)},
    {", ".join(f"{name} = CASE WHEN {_NAMES} THEN excluded.{name} ELSE p.{name} END" for name in _OWNED)},
    created_at = least(excluded.created_at, p.created_at),
    first_event = CASE WHEN {_EARLIER} THEN excluded.first_event ELSE p.first_event END,
    first_event_at = least(excluded.first_event_at, p.first_event_at),
    last_event = CASE WHEN {_NEWER} THEN excluded.last_event ELSE p.last_event END,
    last_rank = CASE WHEN {_NEWER} THEN excluded.last_rank ELSE p.last_rank END,
    last_event_at = greatest(excluded.last_event_at, p.last_event_at)
WHERE {_NEWER} OR {_EARLIER} OR {_NAMES} OR excluded.created_at < p.created_at
"""


async def apply(db: Executor, entries: Sequence[Entry]) -> None:
    """Merge entries into the ledger: one an object, ordered by id (`model.folded`)."""
    if not entries:
        return
    states = [entry.state for entry in entries]
    await db.execute(
        UPSERT,
        [entry.id for entry in entries],
        [entry.kind for entry in entries],
        [entry.account for entry in entries],
        [entry.merchant_id for entry in entries],
        [entry.livemode for entry in entries],
        [state.status for state in states],
        [state.currency for state in states],
        [state.amount for state in states],
        [state.settled for state in states],
        [state.reversed for state in states],
        [state.belongs_to for state in states],
        [entry.created_at for entry in entries],
        [entry.first_event for entry in entries],
        [entry.first_event_at for entry in entries],
        [entry.last_event for entry in entries],
        [entry.last_event_at for entry in entries],
        [entry.last_rank for entry in entries],
        [entry.owner_at for entry in entries],
        [entry.owner_rank for entry in entries],
        [entry.owner_event for entry in entries],
    )


@dataclass(frozen=True, slots=True)
class Filter:
    """Which payments: every field that is set must fit."""

    kind: str | None = None
    status: str | None = None
    merchant_id: int | None = None
    account: str | None = None
    livemode: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


async def listing(db: Executor, chosen: Filter, *, limit: int, before: tuple[datetime, str] | None) -> list[Entry]:
    """Newest first; `before` is (created_at, id) of the entry to go on behind."""
    rows = await db.fetch(
        f"""
        SELECT {_COLUMNS} FROM payment
        WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR status = $2)
          AND ($3::bigint IS NULL OR merchant_id = $3) AND ($4::text IS NULL OR account = $4)
          AND ($5::bool IS NULL OR livemode = $5)
          AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
          AND ($8::timestamptz IS NULL OR (created_at, id) < ($8, $9))
        ORDER BY created_at DESC, id DESC LIMIT $10
        """,
        chosen.kind,
        chosen.status,
        chosen.merchant_id,
        chosen.account,
        chosen.livemode,
        chosen.since,
        chosen.until,
        before[0] if before else None,
        before[1] if before else None,
        limit,
    )
    return [_entry(row) for row in rows]


async def find(db: Executor, ids: Sequence[str]) -> dict[str, Entry]:
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM payment WHERE id = ANY($1::text[])", list(ids))
    return {row["id"]: _entry(row) for row in rows}


Owner = tuple[str | None, int]
"""Whose a payment is: the account (None if none is named) and the merchant (0 if it is nobody's that we know)."""


async def owners(db: Executor, ids: Collection[str]) -> dict[str, Owner]:
    rows = await db.fetch("SELECT id, account, merchant_id FROM payment WHERE id = ANY($1::text[])", list(ids))
    return {row[0]: (row[1], row[2]) for row in rows}


async def orphans(db: Executor, parents: Collection[str]) -> list[str]:
    """What came before these, which name its owner, and is nobody's so far."""
    rows = await db.fetch(
        """
        SELECT id FROM payment
        WHERE belongs_to = ANY($1::text[]) AND kind = ANY($2::text[]) AND merchant_id = 0 AND account IS NULL
        ORDER BY id
        """,
        list(parents),
        list(NEVER_NAME_AN_OWNER),
    )
    return [row[0] for row in rows]


async def bring_parents(db: Connection) -> None:
    """Until this transaction ends, nobody may find that a parent is missing (`miss_parents`): it may be among ours."""
    await db.execute("SELECT pg_advisory_xact_lock_shared($1)", int(Lock.PARENTS))


async def miss_parents(db: Connection) -> None:
    """Wait for all who bring parents; until this transaction ends, they wait for what we do without ours."""
    await db.execute("SELECT pg_advisory_xact_lock($1)", int(Lock.PARENTS))


async def parts(db: Executor, payment_id: str) -> list[Entry]:
    """What belongs to a payment object: a payment intent's charges, a charge's refunds and disputes."""
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM payment WHERE belongs_to = $1 ORDER BY created_at, id", payment_id)
    return [_entry(row) for row in rows]


async def totals(db: Executor, chosen: Filter) -> list[asyncpg.Record]:
    """Per mode (live first), kind, status and currency: count, amount, settled, reversed."""
    return await db.fetch(
        """
        SELECT livemode, kind, status, currency, count(*) AS count, sum(amount) AS amount,
               sum(amount_settled) AS settled, sum(amount_reversed) AS reversed
        FROM payment
        WHERE ($1::bigint IS NULL OR merchant_id = $1)
          AND ($2::timestamptz IS NULL OR created_at >= $2) AND ($3::timestamptz IS NULL OR created_at < $3)
          AND ($4::bool IS NULL OR livemode = $4)
        GROUP BY livemode, kind, status, currency ORDER BY livemode DESC, kind, status, currency
        """,
        chosen.merchant_id,
        chosen.since,
        chosen.until,
        chosen.livemode,
    )


# An entry that took an event in reaches back and forward to it at least; a newer event may have replaced its state.
_REACHES = "c.created_at BETWEEN p.first_event_at AND p.last_event_at"


async def proofs(db: Connection) -> list[asyncpg.Record]:
    """Whether the ledger holds what a window's events (`inbox.window_store.gather`) are said to have been applied to.

    Per lane: applied (events), missing (of those: without an entry), behind (with one that never took the event in),
    and up to five ids of such events.
    """
    return await db.fetch(
        f"""
        SELECT c.lane, count(*) AS applied, count(*) FILTER (WHERE p.id IS NULL) AS missing,
               count(*) FILTER (WHERE NOT {_REACHES}) AS behind,
               (array_agg(c.event_id) FILTER (WHERE p.id IS NULL OR NOT {_REACHES}))[1:5] AS examples
        FROM {RECEIVED} c LEFT JOIN payment p ON p.id = c.object_id
        WHERE c.state = 'applied' GROUP BY c.lane ORDER BY c.lane
        """,
        timeout=PATIENCE,
    )


def _entry(row: asyncpg.Record) -> Entry:
    return Entry(
        row["id"],
        row["kind"],
        row["account"],
        row["merchant_id"],
        row["livemode"],
        State(
            row["status"],
            row["currency"],
            row["amount"],
            row["amount_settled"],
            row["amount_reversed"],
            row["belongs_to"],
        ),
        row["created_at"],
        row["first_event"],
        row["first_event_at"],
        row["last_event"],
        row["last_event_at"],
        row["last_rank"],
        row["owner_at"],
        row["owner_rank"],
        row["owner_event"],
    )
