"""Files complaints, answers and closes them, and makes them part of their incident.

Filing is one commit: after it nothing goes out to the person any more, from any merchant, and an hour begins in which
they are answered.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from holdfast.complaints import news, signals, store
from holdfast.complaints.model import (
    ANSWERED_WITHIN,
    HOWS,
    LONGEST,
    RUNBOOK,
    SOURCES,
    Complaint,
    ComplaintError,
    Filed,
    RefusedError,
    Source,
    UnknownError,
    owed,
)
from holdfast.config import Settings
from holdfast.consent import customers
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import EVERY_MERCHANT, Block, Customer, Entry
from holdfast.db.pool import Connection, Pool, again
from holdfast.incidents import service as incidents_service
from holdfast.incidents import store as incidents
from holdfast.incidents.model import ENGINE, Incident
from holdfast.merchants import store as merchants
from holdfast.merchants.numbers import e164
from holdfast.messaging import stopping
from holdfast.messaging.signals import STOPPED
from holdfast.messaging.stopping import Stopped, Wish
from holdfast.runbooks import store as steps

EARLY = timedelta(minutes=5)
"""How far another's clock may be ahead of ours."""
RECENT = timedelta(days=90)
"""A complaint that names nobody is about whoever texted the person so long before it, or since."""
AT_ONCE = 100
"""Complaints that an incident takes in at a time."""
ERASED = "the person had their data erased before they were answered"
REPLY = "complaints.draft_reply"
"""The action that asks for an answer's words: it asks again when another complaint joins."""


async def file(
    pool: Pool,
    settings: Settings,
    *,
    phone: str,
    merchant: str | None = None,
    source: Source,
    text: str | None = None,
    answer_to: str | None = None,
    received_at: datetime | None = None,
    key: str | None = None,
    filed_by: str,
    now: datetime,
) -> Filed:
    """Block the person for every merchant, cancel what waits for them, and begin the hour to answer; one commit.

    `merchant`: the key of whoever texted them, None: not known. `received_at`: when they said it. The same `key` twice
    is one complaint. Returns once nothing that was on its way can go out any more. Raises ComplaintError, RefusedError
    for a key that another complaint has, MerchantError, KeyMissingError.
    """
    phone = e164(phone)
    _check(source, text, answer_to, key, filed_by)
    received_at = _received(received_at, now)
    merchant_id = await _merchant_id(pool, merchant)

    async def once() -> tuple[Complaint, bool]:
        async with pool.acquire() as db, db.transaction():
            person = (await customers.ensure(db, [phone], PhoneKey.load(settings), now))[phone]
            await customers.lock(db, [person.id])
            number = await store.insert(
                db,
                customer_id=person.id,
                merchant_id=merchant_id,
                source=source,
                key=key,
                text=text,
                answer_to=answer_to,
                received_at=received_at,
                due_at=received_at + ANSWERED_WITHIN,
                filed_by=filed_by,
                now=now,
            )
            if number is None:
                assert key is not None
                return await _earlier(db, key, person.id, merchant_id), False
            complaint = await _stop(db, number, person, filed_by, now)
            await news.tell(db, complaint, phone, await texters(db, complaint), now)
            return complaint, True

    complaint, is_new = await again(once)
    if is_new:
        signals.FILED.inc(1, source)
        await join_open(pool, now)  # the tick does it again where this was broken off
    settled = await stopping.settled(pool, [complaint.customer_id])
    return Filed(complaint, is_new, settled)


async def _stop(db: Connection, number: int, person: Customer, actor: str, now: datetime) -> Complaint:
    """Their wish in the ledger, the block of every merchant, and what waited cancelled."""
    complaint = await get(db, number)
    block = block_of(complaint, actor)
    stopped: Stopped
    if person.erased_at is not None:  # the ledger has nothing to say of them any more, and the block must stand
        (stopped,) = await stopping.block(db, [block], now)
    else:
        detail = {"complaint": str(number)} | ({"words": complaint.text} if complaint.text else {})
        entry = Entry(
            person.id,
            EVERY_MERCHANT,
            "revoke",
            "all",
            "complaint",
            min(complaint.received_at, now),
            actor,
            channel="all",
            detail=detail,
        )
        (stopped,) = await stopping.stop(db, [Wish(entry, block)], now)
    if stopped.is_new:
        STOPPED.inc(1, "complaint", "every")
    cancelled = len(stopped.cancelled)
    await store.stopped(db, number, stopped.suppression_id, stopped.consent_seq, cancelled)
    return replace(
        complaint, suppression_id=stopped.suppression_id, consent_seq=stopped.consent_seq, cancelled=cancelled
    )


def block_of(complaint: Complaint, actor: str) -> Block:
    """The block of every merchant that it makes."""
    return Block(
        complaint.customer_id,
        EVERY_MERCHANT,
        "complaint",
        complaint.source,
        actor,
        f"complaint {complaint.id}",
        complaint_id=complaint.id,
    )


