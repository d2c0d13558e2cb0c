"""What follows from a text, by what it was judged: a block, an answer, consent given again, news for merchants."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from holdfast.consent import customers, ledger, suppressing
from holdfast.consent import store as consents
from holdfast.consent.model import (
    EVERY_MERCHANT,
    WISHES,
    Block,
    Customer,
    Entry,
    Purpose,
    Reason,
    Row,
    Source,
    Suppression,
)
from holdfast.db.pool import Connection
from holdfast.merchants.model import COMPANY
from holdfast.messaging import inbound_store as store
from holdfast.messaging import replies, reviews_store, stopping
from holdfast.messaging.inbound_store import Face, Received
from holdfast.messaging.model import Verdict
from holdfast.messaging.news import EventType, Told
from holdfast.messaging.returning import purposes_to_restore, returned_to
from holdfast.messaging.stopping import Stopped, Wish

SOURCE: Source = "opt-out-message"
PERSON = "person"
"""Who acts, where it is the person themselves."""
YES_ENDS: frozenset[Reason] = frozenset(("opt_out", "provider_block"))
"""What a bare YES ends: it may answer another question, and so ends no complaint. START is for that."""
DEAD_NUMBER: frozenset[Reason] = frozenset(("unknown_handset", "landline"))
"""What is not true of a number that a text came from."""
CLOCKS = timedelta(minutes=1)
"""How much later a person must have come back than a late stop was sent, so that it stops nothing: Twilio's times have
whole seconds, and a START counts from when it was taken in."""
LONGEST_WORDS = 1600
"""Characters of a text that the ledger keeps."""
StopScope = Literal["merchant", "company"]


@dataclass(slots=True)
class Case:
    """A text, whose it is, and what was done about it. `person` None: no phone sent it, so nobody can be blocked.

    `phone` is the person's number, `to` ours; `account` the Twilio account to reply with; None: that of the settings.

    `is_sms`: it came as a text of the telephone network, so that a text can answer it. `is_late`: it was found in
    Twilio's list afterwards. `is_misplaced`: a merchant's own account brought it for another's number, and `face` is
    that of the account. `speaks_for_all`: the company's account brought it; a merchant's own speaks of one merchant.
    """

    sid: str
    face: Face
    person: Customer | None
    from_: str
    phone: str
    to: str
    account: str | None
    body: str
    media: tuple[str, ...]
    at: datetime
    verdict: Verdict
    score: float
    rules: tuple[str, ...]
    says_yes: bool
    provider_said: str | None
    is_sms: bool
    is_late: bool
    is_misplaced: bool
    speaks_for_all: bool
    suppression_id: int | None = None
    told: list[Told] = field(default_factory=list)
    blocked: list[tuple[str, str]] = field(default_factory=list)
    """(reason, merchant or every) of blocks that are new."""

    @property
    def stops(self) -> bool:
        return self.verdict in ("stop", "doubtful")


class Answering:
    """`act` is for the transaction that keeps the text, with its sender locked."""

    def __init__(self, stop_scope: StopScope, provider_word: Callable[[str], str | None]) -> None:
        """`provider_word`: what Twilio itself takes a text for, None for an ordinary one."""
        self._stop_scope = stop_scope
        self._provider_word = provider_word

    async def act(self, db: Connection, case: Case, now: datetime) -> None:
        """Do what follows from it. Its verdict becomes what it turns out to be: a YES may only be an answer."""
        person = case.person
        if person is None:
            if case.verdict == "doubtful":  # nobody is blocked by it, so nothing hangs on what it means
                case.verdict = "other"
            if not case.is_misplaced:
                _tell(case, "text.received")
            return
        live = await consents.suppressions_of(db, person.id, live_only=True)
        live = await self._is_alive(db, case, live, now)
        blocking = [one for one in live if _blocks(one, case.face.merchant_id)]
        if case.says_yes and case.verdict in ("start", "other") and case.provider_said is None:
            is_start = bool(blocking) and all(one.reason in YES_ENDS for one in blocking)
            case.verdict = "start" if is_start else "other"
        if case.is_misplaced and not case.stops:
            return
        match case.verdict:
            case "stop":
                await self._stop(db, case, person, blocking, now)
            case "doubtful":
                await self._doubt(db, case, person, now)
            case "start":
                await self._start(db, case, person, blocking, now)
            case "help":
                await self._help(db, case, person, now)
            case "other":
                _tell(case, "text.received")

    async def _is_alive(
        self, db: Connection, case: Case, live: Sequence[Suppression], now: datetime
    ) -> list[Suppression]:
        """A number that texts is one that can: those blocks end. Returns the others."""
        wrong = [one for one in live if one.reason in DEAD_NUMBER and one.made_at <= case.at]
        if not wrong or not case.is_sms or case.is_misplaced:
            return list(live)
        merchant_id = case.face.merchant_id
        if case.speaks_for_all:
            gone = [one.id for one in wrong]
        else:
            gone = [one.id for one in wrong if one.merchant_id == merchant_id]
            every = [one.id for one in wrong if one.merchant_id == EVERY_MERCHANT]
            gone_here = await consents.except_merchant(db, every, merchant_id)
            live = [one for one in live if one.id not in gone_here]
        await consents.lift(db, gone, actor=PERSON, why="texted from it", now=now)
        return [one for one in live if one.id not in gone]

    async def _stop(
        self, db: Connection, case: Case, person: Customer, blocking: list[Suppression], now: datetime
    ) -> None:
        scope = self._scope(case)
        returned = await _returned(db, case, person)
        if scope in returned:
            if person.erased_at is None:
                entry = revocation(person, scope, case.at, words=case.body, sid=case.sid)
                await ledger.append(db, [entry], now)
            return
        stopped = await stop(db, person, scope, case.at, now, words=case.body, sid=case.sid)
        await _except(db, stopped, scope, returned)
        _note(case, stopped, "opt_out", scope)
        if any(one.reason == "opt_out" for one in blocking):
            return  # the same stop once more: it was confirmed, and told
        _tell(case, "consent.revoked", scope=self._scope_word(case))
        if self._answers(case) and person.phone is not None:
            await replies.confirm(db, _to(case, person), case.face, now)

    async def _doubt(self, db: Connection, case: Case, person: Customer, now: datetime) -> None:
        """Nothing is sent until a person has decided; the ledger hears of it only then."""
        scope = self._scope(case)
        returned = await _returned(db, case, person)
        if scope in returned:
            case.verdict = "other"
            _tell(case, "text.received")
            return
        block = Block(person.id, scope, "doubtful", SOURCE, PERSON, f"text {case.sid} waits for review")
        (stopped,) = await stopping.block(db, [block], now)
        await _except(db, stopped, scope, returned)
        _note(case, stopped, "doubtful", scope)

    async def _start(
        self, db: Connection, case: Case, person: Customer, blocking: list[Suppression], now: datetime
    ) -> None:
        """The person comes back to the merchant that they write to; at nobody's number there is none."""
        merchant_id = case.face.merchant_id
        if merchant_id == COMPANY:
            _tell(case, "text.received")
            return
        rows = await ledger.history(db, person.id)
        if case.is_late and await _stopped_since(db, case, person, rows):
            return
        held = ledger.holding(rows, merchant_id, "informational")
        is_blocked = person.erased_at is not None or any(one.reason in WISHES for one in blocking)
        if not is_blocked and held is not None and held.action == "grant":
            _tell(case, "text.received")  # nothing to come back from: a word that the merchant may have asked for
            return
        if person.erased_at is not None:
            person = case.person = await customers.revive(db, person.id, case.phone, now)
        purposes: list[tuple[Purpose, str | None]] = purposes_to_restore(rows, merchant_id)
        await suppressing.resubscribe(
            db,
            person.id,
            merchant_id,
            "opt-in-message",
            now,
            actor=PERSON,
            why=f"texted {case.body.strip()[:20]!r}",
            purposes=purposes,
            origin="START",
            detail=_detail(case.body, case.sid),
            given_at=case.at,
        )
        await _settle(db, case, blocking, now)
        _tell(case, "consent.granted", purposes=tuple(purpose for purpose, _ in purposes))

    async def _help(self, db: Connection, case: Case, person: Customer, now: datetime) -> None:
        if self._answers(case):
            await replies.answer_help(db, _to(case, person), case.face, now)

    def _answers(self, case: Case) -> bool:
        """Whether it is for us to answer: Twilio has not, and the person can be reached the way they wrote."""
        twilio_did = case.provider_said is not None or (
            case.face.provider_answers and self._provider_word(case.body) is not None
        )
        return case.is_sms and not (twilio_did or case.is_late or case.is_misplaced)

    def _scope(self, case: Case) -> int:
        """With its own account's token a merchant can make texts up, so it speaks for itself alone."""
        is_of_all = self._stop_scope == "company" and case.speaks_for_all
        return EVERY_MERCHANT if is_of_all else case.face.merchant_id

    def _scope_word(self, case: Case) -> StopScope:
        return "company" if self._scope(case) == EVERY_MERCHANT else "merchant"


