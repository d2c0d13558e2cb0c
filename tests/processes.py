"""Holdfast's own processes for tests: real ones, on free ports, ended by their process id."""

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from typer.testing import CliRunner

from holdfast.cli import build
from tests.inbox.events import SECRET

REPO = Path(__file__).parents[1]
OFFLINE = {
    "HOLDFAST_STRIPE_STATUS_URL": "http://127.0.0.1:9/summary.json",
    "HOLDFAST_TWILIO_STATUS_URL": "http://127.0.0.1:9/summary.json",
}
"""Nothing here asks the real Stripe or the real Twilio."""
PLACE = tempfile.TemporaryDirectory(prefix="holdfast-test-")
"""The data directory where a test names none: nothing is written to that of a real installation."""
ONLY: dict[str, str | None] = {name: None for name in os.environ if name.startswith("HOLDFAST_")}
"""Settings of the surroundings, to be unset."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Running:
    """A process; its log is read all the time."""

    process: asyncio.subprocess.Process
    port: int
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def hook(self) -> str:
        return f"{self.url}/hooks/stripe"

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def says(self, text: str, patience: float = 120.0) -> str:
        """Wait until a line of the log contains this text."""
        async with asyncio.timeout(patience):
            seen = 0
            while True:
                for line in self.log[seen:]:
                    if text in line:
                        return line
                seen = len(self.log)
                assert self.process.returncode is None, "\n".join(self.log)
                await asyncio.sleep(0.02)

    async def answers(self, path: str = "/health/ready", patience: float = 120.0) -> None:
        async with asyncio.timeout(patience), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(self.url + path) as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                assert self.process.returncode is None, "\n".join(self.log)
                await asyncio.sleep(0.05)


def environment(**settings: str) -> dict[str, str]:
    """A clean environment with these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    named = {f"HOLDFAST_{name.upper()}": value for name, value in settings.items()}
    return (
        {
            **kept,
            "HOLDFAST_LOG_FORMAT": "json",
            "HOLDFAST_STRIPE_WEBHOOK_SECRETS": SECRET,
            "HOLDFAST_DATA_DIR": PLACE.name,
        }
        | OFFLINE
        | named
    )


@asynccontextmanager
async def running(*arguments: str, on_port: int | None = None, **settings: str) -> AsyncIterator[Running]:
    """`holdfast …` with settings given as `database_url=…`; killed at the end if it is still there."""
    port = on_port or free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "holdfast",
        *arguments,
        env=environment(listen=f"127.0.0.1:{port}", **settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=REPO,
    )
    found = Running(process, port)

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            found.log.append(line.decode().rstrip())

    reading = asyncio.create_task(read())
    try:
        yield found
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(15):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        await reading


async def command(*arguments: str, cwd: Path = REPO, stdin: str = "", **settings: str) -> tuple[int, str, str]:
    """Run `holdfast …` to its end: (exit status, stdout, stderr)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "holdfast",
        *arguments,
        env=environment(**settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def command_here(*arguments: str, **settings: str) -> tuple[int, str, str]:
    """The same within this process, where a test calls many: importing everything takes a second each time."""

    def call() -> tuple[int, str, str]:
        handlers = logging.getLogger().handlers[:]
        result = CliRunner().invoke(build(arguments[0]), list(arguments), env=ONLY | environment(**settings))
        logging.getLogger().handlers[:] = handlers
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return await asyncio.to_thread(call)
