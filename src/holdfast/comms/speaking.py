"""How the engine speaks to the team: as messages that go out once, and are in the incident's log."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.comms.messages import to_team
from holdfast.comms.paging import can_page, page
from holdfast.config import Settings
from holdfast.db.pool import Connection
from holdfast.incidents import store
from holdfast.incidents.model import ENGINE, Incident, Person


class Speaker:
    """To team channels and to people's mailboxes: never through Twilio, which may be what is down."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def post(
        self, db: Connection, key: str, subject: str, text: str, *, incident: Incident, now: datetime
    ) -> int:
        """To every team channel; to how many it goes now. What was sent before is in the log already."""
        count = await to_team(db, self._settings, key, "notice", f"Incident {incident.id}: {subject}", text, now)
        if count:
            await store.write(
                db, incident.id, "message", f"to the team: {subject}", actor=ENGINE, now=now, evidence={"key": key}
            )
        return count

    async def page(
        self, db: Connection, key: str, people: Sequence[Person], text: str, *, incident: Incident, now: datetime
    ) -> int:
        """To these people's mailboxes, and to the team's channels, which name them; how many places it goes to now."""
        names = ", ".join(person.key for person in people) or "everybody"
        count = await page(db, self._settings, incident, people, key, text, now)
        if not count and can_page(self._settings, people):
            return 0  # they were called before
        said = f"called {names}" if count else f"{names} could not be called: no team channel and no mail address"
        await store.write(db, incident.id, "message", said, actor=ENGINE, now=now, evidence={"key": key})
        return count