async def stop(
    db: Connection,
    person: Customer,
    merchant_id: int,
    at: datetime,
    now: datetime,
    *,
    words: str,
    sid: str,
    actor: str = PERSON,
) -> Stopped:
    """A person's wish of the time `at`, in the ledger and as a block; of one who was erased, as a block alone.

    `actor`: who says that it is one.
    """
    block = Block(person.id, merchant_id, "opt_out", SOURCE, actor)
    if person.erased_at is not None:
        return (await stopping.block(db, [block], now))[0]
    entry = revocation(person, merchant_id, at, words=words, sid=sid, actor=actor)
    return (await stopping.stop(db, [Wish(entry, block)], now))[0]


def revocation(person: Customer, merchant_id: int, at: datetime, *, words: str, sid: str, actor: str = PERSON) -> Entry:
    """What the ledger says of a text that stops."""
    detail = _detail(words, sid)
    return Entry(person.id, merchant_id, "revoke", "all", SOURCE, at, actor, channel="all", detail=detail)


def _detail(words: str, sid: str) -> dict[str, str]:
    return {"method": "text", "message": sid, "words": words[:LONGEST_WORDS]}


def _blocks(one: Suppression, merchant_id: int) -> bool:
    return one.merchant_id == merchant_id or (one.merchant_id == EVERY_MERCHANT and merchant_id not in one.excepted)


