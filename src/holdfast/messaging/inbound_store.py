"""The SQL of texts from people: kept verbatim, once each; whose number it was; the replies that they get."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.inbox import store as inbox
from holdfast.merchants.model import COMPANY
from holdfast.queue import store as queue
from holdfast.queue.model import Lane, Stage
from holdfast.twilio.model import PROVIDER

Executor = Connection | Pool
TYPE = "twilio.message.incoming"


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A text as it came. `received`: Unix time; `headers`: JSON; `note`: what is not right about it."""

    sid: str
    account: str
    merchant_id: int
    received: float
    headers: str
    body: bytes
    note: str | None = None


async def add_events(db: Connection, texts: Collection[Verbatim]) -> set[str]:
    """Store them (no sid twice) as done when they came: nothing routes them. The sids of those that are new.

    Whoever comes second with a sid waits until the first has committed, or has given it up. Others are counted.
    """
    rows = await db.fetch(
        f"""
        WITH incoming AS MATERIALIZED (
            SELECT n.*, event_id AS object_id, $7 AS provider, $8 AS type, $9::smallint AS lane
            FROM unnest($1::text[], $2::text[], $3::bigint[], $4::float8[], $5::text[], $6::bytea[], $10::text[])
                AS n(event_id, account, merchant_id, received, headers, body, note)
        ),
        {inbox.KEEP_DONE}
        """,
        [one.sid for one in texts],
        [one.account for one in texts],
        [one.merchant_id for one in texts],
        [one.received for one in texts],
        [one.headers for one in texts],
        [one.body for one in texts],
        PROVIDER,
        TYPE,
        Lane.CRITICAL,
        [one.note for one in texts],
    )
    return {row[0] for row in rows}


async def services(db: Executor, sids: Collection[str]) -> dict[str, int]:
    """Messaging services that are one merchant's, and no other's: its id."""
    rows = await db.fetch(
        """
        SELECT sender, min(merchant_id) FROM messaging_policy WHERE sender = ANY($1::text[]) AND merchant_id <> 0
        GROUP BY sender HAVING count(*) = 1
        """,
        list(sids),
    )
    return {row[0]: row[1] for row in rows}


@dataclass(frozen=True, slots=True)
class Face:
    """What a merchant is to people who text it. `key` None: the company, or nobody. `brand`: as it calls itself."""

    merchant_id: int
    key: str | None
    name: str | None
    email: str | None
    time_zone: str
    brand: str | None
    help_text: str | None
    provider_answers: bool


async def faces(db: Executor, merchant_ids: Collection[int]) -> dict[int, Face]:
    rows = await db.fetch(
        """
        SELECT asked.id, merchant.key, merchant.name, merchant.email, coalesce(merchant.time_zone, 'UTC'),
               coalesce(own.brand, merchant.name, every.brand), coalesce(own.help_text, every.help_text),
               coalesce(own.provider_answers, every.provider_answers, true)
        FROM unnest($1::bigint[]) AS asked(id)
        LEFT JOIN merchant ON merchant.id = asked.id
        LEFT JOIN messaging_policy AS own ON own.merchant_id = asked.id
        LEFT JOIN messaging_policy AS every ON every.merchant_id = 0
        """,
        sorted({COMPANY, *merchant_ids}),
    )
    return {row[0]: Face(*row) for row in rows}


@dataclass(frozen=True, slots=True)
class Kept:
    """A row of `inbound_text` to write. `phone`: the number of ours; `customer_id` 0: no phone of a person sent it."""

    sid: str
    merchant_id: int
    customer_id: int
    phone: str
    body: str
    media: tuple[str, ...]
    received_at: datetime
    verdict: str
    score: float
    rules: tuple[str, ...]
    provider_said: str | None
    suppression_id: int | None


