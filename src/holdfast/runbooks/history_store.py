"""SQL of the steps of past runs: how each fared over many incidents."""

from collections.abc import Sequence

import asyncpg

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool


async def by_step(db: Executor, incidents: Sequence[int], runbooks: Sequence[str]) -> list[asyncpg.Record]:
    """How steps fared in these incidents; `runbooks` says of each which runbook it ran.

    Per runbook and key: text and position (as they were last), kind, count, done, failed (and left so), skipped,
    not_applicable, retried (took several tries; a step that waited has two), and of those done median and worst
    (seconds).
    """
    return await db.fetch(
        """
        SELECT i.runbook, s.key, (array_agg(s.text ORDER BY i.id DESC))[1] AS text,
               (array_agg(s.kind ORDER BY i.id DESC))[1] AS kind,
               (array_agg(s.position ORDER BY i.id DESC))[1] AS position,
               count(*) AS count, count(*) FILTER (WHERE s.state = 'done') AS done,
               count(*) FILTER (WHERE s.state = 'failed') AS failed,
               count(*) FILTER (WHERE s.state = 'skipped') AS skipped,
               count(*) FILTER (WHERE s.state = 'not applicable') AS not_applicable,
               count(*) FILTER (WHERE s.tries > 2) AS retried,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM s.ended_at - s.began_at))
                   FILTER (WHERE s.state = 'done') AS median,
               max(extract(epoch FROM s.ended_at - s.began_at)::float8) FILTER (WHERE s.state = 'done') AS worst
        FROM unnest($1::bigint[], $2::text[]) AS i(id, runbook) JOIN step s ON s.incident_id = i.id
        GROUP BY i.runbook, s.key ORDER BY i.runbook, position, s.key
        """,
        list(incidents),
        list(runbooks),
    )


async def usual(db: Executor, incidents: Sequence[int]) -> dict[str, tuple[int, float]]:
    """Per key of steps that were done in these incidents: how often, and the median in seconds."""
    rows = await db.fetch(
        """
        SELECT key, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - began_at))
        FROM step WHERE incident_id = ANY($1::bigint[]) AND state = 'done' AND began_at IS NOT NULL GROUP BY key
        """,
        list(incidents),
    )
    return {row[0]: (row[1], row[2]) for row in rows}