async def _returned(db: Connection, case: Case, person: Customer) -> set[int]:
    """Merchants that the person came back to by their own deed since this late stop, which ends nothing there."""
    if not case.is_late:
        return set()
    return returned_to(await ledger.history(db, person.id), case.at + CLOCKS)


async def _except(db: Connection, stopped: Stopped, scope: int, returned: set[int]) -> None:
    """A block of every merchant is none of those that the person came back to."""
    if scope == EVERY_MERCHANT:
        for merchant_id in sorted(returned):
            await consents.except_merchant(db, [stopped.suppression_id], merchant_id)


async def _stopped_since(db: Connection, case: Case, person: Customer, rows: Sequence[Row]) -> bool:
    """Whether this late START is older than something that stopped texts again."""
    here = (case.face.merchant_id, EVERY_MERCHANT)
    if any(row.action == "revoke" and row.merchant_id in here and row.given_at > case.at for row in rows):
        return True
    return await reviews_store.wait_since(db, person.id, case.at)


async def _settle(db: Connection, case: Case, ended: Sequence[Suppression], now: datetime) -> None:
    """Doubtful texts need nobody's judgement any more once their sender has come back; the merchant gets them."""
    merchant_id = case.face.merchant_id
    doubts = [one.id for one in ended if one.reason == "doubtful" and one.merchant_id == merchant_id]
    if not doubts:
        return
    note = f"they came back by themselves: text {case.sid}"
    for sid in await reviews_store.settle_all(db, doubts, "ordinary", actor=PERSON, note=note, now=now):
        text = await store.one(db, sid)
        assert text is not None
        case.told.append(_told_of(text, case))


def _told_of(text: Received, case: Case) -> Told:
    at = text.received_at
    return Told("text.received", text.sid, case.face, case.from_, text.to, text.body or "", text.media, at)


def _note(case: Case, stopped: Stopped, reason: str, scope: int) -> None:
    case.suppression_id = stopped.suppression_id
    if stopped.is_new:
        case.blocked.append((reason, "every" if scope == EVERY_MERCHANT else "merchant"))


def _to(case: Case, person: Customer) -> replies.To:
    return replies.To(case.sid, person.id, case.phone, case.to, case.account, case.body, case.at)


def _tell(case: Case, event_type: EventType, *, scope: StopScope | None = None, purposes: tuple[str, ...] = ()) -> None:
    told = Told(event_type, case.sid, case.face, case.from_, case.to, case.body, case.media, case.at, scope, purposes)
    case.told.append(told)
