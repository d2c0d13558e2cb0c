"""How many connections the server gives us."""

from dataclasses import dataclass

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the server's settings say: all connections, and those kept for superusers and reserved roles."""

    most: int
    reserved: int

    @property
    def ours(self) -> int:
        return self.most - self.reserved


async def allowed(db: Executor) -> Allowed:
    """`reserved_connections` exists from PostgreSQL 16 on."""
    row = await db.fetchrow(
        """
        SELECT current_setting('max_connections')::int,
               current_setting('superuser_reserved_connections')::int
                   + coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0)
        """
    )
    assert row is not None
    return Allowed(*row)
