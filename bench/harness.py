"""What the benchmarks share: a place for data, processes with an end, and saying what goes on."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import TypeVar

import asyncpg

from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.migrate import upgrade

SECRET = "whsec_bench"
T = TypeVar("T")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def postgres() -> Iterator[EmbeddedPostgres]:
    """A new embedded server with the schema; gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir="/var/tmp"))
    place.chmod(0o711)
    server = EmbeddedPostgres(place / "var")
    try:
        server.start()
        asyncio.run(upgrade(server.url()))
        yield server
    finally:
        server.stop(immediate=True)
        shutil.rmtree(place, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(server: EmbeddedPostgres, **more: str) -> dict[str, str]:
    """For processes of Holdfast on the benchmark's server."""
    return {
        **os.environ,
        "HOLDFAST_DATABASE_URL": server.url(),
        "HOLDFAST_STRIPE_WEBHOOK_SECRETS": SECRET,
        "HOLDFAST_ALLOWED_NETWORKS": "127.0.0.0/8",
        "HOLDFAST_LOG_LEVEL": "error",
        **{f"HOLDFAST_{name.upper()}": value for name, value in more.items()},
    }


@contextmanager
def process(arguments: list[str], env: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A Python process (`-m …`) that is told to stop at the end, and killed if it does not."""
    started = subprocess.Popen([sys.executable, *arguments], env=dict(env), stdin=subprocess.DEVNULL)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
            try:
                started.wait(15)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


@contextmanager
def web(server: EmbeddedPostgres, module: str = "holdfast", **more: str) -> Iterator[int]:
    """A web process; gives its port once it answers."""
    port = free_port()
    env = environment(server, listen=f"127.0.0.1:{port}", **more)
    with process(["-m", module, "web"], env) as started:
        wait_for_port(port, started)
        time.sleep(1.0)  # the lane table is read in the first second
        yield port


@contextmanager
def worker(server: EmbeddedPostgres, module: str = "holdfast", **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    with process(["-m", module, "worker"], environment(server, **more)) as started:
        yield started


def wait_for_port(port: int, started: "subprocess.Popen[bytes]", patience: float = 20.0) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if started.poll() is not None:
            raise RuntimeError(f"the process ended with {started.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def with_connection(url: str, body: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[T]]) -> T:
    async def run() -> T:
        connection = await asyncpg.connect(url)
        try:
            return await body(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]


def summary(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest of several rounds."""
    return {"median": round(median(values), 3), "low": round(min(values), 3), "high": round(max(values), 3)}
