"""All SQL of phone numbers."""

from collections.abc import Sequence

from holdfast.db.pool import Connection, Pool
from holdfast.merchants.numbers import NewNumber, Number

Executor = Connection | Pool
_NUMBER = "id, phone, merchant_id, account, sid, region, stands_in, created_at"


async def find(db: Executor, phone: str) -> Number | None:
    row = await db.fetchrow(f"SELECT {_NUMBER} FROM number WHERE phone = $1", phone)
    return Number(*row) if row else None


async def by_phones(db: Executor, phones: Sequence[str]) -> dict[str, Number]:
    rows = await db.fetch(f"SELECT {_NUMBER} FROM number WHERE phone = ANY($1::text[])", list(phones))
    return {row["phone"]: Number(*row) for row in rows}


async def of_account(db: Executor, sid: str) -> list[Number]:
    """Those of a subaccount, by phone."""
    rows = await db.fetch(f"SELECT {_NUMBER} FROM number WHERE account = $1 ORDER BY phone", sid)
    return [Number(*row) for row in rows]


async def numbers(
    db: Executor,
    *,
    merchant_id: int | None = None,
    region: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> list[Number]:
    """By phone; `after` is the phone to go on behind."""
    rows = await db.fetch(
        f"""
        SELECT {_NUMBER} FROM number
        WHERE ($1::bigint IS NULL OR merchant_id = $1) AND ($2::text IS NULL OR region = $2)
          AND ($3::text IS NULL OR phone > $3)
        ORDER BY phone LIMIT $4
        """,
        merchant_id,
        region,
        after,
        limit,
    )
    return [Number(*row) for row in rows]


async def put(db: Executor, new: Sequence[NewNumber]) -> tuple[int, int]:
    """Add or change numbers by phone (no phone twice); an account or sid that is not given keeps what is there.

    Returns (added, changed). Raises asyncpg.UniqueViolationError when a sid belongs to another number.
    """
    rows = await db.fetch(
        """
        INSERT INTO number AS n (phone, merchant_id, region, account, sid, stands_in)
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bool[])
        ON CONFLICT (phone) DO UPDATE SET
            merchant_id = excluded.merchant_id, region = excluded.region, stands_in = excluded.stands_in,
            account = coalesce(excluded.account, n.account), sid = coalesce(excluded.sid, n.sid)
        WHERE (n.merchant_id, n.region, n.stands_in, n.account, n.sid) IS DISTINCT FROM (
            excluded.merchant_id, excluded.region, excluded.stands_in, coalesce(excluded.account, n.account),
            coalesce(excluded.sid, n.sid))
        RETURNING xmax = 0 AS added
        """,
        [one.phone for one in new],
        [one.merchant_id for one in new],
        [one.region for one in new],
        [one.account for one in new],
        [one.sid for one in new],
        [one.stands_in for one in new],
    )
    added = sum(row["added"] for row in rows)
    return added, len(rows) - added


async def set_main(db: Executor, phones: Sequence[str]) -> None:
    """These are of the account of the settings."""
    if phones:
        await db.execute(
            "UPDATE number SET account = NULL WHERE phone = ANY($1::text[]) AND account IS NOT NULL", list(phones)
        )


async def set_sids(db: Executor, found: Sequence[tuple[str, str]]) -> None:
    """Note the PN… of numbers, by phone."""
    await db.execute(
        """
        UPDATE number n SET sid = f.sid FROM unnest($1::text[], $2::text[]) AS f(phone, sid)
        WHERE n.phone = f.phone AND n.sid IS DISTINCT FROM f.sid
        """,
        [phone for phone, _ in found],
        [sid for _, sid in found],
    )


async def remove(db: Executor, phone: str) -> bool:
    return await db.execute("DELETE FROM number WHERE phone = $1", phone) == "DELETE 1"
