"""Incidents that levers are turned for."""

from holdfast.config import Settings
from holdfast.incidents import store
from holdfast.runbooks.actions import Run

SETTINGS = Settings(_env_file=None, workers=1, router_concurrency=2, delivery_concurrency=200)


async def opened(pool, now, scope="", runbook="webhook-backlog", **fields):
    """An open incident."""
    await store.keep_text(pool, "000000000001", runbook, "# text", now)
    given = {"title": "Events wait", "severity": "critical", "cause": "", "since": now, "commander": None} | fields
    made = await store.insert(
        pool,
        runbook=runbook,
        version="000000000001",
        scope=scope,
        opened_by="holdfast",
        affected={},
        now=now,
        **given,
    )
    assert made is not None
    return made


async def told(pool, incident):
    """What its log says of levers: who, and what."""
    entries = await store.entries(pool, incident.id)
    return [(entry.actor, entry.text) for entry in entries if entry.kind == "lever"]


def run(pool, incident, now, step="step", settings=SETTINGS):
    return Run(pool, settings, incident, step, 1, now)
