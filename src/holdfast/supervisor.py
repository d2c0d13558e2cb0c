"""`holdfast up`: a web process, the watch and some workers, started, watched, restarted, and stopped together."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from holdfast.config import Settings
from holdfast.loops import repeat
from holdfast.service import READY, SUPERVISOR, Database, background

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


class Supervisor:
    """Keeps children running until told to stop."""

    def __init__(self, settings: Settings, database: Database, workers: int) -> None:
        self._settings = settings
        self._database = database
        self.children = [
            Child("web", ("web",)),
            Child("watch", ("watch",)),
            *(Child(f"worker {number}", ("worker",)) for number in range(1, workers + 1)),
        ]
        self._is_up = False
        self._gave_up = False

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop` is set; 1 if the web process could not even start."""
        if not await self._database.bring_up(stop):
            return 0
        async with background(repeat("tend_database", self._database.tend, every=1.0, stop=stop), stop=stop):
            keeping = [asyncio.create_task(self._keep(child, stop)) for child in self.children]
            await stop.wait()
            await self._stop_all()
            await asyncio.gather(*keeping, return_exceptions=True)
        log.info("up.stopped")
        return 1 if self._gave_up else 0

    async def _keep(self, child: Child, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            child.process = await self._start(child)
            if stop.is_set():  # told while it was being started
                child.process.terminate()
            code = await child.process.wait()
            child.process = None
            if stop.is_set():
                return
            if child.name == "web" and not self._is_up and code > 0:
                self._gave_up = True  # it said why: an address in use, a setting that is wrong
                stop.set()
                return
            child.failures = 0 if loop.time() - began > SETTLED else child.failures + 1
            wait = min(SLOWEST_RESTART, 0.25 * 2**child.failures)
            log.error("process.ended", child=child.name, status=code, restart_in=wait)
            await _first(stop, wait)

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


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


async def _first(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