async def texters(db: Connection | Pool, complaint: Complaint) -> list[int]:
    """The merchants that it is about: the one they named, else those who texted them of late; perhaps none."""
    if complaint.merchant_id:
        return [complaint.merchant_id]
    return await store.texting_merchants(db, complaint.customer_id, complaint.received_at - RECENT)


async def _earlier(db: Connection, key: str, customer_id: int, merchant_id: int) -> Complaint:
    """The complaint that has this key. Raises RefusedError if it is another's."""
    found = await store.by_key(db, key)
    assert found is not None
    if (found.customer_id, found.merchant_id) != (customer_id, merchant_id):
        raise RefusedError(
            f"complaint {found.id} was filed under this key, of another person or merchant: take a new key"
        )
    return found


async def file_text(pool: Pool, settings: Settings, sid: str, *, filed_by: str, now: datetime) -> Filed:
    """File a text that somebody sent to a merchant as a complaint. Raises UnknownError, and what `file` does."""
    found = await store.inbound_text(pool, sid)
    if found is None or found["phone"] is None:
        raise UnknownError(
            f"there is no text {sid[:60]!r} of anybody: its SID is in Twilio's log, and of doubtful ones in "
            "`holdfast texts reviews list`"
        )
    owner = (await merchants.keys(pool, [found["merchant_id"]])).get(found["merchant_id"])
    return await file(
        pool,
        settings,
        phone=found["phone"],
        merchant=owner,
        source="text",
        text=found["body"],
        received_at=found["received_at"],
        key=f"text:{sid}",
        filed_by=filed_by,
        now=now,
    )


async def get(db: Connection | Pool, complaint_id: int) -> Complaint:
    """Raises UnknownError."""
    return _known(await store.get(db, complaint_id), complaint_id)


async def answer(pool: Pool, complaint_id: int, *, how: str, text: str, actor: str, now: datetime) -> Complaint:
    """The person was answered, so: what is owed is met. Raises UnknownError, RefusedError, ComplaintError."""
    async with pool.acquire() as db, db.transaction():
        await incidents_service.who(db, actor)
        return await answer_in(db, complaint_id, how=how, text=text, actor=actor, now=now)


async def answer_in(db: Connection, complaint_id: int, *, how: str, text: str, actor: str, now: datetime) -> Complaint:
    """The same in the caller's transaction."""
    if how not in HOWS:
        raise ComplaintError(f"{how!r} is no way to answer; there are {', '.join(HOWS)}")
    _bounded(text, "what the person was told")
    found = _known(await store.lock(db, complaint_id), complaint_id)
    if found.answered_at is not None:
        by = f"{found.answered_by} by {found.answer_how}"
        raise RefusedError(f"complaint {complaint_id} was answered by {by} at {found.answered_at:%H:%M %Z} already")
    await store.answer(db, complaint_id, how=how, text=text, actor=actor, now=now)
    incident_id = await store.incident_of(db, complaint_id)
    if incident_id is not None:
        await incidents.meet(db, incident_id, "reply", now, step=found.owes)
        late = " too late" if now > found.due_at else ""
        said = f"complaint {complaint_id} is answered by {how}{late}"
        await incidents.write(
            db, incident_id, "message", said, actor=actor, now=now, evidence={"complaint": complaint_id}
        )
        await _ask_again(db, incident_id, f"complaint {complaint_id} was answered meanwhile", now, only_asking=True)
    return await get(db, complaint_id)


async def close(pool: Pool, complaint_id: int, *, cause: str, actor: str, now: datetime) -> Complaint:
    """Nothing is left to be done of it, and this is how it came about. Again: the cause is another.

    Raises UnknownError, RefusedError while nobody has answered the person.
    """
    _bounded(cause, "the cause")
    async with pool.acquire() as db, db.transaction():
        await incidents_service.who(db, actor)
        found = _known(await store.lock(db, complaint_id), complaint_id)
        if not found.is_settled:
            raise RefusedError(
                f"nobody has answered complaint {complaint_id}, which is due by {found.due_at:%H:%M %Z}: "
                f"holdfast complaints answer {complaint_id} --how … --text …"
            )
        await store.close(db, complaint_id, cause=cause, actor=actor, now=now)
        incident_id = await store.incident_of(db, complaint_id)
        if incident_id is not None:
            said = f"complaint {complaint_id} is closed: {cause}"
            await incidents.write(db, incident_id, "note", said, actor=actor, now=now)
        return await get(db, complaint_id)


