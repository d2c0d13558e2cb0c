"""`holdfast up`: a web process, the watch and some workers, started, watched, restarted, and stopped together."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from holdfast.config import Settings
from holdfast.db.notifications import Listener
from holdfast.levers.service import CHANNEL, EVERY, Levers
from holdfast.loops import repeat
from holdfast.service import MARKER, READY, SUPERVISOR, Database, after, background, pool

log = structlog.get_logger()

PATIENCE = 9.0
"""Seconds that the processes get to stop by themselves."""
SETTLED = 30.0
"""Seconds after which a process counts as well started: the next restart is quick again."""
SLOWEST_RESTART = 10.0


@dataclass(slots=True)
class Child:
    """One process that is kept running. `arguments` are those of `holdfast`."""

    name: str
    arguments: tuple[str, ...]
    process: asyncio.subprocess.Process | None = None
    failures: int = field(default=0)
    retired: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is to end and not to be started again."""

    @property
    def is_worker(self) -> bool:
        return self.arguments == ("worker",)


class Supervisor:
    """Keeps children running until told to stop."""

    def __init__(self, settings: Settings, database: Database, workers: int) -> None:
        """`workers`: how many there are unless the lever `processes.workers` says otherwise."""
        self._settings = settings
        self._database = database
        self._workers = workers
        self._levers = Levers(routers=0, deliveries=0)
        self.children = [
            Child("web", ("web",)),
            Child("watch", ("watch",)),
            *(Child(f"worker {number}", ("worker",)) for number in range(1, workers + 1)),
        ]
        self._keeping: dict[asyncio.Task[None], Child] = {}
        self._is_up = False
        self._gave_up = False

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop` is set; 1 if the web process could not even start. Raises MigrationError.

        The processes are there before the database is: doors open, and calls are answered meanwhile.
        """
        if (self._settings.data_dir / MARKER).exists() and SUPERVISOR not in os.environ:
            log.warning(
                "up.demo_data",
                data_dir=str(self._settings.data_dir),
                effect="made-up merchants, payments and destinations are in it: set HOLDFAST_DATA_DIR to another one",
            )
        turned, prepared = asyncio.Event(), asyncio.Event()
        listener = Listener(self._database.url, {CHANNEL: lambda _: turned.set()}, name="holdfast up listener")
        async with pool(self._database.url, size=1, name="up") as general:

            async def heed() -> None:
                await self._levers.refresh(general)
                self.scale(self._levers.workers(self._workers), stop)

            preparing = self._database.prepare(prepared, stop)
            async with background(
                after(prepared, listener.run()),
                repeat("tend_database", self._database.tend, every=1.0, stop=stop),
                after(prepared, repeat("heed_levers", heed, every=EVERY, stop=stop, wake=turned)),
                after(stop, self._database.checkpoint()),
                stop=stop,
            ):
                for child in self.children:
                    self._begin(child, stop)
                await stop.wait()
                await self._stop_all()
                await asyncio.gather(*self._keeping, return_exceptions=True)
            await preparing
        log.info("up.stopped")
        return 1 if self._gave_up else 0

    def scale(self, workers: int, stop: asyncio.Event) -> None:
        """Start workers, or let the youngest finish and go, until there are so many."""
        present = [child for child in self.children if child.is_worker and not child.retired.is_set()]
        if stop.is_set() or len(present) == workers:
            return
        log.info("up.scaling", workers=workers, before=len(present))
        for child in present[workers:]:
            child.retired.set()
        taken = {child.name for child in self.children}
        names = (name for number in range(1, 1000) if (name := f"worker {number}") not in taken)
        for name in [next(names) for _ in range(workers - len(present))]:
            child = Child(name, ("worker",))
            self.children.append(child)
            self._begin(child, stop)

    def _begin(self, child: Child, stop: asyncio.Event) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self.children.remove(self._keeping.pop(task))
            if not task.cancelled() and task.exception() is not None:
                log.critical("up.lost_child", child=child.name, exc_info=task.exception())
                stop.set()

        task = asyncio.create_task(self._keep(child, stop))
        self._keeping[task] = child
        task.add_done_callback(ended)

    async def _keep(self, child: Child, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set() and not child.retired.is_set():
            began = loop.time()
            try:
                child.process = await self._start(child)
            except OSError as error:  # no more processes, files or memory: that may pass
                log.error("process.not_started", child=child.name, error=str(error))
                await _first(SLOWEST_RESTART, stop, child.retired)
                continue
            retiring = asyncio.create_task(_retire(child, child.process))
            if stop.is_set():  # told while it was being started
                child.process.terminate()
            code = await child.process.wait()
            retiring.cancel()
            child.process = None
            if stop.is_set() or child.retired.is_set():
                return
            if child.name == "web" and not self._is_up and code > 0:
                self._gave_up = True  # it said why: an address in use, a setting that is wrong
                stop.set()
                return
            child.failures = 0 if loop.time() - began > SETTLED else child.failures + 1
            wait = min(SLOWEST_RESTART, 0.25 * 2**child.failures)
            log.error("process.ended", child=child.name, status=code, restart_in=wait)
            await _first(wait, stop, child.retired)

    async def _start(self, child: Child) -> asyncio.subprocess.Process:
        """Start a process; the web process says through a pipe when it listens (a port that answers proves little)."""
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "holdfast",
                *child.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                env=os.environ | {SUPERVISOR: str(os.getpid()), READY: str(writing)},
                pass_fds=(writing,),
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        loop = asyncio.get_running_loop()

        def heard() -> None:
            said = os.read(reading, 1)
            loop.remove_reader(reading)
            os.close(reading)
            if said and not self._is_up:
                self._is_up = True
                log.info("up.ready", address=f"http://{self._settings.listen}", processes=len(self.children))

        loop.add_reader(reading, heard)
        return process

    async def _stop_all(self) -> None:
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            _signal(process, signal.SIGTERM)
        _, late = await asyncio.wait(
            [asyncio.create_task(process.wait()) for process in running] or [asyncio.create_task(asyncio.sleep(0))],
            timeout=PATIENCE,
        )
        if late:
            log.error("up.killing", processes=len(late))
            for process in running:
                if process.returncode is None:
                    _signal(process, signal.SIGKILL)


async def _retire(child: Child, process: asyncio.subprocess.Process) -> None:
    """Once it is retired: let it finish what it has in hand, but not for ever."""
    await child.retired.wait()
    _signal(process, signal.SIGTERM)
    await asyncio.sleep(PATIENCE)
    log.error("up.killing", child=child.name)
    _signal(process, signal.SIGKILL)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


async def _first(seconds: float, *events: asyncio.Event) -> None:
    """Until one of the events is set, or for `seconds`."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()
