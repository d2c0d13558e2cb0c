"""Connections: an asyncpg pool that survives the server going away, and what counts as "the store is away"."""

import asyncio
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:  # generic in the stubs only
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

# What a statement raises when the server is stopping, gone, full or unreachable: try again later, nothing is wrong
# with the statement. Class 57P is operator intervention, 53 is lack of resources, 08 is a lost connection;
# 3D and 28 mean that we cannot get in at all, which is for the operator to mend.
AWAY: tuple[type[BaseException], ...] = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalClientError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
)


async def _reset(connection: Connection) -> None:
    """Before a connection goes back; asyncpg's way is a round trip after every use. Nothing here changes a session."""
    if connection.is_in_transaction():
        await connection.reset()


async def create_pool(
    url: str,
    *,
    size: int,
    name: str,
    hot: bool = False,
    asynchronous_commit: bool = False,
) -> Pool:
    """A pool of at most `size` connections; none is opened before it is needed, so a server that is away is no error.

    `hot` is for the few statements of the data plane: they take arrays of any length, are planned once, and must not
    change their plan with the size of the backlog.

    `asynchronous_commit` is for work that is done again from the store after a crash (claims, routing): a server
    crash may undo the last instants of it as a whole, never a part, and never lets the queue forget the work.
    """
    settings = {
        "application_name": name,
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "30s",
        "jit": "off",
    }
    if hot:
        settings |= {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
    if asynchronous_commit:
        settings["synchronous_commit"] = "off"
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        timeout=5,
        command_timeout=30,
        max_inactive_connection_lifetime=300,
        server_settings=settings,
        reset=_reset,
    )
