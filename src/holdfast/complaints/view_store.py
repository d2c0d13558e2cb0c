"""The SQL of a complaint's view: what a person was sent and texted back, and what is known of how they came in."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from holdfast.consent.lineage import Origin
from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool
_SHOWN = """
    id, merchant_id, kind, purpose, from_phone, body, state, rule, consent_seq, suppression_id, created_at,
    tried_at, sid, status, error_code
"""


async def messages(db: Executor, customer_id: int, *, before: int | None = None, limit: int) -> list[asyncpg.Record]:
    """A person's texts of every merchant, refused ones too, newest first; `before` is the id to go on behind."""
    return await db.fetch(
        f"""
        SELECT {_SHOWN} FROM message WHERE customer_id = $1 AND ($2::bigint IS NULL OR id < $2)
        ORDER BY id DESC LIMIT $3
        """,
        customer_id,
        before,
        limit,
    )


async def message_counts(db: Executor, customer_id: int) -> list[asyncpg.Record]:
    """(merchant_id, state, rule, count) of all of a person's texts."""
    return await db.fetch(
        """
        SELECT merchant_id, state, rule, count(*) FROM message WHERE customer_id = $1
        GROUP BY merchant_id, state, rule ORDER BY merchant_id, state, rule
        """,
        customer_id,
    )


async def last_sent(db: Executor, customer_id: int, before: datetime) -> list[asyncpg.Record]:
    """The last text that each merchant sent to a person before that."""
    return await db.fetch(
        f"""
        SELECT DISTINCT ON (merchant_id) {_SHOWN} FROM message
        WHERE customer_id = $1 AND kind = 'text' AND state IN ('sending', 'sent') AND tried_at <= $2
        ORDER BY merchant_id, tried_at DESC
        """,
        customer_id,
        before,
    )


async def inbound(db: Executor, customer_id: int, limit: int) -> list[asyncpg.Record]:
    """What a person texted, oldest first, at most so many of the newest."""
    return await db.fetch(
        """
        SELECT * FROM (
            SELECT sid, merchant_id, phone, body, received_at, verdict, rules, suppression_id, decision
            FROM inbound_text WHERE customer_id = $1 ORDER BY received_at DESC LIMIT $2
        ) AS newest ORDER BY received_at, sid
        """,
        customer_id,
        limit,
    )


async def findings(db: Executor, customer_id: int) -> list[asyncpg.Record]:
    """What audits found of a person: (kind, subject, merchant_id, sent_at, said)."""
    return await db.fetch(
        """
        SELECT kind, subject, merchant_id, sent_at, said FROM audit_finding WHERE customer_id = $1
        ORDER BY sent_at, id
        """,
        customer_id,
    )


async def batch(db: Executor, batch_id: int) -> asyncpg.Record | None:
    """(id, merchant_id, file, sha256, state, counts, actor, began_at, rejects) of an import."""
    return await db.fetchrow(
        """
        SELECT id, merchant_id, file, sha256, state, counts, actor, began_at,
               (SELECT count(*) FROM import_reject WHERE batch_id = import_batch.id) AS rejects
        FROM import_batch WHERE id = $1
        """,
        batch_id,
    )


async def reject_reasons(db: Executor, batch_id: int, limit: int) -> list[tuple[str, int]]:
    """(reason, rows), the most frequent first."""
    rows = await db.fetch(
        """
        SELECT reason, count(*) FROM import_reject WHERE batch_id = $1
        GROUP BY reason ORDER BY count(*) DESC, reason LIMIT $2
        """,
        batch_id,
        limit,
    )
    return [(row[0], row[1]) for row in rows]


# Who came the same way: by the file where there is one, else by the merchant's form
_SAME_WAY = """
    consent.action = 'grant'
    AND CASE WHEN $1::bigint IS NOT NULL THEN consent.batch_id = $1
        ELSE consent.merchant_id = $2 AND consent.origin = $3 AND consent.batch_id IS NULL
             AND consent.source NOT IN ('opt-in-message', 'link') END
"""


async def evidence(db: Executor, way: Origin) -> asyncpg.Record:
    """How well the grants of a way are evidenced: counts of grants, and of those without what proves a consent."""
    row = await db.fetchrow(
        f"""
        SELECT count(*) AS grants, count(*) FILTER (WHERE consent.purpose = 'marketing') AS marketing,
               count(*) FILTER (WHERE consent.disclosure_id IS NULL) AS no_disclosure,
               count(*) FILTER (WHERE consent.disclosure_id IS NULL AND consent.purpose = 'marketing') AS not_written,
               count(*) FILTER (WHERE NOT coalesce(said ? 'method', false)) AS no_method,
               count(*) FILTER (WHERE NOT coalesce(said ?| ARRAY['ip', 'recording'], false)) AS no_ip_or_recording,
               count(*) FILTER (WHERE consent.collector IS NULL) AS no_collector,
               count(DISTINCT consent.disclosure_id) AS disclosures
        FROM consent LEFT JOIN consent_detail ON consent_detail.seq = consent.seq WHERE {_SAME_WAY}
        """,
        way.batch_id,
        way.merchant_id,
        way.origin,
    )
    assert row is not None
    return row


