"""Answers people: the words, drafted; the mail, where they left a mailbox; and what is owed to them, met."""

from datetime import datetime

from holdfast.comms.messages import to_mailboxes
from holdfast.complaints import letters, service
from holdfast.complaints.letters import Texter
from holdfast.complaints.model import Complaint, ComplaintError, RefusedError
from holdfast.config import Settings
from holdfast.consent import customers, links
from holdfast.consent import store as consent
from holdfast.db.pool import Connection, Pool
from holdfast.incidents import service as incidents
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY

NUMBERS = 3
"""Numbers of a merchant that are named as where START goes."""
DISCLOSURE = (
    "I agree to get text messages from {name} about my orders and appointments at this number. How many depends on "
    "what I order. Message and data rates may apply. I can reply STOP at any time to end them, and HELP for help."
)
"""What somebody who comes back by a link is shown and agrees to: no marketing, for which they did not ask."""
NO_MAIL = "mail is not set up (HOLDFAST_SMTP_URL)"


async def drafted(pool: Pool, settings: Settings, complaint: Complaint) -> str:
    """The answer as it would go out."""
    return letters.reply(complaint, await texters(pool, settings, complaint), settings.status_name)


async def texters(pool: Pool, settings: Settings, complaint: Complaint) -> list[Texter]:
    """Those whom it is about, with the ways back to their texts."""
    owners = await service.texters(pool, complaint)
    known = await merchants.by_ids(pool, owners)
    by_mail = complaint.mailbox is not None and settings.smtp_url is not None
    found = []
    for owner in owners:
        if owner in known:
            numbers = await number_store.numbers(pool, merchant_id=owner, limit=NUMBERS)
            own = known[owner]
            found.append(Texter(own.key, own.name, tuple(one.phone for one in numbers), by_mail))
    return found


async def mail(
    db: Connection, settings: Settings, complaint: Complaint, text: str, *, actor: str, now: datetime
) -> Complaint:
    """Mail the answer, which meets what is owed, in the caller's transaction. Raises RefusedError, UnknownError."""
    if complaint.mailbox is None:
        raise RefusedError(f"whoever sent complaint {complaint.id} left no mailbox: call or write to them, and say so")
    if settings.smtp_url is None:
        raise RefusedError(f"{NO_MAIL}: answer complaint {complaint.id} another way, and say which with --how")
    answered = await service.answer_in(db, complaint.id, how="email", text=text, actor=actor, now=now)
    linked = await _linked(db, settings, complaint, text, actor=actor, now=now)
    key = f"complaint-{complaint.id}/reply"
    mailbox = (COMPANY, complaint.mailbox)
    await to_mailboxes(db, key, "complaint_reply", letters.SUBJECT, linked, None, [mailbox], now)
    return answered


async def _linked(
    db: Connection, settings: Settings, complaint: Complaint, text: str, *, actor: str, now: datetime
) -> str:
    """With links where the draft has their places. Who was erased gets none, and none is made for who is unknown."""
    row = await consent.customer(db, complaint.customer_id)
    assert row is not None
    for key in letters.placeholders(text):
        merchant = await merchants.find(db, key)
        if merchant is None or row["phone"] is None:
            raise ComplaintError(
                f"no link to the texts of {key!r} can be made for this person: take it out of the answer"
            )
        made = await links.make(
            db,
            settings.public,
            customers.customer(row),
            merchant.id,
            "informational",
            disclosure=DISCLOSURE.format(name=merchant.name),
            actor=actor,
            now=now,
        )
        text = text.replace(letters.placeholder(key), made.url)
    return text


async def answer(
    pool: Pool, settings: Settings, complaint_id: int, *, how: str, text: str, send: bool, actor: str, now: datetime
) -> Complaint:
    """By somebody of the team: they were answered so, or with `send` are mailed it now.

    Raises UnknownError, RefusedError, ComplaintError, and RefusedError of incidents for who is not on the team.
    """
    if not send:
        return await service.answer(pool, complaint_id, how=how, text=text, actor=actor, now=now)
    if how != "email":
        raise ComplaintError("only mail is sent from here: --how email, or say what the person was told without --send")
    async with pool.acquire() as db, db.transaction():
        await incidents.who(db, actor)
        found = await service.get(db, complaint_id)
        return await mail(db, settings, found, text, actor=actor, now=now)
