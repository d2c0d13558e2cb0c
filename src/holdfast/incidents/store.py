"""All SQL of incidents, their log, alerts and obligations."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.incidents.evidence import plain, stored
from holdfast.incidents.model import OPEN, Entry, Incident, Kind, Obligation, ObligationKind, State

Executor = Connection | Pool

_INCIDENT = (
    "id, runbook, version, scope, title, severity, state, cause, commander, since, opened_at, opened_by, "
    "acknowledged_at, mitigating_at, calm_at, monitoring_at, resolved_at, reviewed_at, reopened_at, "
    "merged_into, affected"
)
LONGEST_TEXT = 20_000
"""Characters of one entry of the log."""
_OBLIGATION = "id, incident_id, kind, text, owner, due_at, met_at, told_at, told, step"
_AT: Mapping[State, str] = {
    "acknowledged": "acknowledged_at",
    "mitigating": "mitigating_at",
    "monitoring": "monitoring_at",
    "resolved": "resolved_at",
    "reviewed": "reviewed_at",
}


# Incidents


async def keep_text(db: Executor, version: str, runbook: str, text: str, now: datetime) -> None:
    """Keep a runbook's text for as long as there are incidents."""
    await db.execute(
        "INSERT INTO runbook_text VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", version, runbook, text, now
    )


async def text(db: Executor, version: str) -> str | None:
    found: str | None = await db.fetchval("SELECT text FROM runbook_text WHERE version = $1", version)
    return found


async def insert(
    db: Executor,
    *,
    runbook: str,
    version: str,
    scope: str,
    title: str,
    severity: str,
    cause: str,
    since: datetime,
    opened_by: str,
    commander: str | None,
    affected: Mapping[str, Any],
    now: datetime,
) -> Incident | None:
    """A new incident; None if one of this runbook and scope is open."""
    row = await db.fetchrow(
        f"""
        INSERT INTO incident (runbook, version, scope, title, severity, state, cause, since, opened_at, opened_by,
                              commander, affected)
        VALUES ($1, $2, $3, $4, $5, 'detected', $6, $7, $8, $9, $10, $11)
        ON CONFLICT (runbook, scope)
            WHERE state IN ('detected', 'acknowledged', 'mitigating', 'monitoring') AND merged_into IS NULL
            DO NOTHING
        RETURNING {_INCIDENT}
        """,
        runbook,
        version,
        scope,
        title,
        severity,
        cause,
        since,
        now,
        opened_by,
        commander,
        json.dumps(affected),
    )
    return _incident(row) if row is not None else None


async def get(db: Executor, incident_id: int) -> Incident | None:
    row = await db.fetchrow(f"SELECT {_INCIDENT} FROM incident WHERE id = $1", incident_id)
    return _incident(row) if row is not None else None


async def lock(db: Connection, incident_id: int) -> Incident | None:
    """The incident, which nobody else changes until the transaction ends."""
    row = await db.fetchrow(f"SELECT {_INCIDENT} FROM incident WHERE id = $1 FOR UPDATE", incident_id)
    return _incident(row) if row is not None else None


async def open_of(db: Executor, runbook: str, scope: str) -> Incident | None:
    row = await db.fetchrow(
        f"""
        SELECT {_INCIDENT} FROM incident
        WHERE runbook = $1 AND scope = $2 AND state = ANY($3) AND merged_into IS NULL
        """,
        runbook,
        scope,
        list(OPEN),
    )
    return _incident(row) if row is not None else None


async def listing(
    db: Executor,
    *,
    states: Sequence[str] | None = None,
    runbook: str | None = None,
    since: datetime | None = None,
    limit: int = 100,
    before: int | None = None,
) -> list[Incident]:
    """Newest first; `before` is the id to go on behind."""
    rows = await db.fetch(
        f"""
        SELECT {_INCIDENT} FROM incident
        WHERE ($1::text[] IS NULL OR (state = ANY($1) AND merged_into IS NULL))
          AND ($2::text IS NULL OR runbook = $2)
          AND ($3::timestamptz IS NULL OR opened_at >= $3) AND ($4::bigint IS NULL OR id < $4)
        ORDER BY id DESC LIMIT $5
        """,
        list(states) if states is not None else None,
        runbook,
        since,
        before,
        limit,
    )
    return [_incident(row) for row in rows]