async def disclosures(db: Executor, way: Origin, limit: int) -> list[tuple[str, int]]:
    """(text, grants) that people of a way were shown, the most frequent first."""
    rows = await db.fetch(
        f"""
        SELECT disclosure.text, count(*) FROM consent JOIN disclosure ON disclosure.id = consent.disclosure_id
        WHERE {_SAME_WAY} GROUP BY disclosure.text ORDER BY count(*) DESC, disclosure.text LIMIT $4
        """,
        way.batch_id,
        way.merchant_id,
        way.origin,
        limit,
    )
    return [(row[0], row[1]) for row in rows]


async def stops_of_way(db: Executor, way: Origin, since: datetime) -> tuple[int, int]:
    """(people who said stop, complaints) since then, of those who came by a way."""
    row = await db.fetchrow(
        f"""
        SELECT
            (SELECT count(DISTINCT suppression.customer_id) FROM suppression
             WHERE made_at >= $4 AND reason IN ('opt_out', 'doubtful', 'provider_block')
               AND EXISTS (SELECT FROM consent WHERE consent.customer_id = suppression.customer_id AND {_SAME_WAY})),
            (SELECT count(*) FROM complaint
             WHERE received_at >= $4
               AND EXISTS (SELECT FROM consent WHERE consent.customer_id = complaint.customer_id AND {_SAME_WAY}))
        """,
        way.batch_id,
        way.merchant_id,
        way.origin,
        since,
    )
    assert row is not None
    return row[0], row[1]


async def ledger_rows(db: Executor, customer_id: int) -> list[asyncpg.Record]:
    """A person's rows with all that their hashes are made of."""
    return await db.fetch(
        """
        SELECT consent.*, disclosure.text AS disclosure, disclosure.digest AS disclosure_digest, consent_detail.said,
               consent_detail.salt
        FROM consent LEFT JOIN disclosure ON disclosure.id = consent.disclosure_id
        LEFT JOIN consent_detail ON consent_detail.seq = consent.seq
        WHERE consent.customer_id = $1 ORDER BY consent.seq
        """,
        customer_id,
    )


async def held(db: Executor, incident_id: int) -> list[asyncpg.Record]:
    """(merchant_id, note, actor, people, first) of the holds that an incident has in force, the oldest first."""
    return await db.fetch(
        """
        SELECT merchant_id, note, min(actor) AS actor, count(*) AS people, min(made_at) AS first
        FROM suppression WHERE incident_id = $1 AND reason = 'cohort' AND lifted_at IS NULL
        GROUP BY merchant_id, note ORDER BY first, merchant_id, note
        """,
        incident_id,
    )


async def held_ids(db: Executor, incident_id: int, after: int, limit: int) -> list[tuple[int, int, int]]:
    """(suppression, customer, merchant) that an incident holds, behind `after`."""
    rows = await db.fetch(
        """
        SELECT id, customer_id, merchant_id FROM suppression
        WHERE incident_id = $1 AND reason = 'cohort' AND lifted_at IS NULL AND id > $2 ORDER BY id LIMIT $3
        """,
        incident_id,
        after,
        limit,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def holds_elsewhere(
    db: Executor, incident_id: int, action: str, open_states: Sequence[str]
) -> list[tuple[int, str | None, datetime, list[dict[str, Any]]]]:
    """(incident, who said yes, since, ways as the step's evidence has them) of other open incidents, oldest first."""
    rows = await db.fetch(
        """
        SELECT incident_id, actor, coalesce(step.began_at, incident.opened_at), step.evidence -> 'held'
        FROM step JOIN incident ON incident.id = incident_id
        WHERE action = $2 AND step.state = 'done' AND incident_id <> $1 AND incident.state = ANY($3::text[])
          AND merged_into IS NULL AND jsonb_typeof(step.evidence -> 'held') = 'array'
        ORDER BY incident_id
        """,
        incident_id,
        action,
        open_states,
    )
    return [(row[0], row[1], row[2], json.loads(row[3])) for row in rows]


async def lapsed(db: Executor, before: datetime, open_states: Sequence[str], limit: int) -> list[int]:
    """Incidents that are over and have holds older than that."""
    rows = await db.fetch(
        """
        SELECT DISTINCT incident_id FROM suppression JOIN incident ON incident.id = incident_id
        LEFT JOIN incident AS main ON main.id = incident.merged_into
        WHERE reason = 'cohort' AND lifted_at IS NULL AND made_at < $1
          AND NOT coalesce(main.state, incident.state) = ANY($2::text[])
        ORDER BY incident_id LIMIT $3
        """,
        before,
        open_states,
        limit,
    )
    return [row[0] for row in rows]


async def ever_held(db: Executor, incident_id: int) -> tuple[int, int]:
    """(people whom an incident held back at some time, those of them whose blocks last)."""
    row = await db.fetchrow(
        """
        SELECT count(DISTINCT held.customer_id),
               count(DISTINCT held.customer_id) FILTER (WHERE EXISTS (
                   SELECT FROM suppression AS lasting
                   WHERE lasting.customer_id = held.customer_id AND lasting.merchant_id = held.merchant_id
                     AND lasting.reason = 'operator' AND lasting.lifted_at IS NULL
                     AND lasting.made_at = held.lifted_at))
        FROM suppression AS held WHERE held.incident_id = $1 AND held.reason = 'cohort'
        """,
        incident_id,
    )
    assert row is not None
    return row[0], row[1]
