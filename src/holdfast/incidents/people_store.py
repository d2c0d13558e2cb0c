"""All SQL of people and the rota."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.db.pool import Connection, Pool
from holdfast.incidents.model import OPEN, Person, Rota, UnknownError

Executor = Connection | Pool
_PERSON = "id, key, name, email, role, position"


async def put(db: Executor, key: str, name: str, email: str | None, role: str) -> Person:
    """Add somebody, or change what is known of them; the place in the rota stays."""
    row = await db.fetchrow(
        f"""
        INSERT INTO person (key, name, email, role) VALUES ($1, $2, $3, $4)
        ON CONFLICT (key) DO UPDATE SET name = excluded.name, email = excluded.email, role = excluded.role
        RETURNING {_PERSON}
        """,
        key,
        name,
        email,
        role,
    )
    assert row is not None
    return Person(**row)


async def remove(db: Executor, key: str) -> bool:
    """False if there is nobody of this name. What they did stays in the logs."""
    status = await db.execute("DELETE FROM person WHERE key = $1", key)
    return bool(status.endswith(" 1"))


async def people(db: Executor) -> list[Person]:
    rows = await db.fetch(f"SELECT {_PERSON} FROM person ORDER BY position NULLS LAST, key")
    return [Person(**row) for row in rows]


async def person(db: Executor, key: str) -> Person | None:
    row = await db.fetchrow(f"SELECT {_PERSON} FROM person WHERE key = $1", key)
    return Person(**row) if row is not None else None


async def rota(db: Executor) -> Rota | None:
    """None if there is none."""
    handover: datetime | None = await db.fetchval("SELECT handover FROM rota")
    if handover is None:
        return None
    rows = await db.fetch(f"SELECT {_PERSON} FROM person WHERE position IS NOT NULL ORDER BY position")
    return Rota(tuple(Person(**row) for row in rows), handover)


async def commands(db: Executor, key: str) -> list[int]:
    """The open incidents of which somebody is the commander."""
    rows = await db.fetch(
        """
        SELECT id FROM incident WHERE commander = $1 AND state = ANY($2) AND merged_into IS NULL ORDER BY id
        """,
        key,
        list(OPEN),
    )
    return [row[0] for row in rows]


async def set_rota(pool: Pool, keys: Sequence[str], handover: datetime) -> Rota:
    """The people whose weeks follow each other, the first from `handover` on. Raises UnknownError."""
    async with pool.acquire() as connection, connection.transaction():
        found = await connection.fetch("SELECT key FROM person WHERE key = ANY($1::text[]) FOR UPDATE", list(keys))
        missing = sorted(set(keys) - {row[0] for row in found})
        if missing:
            raise UnknownError(f"there is nobody called {missing[0]!r}; see `holdfast people list`")
        await connection.execute("UPDATE person SET position = NULL WHERE position IS NOT NULL")
        await connection.executemany(
            "UPDATE person SET position = $2 WHERE key = $1", [(key, place) for place, key in enumerate(keys)]
        )
        await connection.execute(
            "INSERT INTO rota (handover) VALUES ($1) ON CONFLICT (one) DO UPDATE SET handover = excluded.handover",
            handover,
        )
        made = await rota(connection)
    assert made is not None
    return made
