"""All SQL of `health_watch`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.watch.model import Alert, Beat, Evidence, Kept, Notice, Report, Silence, Telling

Executor = Connection | Pool

_ALERT = "id, key, runbook, cause, severity, title, why, evidence, affected, since, opened_at, updated_at, closed_at"


async def keep(db: Executor, alert: Alert, affected: Mapping[str, Any] | None, now: datetime) -> tuple[int, bool]:
    """Store an open alert as it is now; returns its id, and whether it is new. `affected` None leaves what is known."""
    row = await db.fetchrow(
        """
        INSERT INTO alert (key, runbook, cause, severity, title, why, evidence, affected, since, opened_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8::jsonb, '{}'), $9, $10, $11)
        ON CONFLICT (key) WHERE closed_at IS NULL DO UPDATE SET cause = excluded.cause, severity = excluded.severity,
            title = excluded.title, why = excluded.why, evidence = excluded.evidence,
            affected = coalesce($8::jsonb, alert.affected), updated_at = excluded.updated_at
        RETURNING id, xmax = 0
        """,
        alert.key,
        alert.runbook,
        alert.cause,
        alert.severity,
        alert.title,
        alert.why,
        json.dumps([asdict(one) for one in alert.evidence]),
        None if affected is None else json.dumps(affected),
        alert.since,
        alert.opened_at,
        now,
    )
    assert row is not None
    return row[0], row[1]


async def close(db: Executor, key: str, now: datetime) -> int | None:
    """Returns its id; None if it was not open."""
    found: int | None = await db.fetchval(
        "UPDATE alert SET closed_at = $2, updated_at = $2 WHERE key = $1 AND closed_at IS NULL RETURNING id", key, now
    )
    return found


async def open_alerts(db: Executor) -> list[Kept]:
    rows = await db.fetch(f"SELECT {_ALERT} FROM alert WHERE closed_at IS NULL ORDER BY opened_at, id")
    return [_kept(row) for row in rows]


async def alerts(db: Executor, since: datetime | None, until: datetime | None, limit: int) -> list[Kept]:
    """Newest first: open ones, and those that opened in the time."""
    rows = await db.fetch(
        f"""
        SELECT {_ALERT} FROM alert
        WHERE ($1::timestamptz IS NULL OR coalesce(closed_at, 'infinity') >= $1)
          AND ($2::timestamptz IS NULL OR opened_at < $2)
        ORDER BY opened_at DESC, id DESC LIMIT $3
        """,
        since,
        until,
        limit,
    )
    return [_kept(row) for row in rows]


async def alert(db: Executor, alert_id: int) -> Kept | None:
    row = await db.fetchrow(f"SELECT {_ALERT} FROM alert WHERE id = $1", alert_id)
    return _kept(row) if row is not None else None


async def by_ids(db: Executor, ids: Sequence[int]) -> list[Kept]:
    """The oldest first."""
    rows = await db.fetch(f"SELECT {_ALERT} FROM alert WHERE id = ANY($1::bigint[]) ORDER BY opened_at, id", list(ids))
    return [_kept(row) for row in rows]


async def told(db: Executor, alert_id: int) -> list[asyncpg.Record]:
    """What was told of an alert: what, channel, created_at, tries, ended_at, outcome."""
    return await db.fetch(
        "SELECT what, channel, created_at, tries, ended_at, outcome FROM notice WHERE alert_id = $1 ORDER BY id",
        alert_id,
    )


async def announce(
    db: Executor, alert_id: int, what: Telling, channels: Sequence[str], *, now: datetime, wait: timedelta
) -> None:
    """Put down that something is to be told, through each channel, after `wait`.

    Who was never told that an alert opened is not told that it closed.
    """
    await db.execute(
        """
        INSERT INTO notice (alert_id, what, channel, created_at, due_at)
        SELECT $1, $2::text, channel, $4::timestamptz, $4::timestamptz + $5::interval
        FROM unnest($3::text[]) AS c(channel)
        WHERE $2::text <> 'closed' OR EXISTS (
            SELECT 1 FROM notice n WHERE n.alert_id = $1 AND n.channel = c.channel
                AND (n.ended_at IS NULL OR n.outcome = 'sent'))
        """,
        alert_id,
        what,
        list(channels),
        now,
        wait,
    )


async def announce_again(db: Executor, after: timedelta, channels: Sequence[str], now: datetime) -> None:
    """Alerts that have been open, and not spoken of, for long."""
    await db.execute(
        """
        INSERT INTO notice (alert_id, what, channel, created_at, due_at)
        SELECT a.id, 'still open', channel, $3::timestamptz, $3::timestamptz
        FROM alert a, unnest($2::text[]) AS c(channel)
        WHERE a.closed_at IS NULL AND a.opened_at <= $3::timestamptz - $1::interval AND NOT EXISTS (
            SELECT 1 FROM notice n
            WHERE n.alert_id = a.id AND n.channel = c.channel AND n.created_at > $3::timestamptz - $1::interval)
        """,
        after,
        list(channels),
        now,
    )


async def claim_notices(
    db: Executor, channels: Sequence[str], lease: timedelta, now: datetime, limit: int = 50
) -> list[Notice]:
    """What is to be told now, oldest first: the caller's for as long as the lease, then anybody's again."""
    columns = ", ".join(f"a.{name.strip()}" for name in _ALERT.split(","))
    rows = await db.fetch(
        f"""
        WITH due AS (
            SELECT id FROM notice WHERE ended_at IS NULL AND due_at <= $2 AND channel = ANY($1)
            ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED
        ),
        claimed AS (
            UPDATE notice n SET due_at = $2::timestamptz + $3::interval FROM due WHERE n.id = due.id
            RETURNING n.id, n.alert_id, n.what, n.channel, n.tries, n.created_at
        )
        SELECT n.id AS notice_id, n.what, n.channel, n.tries, n.created_at AS noted_at, {columns}
        FROM claimed n JOIN alert a ON a.id = n.alert_id ORDER BY n.id
        """,
        list(channels),
        now,
        lease,
        limit,
    )
    return [
        Notice(row["notice_id"], row["what"], row["channel"], row["tries"], row["noted_at"], _kept(row)) for row in rows
    ]


async def end_notices(db: Executor, ids: Sequence[int], outcome: str, now: datetime) -> None:
    """`outcome`: sent, silenced, over (nothing to tell any more), or why it was given up."""
    await db.execute(
        "UPDATE notice SET ended_at = $3, outcome = $2, tries = tries + 1 WHERE id = ANY($1::bigint[])",
        list(ids),
        outcome,
        now,
    )


async def postpone_notices(db: Executor, ids: Sequence[int], until: datetime, why: str) -> None:
    await db.execute(
        "UPDATE notice SET due_at = $2, outcome = $3, tries = tries + 1 WHERE id = ANY($1::bigint[])",
        list(ids),
        until,
        why,
    )


async def silence(
    db: Executor, matches: str, lasts: timedelta, *, actor: str, reason: str, now: datetime | None = None
) -> Silence:
    row = await db.fetchrow(
        """
        INSERT INTO silence (matches, starts_at, ends_at, actor, reason)
        SELECT $1, at, at + $2::interval, $3, $4 FROM (SELECT coalesce($5, now()) AS at) AS clock
        RETURNING id, matches, starts_at, ends_at, actor, reason
        """,
        matches,
        lasts,
        actor,
        reason,
        now,
    )
    assert row is not None
    return Silence(*row)


async def silences(db: Executor, now: datetime | None = None) -> list[Silence]:
    """In force."""
    rows = await db.fetch(
        """
        SELECT id, matches, starts_at, ends_at, actor, reason FROM silence
        WHERE starts_at <= coalesce($1, now()) AND ends_at > coalesce($1, now()) ORDER BY id
        """,
        now,
    )
    return [Silence(*row) for row in rows]


async def end_silence(db: Executor, silence_id: int, now: datetime | None = None) -> bool:
    """False if there is none in force by this number."""
    status = await db.execute(
        "UPDATE silence SET ends_at = coalesce($2, now()) WHERE id = $1 AND ends_at > coalesce($2, now())",
        silence_id,
        now,
    )
    return bool(status.endswith(" 1"))


async def file(
    db: Executor,
    kind: str,
    source: str,
    merchant_id: int | None,
    text: str,
    *,
    actor: str,
    at: datetime | None = None,
) -> Report:
    row = await db.fetchrow(
        """
        INSERT INTO report (at, kind, source, merchant_id, text, actor) VALUES (coalesce($1, now()), $2, $3, $4, $5, $6)
        RETURNING id, at, kind, source, merchant_id, text, actor
        """,
        at,
        kind,
        source,
        merchant_id,
        text,
        actor,
    )
    assert row is not None
    return Report(*row)


async def reports(db: Executor, since: datetime, limit: int = 1000) -> list[Report]:
    """Newest first."""
    rows = await db.fetch(
        """
        SELECT id, at, kind, source, merchant_id, text, actor FROM report
        WHERE at > $1 ORDER BY at DESC, id DESC LIMIT $2
        """,
        since,
        limit,
    )
    return [Report(*row) for row in rows]


async def beat(db: Executor, now: datetime, host: str, pid: int, took: float) -> None:
    await db.execute(
        """
        INSERT INTO watch_beat (at, host, pid, took) VALUES ($1, $2, $3, $4)
        ON CONFLICT (one) DO UPDATE SET at = excluded.at, host = excluded.host, pid = excluded.pid, took = excluded.took
        """,
        now,
        host,
        pid,
        took,
    )


async def last_beat(db: Executor) -> Beat | None:
    row = await db.fetchrow("SELECT at, host, pid, took FROM watch_beat")
    return Beat(*row) if row is not None else None


async def prune(db: Executor, before: datetime, limit: int) -> int:
    """Up to `limit` closed alerts that are older, and with them silences and reports; how many alerts went."""
    gone = await db.fetchval(
        """
        WITH s AS (DELETE FROM silence WHERE ends_at < $1),
        r AS (DELETE FROM report WHERE at < $1),
        a AS (
            DELETE FROM alert
            WHERE id IN (SELECT id FROM alert WHERE opened_at < $1 AND closed_at < $1 LIMIT $2) RETURNING 1)
        SELECT count(*) FROM a
        """,
        before,
        limit,
    )
    return int(gone)


def _kept(row: asyncpg.Record) -> Kept:
    alert = Alert(
        key=row["key"],
        runbook=row["runbook"],
        cause=row["cause"],
        severity=row["severity"],
        title=row["title"],
        why=row["why"],
        since=row["since"],
        opened_at=row["opened_at"],
        evidence=tuple(Evidence(**one) for one in json.loads(row["evidence"])),
        closed_at=row["closed_at"],
    )
    return Kept(row["id"], alert, json.loads(row["affected"]), row["updated_at"])
