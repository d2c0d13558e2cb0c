"""How the engine speaks to the team: as messages that go out once, and are in the incident's log."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.comms.messages import to_mailboxes, to_team
from holdfast.config import Settings
from holdfast.db.pool import Connection
from holdfast.incidents import store
from holdfast.incidents.model import ENGINE, Incident, Person
from holdfast.merchants.model import COMPANY


class Speaker:
    """To team channels and to people's mailboxes: never through Twilio, which may be what is down."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def post(
        self, db: Connection, key: str, subject: str, text: str, *, incident: Incident, now: datetime
    ) -> int:
        """To every team channel; how many there are."""
        count = await to_team(db, self._settings, key, "approval", _headed(incident, subject), text, now)
        if count:
            await store.write(
                db, incident.id, "message", f"to the team: {subject}", actor=ENGINE, now=now, evidence={"key": key}
            )
        return count

    async def page(
        self, db: Connection, key: str, people: Sequence[Person], text: str, *, incident: Incident, now: datetime
    ) -> int:
        """To these people's mailboxes, and to the team's channels, which name them; how many places that were."""
        names = ", ".join(person.key for person in people) or "everybody"
        subject = _headed(incident, f"{names}: please take it")
        mailboxes = [(COMPANY, person.email) for person in people if person.email]
        count = await to_mailboxes(db, key, "page", subject, text, None, mailboxes, now)
        count += await to_team(db, self._settings, key, "page", subject, text, now)
        said = f"called {names}" if count else f"{names} could not be called: no team channel and no mail address"
        await store.write(db, incident.id, "message", said, actor=ENGINE, now=now, evidence={"key": key})
        return count


def _headed(incident: Incident, subject: str) -> str:
    return f"[incident {incident.id}] {subject}"