async def set_state(db: Executor, incident_id: int, state: State, now: datetime) -> None:
    """The time of a state is when it was first reached."""
    column = _AT[state]
    await db.execute(
        f"UPDATE incident SET state = $2, {column} = coalesce({column}, $3) WHERE id = $1", incident_id, state, now
    )


async def set_mitigating_at(db: Executor, incident_id: int, now: datetime) -> None:
    await db.execute("UPDATE incident SET mitigating_at = coalesce(mitigating_at, $2) WHERE id = $1", incident_id, now)


async def reopen(db: Executor, incident_id: int, now: datetime) -> None:
    await db.execute(
        """
        UPDATE incident SET state = CASE WHEN acknowledged_at IS NULL THEN 'detected' ELSE 'mitigating' END,
            monitoring_at = NULL, resolved_at = NULL, reviewed_at = NULL, calm_at = NULL, reopened_at = $2
        WHERE id = $1
        """,
        incident_id,
        now,
    )


async def set_calm(db: Executor, incident_id: int, calm_at: datetime | None) -> None:
    await db.execute("UPDATE incident SET calm_at = $2 WHERE id = $1", incident_id, calm_at)


async def set_commander(db: Executor, incident_id: int, commander: str) -> None:
    await db.execute("UPDATE incident SET commander = $2 WHERE id = $1", incident_id, commander)


async def set_severity(db: Executor, incident_id: int, severity: str) -> None:
    await db.execute("UPDATE incident SET severity = $2 WHERE id = $1", incident_id, severity)


async def set_facts(
    db: Executor, incident_id: int, *, severity: str, cause: str, title: str, affected: Mapping[str, Any]
) -> None:
    await db.execute(
        "UPDATE incident SET severity = $2, cause = $3, title = $4, affected = $5 WHERE id = $1",
        incident_id,
        severity,
        cause,
        title,
        json.dumps(affected),
    )


async def merge(db: Executor, incident_id: int, into: int) -> None:
    """Its alerts become the other's, and its complaints with the answers that are owed to people."""
    await db.execute("UPDATE incident SET merged_into = $2, lease = NULL WHERE id = $1", incident_id, into)
    await db.execute("UPDATE incident_alert SET incident_id = $2 WHERE incident_id = $1", incident_id, into)
    await db.execute("UPDATE incident_complaint SET incident_id = $2 WHERE incident_id = $1", incident_id, into)
    await db.execute(
        "UPDATE obligation SET incident_id = $2 WHERE incident_id = $1 AND kind = 'reply' AND met_at IS NULL",
        incident_id,
        into,
    )


async def merged(db: Executor, incident_id: int) -> list[Incident]:
    """Those that were merged into it, and into those."""
    rows = await db.fetch(
        f"""
        WITH RECURSIVE part AS (
            SELECT id FROM incident WHERE merged_into = $1
            UNION SELECT i.id FROM incident i JOIN part ON i.merged_into = part.id
        )
        SELECT {_INCIDENT} FROM incident WHERE id IN (SELECT id FROM part) ORDER BY id
        """,
        incident_id,
    )
    return [_incident(row) for row in rows]


