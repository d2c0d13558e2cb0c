"""Incidents for tests of what is said about them."""

from datetime import UTC, datetime

from holdfast.db.pool import Pool
from holdfast.incidents import store
from holdfast.incidents.model import Incident, State

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


async def opened(
    pool: Pool,
    runbook: str = "stripe-retry-storm",
    *,
    severity: str = "warning",
    scope: str = "",
    now: datetime = NOON,
) -> Incident:
    """An open incident whose own words must never be seen outside."""
    await store.keep_text(pool, f"{runbook}-1", runbook, "# Secret steps", now)
    incident = await store.insert(
        pool,
        runbook=runbook,
        version=f"{runbook}-1",
        scope=scope,
        title="Secret: shop bakery floods worker-7",
        severity=severity,
        cause="secret-cause",
        since=now,
        opened_by="holdfast",
        commander="secret-anna",
        affected={"merchants": ["secret-bakery"]},
        now=now,
    )
    assert incident is not None
    return incident


async def moved(pool: Pool, incident: Incident, state: State, now: datetime = NOON) -> Incident:
    await store.set_state(pool, incident.id, state, now)
    found = await store.get(pool, incident.id)
    assert found is not None
    return found
