"""Consents, revocations and blocks by hand: what operators, the API and imports do to people. Settled at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from holdfast.consent import customers, ledger, store, suppressing
from holdfast.consent.history import PURPOSES, is_in_force
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import (
    Block,
    Channel,
    ConsentError,
    Entry,
    Purpose,
    RefusedError,
    Scope,
    Source,
    Suppression,
)
from holdfast.db.pool import Connection, Pool, again
from holdfast.merchants.model import MerchantError
from holdfast.merchants.numbers import e164
from holdfast.messaging import stopping
from holdfast.messaging.stopping import Stopped, Wish

ByHand = Literal["opt_out", "operator"]
"""opt_out: the person said so to somebody of ours, and the ledger says it too. operator: nobody's wish, but ours."""
BY_HAND: tuple[ByHand, ...] = get_args(ByHand)
LATEST_MINUTES = 5
_SOURCES: dict[str, Source] = {
    "website": "website",
    "offline": "offline",
    "opt-in-message": "opt-in-message",
    "opt-out-message": "opt-out-message",
    "others": "api",
}
TWILIO_SOURCES = tuple(_SOURCES)
"""What Twilio's bulk consents call them: https://www.twilio.com/docs/messaging/features/consent-api"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said, as somebody brings it. `phone` in E.164; a revocation may be of `EVERY_MERCHANT`."""

    phone: str
    merchant_id: int
    action: Literal["grant", "revoke"]
    purpose: Scope
    source: Source
    given_at: datetime
    channel: Channel | Literal["all"] = "text"
    disclosure: str | None = None
    origin: str | None = None
    collector: str | None = None
    detail: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The row that was written. `suppression_id`: the block of a revocation of everything; `blocked`: reasons that
    still keep this merchant's texts away in spite of a grant.
    """

    consent_seq: int
    suppression_id: int | None
    cancelled: int
    blocked: tuple[str, ...]


class ImportStops:
    """How an import stops people."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def stop(self, db: Connection, wishes: Sequence[tuple[Entry, Block]], now: datetime) -> None:
        await stopping.stop(db, [Wish(entry, block) for entry, block in wishes], now)

    async def settled(self, customer_ids: Sequence[int]) -> None:
        if customer_ids:
            await stopping.settled(self._pool, customer_ids)


async def record(pool: Pool, said: Sequence[Said], key: PhoneKey, *, actor: str, now: datetime) -> list[Recorded]:
    """All of it in one transaction, in the order given. A revocation of everything blocks; of one purpose, it is a row
    that the gate sees. No grant lifts a block: that is the person's own deed.

    Raises ConsentError, RefusedError for somebody who was erased, KeyMissingError.
    """
    for one in said:
        _check(one, now)
    found, revoked = await again(lambda: _record(pool, said, key, actor, now))
    if revoked:
        await stopping.settled(pool, revoked)
    return found


async def _record(
    pool: Pool, said: Sequence[Said], key: PhoneKey, actor: str, now: datetime
) -> tuple[list[Recorded], set[int]]:
    """And whom it stopped anything of."""
    async with pool.acquire() as db, db.transaction():
        people = await customers.ensure(db, [one.phone for one in said], key, now)
        for one in said:
            if people[one.phone].erased_at is not None:
                raise RefusedError(
                    "the person had their data erased: they come back only by their own deed, such as START"
                )
        await customers.lock(db, [one.id for one in people.values()])
        seqs = await ledger.append(db, [_entry(one, people[one.phone].id, actor) for one in said], now)
        blocks = [
            Block(people[one.phone].id, one.merchant_id, "opt_out", one.source, actor, consent_seq=seq)
            for one, seq in zip(said, seqs, strict=True)
            if one.action == "revoke" and one.purpose == "all"
        ]
        stopped = {one.consent_seq: one for one in await stopping.block(db, blocks, now)} if blocks else {}
        found = [
            await _recorded(db, one, people[one.phone].id, seq, stopped.get(seq))
            for one, seq in zip(said, seqs, strict=True)
        ]
    return found, {people[one.phone].id for one in said if one.action == "revoke"}


async def add(
    pool: Pool, phone: str, merchant_id: int, reason: ByHand, key: PhoneKey, *, actor: str, note: str, now: datetime
) -> Stopped:
    """Block somebody by hand, towards one merchant or `EVERY_MERCHANT`. Raises ConsentError, KeyMissingError."""
    if len(note) > 1000 or "\0" in note:
        raise ConsentError("the note has at most 1000 characters, without NUL")

    async def once() -> Stopped:
        async with pool.acquire() as db, db.transaction():
            person = (await customers.ensure(db, [phone], key, now))[phone]
            block = Block(person.id, merchant_id, reason, "operator", actor, note)
            if reason == "opt_out" and person.erased_at is None:
                entry = Entry(person.id, merchant_id, "revoke", "all", "operator", now, actor, channel="all")
                return (await stopping.stop(db, [Wish(entry, block)], now))[0]
            await customers.lock(db, [person.id])
            return (await stopping.block(db, [block], now))[0]

    stopped = await again(once)
    await stopping.settled(pool, [stopped.customer_id])
    return stopped


async def lift(pool: Pool, suppression_id: int, *, actor: str, why: str, now: datetime) -> Suppression:
    """Raises UnknownError, RefusedError."""
    if len(why) > 1000 or "\0" in why:
        raise ConsentError("the reason has at most 1000 characters, without NUL")
    async with pool.acquire() as db, db.transaction():
        return await suppressing.lift(db, suppression_id, actor=actor, why=why, now=now)


def number(text: str) -> str:
    """The number in E.164. Raises ConsentError."""
    try:
        return e164(text)
    except MerchantError as error:
        raise ConsentError(str(error)) from None


def source(word: str) -> Source:
    """A source by Twilio's word for it. Raises ConsentError."""
    if word not in _SOURCES:
        raise ConsentError(f"{word[:40]!r} is no source: write one of {', '.join(_SOURCES)}")
    return _SOURCES[word]


def _check(said: Said, now: datetime) -> None:
    if said.given_at > now and (said.given_at - now).total_seconds() > LATEST_MINUTES * 60:
        raise ConsentError(f"given_at: {said.given_at.isoformat()} is in the future")


def _entry(said: Said, customer_id: int, actor: str) -> Entry:
    return Entry(
        customer_id,
        said.merchant_id,
        said.action,
        said.purpose,
        said.source,
        said.given_at,
        actor,
        channel=said.channel,
        disclosure=said.disclosure,
        origin=said.origin,
        collector=said.collector,
        detail=said.detail or {},
    )


async def _recorded(db: Connection, said: Said, customer_id: int, seq: int, stopped: Stopped | None) -> Recorded:
    blocked: tuple[str, ...] = ()
    if said.action == "grant":
        live = await store.suppressions_of(db, customer_id, live_only=True)
        blocked = tuple(one.reason for one in live if is_in_force(one, said.merchant_id, (), None))
    if stopped is None:
        return Recorded(seq, None, 0, blocked)
    return Recorded(seq, stopped.suppression_id, len(stopped.cancelled), blocked)


def purpose_of(text: str) -> Purpose:
    """Raises ConsentError."""
    if text not in PURPOSES:
        raise ConsentError(f"{text[:40]!r} is no purpose: write marketing or informational")
    return text
