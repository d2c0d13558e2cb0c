"""Connections: an asyncpg pool that survives the server going away, and what counts as "the store is away"."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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


_DEFAULTS: dict[str, Any] = {
    "max_queries": 50_000,
    "loop": None,
    "connection_class": asyncpg.Connection,
    "record_class": asyncpg.Record,
}
"""What asyncpg.create_pool adds for a pool of its own class."""


async def _reset(connection: Connection) -> None:
    """Before a connection goes back; asyncpg's way is a round trip after every use. Nothing here changes a session."""
    if connection.is_in_transaction():
        await connection.reset()


class _TimedPool(Pool):
    """Tells how long each caller waited for a connection: in the queue for a free one, or until one was opened."""

    def __init__(self, *arguments: Any, waited: Callable[[float], None], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waited = waited

    async def _acquire(self, timeout: float | None) -> Connection:
        # All ways to a connection lead through here: `acquire`, and the pool's own `fetch`, `execute` and the like.
        began = time.perf_counter()
        try:
            connection: Connection = await super()._acquire(timeout)  # type: ignore[misc]  # not in the stubs
            return connection
        finally:
            self._waited(time.perf_counter() - began)


async def create_pool(
    url: str,
    *,
    size: int,
    name: str,
    hot: bool = False,
    asynchronous_commit: bool = False,
    waited: Callable[[float], None] | None = None,
) -> Pool:
    """A pool of at most `size` connections; none is opened before it is needed, so a server that is away is no error.

    `hot` is for the few statements of the data plane: they take arrays of any length, are planned once, and must not
    change their plan with the size of the backlog.

    `asynchronous_commit` is for work that is done again from the store after a crash (claims, routing): a server
    crash may undo the last instants of it as a whole, never a part, and never lets the queue forget the work.

    `waited` hears for every use of the pool how many seconds it took to get a connection.
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
    options: dict[str, Any] = {
        "min_size": 0,
        "max_size": size,
        "timeout": 5,
        "command_timeout": 30,
        "max_inactive_connection_lifetime": 300,
        "server_settings": settings,
        "reset": _reset,
    }
    if waited is None:
        return await asyncpg.create_pool(url, **options)
    return await _TimedPool(url, waited=waited, **_DEFAULTS | options)
