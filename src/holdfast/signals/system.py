"""How the machine and this process are: processor, memory, disk, pressure, event loop, pools."""

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from holdfast.db.pool import Pool
from holdfast.signals.registry import REGISTRY, Distribution, Gauge

CPU = REGISTRY.add(Gauge("system_cpu_ratio", "Share of all processors in use, 0 to 1.", ("host",)))
MEMORY = REGISTRY.add(Gauge("system_memory_ratio", "Share of memory in use, 0 to 1.", ("host",)))
DISK = REGISTRY.add(Gauge("system_disk_ratio", "Share of the data's disk in use, 0 to 1.", ("host",)))
DISK_FREE = REGISTRY.add(Gauge("system_disk_free_bytes", "Room left on the data's disk.", ("host",), over="min"))
PRESSURE = REGISTRY.add(
    Gauge("system_pressure_ratio", "Share of time in which something waited, 0 to 1 (PSI).", ("host", "resource"))
)
PROCESS_CPU = REGISTRY.add(
    Gauge("process_cpu_ratio", "Processors that processes of this kind use.", ("kind",), over="sum")
)
PROCESS_MEMORY = REGISTRY.add(
    Gauge("process_memory_bytes", "Memory that processes of this kind hold.", ("kind",), over="sum")
)
LOOP_LAG = REGISTRY.add(
    Distribution("event_loop_lag_seconds", "How late the event loop is when something is due.", ("kind",))
)
LAG_NOW = REGISTRY.add(
    Gauge("event_loop_lag_recent_seconds", "The worst lag of the event loop lately; fades by half in 3 s.", ("kind",))
)
POOL_BUSY = REGISTRY.add(Gauge("pool_busy_ratio", "Share of a pool's connections in use, 0 to 1.", ("kind", "pool")))
POOL_WAIT = REGISTRY.add(
    Distribution("pool_wait_seconds", "How long it took to get a connection of a pool.", ("pool",))
)

_PRESSURE_FILES = Path("/proc/pressure")


class System:
    """Samples one machine and one process; a sample costs well under a millisecond."""

    def __init__(self, kind: str, data: Path, pools: Mapping[str, Pool]) -> None:
        """`kind` of the process; `data` is on the disk that counts; `pools` by name."""
        self.kind = kind
        self._data = next((path for path in (data, *data.parents) if path.exists()), Path("/"))
        self._pools = pools
        self._host = socket.gethostname()
        self._process = psutil.Process(os.getpid())
        self._process.cpu_percent()  # the first one says nothing
        psutil.cpu_percent()

    async def sample(self) -> None:
        CPU.set(psutil.cpu_percent() / 100, self._host)
        MEMORY.set(psutil.virtual_memory().percent / 100, self._host)
        with suppress(OSError):
            disk = psutil.disk_usage(str(self._data))
            DISK.set(disk.percent / 100, self._host)
            DISK_FREE.set(disk.free, self._host)
        for resource, share in pressures():
            PRESSURE.set(share, self._host, resource)
        PROCESS_CPU.set(self._process.cpu_percent() / 100, self.kind)
        PROCESS_MEMORY.set(self._process.memory_info().rss, self.kind)
        for name, pool in self._pools.items():
            busy = (pool.get_size() - pool.get_idle_size()) / pool.get_max_size()
            POOL_BUSY.set(min(1.0, busy), self.kind, name)  # more than all, for a moment, after it was made smaller

    async def watch_loop(self, every: float = 0.5) -> None:
        """Measure the event loop's lag until cancelled."""
        series = LOOP_LAG.series(self.kind)
        now = asyncio.get_running_loop().time
        worst, fading = 0.0, 0.5 ** (every / 3.0)
        while True:
            due = now() + every
            await asyncio.sleep(every)
            lag = max(0.0, now() - due)
            series.observe(lag)
            worst = max(lag, worst * fading)
            LAG_NOW.set(worst, self.kind)


def pressures(files: Path = _PRESSURE_FILES) -> Iterator[tuple[str, float]]:
    """(resource, share of the last ten seconds in which some task waited for it); nothing where the kernel has no PSI.

    Source: https://docs.kernel.org/accounting/psi.html
    """
    for resource in ("cpu", "io", "memory"):
        with suppress(OSError, ValueError, IndexError):
            some = (files / resource).read_text().splitlines()[0].split()
            yield resource, float(some[1].removeprefix("avg10=")) / 100
