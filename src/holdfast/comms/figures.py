"""What is told of the system as it is now: how much waits, since when, and how long it will take."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.comms.affected import (
    CallFigures,
    ConsentFigures,
    about_calls,
    about_consent,
    calls_since,
    consent_figures,
)
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.health.capacity import Capacity, capacity
from holdfast.incidents.model import Incident
from holdfast.queue import store as queue
from holdfast.queue.model import Stage


@dataclass(frozen=True, slots=True)
class Figures:
    """`drain_s`: seconds until all that is ready is done at these rates; None: never. `limit`: what limits now."""

    to_route: int
    to_send: int
    later: int
    """Retries that wait for their own time."""
    oldest_s: float
    drain_s: float | None
    workers: int
    limit: str
    calls: CallFigures | None = None
    """Of the last `LATELY`, in an incident of calls."""
    consent: ConsentFigures | None = None
    """In an incident about consent."""

    @property
    def waiting(self) -> int:
        return self.to_route + self.to_send


LATELY = timedelta(minutes=15)


async def figures(pool: Pool, settings: Settings, now: datetime, incident: Incident | None = None) -> Figures:
    """As things are now; in an incident of calls, of calls too, and in one about consent, of complaints."""
    found = await capacity(pool, settings, now=now)
    oldest = [row["oldest_age"] or 0.0 for row in await queue.lane_stats(pool, timedelta(minutes=1), now=now)]
    ready = {stage.stage: stage.ready for stage in found.stages}
    return Figures(
        ready[Stage.ROUTE],
        ready[Stage.DELIVER],
        sum(lane.flow.later for stage in found.stages for lane in stage.lanes),
        max(0.0, max(oldest, default=0.0)),
        found.drain_seconds,
        found.workers,
        _limit(found),
        await calls_since(pool, now - LATELY, now) if incident is not None and about_calls(incident) else None,
        await consent_figures(pool, incident, now) if incident is not None and about_consent(incident) else None,
    )


def _limit(found: Capacity) -> str:
    first = found.limits[0]
    return "" if first.kind in ("nothing", "unknown") else first.what
