"""The SQL that keeps what Twilio tells of texts: its events, and each text's furthest status."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from holdfast.db.pool import Connection
from holdfast.inbox import store as inbox
from holdfast.queue.model import Lane
from holdfast.twilio.model import PROVIDER

PREFIX = "twilio.message."
"""Before a status, its event's type."""


class NewEvent(NamedTuple):
    """A callback as its event. `received`: Unix time."""

    event_id: str
    status: str
    sid: str | None
    account: str
    received: float
    headers: str
    body: bytes
    message_id: int | None


class Told(NamedTuple):
    """What was said of a text: `sid` and `message_id` are what it is known by, each perhaps unknown to us."""

    sid: str
    message_id: int | None
    account: str
    status: str
    rank: int
    code: int
    received: float


class Known(NamedTuple):
    """`is_merchants`: a merchant's own account said it."""

    id: int
    merchant_id: int
    customer_id: int
    sid: str
    tried_at: datetime | None
    is_merchants: bool


async def add_events(db: Connection, events: Sequence[NewEvent]) -> set[str]:
    """Store them (no id twice) verbatim, as done when they came: nothing routes them. Returns the new ids.

    The others are counted as duplicates.
    """
    rows = await db.fetch(
        f"""
        WITH incoming AS MATERIALIZED (
            SELECT n.*, $9 AS provider, $10::smallint AS lane, NULL AS note,
                   coalesce(message.merchant_id, asked.merchant_id, 0) AS merchant_id
            FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::text[], $7::bytea[],
                        $8::bigint[])
                AS n(event_id, type, object_id, account, received, headers, body, message_id)
            LEFT JOIN message ON message.sid = n.object_id
            LEFT JOIN message AS asked ON asked.id = n.message_id
        ),
        {inbox.KEEP_DONE}
        """,
        [one.event_id for one in events],
        [PREFIX + one.status for one in events],
        [one.sid for one in events],
        [one.account for one in events],
        [one.received for one in events],
        [one.headers for one in events],
        [one.body for one in events],
        [one.message_id for one in events],
        PROVIDER,
        Lane.STANDARD,
    )
    return {row[0] for row in rows}


# Of the account that said it; of the settings' account, which messages do not name, every other than a subaccount.
_OF_ACCOUNT = """
    (message.account = n.account OR message.account IS NULL
     AND NOT EXISTS (SELECT FROM twilio_account WHERE twilio_account.sid = n.account))
"""


async def find(db: Connection, told: Sequence[Told]) -> list[Known]:
    """The texts that these are of: by sid, else, where nobody has that sid and they have none, by our own id.

    As `sid`, what was told; sorted by id.
    """
    rows = await db.fetch(
        f"""
        SELECT DISTINCT ON (message.id) message.id, merchant_id, customer_id, n.sid, tried_at,
               EXISTS (SELECT FROM twilio_account AS own WHERE own.sid = n.account AND own.merchant_id <> 0)
        FROM unnest($1::text[], $2::bigint[], $3::text[]) AS n(sid, message_id, account)
        JOIN message ON (message.sid = n.sid OR message.id = n.message_id AND message.sid IS NULL
                         AND message.state <> 'refused'
                         AND NOT EXISTS (SELECT FROM message AS other WHERE other.sid = n.sid))
                    AND {_OF_ACCOUNT}
        ORDER BY message.id, n.sid
        """,
        [one.sid for one in told],
        [one.message_id for one in told],
        [one.account for one in told],
    )
    return [Known(*row) for row in rows]


async def adopt(db: Connection, sids: Mapping[int, str], *, now: datetime) -> set[str]:
    """Those texts, by id, are the ones that Twilio has under these sids: it told us before we knew. Returns the sids.

    They are locked. What had been given up, or waits for another try, was sent after all.
    """
    rows = await db.fetch(
        """
        UPDATE message SET sid = n.sid, state = 'sent', sending_until = NULL, note = NULL, settled_at = $3
        FROM unnest($1::bigint[], $2::text[]) AS n(id, sid)
        WHERE message.id = n.id AND message.sid IS NULL
          AND NOT EXISTS (SELECT FROM message AS other WHERE other.sid = n.sid)
        RETURNING message.sid
        """,
        list(sids),
        list(sids.values()),
        now,
    )
    return {row[0] for row in rows}


async def advance(db: Connection, told: Sequence[Told]) -> None:
    """Forward only, one of a text: the furthest status stays, and of two as far the worse one."""
    await db.execute(
        """
        UPDATE message SET
            status = n.status, status_rank = n.rank, error_code = nullif(n.code, 0),
            status_at = CASE WHEN (n.rank, n.status, n.code) = (status_rank, message.status, coalesce(error_code, 0))
                             THEN least(status_at, to_timestamp(n.received)) ELSE to_timestamp(n.received) END
        FROM unnest($1::text[], $2::text[], $3::smallint[], $4::int[], $5::float8[])
            AS n(sid, status, rank, code, received)
        WHERE message.sid = n.sid
          AND (n.rank, n.status, n.code) >= (status_rank, coalesce(message.status, ''), coalesce(error_code, 0))
        """,
        [one.sid for one in told],
        [one.status for one in told],
        [one.rank for one in told],
        [one.code for one in told],
        [one.received for one in told],
    )


async def came_back(db: Connection, facts: Sequence[tuple[int, int, int, datetime]]) -> set[int]:
    """(message, customer, merchant, when): after which of these the person consented again by their own deed."""
    rows = await db.fetch(
        """
        SELECT n.id FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[])
            AS n(id, customer_id, merchant_id, at)
        WHERE EXISTS (SELECT FROM consent WHERE consent.customer_id = n.customer_id AND action = 'grant'
                      AND consent.merchant_id = n.merchant_id AND given_at > n.at
                      AND source IN ('opt-in-message', 'link'))
        """,
        [one[0] for one in facts],
        [one[1] for one in facts],
        [one[2] for one in facts],
        [one[3] for one in facts],
    )
    return {row[0] for row in rows}