async def keep(db: Connection, texts: Sequence[Kept]) -> None:
    await db.executemany(
        """
        INSERT INTO inbound_text (sid, merchant_id, customer_id, phone, body, media, received_at, verdict, score, rules,
                                  provider_said, suppression_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        [
            (
                one.sid,
                one.merchant_id,
                one.customer_id,
                one.phone,
                one.body,
                one.media,
                one.received_at,
                one.verdict,
                one.score,
                one.rules,
                one.provider_said,
                one.suppression_id,
            )
            for one in texts
        ],
    )


async def held(db: Executor, sids: Collection[str]) -> dict[str, tuple[int, str]]:
    """(customer, verdict) of texts that were taken before."""
    rows = await db.fetch("SELECT sid, customer_id, verdict FROM inbound_text WHERE sid = ANY($1::text[])", list(sids))
    return {row[0]: (row[1], row[2]) for row in rows}


@dataclass(frozen=True, slots=True)
class NewReply:
    merchant_id: int
    customer_id: int
    kind: str
    key: str
    to: str
    from_: str
    account: str | None
    body: str
    not_after: datetime


async def add_reply(db: Connection, reply: NewReply, now: datetime) -> int | None:
    """Record a reply and put it into the queue, before all other texts; None: it is there already."""
    found: int | None = await db.fetchval(
        f"""
        WITH added AS (
            INSERT INTO message (merchant_id, customer_id, kind, key, purpose, to_phone, from_phone, account, body,
                                 state, rule, created_at, send_at, not_after)
            VALUES ($1, $2, $3, $4, 'informational', $5, $6, $7, $8, 'queued', 'consent', $9, $9, $10)
            ON CONFLICT (merchant_id, key) WHERE key IS NOT NULL DO NOTHING RETURNING id
        ),
        queued AS (
            {queue.ADD}
            SELECT {Stage.SEND.value}, id, {Lane.CRITICAL.value}, $1, 0, least($9, now()), $9 FROM added
        )
        SELECT id FROM added
        """,
        reply.merchant_id,
        reply.customer_id,
        reply.kind,
        reply.key,
        reply.to,
        reply.from_,
        reply.account,
        reply.body,
        now,
        reply.not_after,
    )
    return found


async def replies_since(db: Executor, customer_id: int, merchant_id: int, kind: str, since: datetime) -> int:
    found: int = await db.fetchval(
        """
        SELECT count(*) FROM message
        WHERE customer_id = $1 AND merchant_id = $2 AND kind = $3 AND created_at >= $4
        """,
        customer_id,
        merchant_id,
        kind,
        since,
    )
    return found


@dataclass(frozen=True, slots=True)
class Filter:
    """Which texts: every field that is set must fit. `phone`: the person's number."""

    merchant_id: int | None = None
    phone: str | None = None
    verdict: str | None = None
    to_review: bool = False
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """A text from a person as people read it. `from_` None: the person was erased, or no phone sent it."""

    sid: str
    merchant_id: int
    customer_id: int
    from_: str | None
    to: str
    body: str | None
    media: tuple[str, ...]
    received_at: datetime
    verdict: str
    score: float
    rules: tuple[str, ...]
    provider_said: str | None
    suppression_id: int | None
    reviewed_at: datetime | None
    reviewed_by: str | None
    decision: str | None
    review_note: str | None


_RECEIVED = """
    SELECT sid, inbound_text.merchant_id, customer_id, customer.phone AS from_, inbound_text.phone AS to, body, media,
           received_at, verdict, score, rules, provider_said, suppression_id, reviewed_at, reviewed_by, decision,
           review_note
    FROM inbound_text LEFT JOIN customer ON customer.id = customer_id
"""


async def received(db: Executor, chosen: Filter, *, limit: int, before: str | None) -> list[Received]:
    """Newest first, those that wait for review oldest first; `before`: the sid to go on behind."""
    order, beyond = ("", ">") if chosen.to_review else ("DESC", "<")
    waiting = "verdict = 'doubtful' AND reviewed_at IS NULL" if chosen.to_review else "true"
    rows = await db.fetch(
        f"""
        {_RECEIVED}
        WHERE {waiting} AND ($1::bigint IS NULL OR inbound_text.merchant_id = $1)
          AND ($2::text IS NULL OR customer_id = (SELECT id FROM customer WHERE phone = $2))
          AND ($3::text IS NULL OR verdict = $3)
          AND ($4::timestamptz IS NULL OR received_at >= $4) AND ($5::timestamptz IS NULL OR received_at < $5)
          AND ($6::text IS NULL
               OR (received_at, sid) {beyond} (SELECT received_at, sid FROM inbound_text WHERE sid = $6))
        ORDER BY received_at {order}, sid {order} LIMIT $7
        """,
        chosen.merchant_id,
        chosen.phone,
        chosen.verdict,
        chosen.since,
        chosen.until,
        before,
        limit,
    )
    return [_received(row) for row in rows]


async def one(db: Executor, sid: str) -> Received | None:
    row = await db.fetchrow(f"{_RECEIVED} WHERE sid = $1", sid)
    return _received(row) if row is not None else None


def _received(row: asyncpg.Record) -> Received:
    found: Mapping[str, Any] = dict(row)
    return Received(**{**found, "media": tuple(row["media"]), "rules": tuple(row["rules"])})
