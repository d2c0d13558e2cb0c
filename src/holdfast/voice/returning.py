"""How calls of a line go since it was brought back further: what a ramp of it watches.

What failed before says nothing of how it is now, and a line that nobody rings meanwhile has nothing newer to tell by.
"""

from datetime import datetime

from holdfast.db.pool import Connection
from holdfast.levers.model import Target
from holdfast.signals.shares import bounds
from holdfast.voice import returning_store as store
from holdfast.voice.health import WINDOW, verdict


async def failing(db: Connection, line: Target, since: datetime, now: datetime) -> float:
    """Of calls to a region, number or target since then, the share that failed, at the least, if it is ill; else 0.

    By all of its calls, whoever is to blame: on the way back that is on the safe side.
    """
    tried, failed = await store.legs_of(db, line.kind, line.key, max(since, now - WINDOW), now)
    return bounds(failed, tried)[0] if verdict(failed, tried) == "ill" else 0.0
