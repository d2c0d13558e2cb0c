"""What every process of Holdfast has: its database, its signal handling, and the loops they all run."""

import asyncio
import gc
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import asyncpg
import structlog
import uvloop

from holdfast.config import Settings
from holdfast.db import processes
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.embedded_account import EmbeddedError
from holdfast.db.migrate import upgrade
from holdfast.db.pool import AWAY, Pool, ResizablePool, create_pool
from holdfast.levers.service import Levers
from holdfast.loops import repeat
from holdfast.signals.registry import REGISTRY
from holdfast.signals.system import POOL_WAIT, System
from holdfast.signals.totals import INTERVAL, Totals

log = structlog.get_logger()

SUPERVISOR = "HOLDFAST_SUPERVISOR_PID"
"""Set by `holdfast up` for its children, and by the demonstration for `holdfast up`: they stop when it is gone."""
MARKER = "demo.env"
"""The file in the demonstration's data directory that says whose that is, and holds its settings."""
ENDING = 8.0
"""Seconds that a process that was told to stop may take; then what still waits for something is broken off."""
_RESTART = 5.0
"""Seconds between tries to start an embedded server that does not start."""
_POOLS: set[ResizablePool] = set()
"""Those that are open in this process."""

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

    def __init__(self, settings: Settings, *, joins: bool = False) -> None:
        """`joins`: an embedded server that does not run is another process's to start."""
        self._embedded = None if settings.database_url else EmbeddedPostgres(settings.data_dir)
        self._joins = joins
        self._starting = asyncio.Lock()
        self._is_missed = False
        self.url = settings.database_url or (self._embedded.url() if self._embedded else "")

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

    @contextmanager
    def tended(self) -> Iterator[Self]:
        """For a process that opens its doors before the server runs: `bring_up` and `tend` start it, not this.

        Raises EmbeddedError for what would never pass by itself.
        """
        if self._embedded is not None:
            self._embedded.check()
        try:
            yield self
        finally:
            if self._embedded is not None:
                self._embedded.release()

    async def tend(self) -> None:
        """Start the embedded server, join it, or bring it back if it died; what keeps it from starting is said once."""
        await self._is_there()

    async def _is_there(self) -> bool:
        if self._embedded is None:
            return True
        async with self._starting:
            is_running = self._embedded.is_running()
            if is_running and self._embedded.lock_fd >= 0:
                return True
            if self._joins and not is_running:
                return False
            is_new = self._embedded.lock_fd < 0
            if not is_new:
                log.warning("postgres.gone")
            try:
                await asyncio.to_thread(self._embedded.start)
            except EmbeddedError as error:
                if not self._is_missed:
                    log.error("postgres.not_started", reason=str(error), again_every=_RESTART)
                self._is_missed = True
                await asyncio.sleep(_RESTART)
                return False
            except asyncio.CancelledError:
                self._embedded.give_up()  # the thread itself cannot be cancelled
                raise
            self._is_missed = False
            if not is_running:
                log.info("postgres.started" if is_new else "postgres.back")
            return True

    async def bring_up(self, stop: asyncio.Event) -> bool:
        """Bring the schema up to date, waiting for a server that is away; False when stopped before that.

        Raises MigrationError when the schema is newer than this program or the server too old.
        """
        upgrading = asyncio.create_task(self._upgrade())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({upgrading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if upgrading.done():
                upgrading.result()
            return upgrading.done()
        finally:
            stopping.cancel()
            upgrading.cancel()
            await asyncio.wait({upgrading}, timeout=1.0)  # a server that hangs answers no farewell either

    def prepare(self, prepared: asyncio.Event, stop: asyncio.Event) -> asyncio.Task[None]:
        """`bring_up` beside other work: sets `prepared`, or `stop` where it cannot be; the task then raises why."""

        async def body() -> None:
            if await self.bring_up(stop):
                prepared.set()

        preparing = asyncio.create_task(body())
        preparing.add_done_callback(lambda done: stop.set() if done.cancelled() or done.exception() else None)
        return preparing

    async def checkpoint(self) -> None:
        """Write the embedded server's memory to disk while others still work: then it stops quickly."""
        if self._embedded is None or not self._embedded.is_running():
            return
        with suppress(*AWAY):
            connection = await asyncpg.connect(self.url, timeout=5)
            try:
                await connection.execute("CHECKPOINT")
            finally:
                connection.terminate()

    async def _upgrade(self) -> None:
        said = ""
        while True:
            try:
                if await self._is_there():
                    before, now = await upgrade(self.url)
                    if before != now:
                        log.info("database.upgraded", before=before, now=now)
                    return
            except AWAY as error:
                why = f"{type(error).__name__}: {error}"[:200]
                if why != said:
                    log.warning("database.away", error=why)
                said = why
            await asyncio.sleep(1.0)


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, int]], *, ending: float = ENDING) -> int:
    """Run a process until it ends or is told to: `main` gets that event, and `ending` seconds from then on.

    It is told by signals (see `heed_signals`), or by its supervisor being gone.
    """

    async def body() -> int:
        stop = asyncio.Event()
        heed_signals(stop.set)
        orphaned = asyncio.create_task(_stop_when_orphaned(stop))
        working = asyncio.create_task(main(stop))
        breaking_off = asyncio.create_task(_break_off(working, stop, ending))
        try:
            await asyncio.wait({working})
            return 0 if working.cancelled() else working.result()
        finally:
            orphaned.cancel()
            breaking_off.cancel()

    return uvloop.run(body())


def heed_signals(told: Callable[[], object]) -> None:
    """Call `told`, in the loop that runs, at SIGTERM, SIGINT and SIGHUP: its terminal was closed.

    Not at SIGHUP under `nohup`, nor where a supervisor decides whether that ends anything: libuv gives its children
    all signals, also those that it was told to ignore.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    if SUPERVISOR in os.environ:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    elif signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, told)


async def _break_off(working: asyncio.Task[int], stop: asyncio.Event, patience: float) -> None:
    """Cancel what has not ended in time. Its connections go first: they would wait for the server's consent."""
    await stop.wait()
    await asyncio.sleep(patience)
    log.warning("process.broken_off", after=patience)
    while not working.done():
        for opened in list(_POOLS):
            opened.terminate()
        working.cancel()
        await asyncio.sleep(0.2)


async def _stop_when_orphaned(stop: asyncio.Event) -> None:
    supervisor = os.environ.get(SUPERVISOR)
    while supervisor is not None:
        if os.getppid() != int(supervisor):
            log.warning("supervisor.gone")
            stop.set()
            return
        await asyncio.sleep(1.0)


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
    _POOLS.add(opened)
    try:
        yield opened
    finally:
        _POOLS.discard(opened)
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
