"""How the engine speaks to people; the room that does so is above this one."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from holdfast.db.pool import Connection
from holdfast.incidents.model import Incident, Person


class Messages(Protocol):
    """How the engine speaks to people. Each message goes out once under its key, with the caller's transaction."""

    async def post(
        self, db: Connection, key: str, subject: str, text: str, *, incident: Incident, now: datetime
    ) -> int:
        """To the team's channels; how many it goes to, 0 if it went out before."""
        ...

    async def page(
        self, db: Connection, key: str, people: Sequence[Person], text: str, *, incident: Incident, now: datetime
    ) -> int:
        """To these people, wherever they can be reached; how many places it goes to, 0 if it went out before."""
        ...


def lasted(length: timedelta) -> str:
    """`40 s`, `12 min`, `3 h`, `2 d`."""
    seconds = max(0, round(length.total_seconds()))
    for unit, size in (("d", 172_800), ("h", 7_200), ("min", 60)):
        if seconds >= size:
            return f"{round(seconds / {'d': 86_400, 'h': 3_600, 'min': 60}[unit])} {unit}"
    return f"{seconds} s"
