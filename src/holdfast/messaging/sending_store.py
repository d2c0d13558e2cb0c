"""The SQL of sending: the texts that were claimed, and what came of them. `now` None: the store's clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from holdfast.db.pool import Connection, Pool
from holdfast.messaging.model import Kind, State

Executor = Connection | Pool


@dataclass(frozen=True, slots=True)
class Text:
    """A text that was claimed. `open_for`: seconds until an earlier try has certainly ended; 0 or less: it has."""

    id: int
    merchant_id: int
    customer_id: int
    kind: Kind
    purpose: str
    to: str | None
    from_: str | None
    account: str | None
    body: str | None
    state: State
    tries: int
    tried_at: datetime | None
    tried_for: float
    """Seconds since the last try began."""
    open_for: float


class Sent(NamedTuple):
    """A text that Twilio has. `rank` is that of `status`."""

    id: int
    sid: str
    status: str
    rank: int


class Failed(NamedTuple):
    id: int
    code: int | None
    why: str


async def load(db: Executor, ids: Sequence[int], grace: timedelta, *, now: datetime | None) -> dict[int, Text]:
    """`grace`: how long after a try's end it may still turn up at Twilio."""
    rows = await db.fetch(
        """
        SELECT id, merchant_id, customer_id, kind, purpose, to_phone, from_phone, account, body, state, tries, tried_at,
               coalesce(extract(epoch FROM at - tried_at), 0)::float8,
               coalesce(extract(epoch FROM sending_until + $3::interval - at), 0)::float8
        FROM message, coalesce($1, clock_timestamp()) AS at WHERE id = ANY($2::bigint[])
        """,
        now,
        ids,
        grace,
    )
    return {row[0]: Text(*row) for row in rows}


async def states(db: Executor, ids: Sequence[int]) -> dict[int, State]:
    rows = await db.fetch("SELECT id, state FROM message WHERE id = ANY($1::bigint[])", ids)
    return {row[0]: row[1] for row in rows}


async def known_sids(db: Executor, sids: Sequence[str], but: int) -> set[str]:
    """Which of these are of other texts of ours than this one."""
    rows = await db.fetch("SELECT sid FROM message WHERE sid = ANY($1::text[]) AND id <> $2", sids, but)
    return {row[0] for row in rows}


async def owners(db: Connection, ids: Sequence[int]) -> list[int]:
    """The customers that these texts are for."""
    rows = await db.fetch("SELECT DISTINCT customer_id FROM message WHERE id = ANY($1::bigint[])", ids)
    return [row[0] for row in rows]


async def lock(db: Connection, ids: Sequence[int]) -> None:
    """In this order, so that two who settle some of the same never wait for each other."""
    await db.execute("SELECT FROM message WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE", ids)


async def mark_sent(db: Connection, sent: Sequence[Sent], *, now: datetime | None) -> set[int]:
    """Twilio has them, whatever they were taken for. Not those whose sid is another text's, or that have another one.

    No sid may be there twice. Returns those that have it now.
    """
    rows = await db.fetch(
        """
        UPDATE message SET
            state = 'sent', sid = n.sid, sending_until = NULL, note = NULL,
            settled_at = CASE WHEN state = 'sent' THEN settled_at ELSE coalesce($5, clock_timestamp()) END,
            status = CASE WHEN n.rank > status_rank THEN n.status ELSE message.status END,
            status_at = CASE WHEN n.rank > status_rank THEN coalesce($5, clock_timestamp()) ELSE status_at END,
            status_rank = greatest(n.rank, status_rank)
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::smallint[]) AS n(id, sid, status, rank)
        WHERE message.id = n.id AND (message.sid IS NULL OR message.sid = n.sid) AND message.state <> 'refused'
          AND NOT EXISTS (SELECT FROM message AS other WHERE other.sid = n.sid AND other.id <> n.id)
        RETURNING message.id
        """,
        [one.id for one in sent],
        [one.sid for one in sent],
        [one.status for one in sent],
        [one.rank for one in sent],
        now,
    )
    return {row[0] for row in rows}


async def mark_failed(db: Connection, failed: Sequence[Failed], *, now: datetime | None) -> None:
    """Twilio will not take them, or nobody tries any longer."""
    await db.execute(
        """
        UPDATE message SET state = 'failed', error_code = n.code, note = n.why, sending_until = NULL,
                           settled_at = coalesce($4, clock_timestamp())
        FROM unnest($1::bigint[], $2::int[], $3::text[]) AS n(id, code, why)
        WHERE message.id = n.id AND message.state IN ('queued', 'sending')
        """,
        [one.id for one in failed],
        [one.code for one in failed],
        [one.why for one in failed],
        now,
    )


async def mark_waiting(db: Connection, waiting: Sequence[tuple[int, str]]) -> None:
    """(id, why): they certainly did not reach Twilio, and are tried again."""
    await db.execute(
        """
        UPDATE message SET state = 'queued', sending_until = NULL, note = n.why
        FROM unnest($1::bigint[], $2::text[]) AS n(id, why) WHERE message.id = n.id AND message.state = 'sending'
        """,
        [one[0] for one in waiting],
        [one[1] for one in waiting],
    )


async def note(db: Connection, notes: Sequence[tuple[int, str]]) -> None:
    """(id, why): nobody knows yet whether Twilio has them."""
    await db.execute(
        """
        UPDATE message SET note = n.why
        FROM unnest($1::bigint[], $2::text[]) AS n(id, why) WHERE message.id = n.id AND message.state = 'sending'
        """,
        [one[0] for one in notes],
        [one[1] for one in notes],
    )


async def put_off(db: Connection, later: Sequence[tuple[int, datetime]]) -> None:
    """(id, when): they go out then, and count towards the caps of that time."""
    await db.execute(
        """
        UPDATE message SET send_at = n.at
        FROM unnest($1::bigint[], $2::timestamptz[]) AS n(id, at) WHERE message.id = n.id AND message.state = 'queued'
        """,
        [one[0] for one in later],
        [one[1] for one in later],
    )
