"""Connections: an asyncpg pool that survives the server going away, and what counts as "the store is away"."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import structlog

log = structlog.get_logger()
T = TypeVar("T")

if TYPE_CHECKING:  # generic in the stubs only
    Pool = asyncpg.Pool[asyncpg.Record]
    Proxy = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record] | Proxy
    _Acquiring = asyncpg.pool.PoolAcquireContext[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Proxy = asyncpg.pool.PoolConnectionProxy
    Connection = asyncpg.Connection | Proxy
    _Acquiring = asyncpg.pool.PoolAcquireContext

LARGEST = 64
"""Connections that a pool can be resized to."""

UNANSWERED = 1.0
"""Seconds for the server to confirm that a statement was cancelled; then its connection is given up."""

_LONGER = 2.0
"""Seconds that we wait longer than the server, which says what it ended."""

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


async def again(work: Callable[[], Awaitable[T]], *, tries: int = 3) -> T:
    """What a whole transaction gives, done anew where the server broke it off for another one's sake: a deadlock.

    Nothing of it was kept then. Raises what `work` does, after so many tries that error as well.
    """
    for _ in range(tries - 1):
        try:
            return await work()
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
            log.info("transaction.again", error=type(error).__name__)
    return await work()


async def _reset(connection: Connection) -> None:
    """Before a connection goes back; asyncpg's way is a round trip after every use. Nothing here changes a session."""
    if connection.is_in_transaction():
        await connection.reset()


class ResizablePool(Pool):
    """A pool whose size may change while it is in use.

    asyncpg keeps room for `LARGEST` connections, which costs nothing while they are not open; here is decided how many
    of them may be in use. No connection in use is broken off when the pool shrinks: it is closed when it comes back.
    """

    def __init__(self, url: str, *, size: int, waited: Callable[[float], None] | None = None, **options: Any) -> None:
        """`waited` is told how long each caller waited for a connection: for a free one, or until one was opened."""
        super().__init__(
            url,
            min_size=0,
            max_size=max(size, LARGEST),
            max_queries=50_000,
            max_inactive_connection_lifetime=300,
            loop=None,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            **options,
        )
        self._size = size
        self._waited = waited
        self._in_use: set[Proxy] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_shrinking = False

    def get_max_size(self) -> int:
        return self._size

    async def resize(self, size: int) -> None:
        """From now on at most `size` connections, 1 to `LARGEST`; idle ones above it are closed at once."""
        if not 1 <= size <= LARGEST:
            raise ValueError(f"a pool has 1 to {LARGEST} connections, not {size}")
        self._is_shrinking = self._is_shrinking or size < self._size
        self._size = size
        self._admit()
        await self._trim()

    def acquire(self, *, timeout: float | None = None) -> "_Acquire":
        return _Acquire(self, timeout)

    async def take(self, timeout: float | None) -> Proxy:
        began = time.perf_counter()
        try:
            return await self._take(timeout)
        finally:
            if self._waited is not None:
                self._waited(time.perf_counter() - began)

    async def _take(self, timeout: float | None) -> Proxy:
        async with asyncio.timeout(timeout):
            await self._turn()
            try:
                connection = await super().acquire()
            except BaseException:
                self._opening -= 1
                self._admit()
                raise
            self._opening -= 1
            self._in_use.add(connection)
            return connection

    async def release(self, connection: Proxy, *, timeout: float | None = None) -> None:
        try:
            await super().release(connection, timeout=timeout)
        finally:
            self._in_use.discard(connection)
            self._admit()
        if self._is_shrinking:
            await self._trim()

    async def _turn(self) -> None:
        """Wait until one more connection may be in use, in the order of asking."""
        if not self._waiting and len(self._in_use) + self._opening < self._size:
            self._opening += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # it was our turn already: the next one's, then
                self._opening -= 1
                self._admit()
            else:
                with suppress(ValueError):  # somebody else's end has taken it out already
                    self._waiting.remove(turn)
            raise

    def _admit(self) -> None:
        while self._waiting and len(self._in_use) + self._opening < self._size:
            turn = self._waiting.popleft()
            if not turn.done():
                self._opening += 1
                turn.set_result(None)

    async def _trim(self) -> None:
        """Close idle connections while there are more than there may be."""
        while self._is_shrinking and self.get_size() > self._size and self.get_idle_size():
            idle = await super().acquire()  # asyncpg gives an open one first
            await idle.close(timeout=2)
        if self.get_size() <= self._size:
            self._is_shrinking = False


class _Acquire(_Acquiring):
    """What `async with pool.acquire()` and `await pool.acquire()` work on."""

    pool: ResizablePool

    def __init__(self, pool: ResizablePool, timeout: float | None) -> None:
        super().__init__(pool, timeout)

    async def __aenter__(self) -> Proxy:
        self.connection = connection = await self.pool.take(self.timeout)
        return connection

    async def __aexit__(self, *error: object) -> None:
        """Whoever gives up waiting for a server that hangs must not wait for it here: asyncpg would, for 30 seconds."""
        connection = self.connection
        if connection is None or error[0] is None:
            await super().__aexit__()
            return
        with suppress(TimeoutError):  # it is closed then
            await self.pool.release(connection, timeout=UNANSWERED)

    def __await__(self) -> Generator[Any, None, Proxy]:
        return self.pool.take(self.timeout).__await__()


async def create_pool(
    url: str,
    *,
    size: int,
    name: str,
    hot: bool = False,
    asynchronous_commit: bool = False,
    patience: float = 30.0,
    waited: Callable[[float], None] | None = None,
) -> ResizablePool:
    """A pool of at most `size` connections; none is opened before it is needed, so a server that is away is no error.

    `hot` is for the few statements of the data plane: they take arrays of any length, are planned once, and must not
    change their plan with the size of the backlog.

    `asynchronous_commit` is for work that is done again from the store after a crash (claims, routing): a server
    crash may undo the last instants of it as a whole, never a part, and never lets the queue forget the work.

    `patience`: the seconds that a statement may take; then the server ends it (asyncpg.QueryCanceledError), or, where
    it does not answer, we do (TimeoutError).

    `waited` hears for every use of the pool how many seconds it took to get a connection.
    """
    settings = {
        "application_name": name,
        "statement_timeout": f"{1000 * patience:.0f}ms",
        "idle_in_transaction_session_timeout": "30s",
        "jit": "off",
    }
    if hot:
        settings |= {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
    if asynchronous_commit:
        settings["synchronous_commit"] = "off"
    opened = ResizablePool(
        url,
        size=size,
        waited=waited,
        timeout=5,
        command_timeout=patience + _LONGER,
        server_settings=settings,
        reset=_reset,
    )
    await opened
    return opened
