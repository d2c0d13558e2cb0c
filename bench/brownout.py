"""One destination of twenty is slowed 100 times for a minute, under a steady load.

It serves 8 requests at a time, each taking 10 ms, then a second, then 10 ms again, while 15 deliveries a second are due
to it: in the bad minute about half of them find their way. What do the others feel, how many attempts are wasted, and
how soon does it get everything that is due to it again?
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg

from bench import data
from bench.deliver import receiver
from bench.harness import p99, postgres, say, worker
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.pool import Pool
from holdfast.queue.model import Stage

DESTINATIONS = 20
RATE = 300.0
"""Deliveries a second over all destinations."""
SLOTS, QUICK, SLOW = 8, 0.010, 1.0


@dataclass(frozen=True, slots=True)
class Phases:
    """Seconds."""

    before: float
    slowed: float
    after: float


@dataclass(frozen=True, slots=True)
class Delivered:
    """One delivery: to the slowed destination, or to another; seconds since the beginning."""

    to_slowed: bool
    planned: float
    settled: float
    attempts: int


def run(*, quick: bool) -> dict[str, Any]:
    phases = Phases(5.0, 8.0, 12.0) if quick else Phases(20.0, 60.0, 40.0)
    with postgres() as server, receiver(server) as port, worker(server, router_concurrency="0"):
        found = asyncio.run(_play(server, port, phases))
    return _figures(found, phases)


async def _play(server: EmbeddedPostgres, port: int, phases: Phases) -> list[Delivered]:
    pool = await data.opened(server.url())
    names = data.accounts(DESTINATIONS)
    chosen = await data.introduce(pool, names, lambda number: f"http://127.0.0.1:{port}/d{number}", ["*"])
    total = sum((phases.before, phases.slowed, phases.after))
    await data.fill_inbox(pool, data.events(int(RATE * total) + 1, names, data.MONEY, seed=1))
    seqs = await data.seqs_of(pool)
    await pool.execute("TRUNCATE work")
    await data.settle_down(pool)
    await data.until_at_work(server.url(), "worker")
    began = await pool.fetchval("SELECT clock_timestamp()")
    planning = asyncio.create_task(_plan(pool, chosen, seqs))
    for seconds, length in ((QUICK, phases.before), (SLOW, phases.slowed), (QUICK, phases.after)):
        await _set(port, seconds)
        say(f"the destination takes {1000 * seconds:.0f} ms for {length:.0f} s")
        await asyncio.sleep(length)
    await planning
    await data.until_empty(pool, Stage.DELIVER)
    found = await _delivered(pool, chosen[0], began)
    await pool.close()
    return found


async def _plan(pool: Pool, chosen: list[int], seqs: list[int]) -> None:
    """Deliveries at a steady rate, a few every 20 ms, the destinations in turn."""
    now = asyncio.get_running_loop().time
    began, planned = now(), 0
    while planned < len(seqs):
        due = min(len(seqs), int((now() - began) * RATE))
        # Each part begins at another destination, so that none is always the first.
        turned = chosen[planned % len(chosen) :] + chosen[: planned % len(chosen)]
        if due > planned:
            await data.plan(pool, turned, seqs[planned:due])
        planned = due
        await asyncio.sleep(0.02)


async def _set(port: int, seconds: float) -> None:
    address = f"http://127.0.0.1:{port}/_set/d0?slots={SLOTS}&seconds={seconds}"
    async with aiohttp.ClientSession() as session, session.post(address) as answer:
        answer.raise_for_status()


async def _delivered(pool: Pool, slowed: int, began: object) -> list[Delivered]:
    rows: list[asyncpg.Record] = await pool.fetch(
        """
        SELECT y.destination_id = $1, extract(epoch FROM y.created_at - $2)::float8,
               extract(epoch FROM d.done_at - $2)::float8,
               (SELECT count(*) FROM attempt a WHERE a.delivery_id = y.id)
        FROM delivery y JOIN done d ON d.stage = 2 AND d.ref = y.id WHERE d.outcome = 'delivered'
        """,
        slowed,
        began,
    )
    return [Delivered(*row) for row in rows]


def _figures(found: list[Delivered], phases: Phases) -> dict[str, Any]:
    back = phases.before + phases.slowed
    slowed = [one for one in found if one.to_slowed]
    others = [one for one in found if not one.to_slowed]
    in_bad_times = [one for one in others if phases.before <= one.planned < back]
    goodput = _rate(others, phases.before, back) / _rate(in_bad_times, phases.before, back, by_planned=True)
    attempts = sum(one.attempts for one in found) / len(found)
    recovery, caught_up = _recovery(slowed, back), _caught_up(slowed, back)
    return {
        "value": round(goodput, 3),
        "target": "others >= 0.95, attempts per success <= 1.1, full rate after <= 15 s",
        "ok": goodput >= 0.95 and _attempts(slowed) <= 1.1 and recovery <= 15,
        "attempts_per_success": round(_attempts(slowed), 3),
        "attempts_per_success_over_all": round(attempts, 3),
        "seconds_to_full_rate": round(recovery, 1),
        "seconds_until_caught_up": round(caught_up, 1),
        "slowed_per_second": {
            "before": round(_rate(slowed, 0, phases.before), 1),
            "slowed": round(_rate(slowed, phases.before, back), 1),
            "capacity": SLOTS / SLOW,
        },
        "others_p99_ms": {
            "before": _p99([one for one in others if one.planned < phases.before]),
            "slowed": _p99(in_bad_times),
            "after": _p99([one for one in others if one.planned >= back]),
        },
        "delivered": len(found),
    }


def _rate(found: list[Delivered], since: float, until: float, *, by_planned: bool = False) -> float:
    times = [one.planned if by_planned else one.settled for one in found]
    return sum(since <= time < until for time in times) / (until - since)


def _attempts(found: list[Delivered]) -> float:
    return sum(one.attempts for one in found) / len(found)


def _recovery(slowed: list[Delivered], back: float) -> float:
    """Seconds after the end of the slowness until a second in which it got as much as is due to it, 15."""
    due = RATE / DESTINATIONS
    return next((at / 10 for at in range(600) if _rate(slowed, back + at / 10, back + at / 10 + 1) >= due), 60.0)


def _caught_up(slowed: list[Delivered], back: float) -> float:
    """Seconds after the end of the slowness until what was planned before is delivered."""
    return max((one.settled for one in slowed if one.planned < back), default=back) - back


def _p99(found: list[Delivered]) -> float:
    return round(1000 * p99([one.settled - one.planned for one in found]), 1)