async def claim(db: Executor, lease: timedelta, now: datetime, limit: int) -> list[tuple[Incident, int]]:
    """Incidents to advance, and the number of the lease under which they are the caller's.

    Open ones first; then those that were not looked at for longest, so that many of them get their turns.
    """
    rows = await db.fetch(
        f"""
        WITH due AS (
            SELECT id FROM incident
            WHERE merged_into IS NULL AND (leased_until IS NULL OR leased_until <= $1) AND (
                state <> 'reviewed'
                OR EXISTS (SELECT FROM obligation o WHERE o.incident_id = incident.id AND o.met_at IS NULL))
            ORDER BY state NOT IN ('resolved', 'reviewed') DESC, leased_until NULLS FIRST, id
            LIMIT $3 FOR UPDATE SKIP LOCKED
        )
        UPDATE incident i SET lease = nextval('incident_lease'), leased_until = $1::timestamptz + $2::interval
        FROM due WHERE i.id = due.id
        RETURNING i.lease, {", ".join(f"i.{name.strip()}" for name in _INCIDENT.split(","))}
        """,
        now,
        lease,
        limit,
    )
    return [(_incident(row), row["lease"]) for row in rows]


async def renew(db: Executor, incident_id: int, lease: int, until: datetime) -> bool:
    """False if it is somebody else's by now."""
    status = await db.execute(
        "UPDATE incident SET leased_until = $3 WHERE id = $1 AND lease = $2", incident_id, lease, until
    )
    return bool(status.endswith(" 1"))


async def holds(db: Connection, incident_id: int, lease: int) -> bool:
    """Whether the incident is still the caller's; then it is until the transaction ends."""
    found = await db.fetchval("SELECT 1 FROM incident WHERE id = $1 AND lease = $2 FOR UPDATE", incident_id, lease)
    return found is not None


async def release(db: Executor, incident_id: int, lease: int, now: datetime) -> None:
    """It is anybody's again from now on."""
    await db.execute(
        "UPDATE incident SET lease = NULL, leased_until = $3 WHERE id = $1 AND lease = $2", incident_id, lease, now
    )


async def is_leased(db: Executor, incident_id: int, now: datetime) -> bool:
    """Whether an engine is at work on it."""
    found = await db.fetchval(
        "SELECT 1 FROM incident WHERE id = $1 AND lease IS NOT NULL AND leased_until > $2", incident_id, now
    )
    return found is not None


# Alerts


async def join(db: Executor, incident_id: int, alert_id: int, now: datetime) -> bool:
    """Make an alert the incident's; False if it has one already."""
    status = await db.execute(
        "INSERT INTO incident_alert VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", alert_id, incident_id, now
    )
    return bool(status.endswith(" 1"))


async def joined(db: Executor, alert_ids: Sequence[int]) -> dict[int, int]:
    """Which of these alerts have an incident, and which."""
    rows = await db.fetch(
        "SELECT alert_id, incident_id FROM incident_alert WHERE alert_id = ANY($1::bigint[])", list(alert_ids)
    )
    return {row[0]: row[1] for row in rows}


async def move_alert(db: Executor, alert_id: int, incident_id: int, now: datetime) -> None:
    """Make an alert another incident's."""
    await db.execute(
        "UPDATE incident_alert SET incident_id = $2, joined_at = $3 WHERE alert_id = $1", alert_id, incident_id, now
    )


async def alert_ids(db: Executor, incident_id: int) -> list[int]:
    rows = await db.fetch("SELECT alert_id FROM incident_alert WHERE incident_id = $1 ORDER BY alert_id", incident_id)
    return [row[0] for row in rows]


# The log


