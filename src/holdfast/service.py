"""What every process of Holdfast has: its database, its signal handling, and the loops they all run."""

import asyncio
import gc
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import structlog
import uvloop

from holdfast.config import Settings
from holdfast.db import processes
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.migrate import upgrade
from holdfast.db.pool import AWAY, Pool, ResizablePool, create_pool
from holdfast.levers.service import Levers
from holdfast.loops import repeat
from holdfast.signals.registry import REGISTRY
from holdfast.signals.system import POOL_WAIT, System
from holdfast.signals.totals import INTERVAL, Totals

log = structlog.get_logger()

SUPERVISOR = "HOLDFAST_SUPERVISOR_PID"
"""Set by `holdfast up` for its children, who stop when it is gone."""


READY = "HOLDFAST_READY_FD"
"""Set by `holdfast up` for its web process: a pipe to say through that it listens."""


def say_ready() -> None:
    """Tell the supervisor, if there is one, that this process is at work."""
    number = os.environ.pop(READY, None)
    if number is not None:
        os.write(int(number), b"1")
        os.close(int(number))


class Database:
    """Where the data is: the embedded server, used as long as this is open, or the server of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._embedded = None if settings.database_url else EmbeddedPostgres(settings.data_dir)
        self.url = settings.database_url or (self._embedded.url() if self._embedded else "")

    @property
    def is_embedded(self) -> bool:
        return self._embedded is not None

    def __enter__(self) -> Self:
        """Start the embedded server, or join it. Raises EmbeddedError."""
        if self._embedded is not None:
            self._embedded.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._embedded is not None:
            self._embedded.release()

    async def tend(self) -> None:
        """Bring the embedded server back if it died."""
        if self._embedded is not None and not self._embedded.is_running():
            log.warning("postgres.gone")
            await asyncio.to_thread(self._embedded.start)
            log.info("postgres.back")

    async def bring_up(self, stop: asyncio.Event) -> bool:
        """Bring the schema up to date, waiting for a server that is away; False when stopped before that.

        Raises MigrationError when the schema is newer than this program or the server too old.
        """
        while not stop.is_set():
            try:
                before, now = await upgrade(self.url)
            except AWAY as error:
                log.warning("database.away", error=f"{type(error).__name__}: {error}"[:200])
                await _sleep(1.0, stop)
            else:
                if before != now:
                    log.info("database.upgraded", before=before, now=now)
                return True
        return False


def run(main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run a process until it ends or is told to (SIGTERM, SIGINT, its supervisor gone): `main` gets that event."""

    async def body() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        orphaned = asyncio.create_task(_stop_when_orphaned(stop))
        try:
            return await main(stop)
        finally:
            orphaned.cancel()

    return uvloop.run(body())


async def _stop_when_orphaned(stop: asyncio.Event) -> None:
    supervisor = os.environ.get(SUPERVISOR)
    while supervisor is not None:
        if os.getppid() != int(supervisor):
            log.warning("supervisor.gone")
            stop.set()
            return
        await asyncio.sleep(1.0)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


async def after(happened: asyncio.Event, loop: Coroutine[Any, Any, None]) -> None:
    """Begin a loop once something has happened."""
    try:
        await happened.wait()
    except asyncio.CancelledError:
        loop.close()
        raise
    await loop


def settle_memory() -> None:
    """Once everything is imported and set up: take it out of the garbage collector's sight, and let it run less often.

    Requests make hundreds of short-lived objects; looking through all modules for each few hundred costs far more
    than it finds. Nothing on the hot paths makes cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@asynccontextmanager
async def background(*loops: Awaitable[None], stop: asyncio.Event | None = None) -> AsyncIterator[None]:
    """Run loops beside the block; they are cancelled at its end.

    A loop that dies would leave a process that only looks alive: it sets `stop`, and is raised at the end.
    """

    def ended(task: asyncio.Future[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical("loop.died", exc_info=task.exception())
            if stop is not None:
                stop.set()

    tasks = [asyncio.ensure_future(loop) for loop in loops]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


@asynccontextmanager
async def pool(url: str, *, size: int, name: str, **options: bool) -> AsyncIterator[ResizablePool]:
    """A pool for the block, whose waits are measured; at its end connections in use are broken off."""
    waited = POOL_WAIT.series(name).observe
    opened = await create_pool(url, size=size, name=f"holdfast {name}", waited=waited, **options)
    try:
        yield opened
    finally:
        opened.terminate()


async def resize(pools: Mapping[str, ResizablePool], kind: str, levers: Levers) -> None:
    """Make this process's pools as large as the levers say."""
    for name, opened in pools.items():
        size = levers.pool_size(f"{kind}/{name}")
        if size != opened.get_max_size():
            log.info("pool.resized", pool=f"{kind}/{name}", size=size, before=opened.get_max_size())
            await opened.resize(size)


@asynccontextmanager
async def common_loops(
    database: Database, general: Pool, system: System, prepared: asyncio.Event, stop: asyncio.Event
) -> AsyncIterator[Totals]:
    """What all processes do: tend the embedded server, be seen in the process table, measure, store signals.

    `prepared` is set once the schema is up to date.
    """
    identity = uuid.uuid4()
    totals = Totals(REGISTRY, identity)

    async def flush() -> None:
        await totals.flush(general)

    async def beat() -> None:
        await processes.beat(general, identity, system.kind, socket.gethostname(), os.getpid())

    async with background(
        repeat("tend_database", database.tend, every=1.0, stop=stop),
        repeat("sample_system", system.sample, every=INTERVAL, stop=stop),
        system.watch_loop(),
        after(prepared, repeat("flush_signals", flush, every=INTERVAL, stop=stop)),
        after(prepared, repeat("heartbeat", beat, every=processes.BEAT, stop=stop)),
        stop=stop,
    ):
        yield totals
    if not prepared.is_set():
        return
    try:
        async with asyncio.timeout(2.0):
            await flush()
            await processes.leave(general, identity)
    except AWAY as error:
        log.debug("process.not_signed_off", error=type(error).__name__)
