"""All SQL of health."""

from dataclasses import dataclass
from datetime import datetime

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool


@dataclass(frozen=True, slots=True)
class ServerState:
    """How the PostgreSQL server is, as it says itself. Shares are 0 to 1, ages seconds, sizes bytes."""

    connections: float
    lock_waits: int
    oldest_transaction: float
    cache_hits: float
    size: int


async def server_state(db: Executor) -> ServerState:
    row = await db.fetchrow(
        """
        SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::float8
                   / current_setting('max_connections')::float8,
               (SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()),
               (SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8 FROM pg_stat_activity
                WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()),
               (SELECT CASE WHEN blks_hit + blks_read = 0 THEN 1 ELSE blks_hit::float8 / (blks_hit + blks_read) END
                FROM pg_stat_database WHERE datname = current_database()),
               pg_database_size(current_database())
        """
    )
    assert row is not None
    return ServerState(*row)


@dataclass(frozen=True, slots=True)
class EventLag:
    """How far events of the last minutes were behind when they came in. Seconds; None without events."""

    median: float | None
    received: int
    newest: datetime | None


async def event_lag(db: Executor, provider: str, since: datetime) -> EventLag:
    """Over at most a thousand events received since; Stripe gives an event's creation in whole seconds."""
    row = await db.fetchrow(
        """
        WITH recent AS (
            SELECT created_at, received_at FROM event
            WHERE provider = $1 AND received_at > $2 ORDER BY seq DESC LIMIT 1000
        )
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM received_at - created_at)::float8),
               count(*), max(received_at) FROM recent
        """,
        provider,
        since,
    )
    assert row is not None
    return EventLag(*row)
