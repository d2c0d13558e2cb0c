"""The SQL of how merchants text, and of their templates. merchant_id 0: what holds for every one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool
FIELDS = ("opens", "closes", "most_per_day", "most_per_week", "sender", "brand", "help_text", "provider_answers")


async def policies(db: Executor, merchant_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The rows as they are, None for what is as in that of merchant 0."""
    rows = await db.fetch(
        f"SELECT merchant_id, {', '.join(FIELDS)}, changed_at, changed_by FROM messaging_policy "
        "WHERE merchant_id = ANY($1::bigint[])",
        merchant_ids,
    )
    return {row["merchant_id"]: dict(row) for row in rows}


async def lock(db: Connection, merchant_id: int) -> None:
    """Until the transaction ends nobody else changes this policy; its row is there then."""
    await db.execute("INSERT INTO messaging_policy (merchant_id) VALUES ($1) ON CONFLICT DO NOTHING", merchant_id)
    await db.execute("SELECT FROM messaging_policy WHERE merchant_id = $1 FOR UPDATE", merchant_id)


async def put_policy(
    db: Connection, merchant_id: int, values: Mapping[str, Any], *, by: str, now: datetime | None
) -> None:
    """All fields; the row is there."""
    sets = ", ".join(f"{name} = ${place}" for place, name in enumerate(FIELDS, 4))
    await db.execute(
        f"UPDATE messaging_policy SET changed_by = $2, changed_at = coalesce($3, now()), {sets} WHERE merchant_id = $1",
        merchant_id,
        by,
        now,
        *(values[name] for name in FIELDS),
    )


async def has_number(db: Executor, merchant_id: int, phone: str) -> bool:
    found: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM number WHERE merchant_id = $1 AND phone = $2)", merchant_id, phone
    )
    return found


async def templates(db: Executor, merchant_id: int | None) -> list[asyncpg.Record]:
    """(merchant_id, name, body, changed_at, changed_by): those that a merchant has or may use; None: all."""
    return await db.fetch(
        """
        SELECT merchant_id, name, body, changed_at, changed_by FROM text_template
        WHERE $1::bigint IS NULL OR merchant_id IN ($1, 0) ORDER BY merchant_id, name
        """,
        merchant_id,
    )


async def template(db: Executor, merchant_id: int, name: str) -> asyncpg.Record | None:
    """The merchant's own, else everybody's."""
    return await db.fetchrow(
        """
        SELECT merchant_id, name, body, changed_at, changed_by FROM text_template
        WHERE merchant_id IN ($1, 0) AND name = $2 ORDER BY merchant_id DESC LIMIT 1
        """,
        merchant_id,
        name,
    )


async def put_template(db: Executor, merchant_id: int, name: str, body: str, *, by: str) -> bool:
    """Whether it is new."""
    added: bool = await db.fetchval(
        """
        INSERT INTO text_template (merchant_id, name, body, changed_by) VALUES ($1, $2, $3, $4)
        ON CONFLICT (merchant_id, name) DO UPDATE SET body = excluded.body, changed_by = excluded.changed_by,
                                                      changed_at = now()
        RETURNING xmax = 0
        """,
        merchant_id,
        name,
        body,
        by,
    )
    return added


async def remove_template(db: Executor, merchant_id: int, name: str) -> bool:
    status = await db.execute("DELETE FROM text_template WHERE merchant_id = $1 AND name = $2", merchant_id, name)
    return status == "DELETE 1"
