"""Notices when this process's clock and the store's disagree."""

import time
from collections.abc import Callable
from datetime import datetime

import structlog

from holdfast.db.pool import Connection, Pool

log = structlog.get_logger()

TOLERATED = 2.0
"""Seconds that the clocks may differ."""
_WARNED_EVERY = 60.0


class ClockWatch:
    """Compares the store's clock, whenever somebody is told it, with this process's; warns once a minute."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix time."""
        self._clock = clock
        self._warned = float("-inf")

    def now(self) -> float:
        return self._clock()

    def compare(self, told: datetime, asked: float) -> float | None:
        """`told`: the store's clock, in an answer that just came to what was asked at `asked` (`now` before).

        Returns the seconds that it warned of.
        """
        at, heard = told.timestamp(), self._clock()
        ahead = max(asked - at, 0.0) - max(at - heard, 0.0)
        if abs(ahead) <= TOLERATED or 0 <= heard - self._warned < _WARNED_EVERY:
            return None
        self._warned = heard
        log.warning(
            "clock.differs",
            seconds_ahead_of_the_store=round(ahead, 1),
            effect="ages, waits and times in reports are wrong by as much",
            mend="let NTP set the clocks of this machine and of PostgreSQL's",
        )
        return ahead

    async def look(self, db: Connection | Pool) -> None:
        """Ask the store, and compare. Raises what `AWAY` lists."""
        asked = self.now()
        self.compare(await db.fetchval("SELECT now()"), asked)


CLOCK = ClockWatch()
"""This process's."""
