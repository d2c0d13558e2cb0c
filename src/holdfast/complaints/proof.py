"""Proves that nobody texts a person any more: by our own record, and by Twilio's own list of every account.

What Twilio lists and we do not know was sent past the gate, with the account's token, by a program or a person.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from holdfast.complaints import proof_store as store
from holdfast.complaints.model import Complaint
from holdfast.config import Settings
from holdfast.consent import store as consent
from holdfast.consent.model import EVERY_MERCHANT
from holdfast.db.pool import Pool
from holdfast.twilio import store as accounts_store
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import TwilioApiError, TwilioError, TwilioText

AT_ONCE = 8
"""Accounts that are asked at the same time."""
ANSWERS = timedelta(minutes=5)
"""How long after a person's own text a reply of Twilio, or of a number's own rules, may answer it."""
NEVER_WENT = ("failed", "canceled")
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Stray:
    """A text that went to the person although they are blocked. `message_id` None: it never passed the gate."""

    sid: str | None
    account: str | None
    from_: str
    at: datetime
    status: str
    message_id: int | None


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether nothing was sent to a person since they complained.

    `suppressed`: a block of every merchant is in force. `on_their_way`: taken by a sender, and not settled yet.
    `excepted`: merchants that the person came back to since. `strays`: what was sent all the same. `unasked`: accounts
    of Twilio that could not be asked, with the reason. `listed`: texts to the person that Twilio has since then.
    """

    complaint_id: int
    suppressed: bool
    since: datetime
    excepted: tuple[int, ...]
    cancelled: int
    waiting: int
    on_their_way: int
    refused: int
    strays: tuple[Stray, ...]
    accounts: tuple[str, ...]
    listed: int
    unasked: tuple[tuple[str, str], ...] = field(default=())
    at: datetime | None = None

    @property
    def holds(self) -> bool:
        """Whether it is shown; what could not be asked shows nothing."""
        return self.suppressed and not (self.waiting or self.on_their_way or self.strays or self.unasked)

    @property
    def said(self) -> str:
        """In a sentence."""
        since = f"{self.since:%Y-%m-%d %H:%M:%S %Z}"
        if not self.suppressed:
            return "nothing blocks this person for every merchant any more: the block was lifted"
        if self.strays:
            first = self.strays[0]
            past = "past the gate" if first.message_id is None else "though they are blocked"
            more = f" and {len(self.strays) - 1} more" if len(self.strays) > 1 else ""
            return f"{first.sid or 'a text'} went to them at {first.at:%H:%M:%S %Z}, {past}{more}"
        if self.waiting or self.on_their_way:
            return f"{self.waiting} texts wait for them and {self.on_their_way} are on their way"
        if self.unasked:
            account, why = self.unasked[0]
            more = f", nor {len(self.unasked) - 1} more" if len(self.unasked) > 1 else ""
            missing = f"account {account} of Twilio could not be asked{more}: {why}"
            return f"nothing of ours went out since {since}, but {missing}"
        back = f"; they came back to {len(self.excepted)} by themselves" if self.excepted else ""
        return (
            f"blocked since {since}; of texts to them {self.cancelled} waited and were cancelled, {self.refused} were "
            f"refused since; none was sent, by our record and by Twilio's own list of {len(self.accounts)} "
            f"account{'s' * (len(self.accounts) != 1)}{back}"
        )


async def prove(pool: Pool, settings: Settings, complaint: Complaint, now: datetime) -> Proof:
    """As of now. Asks Twilio for every text to the person since the complaint was filed, in every account."""
    number, since = complaint.customer_id, complaint.recorded_at
    blocks = [
        one for one in await consent.suppressions_of(pool, number, live_only=True) if one.merchant_id == EVERY_MERCHANT
    ]
    back = sorted(set.intersection(*(set(one.excepted) for one in blocks))) if blocks else []
    person = await consent.customer(pool, number)
    phone: str | None = person["phone"] if person is not None else None
    cancelled, waiting, on_their_way = await store.counts(pool, number, complaint.suppression_id, back)
    own = [
        Stray(row["sid"], None, f"merchant {row['merchant_id']}", row["tried_at"], "sent", row["id"])
        for row in await store.handed_over(pool, number, since)
    ]
    found: list[TwilioText] = []
    asked: list[str] = []
    unasked: list[tuple[str, str]] = []
    if phone is None:
        unasked.append(("-", "the person's number was erased, so Twilio cannot be asked for it"))
    else:
        found, asked, unasked = await _listed(pool, settings, phone, since)
    strays = _together(own, await _strays(pool, number, since, found))
    return Proof(
        complaint.id,
        bool(blocks),
        since,
        tuple(back),
        cancelled,
        waiting,
        on_their_way,
        await store.refused(pool, number, since),
        tuple(strays),
        tuple(asked),
        len(found),
        tuple(unasked),
        now,
    )


