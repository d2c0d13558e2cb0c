"""A quiet merchant while another one has 90 % of the load, beside the same merchant alone.

From an event's receipt to the merchant's own endpoint having taken its notification: through web, router and deliverer.
The same once more while the other one also has a backlog of 20,000 events, which keeps both cores busy.
"""

import asyncio
from statistics import median
from typing import Any

from bench import data
from bench.deliver import receiver
from bench.harness import p99, postgres, say, summary, web, worker
from bench.load import sending
from holdfast.db.embedded import EmbeddedPostgres

NOISY, QUIET = data.accounts(2)
RATE = 400.0
QUIET_LOAD = {"rate": RATE * 0.1, "mix": "mixed", "accounts": [QUIET], "seed": 1}
NOISY_LOAD = {"rate": RATE * 0.9, "mix": "mixed", "accounts": [NOISY], "seed": 2}


def run(*, quick: bool) -> dict[str, Any]:
    rounds, backlog, seconds = (1, 1_000, 4.0) if quick else (5, 20_000, 10.0)
    alone, beside, behind = [], [], []
    both = [QUIET_LOAD, NOISY_LOAD]
    with postgres() as server, receiver(server) as port:
        for number in range(rounds):
            alone.append(_measure(server, port, 0, [QUIET_LOAD], seconds)["p99_ms"])
            beside.append(_measure(server, port, 0, both, seconds)["p99_ms"])
            behind.append(_measure(server, port, backlog, both, seconds)["p99_ms"])
            say(f"round {number + 1}: p99 {alone[-1]} ms alone, {beside[-1]} with load, {behind[-1]} with a backlog")
    ratio = median(two / one for one, two in zip(alone, beside, strict=True))
    worse = median(two / one for one, two in zip(alone, behind, strict=True))
    return {
        "value": round(ratio, 2),
        "target": "<= 3",
        "ok": ratio <= 3,
        "p99_ms": {"alone": summary(alone), "with_90_percent": summary(beside), "with_a_backlog": summary(behind)},
        "ratio_with_a_backlog": round(worse, 2),
    }


def _measure(
    server: EmbeddedPostgres, port: int, backlog: int, flows: list[dict[str, Any]], seconds: float
) -> dict[str, float]:
    asyncio.run(_prepare(server.url(), port, backlog))
    with web(server) as door, worker(server):
        asyncio.run(data.until_at_work(server.url(), "worker"))
        with sending(door, flows, seconds) as sender:
            sender.result(seconds + 90)
        return asyncio.run(_result(server.url()))


async def _prepare(url: str, port: int, backlog: int) -> None:
    pool = await data.opened(url)
    await data.introduce(pool, [NOISY, QUIET], lambda number: f"http://127.0.0.1:{port}/m{number}", ["*"])
    await pool.execute("TRUNCATE work, done, event, delivery, attempt, process")
    await data.fill_inbox(pool, data.events(backlog, [NOISY], data.MIXED, seed=9))
    await data.settle_down(pool)
    await pool.close()


async def _result(url: str) -> dict[str, float]:
    pool = await data.opened(url)
    await asyncio.sleep(2.0)
    rows = await pool.fetch(
        """
        SELECT extract(epoch FROM s.done_at - e.received_at)::float8
        FROM event e JOIN delivery d ON d.event_seq = e.seq
        LEFT JOIN done s ON s.stage = 2 AND s.ref = d.id WHERE e.account = $1
        """,
        QUIET,
    )
    await pool.close()
    times = sorted(row[0] if row[0] is not None else 60.0 for row in rows)
    return {"p99_ms": round(1000 * p99(times), 1), "p50_ms": round(1000 * times[len(times) // 2], 1)}
