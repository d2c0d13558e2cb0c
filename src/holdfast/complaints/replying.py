"""Answers people: the words, drafted; the mail, where they left a mailbox; and what is owed to them, met."""

from datetime import datetime

from holdfast.comms.messages import to_mailboxes
from holdfast.complaints import letters, service, store
from holdfast.complaints.letters import Texter
from holdfast.complaints.model import Complaint, RefusedError
from holdfast.config import Settings
from holdfast.db.pool import Connection, Pool
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY

NUMBERS = 3
"""Numbers of a merchant that are named as where START goes."""
NO_MAIL = "mail is not set up (HOLDFAST_SMTP_URL)"


async def drafted(pool: Pool, settings: Settings, complaint: Complaint) -> str:
    """The answer as it would go out."""
    return letters.reply(complaint, await texters(pool, settings, complaint), settings.status_name)


async def texters(pool: Pool, settings: Settings, complaint: Complaint) -> list[Texter]:
    """Whom the person complained of; where they named nobody, who texted them of late."""
    owners = [complaint.merchant_id] if complaint.merchant_id else []
    if not owners:
        since = complaint.received_at - service.RECENT
        owners = await store.texting_merchants(pool, complaint.customer_id, since)
    known = await merchants.by_ids(pool, owners)
    found = []
    for owner in owners:
        if owner in known:
            numbers = await number_store.numbers(pool, merchant_id=owner, limit=NUMBERS)
            found.append(Texter(known[owner].name, tuple(one.phone for one in numbers)))
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
    key = f"complaint-{complaint.id}/reply"
    mailbox = (COMPANY, complaint.mailbox)
    await to_mailboxes(db, key, "complaint_reply", letters.SUBJECT, text, None, [mailbox], now)
    return answered
