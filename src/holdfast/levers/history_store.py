"""The append-only history of levers and ramps; what belongs to an incident is written into its log as well."""

import json
from datetime import UTC, datetime
from typing import Any

from holdfast.db.pool import Connection, Pool
from holdfast.incidents import store as incidents
from holdfast.incidents.model import Incident
from holdfast.levers.model import Change, written


async def remember(db: Connection, change: Change) -> None:
    """In one transaction with what it tells."""
    await db.execute(
        """
        INSERT INTO lever_history (at, what, name, target, value, before, actor, reason, expires_at, incident_id,
                                   ramp_id, percent, evidence)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        """,
        change.at,
        change.what,
        change.name,
        change.target,
        _json(change.value),
        _json(change.before),
        change.actor,
        change.reason,
        change.expires_at,
        change.incident_id,
        change.ramp_id,
        change.percent,
        _json(change.evidence),
    )
    if change.incident_id is not None:
        incident = await worked_on(db, change.incident_id)
        if incident is not None:
            await incidents.write(
                db, incident.id, "lever", said(change), actor=change.actor, now=change.at, evidence=_evidence(change)
            )


async def was_back(db: Connection | Pool, name: str, target: str, since: datetime) -> bool:
    """Whether it was cleared, or expired, since then."""
    return bool(
        await db.fetchval(
            """
            SELECT EXISTS (SELECT FROM lever_history
                           WHERE name = $1 AND target = $2 AND at >= $3 AND what IN ('cleared', 'expired'))
            """,
            name,
            target,
            since,
        )
    )


async def worked_on(db: Connection, incident_id: int) -> Incident | None:
    """The incident, or the one that it was merged into: where people look."""
    found = await incidents.get(db, incident_id)
    while found is not None and found.merged_into is not None:
        found = await incidents.get(db, found.merged_into)
    return found


def said(change: Change) -> str:
    """A change in words: what from where to where, until when, why."""
    name = f"{change.name} {change.target}".rstrip()
    why = f": {change.reason}" if change.reason else ""
    if change.what.startswith("ramp "):
        far = f" at {change.percent} %" if change.percent is not None else ""
        return f"{name}: ramp {change.ramp_id} {_RAMP_WORDS.get(change.what, change.what)}{far}{why}"
    if change.what == "renewed":
        return f"{name} stays {written(change.value)} until {_at(change.expires_at)}{why}"
    words = {"cleared": " cleared", "expired": " expired"}.get(change.what, "")
    until = f" until {_at(change.expires_at)}" if change.expires_at is not None else ""
    return f"{name}{words} {written(change.before)} → {written(change.value)}{until}{why}"


_RAMP_WORDS = {
    "ramp started": "started",
    "ramp step": "went on",
    "ramp back": "stepped back",
    "ramp held": "is held",
    "ramp done": "is done",
    "ramp stopped": "was stopped",
}


def _at(time: datetime | None) -> str:
    return "it is cleared" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _evidence(change: Change) -> dict[str, Any]:
    found = {
        "lever": change.name,
        "target": change.target or None,
        "before": change.before,
        "now": change.value,
        "until": change.expires_at,
        "ramp": change.ramp_id,
        "percent": change.percent,
        "guards": change.evidence,
    }
    return {name: value for name, value in found.items() if value is not None}


def _json(value: Any) -> str | None:
    return json.dumps(value) if value is not None else None
