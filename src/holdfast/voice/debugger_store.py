"""All SQL of the Debugger's alerts: kept once each, however they come, and told by code."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.twilio.model import DebuggerAlert
from holdfast.voice.addresses import DOORS

Executor = Connection | Pool


@dataclass(frozen=True, slots=True)
class KeptAlert:
    """An alert with what it is about, as far as its call is known: our number, its region, the target rung last."""

    sid: str
    account: str
    at: datetime
    level: str
    code: int
    resource: str | None
    phone: str | None
    region: str | None
    target: str | None
    url: str | None
    is_foreign: bool
    said: str


@dataclass(frozen=True, slots=True)
class CodeCount:
    """How often a code came, when first and last, and an example of what was said.

    `is_foreign`: about addresses of other programs, which are counted apart.
    """

    code: int
    is_foreign: bool
    count: int
    first_at: datetime
    last_at: datetime
    phones: int
    said: str


async def keep(db: Executor, alerts: Sequence[DebuggerAlert], public: Sequence[str] = ()) -> list[KeptAlert]:
    """Store alerts that are not stored yet, whether they were polled or pushed; returns those that were new.

    `public`: our public URLs, the present one and former ones. What is neither under them nor where numbers were moved
    to is foreign: an account has other programs' addresses too. Where none is given, nothing is known to be.

    What one is about is taken from its resource: a call's own sid, or that of the call that a recording or leg is of.
    """
    rows = await db.fetch(
        """
        WITH given AS (
            SELECT DISTINCT ON (sid) * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::int[],
                $6::text[], $7::text[], $8::text[]) AS g(sid, account, at, level, code, resource, url, said)
            ORDER BY sid
        )
        INSERT INTO twilio_alert (sid, account, at, level, code, resource, phone, region, target, url, is_foreign, said)
        SELECT g.sid, g.account, g.at, g.level, g.code, g.resource, c.phone, coalesce(l.region, c.region), l.target,
               g.url,
               coalesce(g.url, '') <> '' AND cardinality($9::text[]) > 0 AND NOT EXISTS (
                   SELECT FROM (SELECT unnest($9::text[]) UNION SELECT base FROM repoint) AS ours(base)
                   WHERE starts_with(g.url, ours.base || $10::text)),
               g.said
        FROM given g
        -- A merchant's own account says nothing of others' calls.
        LEFT JOIN call c ON c.sid = g.resource AND (c.account = g.account OR NOT EXISTS (
            SELECT FROM twilio_account t WHERE t.sid = g.account AND t.merchant_id <> 0))
        LEFT JOIN LATERAL (
            SELECT target, region FROM leg WHERE call_sid = c.sid AND g.code BETWEEN 13000 AND 32999
            ORDER BY (outcome = 'failed') DESC, place DESC LIMIT 1
        ) l ON true
        ON CONFLICT (sid) DO NOTHING
        RETURNING sid, account, at, level, code, resource, phone, region, target, url, is_foreign, said
        """,
        [one.sid for one in alerts],
        [one.account for one in alerts],
        [one.at for one in alerts],
        [one.level for one in alerts],
        [one.code for one in alerts],
        [one.resource for one in alerts],
        [one.url for one in alerts],
        [one.said for one in alerts],
        [one.rstrip("/") for one in public],
        DOORS,
    )
    return [_kept(row) for row in rows]


async def alerts(
    db: Executor,
    since: datetime,
    until: datetime,
    *,
    code: int | None = None,
    phone: str | None = None,
    limit: int = 100,
) -> list[KeptAlert]:
    """The newest first."""
    rows = await db.fetch(
        """
        SELECT sid, account, at, level, code, resource, phone, region, target, url, is_foreign, said FROM twilio_alert
        WHERE at > $1 AND at <= $2 AND ($3::int IS NULL OR code = $3) AND ($4::text IS NULL OR phone = $4)
        ORDER BY at DESC, sid LIMIT $5
        """,
        since,
        until,
        code,
        phone,
        limit,
    )
    return [_kept(row) for row in rows]


async def by_code(db: Executor, since: datetime, until: datetime) -> list[CodeCount]:
    """The most frequent first."""
    rows = await db.fetch(
        """
        SELECT code, is_foreign, count(*), min(at), max(at), count(DISTINCT phone),
               (array_agg(said ORDER BY at DESC))[1]
        FROM twilio_alert WHERE at > $1 AND at <= $2 GROUP BY code, is_foreign ORDER BY 3 DESC, 1, 2
        """,
        since,
        until,
    )
    return [CodeCount(*row) for row in rows]


async def newest(db: Executor, account: str) -> datetime | None:
    """When the newest alert of an account was."""
    found: datetime | None = await db.fetchval("SELECT max(at) FROM twilio_alert WHERE account = $1", account)
    return found


def _kept(row: asyncpg.Record) -> KeptAlert:
    return KeptAlert(*row)
