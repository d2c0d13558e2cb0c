"""Subscriptions to the status page by mail: asked for, confirmed, mailed, given up.

Links hold a handle and a signature by the subscriber's own secret, for one purpose: who reads one link can do what it
says and nothing else. The link to confirm is signed together with the time of asking, and ends a day later.
"""

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from email.errors import MessageError
from email.headerregistry import Address
from functools import cache
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from holdfast.comms import messages, status_store
from holdfast.comms.status import WORDS, Update
from holdfast.comms.status_store import Subscriber
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY
from holdfast.queue.model import Lane

Purpose = Literal["confirm", "unsubscribe"]
VALID = timedelta(hours=24)
PAUSE = timedelta(hours=1)
"""An address gets at most one mail about subscribing in this time, whoever asks for it."""
WINDOW, MOST = timedelta(hours=1), 200
"""All addresses together."""
BATCH = 100
"""Mails that one transaction hands over."""
LATE = timedelta(days=1)
"""What could not be mailed by then is old news."""
KIND = "status_mail"
LANE = Lane.BULK
"""However many subscribers there are, merchants' notifications of payments come first."""
_LONGEST = 254
_PLAUSIBLE = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
"""What HTML's own e-mail fields take, with a domain that has a dot. Source: https://html.spec.whatwg.org/#email-state"""


def is_on(settings: Settings) -> bool:
    """Whether people can subscribe: mail is set up, and its links lead here from outside."""
    return settings.smtp_url is not None and settings.public_url is not None


def read_address(text: str) -> str | None:
    """The address as it is kept; None if it is none that mail could be sent to."""
    text = text.strip()
    if len(text) > _LONGEST or not _PLAUSIBLE.fullmatch(text):
        return None
    try:
        Address(addr_spec=text)
    except (MessageError, ValueError, IndexError):
        return None
    return text.lower()


async def ask(pool: Pool, settings: Settings, email: str, now: datetime) -> bool:
    """Send a link to confirm, or to who is subscribed already, one to leave. False: not now, there were too many.

    Nobody but the mailbox may learn which it was, nor that it got such a mail a short time ago.
    """
    async with pool.acquire() as connection, connection.transaction():
        if await status_store.asked(connection, now - WINDOW) >= MOST:
            return False
        found = await status_store.ask(
            connection,
            email,
            secrets.token_urlsafe(12),
            secrets.token_urlsafe(32),
            pause=PAUSE,
            window=WINDOW,
            most=MOST,
            now=now,
        )
        if found is None:
            return True  # a mail about it went there lately
        known = found.confirmed_at is not None
        purpose: Purpose = "unsubscribe" if known else "confirm"
        values = {"name": settings.status_name, "link": link(settings, found, purpose), "page": _page(settings)}
        subject = f"{settings.status_name} status: " + ("you are subscribed" if known else "confirm your subscription")
        await messages.to_mailboxes(
            connection,
            f"subscriber-{found.id}/{purpose}/{now.isoformat()}",
            KIND,
            subject,
            _render(f"status_mail_{purpose}.txt.j2", **values),
            None,
            [(COMPANY, found.email)],
            now,
            lane=LANE,
        )
    return True


async def find(pool: Pool, purpose: Purpose, token: str, now: datetime) -> Subscriber | None:
    """Whose link it is; None if it is no link of ours, or not valid any more."""
    handle, _, given = token.partition(".")
    if not 1 <= len(handle) <= 32 or len(given) > 64 or not token.isascii():
        return None
    found = await status_store.by_handle(pool, handle)
    if found is None or not hmac.compare_digest(_signature(found, purpose), given):
        return None
    if purpose == "confirm" and now - found.asked_at > VALID:
        return None
    return found


async def confirm(pool: Pool, token: str, now: datetime) -> bool:
    found = await find(pool, "confirm", token, now)
    if found is not None:
        await status_store.confirm(pool, found.id, now)
    return found is not None


async def unsubscribe(pool: Pool, token: str, now: datetime) -> None:
    """Forget the address. A link that is not valid names nobody that could be forgotten."""
    found = await find(pool, "unsubscribe", token, now)
    if found is not None:
        async with pool.acquire() as connection, connection.transaction():
            await status_store.leave(connection, found.id)
            await merchants.prune_mailboxes(connection, 1, [found.email])


async def mail(pool: Pool, settings: Settings, now: datetime | None = None) -> int:
    """Hand over one batch of mails of the oldest update that is not mailed to everybody; returns how many.

    The place where it stands and the mails are one transaction: a crash neither loses nor repeats any.
    """
    now = now or datetime.now(UTC)
    async with pool.acquire() as connection, connection.transaction():
        found = await status_store.next_to_mail(connection, now - LATE)
        if found is None:
            forgotten = await status_store.forget(connection, now - VALID)
            if forgotten:
                await merchants.prune_mailboxes(connection, len(forgotten), forgotten)
            return 0
        update, after = found
        people = await status_store.readers(connection, update.at, after, BATCH)
        for person in people:
            leave = link(settings, person, "unsubscribe")
            text, html = _mail_of(settings, update, leave)
            await messages.to_mailboxes(
                connection,
                f"status-update-{update.id}/{person.id}",
                KIND,
                f"{settings.status_name} status, {WORDS[update.state].lower()}: {update.title}",
                text,
                html,
                [(COMPANY, person.email)],
                now,
                lane=LANE,
                # Source: RFC 8058 section 3.1
                headers={"List-Unsubscribe": f"<{leave}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
            )
        is_last = len(people) < BATCH
        await status_store.mailed(connection, update.id, people[-1].id if people else after, now if is_last else None)
    return max(1, len(people))


def link(settings: Settings, subscriber: Subscriber, purpose: Purpose) -> str:
    return f"{settings.public}/status/{purpose}/{subscriber.handle}.{_signature(subscriber, purpose)}"


def _signature(subscriber: Subscriber, purpose: Purpose) -> str:
    said = f"{purpose}/{subscriber.handle}"
    if purpose == "confirm":
        said += f"/{subscriber.asked_at.astimezone(UTC).isoformat()}"
    return hmac.new(subscriber.secret.encode(), said.encode(), hashlib.sha256).hexdigest()


def _mail_of(settings: Settings, update: Update, leave: str) -> tuple[str, str]:
    values = {
        "name": settings.status_name,
        "update": update,
        "state": WORDS[update.state],
        "at": f"{update.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "address": f"{_page(settings)}/incidents/{update.incident_id}",
        "leave": leave,
    }
    return _render("status_mail_update.txt.j2", **values), _render("status_mail_update.html.j2", **values)


def _page(settings: Settings) -> str:
    return f"{settings.public}/status"


def _render(template: str, **values: object) -> str:
    return _templates().get_template(template).render(**values)


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("holdfast.comms"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
