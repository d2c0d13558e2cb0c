"""One leader among many processes: whoever holds a session's advisory lock, until its connection ends."""

import asyncpg
import structlog

from holdfast.db.locks import Lock
from holdfast.db.pool import AWAY, Connection

log = structlog.get_logger()


class Leadership:
    """Asks for the lock on a connection of its own; a process that dies or loses the server loses it at once."""

    def __init__(self, url: str, lock: Lock, *, name: str) -> None:
        self._url = url
        self._lock = lock
        self._name = name
        self._connection: Connection | None = None
        self.is_held = False

    async def hold(self) -> bool:
        """Whether this process leads now: asked for if nobody does. Raises what `AWAY` lists, having lost it."""
        try:
            if self._connection is None or self._connection.is_closed():
                self.is_held = False
                self._connection = await asyncpg.connect(
                    self._url, timeout=5, command_timeout=5, server_settings={"application_name": self._name}
                )
            if self.is_held:
                await self._connection.execute("SELECT 1")
            else:
                self.is_held = bool(await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", int(self._lock)))
        except AWAY:
            self.release()
            raise
        return self.is_held

    def release(self) -> None:
        """Let another one lead."""
        self.is_held = False
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
