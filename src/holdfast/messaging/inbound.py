"""Texts from people: each is kept, judged, and what follows from it is done in the same commit, once.

Source of the parameters: https://www.twilio.com/docs/messaging/guides/webhook-request; of `OptOutType`:
https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import msgspec
import structlog

from holdfast.consent import customers
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import Customer
from holdfast.db.pool import Connection, Pool, again
from holdfast.inbox import store as events
from holdfast.merchants import number_store
from holdfast.merchants.model import COMPANY
from holdfast.messaging import inbound_store as store
from holdfast.messaging import news
from holdfast.messaging.answering import Answering, Case
from holdfast.messaging.inbound_store import Kept, Verbatim
from holdfast.messaging.model import MessagingError, Verdict
from holdfast.messaging.signals import MISPLACED, RECEIVED, STOPPED
from holdfast.twilio.model import PROVIDER, Account

log = structlog.get_logger()

LONGEST_JUDGED = 4000
"""Characters that are judged: more than Twilio lets through."""
MOST_MEDIA = 20
_SID = re.compile(r"[A-Z]{2}[0-9a-zA-Z]{1,62}")
_PHONE = re.compile(r"\+[1-9][0-9]{5,14}")
_CHANNEL = re.compile(r"(whatsapp|rcs|messenger):")
_SAID: Mapping[str, Verdict] = {"STOP": "stop", "START": "start", "HELP": "help"}
"""`OptOutType` of Twilio's: it has acted on it already, and has answered."""
_YES = frozenset(("yes", "sí", "si"))


class NotATextError(MessagingError):
    """What came is not a text; the message says what is missing."""


class Judged(Protocol):
    """What a text means: see `optout.Judgement`."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def score(self) -> float: ...
    @property
    def rules(self) -> tuple[str, ...]: ...
    @property
    def word(self) -> str | None: ...


Judge = Callable[[str], Judged]
ProviderWord = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A verified text. `account`: the Twilio account that it came to, `merchant_id` whose that is, COMPANY for the
    company's; `own_account`: it is that of the settings. `phone`: the sender's number, None if it is no phone's.

    `is_late`: it was not told, but found in Twilio's list afterwards; `received` is then Twilio's time.
    """

    sid: str
    account: str
    own_account: bool
    merchant_id: int
    from_: str
    phone: str | None
    to: str
    body: str
    media: tuple[str, ...]
    service: str | None
    opt_out: str | None
    received: float
    headers: str
    raw: bytes
    is_late: bool = False

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.received, UTC)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a text. `customer_id` of whom nothing may go out any more, None if it stops nothing.

    `refused`: why it is not acknowledged although it was kept: it is of another merchant's number.
    """

    verdict: Verdict | None
    is_new: bool
    customer_id: int | None = None
    refused: str | None = None


def read(
    params: Mapping[str, str],
    account: Account,
    *,
    own_account: bool,
    received: float,
    headers: Mapping[str, str],
    raw: bytes,
) -> Incoming:
    """The text of a verified request. Raises NotATextError."""
    sid = next((found for name in ("MessageSid", "SmsMessageSid", "SmsSid") if (found := _sid(params.get(name)))), None)
    if sid is None:
        raise NotATextError("there is no MessageSid in it: this address is for incoming texts")
    sender = _clean(params.get("From", ""))
    bare = _CHANNEL.sub("", sender)
    said = params.get("OptOutType", "").upper()
    return Incoming(
        sid=sid,
        account=account.sid,
        own_account=own_account,
        merchant_id=account.merchant_id,
        from_=sender[:255],
        phone=bare if _PHONE.fullmatch(bare) else None,
        to=_CHANNEL.sub("", _clean(params.get("To", "")))[:255],
        body=_clean(params.get("Body", "")),
        media=_media(params),
        service=_sid(params.get("MessagingServiceSid")),
        opt_out=said if said in _SAID else None,
        received=received,
        headers=msgspec.json.encode(dict(headers)).decode(),
        raw=raw,
    )


class Inbox:
    """Takes texts in. `judge` and `provider_word` are those of `optout`."""

    def __init__(
        self,
        pool: Pool,
        key: Callable[[], PhoneKey],
        answering: Answering,
        judge: Judge,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`key`: asked for every batch, since it may be made while this process runs."""
        self._pool = pool
        self._key = key
        self._answering = answering
        self._judge = judge
        self._clock = clock

    async def take(self, batch: Sequence[Incoming]) -> list[Taken]:
        """All of them in one commit. After it, before anybody is told that a stop was heard: `stopping.settled`.

        Raises what `AWAY` lists and KeyMissingError; then nothing was kept.
        """
        return await again(lambda: self._take(batch))

    async def _take(self, batch: Sequence[Incoming]) -> list[Taken]:
        now = self._clock()
        first: dict[str, int] = {}
        for n, text in enumerate(batch):
            first.setdefault(text.sid, n)
        async with self._pool.acquire() as db, db.transaction():
            places = await _places(db, [batch[n] for n in first.values()])
            chosen = [batch[n] for n in first.values()]
            added = await store.add_events(db, [_verbatim(text, places[text.sid]) for text in chosen])
            fresh = [text for text in chosen if text.sid in added]
            cases = await self._take_new(db, fresh, places, now) if fresh else {}
            await _count_repeats(db, [text for n, text in enumerate(batch) if first[text.sid] != n])
            held = await store.held(db, [text.sid for text in chosen if text.sid not in added])
        _count(cases.values())
        for case in cases.values():
            if case.is_misplaced:
                MISPLACED.inc()
                log.error("texts.wrong_merchant", sid=case.sid, number=case.to, reason=places[case.sid].refused)
        return [self._taken(text, first[text.sid] == n, places, cases, held) for n, text in enumerate(batch)]

    def _taken(
        self,
        text: Incoming,
        is_first: bool,
        places: Mapping[str, "_Place"],
        cases: Mapping[str, Case],
        held: Mapping[str, tuple[int, str]],
    ) -> Taken:
        refused = places[text.sid].refused
        case = cases.get(text.sid)
        if case is None:  # a stop that comes again is acknowledged no earlier than at first
            customer_id, verdict = held.get(text.sid, (0, "other"))
            stopped = customer_id if verdict in ("stop", "doubtful") and customer_id else None
            return Taken(None, False, stopped, refused)
        return Taken(case.verdict, is_first, case.person.id if case.stops and case.person else None, refused)

    async def _take_new(
        self, db: Connection, texts: Sequence[Incoming], places: Mapping[str, "_Place"], now: datetime
    ) -> dict[str, Case]:
        people = await self._people(db, texts, now)
        faces = await store.faces(db, {places[text.sid].merchant_id for text in texts})
        cases: dict[str, Case] = {}
        for text in sorted(texts, key=lambda text: (text.received, text.sid)):
            place = places[text.sid]
            judged = self._judge(text.body[:LONGEST_JUDGED])
            case = Case(
                sid=text.sid,
                face=faces[place.merchant_id],
                person=people.get(text.phone) if text.phone else None,
                from_=text.from_,
                phone=text.phone or "",
                to=text.to,
                account=place.account,
                body=text.body,
                media=text.media,
                at=text.at,
                verdict=_SAID[text.opt_out] if text.opt_out else judged.verdict,
                score=judged.score,
                rules=judged.rules,
                says_yes=judged.word == "yes" or text.body.strip(" \t\r\n.!¡").casefold() in _YES,
                provider_said=text.opt_out,
                is_sms=text.phone is not None and text.from_ == text.phone,
                is_late=text.is_late,
                is_misplaced=place.refused is not None,
                speaks_for_all=text.merchant_id == COMPANY,
            )
            await self._answering.act(db, case, now)
            await store.keep(db, [_kept(case)])  # at once: the next one may settle it
            cases[text.sid] = case
        await news.announce(db, [told for case in cases.values() for told in case.told], now)
        return cases

    async def _people(self, db: Connection, texts: Sequence[Incoming], now: datetime) -> dict[str, Customer]:
        """Locked: until the commit nobody else decides about them."""
        phones = sorted({text.phone for text in texts if text.phone})
        if not phones:
            return {}
        key = self._key()
        found = await customers.ensure(db, phones, key, now)
        await customers.lock(db, [one.id for one in found.values()])
        return await customers.find(db, phones, key)  # as they are now that nobody else can change it