def document(found: Proof) -> dict[str, Any]:
    """As JSON."""
    return {
        "complaint": found.complaint_id,
        "holds": found.holds,
        "said": found.said,
        "suppressed": found.suppressed,
        "since": found.since,
        "at": found.at,
        "cancelled": found.cancelled,
        "waiting": found.waiting,
        "on_their_way": found.on_their_way,
        "refused": found.refused,
        "sent_since": len(found.strays),
        "sent": [
            {
                "sid": one.sid,
                "account": one.account,
                "from": one.from_,
                "at": one.at,
                "status": one.status,
                "passed_the_gate": one.message_id is not None,
            }
            for one in found.strays[:_SHOWN]
        ],
        "accounts": list(found.accounts),
        "listed": found.listed,
        "not_asked": [{"account": account, "why": why} for account, why in found.unasked],
    }


async def _listed(
    pool: Pool, settings: Settings, phone: str, since: datetime
) -> tuple[list[TwilioText], list[str], list[tuple[str, str]]]:
    """What Twilio has to the person since then, in every account: texts, accounts asked, and those not."""
    subaccounts = await accounts_store.accounts(pool)
    try:
        client = TwilioClient.of(settings, subaccounts)
    except TwilioError as error:
        return [], [], [(settings.twilio_account_sid or "-", str(error))]
    found: list[TwilioText] = []
    asked: list[str] = []
    unasked: list[tuple[str, str]] = []
    turn = asyncio.Semaphore(AT_ONCE)
    whole = since.replace(microsecond=0)  # Twilio's times have no parts of seconds

    async def ask(account: str) -> None:
        async with turn:
            try:
                own = [one async for one in client.texts(whole, to=phone, account=account)]
            except TwilioApiError as error:
                unasked.append((account, str(error)))
            else:
                found.extend(own)
                asked.append(account)

    async with client:
        accounts = dict.fromkeys((client.account_sid, *(one.sid for one in subaccounts)))
        await asyncio.gather(*(ask(account) for account in accounts))
    return found, sorted(asked), sorted(unasked)


async def _strays(pool: Pool, customer_id: int, since: datetime, found: Sequence[TwilioText]) -> list[Stray]:
    """Those of Twilio's texts that should not have gone out."""
    sent = [one for one in found if one.direction != "inbound" and one.status not in NEVER_WENT]
    ours = await store.known(pool, [one.sid for one in sent])
    texted = await store.texted(pool, customer_id, since)
    strays = []
    for one in sorted(sent, key=lambda text: (text.created_at, text.sid)):
        known = ours.get(one.sid)
        if known is not None and _is_right(known, since):
            continue
        if known is None and one.direction == "outbound-reply" and _answers(one, texted):
            continue
        number = known["id"] if known is not None else None
        strays.append(Stray(one.sid, one.account, one.from_, one.created_at, one.status, number))
    return strays


def _is_right(known: asyncpg.Record, since: datetime) -> bool:
    """A confirmation; one on its way before; or one that the person asked for by coming back."""
    if known["kind"] != "text" or known["tried_at"] is None or known["tried_at"] <= since:
        return True
    return bool(known["granted"]) and known["recorded_at"] > since


def _answers(one: TwilioText, texted: Sequence[tuple[str, datetime]]) -> bool:
    """Whether it is a reply to what the person texted to that number a moment before."""
    second = timedelta(seconds=1)
    return any(phone == one.from_ and at - second <= one.created_at <= at + ANSWERS for phone, at in texted)


def _together(own: Sequence[Stray], listed: Sequence[Stray]) -> list[Stray]:
    """Twilio's word of a text before ours."""
    there = {one.message_id for one in listed}
    return [*listed, *(one for one in own if one.message_id not in there)]
