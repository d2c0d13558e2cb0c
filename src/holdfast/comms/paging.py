"""Calls people: by mail and in the team channel. Never by text or telephone, which may be what is down."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.comms import texts
from holdfast.comms.messages import to_mailboxes, to_team
from holdfast.config import Settings
from holdfast.db.pool import Connection, Pool
from holdfast.incidents.model import Incident, Person
from holdfast.merchants.model import COMPANY


async def page(  # noqa: PLR0917 - where, whom, what, and when
    db: Connection | Pool,
    settings: Settings,
    incident: Incident,
    people: Sequence[Person],
    key: str,
    text: str,
    now: datetime,
) -> int:
    """Mail each of them who has an address, and name them in the team channels; how many places it goes to now.

    Without HOLDFAST_SMTP_URL nobody is mailed: a call that waits until somebody sets it up would call in vain.
    """
    said = texts.page(incident, text, now)
    mailboxes = [(COMPANY, email) for email in _addresses(settings, people)]
    sent = await to_mailboxes(db, key, "page", said.subject, said.text, None, mailboxes, now)
    names = ", ".join(f"{person.name} ({person.key})" for person in people) or "nobody in particular"
    return sent + await to_team(db, settings, key, "page", said.subject, f"For {names}.\n\n{said.text}", now)


def can_page(settings: Settings, people: Sequence[Person]) -> bool:
    """Whether there is any place where these people are called."""
    return bool(settings.team_channels or _addresses(settings, people))


def _addresses(settings: Settings, people: Sequence[Person]) -> list[str]:
    return [person.email for person in people if person.email] if settings.smtp_url else []
