"""Messages of ours, to the team and to mailboxes: each is an event of our own, sent by the delivery machine.

So a message is retried, counted, listed and replayed as any notification is, and sent once however often it is asked
for under the same key.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
import msgspec

from holdfast.config import Settings
from holdfast.db.notifications import hint
from holdfast.db.pool import Connection, Pool
from holdfast.delivery import store as deliveries
from holdfast.delivery.model import OwnMessage
from holdfast.delivery.store import NewDelivery
from holdfast.delivery.team import PREFIX
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY, Kind
from holdfast.queue.channels import DELIVER
from holdfast.queue.model import Lane

TYPES = {
    "announcement": "incident.announcement",
    "team_update": "incident.team_update",
    "notice": "incident.notice",
    "merchant_mail": "incident.merchant_mail",
    "all_clear": "incident.all_clear",
    "status_mail": "incident.status_mail",
    "page": "incident.page",
}
"""Kinds of messages, and the types of the events that they are; other kinds are `incident.KIND`."""
_OURS = frozenset(
    ("from", "to", "cc", "bcc", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type")
)


async def to_team(  # noqa: PLR0917 - where, what, and when
    db: Connection | Pool, settings: Settings, key: str, kind: str, subject: str, text: str, now: datetime
) -> int:
    """A message to every team channel of the settings, once a key; returns to how many it goes now.

    0: none is set up, or it was sent before.
    """
    channels = [(COMPANY, f"{PREFIX}{number}") for number, _ in enumerate(settings.team_channels, 1)]
    if not channels:
        return 0
    said = OwnMessage(one_line(subject), text, None, kind)
    return await _send(db, f"{key}/team", said, kind="team", addresses=channels, headers={}, now=now)


async def to_mailboxes(  # noqa: PLR0917 - where, what, and when
    db: Connection | Pool,
    key: str,
    kind: str,
    subject: str,
    text: str,
    html: str | None,
    mailboxes: Sequence[tuple[int, str]],
    now: datetime,
    headers: Mapping[str, str] | None = None,
    lane: Lane = Lane.CRITICAL,
) -> int:
    """One mail to each (merchant id, address), once a key; returns to how many it goes now: 0 when it was sent before.

    `headers` go into the mail, such as List-Unsubscribe. Raises ValueError for one that is not ours to give.
    """
    chosen = list(dict.fromkeys(mailboxes))
    given = dict(headers or {})
    for name, value in given.items():
        if name.lower() in _OURS or not name.isascii() or ":" in name or not (name + value).isprintable():
            raise ValueError(f"the header {name!r} cannot be given to a mail")
    if not chosen:
        return 0
    said = OwnMessage(one_line(subject), text, html, kind)
    return await _send(db, key, said, kind="contact", addresses=chosen, headers=given, now=now, lane=lane)


async def prepare_mailboxes(db: Connection | Pool, mailboxes: Sequence[tuple[int, str]]) -> None:
    """Before many mails, one each: every new mailbox makes all processes read who is who again, so all at once."""
    await merchants.message_destinations(db, "contact", mailboxes)


async def _send(
    db: Connection | Pool,
    key: str,
    said: OwnMessage,
    *,
    kind: Kind,
    addresses: Sequence[tuple[int, str]],
    headers: Mapping[str, str],
    now: datetime,
    lane: Lane = Lane.CRITICAL,
) -> int:
    owners = {merchant_id for merchant_id, _ in addresses}
    owner = owners.pop() if len(owners) == 1 else COMPANY
    async with _transaction(db) as connection:
        seq = await inbox.append_own(
            connection,
            key,
            TYPES.get(said.kind, f"incident.{said.kind}"),
            owner,
            lane=lane,
            headers=json.dumps(dict(headers)),
            body=msgspec.json.encode(said),
            now=now,
        )
        if seq is None:
            return 0  # it was sent, or is on its way
        found = await merchants.message_destinations(connection, kind, addresses)
        planned = [NewDelivery(seq, found[item], item[0], lane) for item in addresses]
        await deliveries.plan(connection, planned)
        await hint(connection, DELIVER)
    return len(addresses)


@asynccontextmanager
async def _transaction(db: Connection | Pool) -> AsyncIterator[Connection]:
    """The caller's, or one of its own."""
    if isinstance(db, asyncpg.pool.Pool):
        async with db.acquire() as connection, connection.transaction():
            yield connection
    else:
        async with db.transaction():
            yield db


def one_line(text: str) -> str:
    """For subjects: names and titles may come from outside."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:200]
