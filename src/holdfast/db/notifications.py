"""LISTEN/NOTIFY as a hint: it wakes what waits, and nothing depends on it arriving."""

import asyncio
from collections.abc import Callable, Mapping

import asyncpg
import structlog

from holdfast.db.pool import AWAY, Connection, Pool

log = structlog.get_logger()


class Listener:
    """Keeps one connection listening, reconnecting as long as it runs."""

    def __init__(self, url: str, handlers: Mapping[str, Callable[[str], None]], *, name: str) -> None:
        """`handlers`: channel → what to call with the payload."""
        self._url = url
        self._handlers = handlers
        self._name = name

    async def run(self) -> None:
        while True:
            try:
                await self._listen()
            except AWAY as error:
                log.warning("notifications.lost", error=type(error).__name__)
            await asyncio.sleep(1)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=5, server_settings={"application_name": self._name})
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _: gone.set())
        try:
            for channel in self._handlers:
                await connection.add_listener(channel, self._heard)
            await gone.wait()
        finally:
            connection.terminate()

    def _heard(self, _connection: Connection, _pid: int, channel: str, payload: object) -> None:
        self._handlers[channel](str(payload))


class Notifier:
    """Sends notifications soon, many calls as one, from a connection that never waits for a disk.

    A NOTIFY inside the storing transaction would make every commit take the server-wide notification lock while it
    flushes; sent right after, it costs one cheap round trip.
    """

    def __init__(self, pool: Pool, channel: str) -> None:
        self._pool = pool
        self._channel = channel
        self._payloads: set[str] = set()
        self._wanted = asyncio.Event()

    def notify(self, payload: str) -> None:
        self._payloads.add(payload)
        self._wanted.set()

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            payloads, self._payloads = self._payloads, set()
            try:
                for payload in payloads:
                    await self._pool.execute("SELECT pg_notify($1, $2)", self._channel, payload)
            except AWAY as error:
                log.debug("notify.failed", error=type(error).__name__)
            await asyncio.sleep(0.002)  # at most 500 a second, whatever arrives


async def hint(db: Pool | Connection, channel: str) -> None:
    """Say that there is something to do: at once, or when the transaction that this is in commits."""
    await db.execute("SELECT pg_notify($1, '')", channel)
