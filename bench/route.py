"""Events a second that one worker routes: claimed, read, merged into the ledger, deliveries planned, settled."""

import asyncio
from statistics import median
from typing import Any

from bench import data, peers
from bench.harness import postgres, say, summary, worker
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.queue.model import Stage

MERCHANTS = 200


def run(*, quick: bool) -> dict[str, Any]:
    rounds, count = (1, 5_000) if quick else (3, 60_000)
    rates = []
    with postgres() as server:
        for number in range(rounds):
            rates.append(_round(server, count, seed=number))
            say(f"round {number + 1}: {rates[-1]:,.0f} events/s routed")
        planned = asyncio.run(_count(server))
        beside = peers.routed(server, quick=quick)
        alone = peers.queue_alone(server, quick=quick)
    rate = median(rates)
    return {
        "value": round(rate),
        "target": ">= 8000/s",
        "ok": rate >= 8_000,
        "per_second": summary(rates),
        "deliveries_planned_per_event": planned,
        "peers": {
            "same job, events/s": beside,
            "queue alone, jobs/s": alone,
        },
    }


def _round(server: EmbeddedPostgres, count: int, seed: int) -> float:
    asyncio.run(_prepare(server.url(), count, seed))
    with worker(server, delivery_concurrency="0"):
        return asyncio.run(_measure(server.url()))


async def _prepare(url: str, count: int, seed: int) -> None:
    pool = await data.opened(url)
    names = data.accounts(MERCHANTS)
    await data.introduce(
        pool, names, lambda number: f"https://m{number}.example/hooks", ["charge.*", "payment_intent.*"]
    )
    await pool.execute("TRUNCATE work, done")
    await data.fill_inbox(pool, data.events(count, names, data.MIXED, seed))
    await data.settle_down(pool)
    await pool.close()


async def _measure(url: str) -> float:
    """The rate between the first and the last batch, by the times at which they were settled."""
    pool = await data.opened(url)
    await data.until_empty(pool, Stage.ROUTE)
    row = await pool.fetchrow(
        """
        WITH settled AS (SELECT done_at, count(*) AS events FROM done WHERE stage = 1 GROUP BY done_at)
        SELECT (sum(events) - (SELECT events FROM settled ORDER BY done_at LIMIT 1))::float8
               / extract(epoch FROM max(done_at) - min(done_at))::float8 FROM settled
        """
    )
    await pool.close()
    assert row is not None
    return float(row[0])


async def _count(server: EmbeddedPostgres) -> float:
    pool = await data.opened(server.url())
    events = await pool.fetchval("SELECT count(*) FROM done WHERE stage = 1")
    planned = await pool.fetchval("SELECT count(*) FROM work WHERE stage = 2")
    await pool.close()
    return round(float(planned / events), 2)