@dataclass(frozen=True, slots=True)
class _Place:
    """Whose number was texted (COMPANY: nobody's, or the company's), and with which account a reply is sent.

    `refused`: the number is another merchant's than the account. What a text says is then said to the account's own.
    """

    merchant_id: int
    account: str | None
    refused: str | None = None


async def _places(db: Connection, texts: Collection[Incoming]) -> dict[str, _Place]:
    numbers = await number_store.by_phones(db, [text.to for text in texts])
    services = await store.services(db, {text.service for text in texts if text.service})
    found = {}
    for text in texts:
        number = numbers.get(text.to)
        account = None if text.own_account else text.account
        owner = number.merchant_id if number is not None else COMPANY
        if number is not None and text.merchant_id not in (COMPANY, owner) and number.account != text.account:
            # Its token is the merchant's own: with it, texts to others' numbers could be made up.
            why = f"{text.account} is another merchant's account, and {text.to} is not its number"
            found[text.sid] = _Place(text.merchant_id, account, why)
            continue
        if number is not None and number.account is not None:
            account = number.account
        found[text.sid] = _Place(owner or text.merchant_id or services.get(text.service or "", COMPANY), account)
    return found


async def _count_repeats(db: Connection, repeats: Sequence[Incoming]) -> None:
    """Of texts that came twice at once; others are counted where they are stored."""
    if repeats:
        await events.count_duplicates(db, [(PROVIDER, text.sid, text.received) for text in repeats])


def _verbatim(text: Incoming, place: _Place) -> Verbatim:
    return Verbatim(text.sid, text.account, place.merchant_id, text.received, text.headers, text.raw, place.refused)


def _kept(case: Case) -> Kept:
    return Kept(
        sid=case.sid,
        merchant_id=case.face.merchant_id,
        customer_id=case.person.id if case.person else 0,
        phone=case.to,
        body=case.body,
        media=case.media,
        received_at=case.at,
        verdict=case.verdict,
        score=case.score,
        rules=case.rules,
        provider_said=case.provider_said,
        suppression_id=case.suppression_id,
    )


def _count(cases: Collection[Case]) -> None:
    for case in cases:
        RECEIVED.inc(1, case.verdict)
        for reason, scope in case.blocked:
            STOPPED.inc(1, reason, scope)


def _media(params: Mapping[str, str]) -> tuple[str, ...]:
    count = params.get("NumMedia", "")
    most = min(int(count), MOST_MEDIA) if count.isascii() and count.isdecimal() and len(count) < 4 else 0
    urls = (_clean(params.get(f"MediaUrl{place}", ""))[:2000] for place in range(most))
    return tuple(url for url in urls if url)


def _sid(text: str | None) -> str | None:
    return text if text and _SID.fullmatch(text) else None


def _clean(text: str) -> str:
    """What the store cannot hold is replaced; the event keeps what was sent."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