async def adopt(db: Connection, incident: Incident, now: datetime) -> list[Complaint]:
    """Take every complaint that has no incident yet into this one, in the caller's transaction: those that are new.

    What is owed to the people is the incident's then. Of an incident that was opened by hand as well.
    """
    locked = await incidents.lock(db, incident.id)
    if locked is None or not locked.is_open:
        return []
    waiting = {one.id: one for one in await store.unlinked(db, AT_ONCE)}
    joined = [waiting[number] for number in sorted(await store.link(db, list(waiting), locked.id, now))]
    for one in joined:
        said = f"complaint {one.id} belongs to it, received {one.received_at:%H:%M %Z} ({one.source})"
        evidence = {"complaint": one.id, "due_at": one.due_at, "cancelled": one.cancelled}
        await incidents.write(db, locked.id, "note", said, actor=ENGINE, now=now, evidence=evidence)
        if not one.is_settled:
            text = f"answer complaint {one.id}: holdfast complaints show {one.id}"
            await incidents.oblige(
                db, locked.id, "reply", text, owner=locked.commander, due_at=one.due_at, step=owed(one.id)
            )
    if any(not one.is_settled for one in joined):
        await _ask_again(db, locked.id, "another complaint joined", now)
    return joined


async def join_open(pool: Pool, now: datetime) -> int:
    """A tick: take complaints that have no incident into the one that is open, if one is; how many.

    Else the alert opens one, which takes them in.
    """
    open_one = await incidents.open_of(pool, RUNBOOK, "")
    if open_one is None or not await store.has_unlinked(pool):
        return 0
    async with pool.acquire() as db, db.transaction():
        return len(await adopt(db, open_one, now))


async def close_erased(pool: Pool, now: datetime) -> int:
    """A tick: close complaints of people who had their data erased before anybody answered them; how many.

    Nobody knows any more whom to answer: what is owed to them is met by that.
    """
    closed = 0
    for number in await store.erased_unanswered(pool, AT_ONCE):
        async with pool.acquire() as db, db.transaction():
            found = await store.lock(db, number)
            if found is None or found.is_settled:
                continue
            await store.close(db, number, cause=ERASED, actor=ENGINE, now=now)
            incident_id = await store.incident_of(db, number)
            if incident_id is not None:
                await incidents.meet(db, incident_id, "reply", now, step=found.owes)
                said = f"complaint {number} is closed without an answer: {ERASED}"
                evidence = {"complaint": number}
                await incidents.write(db, incident_id, "note", said, actor=ENGINE, now=now, evidence=evidence)
                await _ask_again(db, incident_id, f"complaint {number} was closed", now, only_asking=True)
        closed += 1
    return closed


async def _ask_again(db: Connection, incident_id: int, why: str, now: datetime, *, only_asking: bool = False) -> None:
    """Who has said what the others are told has not seen what this one would be; or is shown what is answered now."""
    for step in await steps.steps(db, incident_id):
        is_over = step.is_finished and not only_asking
        if step.action == REPLY and step.kind == "ask" and (is_over or step.state == "asking"):
            await steps.put(db, incident_id, step.key, "pending", said=why, now=now, tries=0)
            await steps.forget_answer(db, incident_id, step.key)


async def measure(pool: Pool, now: datetime) -> int:
    """A tick: how many wait for an answer, and how long there is for the first of them."""
    count, due_at = await store.waiting(pool)
    signals.OPEN.set(count)
    left = [((), (due_at - now).total_seconds())] if due_at is not None else []
    signals.DUE_SECONDS.replace(left)
    return 0


def _known(found: Complaint | None, complaint_id: int) -> Complaint:
    if found is None:
        raise UnknownError(f"there is no complaint {complaint_id}; see `holdfast complaints list --all`")
    return found


async def _merchant_id(pool: Pool, key: str | None) -> int:
    """Raises UnknownError."""
    if key is None:
        return EVERY_MERCHANT
    found = await merchants.find(pool, key)
    if found is None:
        raise UnknownError(f"there is no merchant {key[:60]!r}; leave it out where it is not known")
    return found.id


def _received(received_at: datetime | None, now: datetime) -> datetime:
    if received_at is None:
        return now
    if received_at.tzinfo is None:
        raise ComplaintError("the time at which it was received needs its zone, such as 2026-11-24T15:30+00:00")
    if received_at > now + EARLY:
        raise ComplaintError(f"it cannot have been received at {received_at:%Y-%m-%d %H:%M %Z}: that is still to come")
    return min(received_at, now)


def _check(source: str, text: str | None, answer_to: str | None, key: str | None, filed_by: str) -> None:
    if source not in SOURCES:
        raise ComplaintError(f"{source!r} is nowhere that complaints come from; there are {', '.join(SOURCES)}")
    given: Sequence[tuple[str, str | None, int]] = (
        ("what they said", text, LONGEST),
        ("answer_to", answer_to, 320),
        ("the key", key, 200),
        ("filed_by", filed_by, 200),
    )
    for name, value, most in given:
        if value is not None and (not value.strip() or len(value) > most or "\0" in value):
            raise ComplaintError(f"{name}: 1 to {most} characters, without NUL; or leave it out")


def _bounded(text: str, what: str) -> None:
    if not text.strip() or len(text) > LONGEST or "\0" in text:
        raise ComplaintError(f"write {what} in 1 to {LONGEST} characters")
