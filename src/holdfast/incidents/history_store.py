"""SQL of incidents that are over: what reviews and trends ask."""

from datetime import datetime

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.incidents.model import Obligation

Executor = Connection | Pool
_OBLIGATION = "id, incident_id, kind, text, owner, due_at, met_at, told_at, told, step"


async def obligation(db: Executor, obligation_id: int) -> Obligation | None:
    row = await db.fetchrow(f"SELECT {_OBLIGATION} FROM obligation WHERE id = $1", obligation_id)
    return Obligation(**row) if row is not None else None


async def past(db: Executor, since: datetime, until: datetime, limit: int) -> list[asyncpg.Record]:
    """id and runbook of the incidents opened in [since, until), the newest first; merged ones are part of others."""
    return await db.fetch(
        """
        SELECT id, runbook FROM incident
        WHERE opened_at >= $1 AND opened_at < $2 AND merged_into IS NULL ORDER BY id DESC LIMIT $3
        """,
        since,
        until,
        limit,
    )


async def medians(db: Executor, since: datetime, until: datetime) -> list[asyncpg.Record]:
    """Per runbook: count, open, and to_detect, to_acknowledge, to_mitigate, to_recover, to_resolve: medians in seconds.

    All from when the trouble began, but the acknowledgement: that is from when the incident was opened.
    """
    return await db.fetch(
        """
        SELECT runbook, count(*) AS count, count(*) FILTER (WHERE resolved_at IS NULL) AS open,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM opened_at - since)) AS to_detect,
               percentile_cont(0.5) WITHIN GROUP (
                   ORDER BY extract(epoch FROM acknowledged_at - opened_at)) AS to_acknowledge,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM mitigating_at - since)) AS to_mitigate,
               percentile_cont(0.5) WITHIN GROUP (
                   ORDER BY extract(epoch FROM coalesce(calm_at, monitoring_at) - since)) AS to_recover,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM resolved_at - since)) AS to_resolve
        FROM incident WHERE opened_at >= $1 AND opened_at < $2 AND merged_into IS NULL
        GROUP BY runbook ORDER BY count(*) DESC, runbook
        """,
        since,
        until,
    )


async def items(db: Executor, since: datetime, until: datetime, now: datetime) -> list[asyncpg.Record]:
    """Per runbook: action items that are open, overdue (of the open ones) and done."""
    return await db.fetch(
        """
        SELECT i.runbook, count(*) FILTER (WHERE o.met_at IS NULL) AS open,
               count(*) FILTER (WHERE o.met_at IS NULL AND o.due_at <= $3) AS overdue, count(o.met_at) AS done
        FROM obligation o JOIN incident i ON i.id = o.incident_id
        WHERE o.kind = 'action' AND i.opened_at >= $1 AND i.opened_at < $2 GROUP BY i.runbook
        """,
        since,
        until,
        now,
    )
