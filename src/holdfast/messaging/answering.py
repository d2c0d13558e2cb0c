"""What follows from a text, by what it was judged: a block, an answer, consent given again, news for merchants."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from holdfast.consent import customers, ledger, suppressing
from holdfast.consent import store as consents
from holdfast.consent.model import EVERY_MERCHANT, WISHES, Block, Customer, Entry, Purpose, Source, Suppression
from holdfast.db.pool import Connection
from holdfast.merchants.model import COMPANY
from holdfast.messaging import replies, stopping
from holdfast.messaging.inbound_store import Face
from holdfast.messaging.news import EventType, Told
from holdfast.messaging.returning import purposes_to_restore
from holdfast.messaging.stopping import Stopped, Wish

SOURCE: Source = "opt-out-message"
PERSON = "person"
"""Who acts, where it is the person themselves."""
LONGEST_WORDS = 1600
"""Characters of a text that the ledger keeps."""
Verdict = Literal["stop", "doubtful", "start", "help", "other"]
StopScope = Literal["merchant", "company"]


@dataclass(slots=True)
class Case:
    """A text, whose it is, and what was done about it. `person` None: no phone sent it, so nobody can be blocked.

    `phone` is the person's number, `to` ours; `account` the Twilio account to reply with; None: that of the settings.
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
    can_reply: bool
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
            _tell(case, "text.received")
            return
        live = await consents.suppressions_of(db, person.id, live_only=True)
        blocking = [one for one in live if _blocks(one, case.face.merchant_id)]
        if case.says_yes and case.verdict in ("start", "other"):
            is_start = any(one.reason in WISHES for one in blocking)
            case.verdict = "start" if is_start else "other"
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

    async def _stop(
        self, db: Connection, case: Case, person: Customer, blocking: list[Suppression], now: datetime
    ) -> None:
        stopped = await stop(db, person, self._scope(case), case.at, now, words=case.body, sid=case.sid)
        _note(case, stopped, "opt_out", self._scope(case))
        if any(one.reason == "opt_out" for one in blocking):
            return  # the same stop once more: it was confirmed, and told
        _tell(case, "consent.revoked", scope=self._scope_word(case))
        if self._answers(case) and person.phone is not None:
            await replies.confirm(db, _to(case, person), case.face, now)

    async def _doubt(self, db: Connection, case: Case, person: Customer, now: datetime) -> None:
        """Nothing is sent until a person has decided; the ledger hears of it only then."""
        scope = self._scope(case)
        block = Block(person.id, scope, "doubtful", SOURCE, PERSON, f"text {case.sid} waits for review")
        _note(case, (await stopping.block(db, [block], now))[0], "doubtful", scope)

    async def _start(
        self, db: Connection, case: Case, person: Customer, blocking: list[Suppression], now: datetime
    ) -> None:
        """The person comes back to the merchant that they write to; at nobody's number there is none."""
        merchant_id = case.face.merchant_id
        if merchant_id == COMPANY:
            _tell(case, "text.received")
            return
        rows = await ledger.history(db, person.id)
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
        _tell(case, "consent.granted", purposes=tuple(purpose for purpose, _ in purposes))

    async def _help(self, db: Connection, case: Case, person: Customer, now: datetime) -> None:
        if self._answers(case):
            await replies.answer_help(db, _to(case, person), case.face, now)

    def _answers(self, case: Case) -> bool:
        """Whether it is for us to answer: Twilio has not, and the person can be reached the way they wrote."""
        twilio_did = case.provider_said is not None or (
            case.face.provider_answers and self._provider_word(case.body) is not None
        )
        return case.can_reply and not twilio_did

    def _scope(self, case: Case) -> int:
        return EVERY_MERCHANT if self._stop_scope == "company" else case.face.merchant_id

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


def _note(case: Case, stopped: Stopped, reason: str, scope: int) -> None:
    case.suppression_id = stopped.suppression_id
    if stopped.is_new:
        case.blocked.append((reason, "every" if scope == EVERY_MERCHANT else "merchant"))


def _to(case: Case, person: Customer) -> replies.To:
    return replies.To(case.sid, person.id, case.phone, case.to, case.account, case.body, case.at)


def _tell(case: Case, event_type: EventType, *, scope: StopScope | None = None, purposes: tuple[str, ...] = ()) -> None:
    told = Told(event_type, case.sid, case.face, case.from_, case.to, case.body, case.media, case.at, scope, purposes)
    case.told.append(told)
