"""The SQL of what an incident about consent is, in figures: its complaints, whom it blocks, what is held and found."""

from datetime import datetime

import asyncpg

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool
MOST = 10_000
"""Merchants that are told of, those with most complaints first."""


async def figures(db: Executor, incident_id: int, now: datetime) -> asyncpg.Record:
    """complaints, answered, late, due_at, blocked, held, findings, critical: as they are now.

    `blocked` are people whom this incident's complaints and held cohorts block; `held` are texts that are due and wait
    because of the lever.
    """
    row = await db.fetchrow(
        """
        WITH own AS (
            SELECT complaint.* FROM complaint JOIN incident_complaint ON complaint_id = complaint.id
            WHERE incident_complaint.incident_id = $1
        )
        SELECT count(*) AS complaints, count(answered_at) AS answered,
               count(*) FILTER (WHERE answered_at IS NULL AND closed_at IS NULL AND due_at < $2) AS late,
               min(due_at) FILTER (WHERE answered_at IS NULL AND closed_at IS NULL) AS due_at,
               (SELECT count(DISTINCT customer_id) FROM suppression
                WHERE lifted_at IS NULL AND (incident_id = $1 OR id IN (SELECT suppression_id FROM own))) AS blocked,
               (SELECT count(*) FROM message
                WHERE state = 'queued' AND kind = 'text' AND send_at <= $2 AND 'hold' = (
                    SELECT value #>> '{}' FROM lever
                    WHERE name = 'messaging.texts' AND target IN ('', 'merchant:' || message.merchant_id)
                      AND (expires_at IS NULL OR expires_at > $2)
                    ORDER BY target DESC LIMIT 1)) AS held,
               (SELECT count(*) FROM audit_finding WHERE settled_at IS NULL) AS findings,
               (SELECT count(*) FROM audit_finding WHERE settled_at IS NULL AND is_critical) AS critical
        FROM own
        """,
        incident_id,
        now,
    )
    assert row is not None
    return row


async def merchants(db: Executor, incident_id: int) -> list[asyncpg.Record]:
    """Per merchant_id with a complaint in this incident, or a finding that is not settled: complaints, findings."""
    return await db.fetch(
        """
        SELECT merchant_id, sum(complaints)::bigint AS complaints, sum(findings)::bigint AS findings
        FROM (
            SELECT merchant_id, count(*) AS complaints, 0 AS findings
            FROM complaint JOIN incident_complaint ON complaint_id = complaint.id
            WHERE incident_complaint.incident_id = $1 GROUP BY merchant_id
            UNION ALL
            SELECT merchant_id, 0, count(*) FROM audit_finding WHERE settled_at IS NULL GROUP BY merchant_id
        ) AS counted
        WHERE merchant_id <> 0 GROUP BY merchant_id ORDER BY 2 DESC, 3 DESC, 1 LIMIT $2
        """,
        incident_id,
        MOST,
    )
