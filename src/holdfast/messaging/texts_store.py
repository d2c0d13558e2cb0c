"""The SQL of what is seen of texts: lists, one with its history; and of bodies that are old enough to go."""

from dataclasses import dataclass
from datetime import datetime

from holdfast.consent import store as consent
from holdfast.consent.model import Row, Suppression
from holdfast.db.pool import Connection, Pool
from holdfast.twilio.model import PROVIDER

Executor = Connection | Pool


@dataclass(frozen=True, slots=True)
class Filter:
    """Which texts; None: all."""

    merchant_id: int | None = None
    to: str | None = None
    state: str | None = None
    rule: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A text as it is kept. `reason`: why the person is blocked, where that decided."""

    id: int
    merchant_id: int
    customer_id: int
    kind: str
    purpose: str
    to: str | None
    from_: str | None
    account: str | None
    body: str | None
    template: str | None
    state: str
    rule: str
    reason: str | None
    consent_seq: int | None
    suppression_id: int | None
    created_at: datetime
    send_at: datetime
    not_after: datetime | None
    tries: int
    tried_at: datetime | None
    settled_at: datetime | None
    sid: str | None
    status: str | None
    status_at: datetime | None
    error_code: int | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Received:
    """A callback about a text; `event` is its number among the events."""

    at: datetime
    status: str
    event: int


_MESSAGE = """
    message.id, message.merchant_id, message.customer_id, message.kind, message.purpose, message.to_phone,
    message.from_phone, message.account, message.body, message.template, message.state, message.rule,
    suppression.reason, message.consent_seq, message.suppression_id, message.created_at, message.send_at,
    message.not_after, message.tries, message.tried_at, message.settled_at, message.sid, message.status,
    message.status_at, message.error_code, message.note
    FROM message LEFT JOIN suppression ON suppression.id = message.suppression_id
"""


async def messages(db: Executor, chosen: Filter, *, limit: int, before: int | None = None) -> list[Message]:
    """Newest first; `before`: the id to go on behind."""
    rows = await db.fetch(
        f"""
        SELECT {_MESSAGE}
        WHERE ($1::bigint IS NULL OR message.merchant_id = $1)
          AND ($2::text IS NULL OR message.customer_id IN (SELECT id FROM customer WHERE phone = $2))
          AND ($3::text IS NULL OR message.state = $3) AND ($4::text IS NULL OR message.rule = $4)
          AND ($5::timestamptz IS NULL OR message.created_at >= $5)
          AND ($6::timestamptz IS NULL OR message.created_at < $6)
          AND ($7::bigint IS NULL OR message.id < $7)
        ORDER BY message.id DESC LIMIT $8
        """,
        chosen.merchant_id,
        chosen.to,
        chosen.state,
        chosen.rule,
        chosen.since,
        chosen.until,
        before,
        limit,
    )
    return [Message(*row) for row in rows]


async def message(db: Executor, message_id: int) -> Message | None:
    row = await db.fetchrow(f"SELECT {_MESSAGE} WHERE message.id = $1", message_id)
    return Message(*row) if row is not None else None


async def callbacks(db: Executor, sid: str) -> list[Received]:
    """Those of a text, oldest first, as long as they are kept."""
    rows = await db.fetch(
        """
        SELECT received_at, replace(type, 'twilio.message.', ''), seq FROM event
        WHERE object_id = $1 AND provider = $2 ORDER BY received_at, seq
        """,
        sid,
        PROVIDER,
    )
    return [Received(*row) for row in rows]


async def decided_by(db: Executor, found: Message) -> tuple[Row | None, Suppression | None]:
    """The ledger's row and the block that decided about a text."""
    row = await consent.row(db, found.consent_seq) if found.consent_seq is not None else None
    block = await consent.suppression(db, found.suppression_id) if found.suppression_id is not None else None
    return (consent.read_row(row) if row is not None else None), block


async def blank_bodies(db: Connection, before: datetime, limit: int) -> int:
    """The words of up to `limit` texts that were over before then go; that there was a text, and why, stays."""
    status = await db.execute(
        """
        UPDATE message SET body = NULL WHERE id IN (
            SELECT id FROM message WHERE created_at < $1 AND settled_at < $1 AND body IS NOT NULL
              AND state NOT IN ('queued', 'sending') LIMIT $2)
        """,
        before,
        limit,
    )
    return int(status.rpartition(" ")[2])


async def blank_received(db: Connection, before: datetime, limit: int) -> int:
    """The words and pictures of up to `limit` texts from people of before then go, but of those that wait for review.

    That there was a text, and what it was taken for, stays.
    """
    status = await db.execute(
        """
        UPDATE inbound_text SET body = NULL, media = '{}' WHERE sid IN (
            SELECT sid FROM inbound_text WHERE received_at < $1 AND body IS NOT NULL
              AND (verdict <> 'doubtful' OR reviewed_at IS NOT NULL) LIMIT $2)
        """,
        before,
        limit,
    )
    return int(status.rpartition(" ")[2])