async def write(
    db: Executor,
    incident_id: int,
    kind: Kind,
    text: str,
    *,
    actor: str,
    now: datetime,
    step: str | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> int:
    """Append to the log; returns the entry's number."""
    number: int = await db.fetchval(
        """
        INSERT INTO incident_log (incident_id, at, kind, actor, text, step, evidence)
        VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id
        """,
        incident_id,
        now,
        kind,
        actor,
        plain(text)[:LONGEST_TEXT],
        step,
        stored(evidence or {}),
    )
    return number


async def entries(db: Executor, incident_id: int, *, after: int = 0, limit: int = 10_000) -> list[Entry]:
    """The log, the oldest first, behind entry `after`."""
    rows = await db.fetch(
        """
        SELECT id, incident_id, at, kind, actor, text, step, evidence FROM incident_log
        WHERE incident_id = $1 AND id > $2 ORDER BY id LIMIT $3
        """,
        incident_id,
        after,
        limit,
    )
    return [Entry(**{**row, "evidence": json.loads(row["evidence"])}) for row in rows]


async def last_entries(db: Executor, incident_id: int, limit: int) -> list[Entry]:
    """The newest of the log, the oldest of them first."""
    rows = await db.fetch(
        """
        SELECT id, incident_id, at, kind, actor, text, step, evidence FROM incident_log
        WHERE incident_id = $1 ORDER BY id DESC LIMIT $2
        """,
        incident_id,
        limit,
    )
    return [Entry(**{**row, "evidence": json.loads(row["evidence"])}) for row in reversed(rows)]


# Obligations


async def oblige(
    db: Executor,
    incident_id: int,
    kind: ObligationKind,
    text: str,
    *,
    owner: str | None,
    due_at: datetime,
    step: str | None = None,
) -> int:
    number: int = await db.fetchval(
        """
        INSERT INTO obligation (incident_id, kind, text, owner, due_at, step) VALUES ($1, $2, $3, $4, $5, $6)
        RETURNING id
        """,
        incident_id,
        kind,
        text,
        owner,
        due_at,
        step,
    )
    return number


async def obligations(
    db: Executor, *, incident_id: int | None = None, kind: str | None = None, unmet: bool = True
) -> list[Obligation]:
    """What is due first comes first."""
    rows = await db.fetch(
        f"""
        SELECT {_OBLIGATION} FROM obligation
        WHERE ($1::bigint IS NULL OR incident_id = $1) AND ($2::text IS NULL OR kind = $2)
          AND (NOT $3 OR met_at IS NULL)
        ORDER BY due_at, id
        """,
        incident_id,
        kind,
        unmet,
    )
    return [Obligation(**row) for row in rows]


async def meet(db: Executor, incident_id: int, kind: ObligationKind, now: datetime, *, step: str | None = None) -> int:
    """What was to be done is done; returns how many were open."""
    status = await db.execute(
        """
        UPDATE obligation SET met_at = $3
        WHERE incident_id = $1 AND kind = $2 AND met_at IS NULL AND ($4::text IS NULL OR step = $4)
        """,
        incident_id,
        kind,
        now,
        step,
    )
    return int(status.rpartition(" ")[2])


async def meet_one(db: Executor, obligation_id: int, now: datetime) -> Obligation | None:
    """None if there is none by this number that is still to be met."""
    row = await db.fetchrow(
        f"UPDATE obligation SET met_at = $2 WHERE id = $1 AND met_at IS NULL RETURNING {_OBLIGATION}",
        obligation_id,
        now,
    )
    return Obligation(**row) if row is not None else None


async def hand_over(db: Executor, incident_id: int, owner: str) -> None:
    """What the commander has to do is the new one's to do."""
    await db.execute(
        """
        UPDATE obligation SET owner = $2
        WHERE incident_id = $1 AND met_at IS NULL AND kind IN ('acknowledge', 'update', 'reply')
        """,
        incident_id,
        owner,
    )


async def pressing(db: Executor, incident_id: int, now: datetime, ahead: timedelta) -> list[Obligation]:
    """Those past their time, and replies that are due within `ahead`; what is due first comes first."""
    rows = await db.fetch(
        f"""
        SELECT {_OBLIGATION} FROM obligation
        WHERE incident_id = $1 AND met_at IS NULL
          AND due_at <= $2::timestamptz + CASE kind WHEN 'reply' THEN $3::interval ELSE interval '0' END
        ORDER BY due_at, id
        """,
        incident_id,
        now,
        ahead,
    )
    return [Obligation(**row) for row in rows]


async def told(db: Executor, obligation_id: int, now: datetime) -> None:
    await db.execute("UPDATE obligation SET told_at = $2, told = told + 1 WHERE id = $1", obligation_id, now)


def _incident(row: asyncpg.Record) -> Incident:
    fields = {key: row[key] for key in row.keys() if key != "lease"}  # noqa: SIM118 - a Record iterates over values
    return Incident(**{**fields, "affected": json.loads(row["affected"])})
