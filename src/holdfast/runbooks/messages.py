"""How the engine speaks to people; the room that does so is above this one."""

from collections.abc import Sequence
from datetime import datetime
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
