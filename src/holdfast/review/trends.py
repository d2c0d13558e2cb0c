"""What incidents were like over months, by runbook: how long they took, and how their steps fared."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from holdfast.db.pool import Pool
from holdfast.incidents import history_store
from holdfast.runbooks import history_store as past_steps

MOST_INCIDENTS = 10_000
SLOW = 600.0
"""Seconds: a step that takes longer at the median is slow."""


@dataclass(frozen=True, slots=True)
class StepTrend:
    """One step over all runs. `median` and `worst` are seconds, of the runs in which it was done."""

    key: str
    text: str
    kind: str
    count: int
    done: int
    failed: int
    skipped: int
    not_applicable: int
    retried: int
    median: float | None
    worst: float | None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is wrong with it, if anything: it fails, is skipped, is never needed, is slow."""
        found = []
        if self.failed or self.retried:
            found.append(f"fails ({self.failed} left so, {self.retried} after several tries)")
        if self.skipped * 3 >= self.count:
            found.append(f"is skipped ({self.skipped} of {self.count})")
        if self.count >= 3 and self.not_applicable == self.count:
            found.append("never applied")
        if self.median is not None and self.median > SLOW:
            found.append("is slow")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Trend:
    """One runbook. Times are medians in seconds, as in `Times`; None where it never happened."""

    runbook: str
    count: int
    open: int
    detect: float | None
    acknowledge: float | None
    mitigate: float | None
    recover: float | None
    resolve: float | None
    items_open: int
    items_overdue: int
    items_done: int
    steps: tuple[StepTrend, ...]


async def trends(pool: Pool, since: datetime, now: datetime) -> tuple[Trend, ...]:
    """Of the incidents opened since then, the runbook with the most of them first."""
    past = await history_store.past(pool, since, now, MOST_INCIDENTS)
    by_step = await past_steps.by_step(pool, [row["id"] for row in past], [row["runbook"] for row in past])
    items = {row["runbook"]: row for row in await history_store.items(pool, since, now, now)}
    found = []
    for row in await history_store.medians(pool, since, now):
        own = items.get(row["runbook"])
        found.append(
            Trend(
                row["runbook"],
                row["count"],
                row["open"],
                row["to_detect"],
                row["to_acknowledge"],
                row["to_mitigate"],
                row["to_recover"],
                row["to_resolve"],
                own["open"] if own else 0,
                own["overdue"] if own else 0,
                own["done"] if own else 0,
                tuple(_step(one) for one in by_step if one["runbook"] == row["runbook"]),
            )
        )
    return tuple(found)


def _step(row: asyncpg.Record) -> StepTrend:
    columns = (
        "key",
        "text",
        "kind",
        "count",
        "done",
        "failed",
        "skipped",
        "not_applicable",
        "retried",
        "median",
        "worst",
    )
    return StepTrend(*(row[column] for column in columns))
