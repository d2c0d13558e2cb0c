"""Deliveries a second of one worker to local receivers, beside the bare rate of the HTTP client it uses."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import aiohttp
import uvloop

from bench import data
from bench.harness import environment, free_port, postgres, process, say, summary, wait_for_port, worker
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.queue.model import Stage

DESTINATIONS = 20
AT_ONCE = 128


def run(*, quick: bool) -> dict[str, Any]:
    rounds, count = (1, 2_000) if quick else (3, 20_000)
    ours: list[float] = []
    bare: list[float] = []
    with postgres() as server, receiver(server) as port:
        for number in range(rounds):
            bare.append(_bare(port, count))
            ours.append(_ours(server, port, count, seed=number))
            say(f"round {number + 1}: {ours[-1]:,.0f} deliveries/s, the client alone {bare[-1]:,.0f} requests/s")
    ratio = median(one / other for one, other in zip(ours, bare, strict=True))
    return {
        "value": round(ratio, 3),
        "target": ">= 0.5",
        "ok": ratio >= 0.5,
        "per_second": summary(ours),
        "client_alone_per_second": summary(bare),
    }


@contextmanager
def receiver(server: EmbeddedPostgres) -> Iterator[int]:
    port = free_port()
    with process(["-m", "bench.receiver", str(port)], environment(server)) as started:
        wait_for_port(port, started)
        yield port


def _ours(server: EmbeddedPostgres, port: int, count: int, seed: int) -> float:
    asyncio.run(_prepare(server.url(), port, count, seed))
    with worker(server, router_concurrency="0"):
        return asyncio.run(_measure(server.url()))


async def _prepare(url: str, port: int, count: int, seed: int) -> None:
    pool = await data.opened(url)
    names = data.accounts(DESTINATIONS)
    chosen = await data.introduce(pool, names, lambda number: f"http://127.0.0.1:{port}/d{number}", ["*"])
    await pool.execute("TRUNCATE work, done, event, delivery, attempt")
    await data.fill_inbox(pool, data.events(count, names, data.MONEY, seed))
    await pool.execute("TRUNCATE work")
    await data.plan(pool, chosen, await data.seqs_of(pool))
    await data.settle_down(pool)
    await pool.close()


async def _measure(url: str) -> float:
    """The rate between the first and the last tenth, by the times at which they were settled."""
    pool = await data.opened(url)
    await data.until_empty(pool, Stage.DELIVER)
    row = await pool.fetchrow(
        """
        WITH times AS (SELECT done_at, row_number() OVER (ORDER BY done_at) AS nth, count(*) OVER () AS total
                       FROM done WHERE stage = 2 AND outcome = 'delivered')
        SELECT count(*)::float8 / extract(epoch FROM max(done_at) - min(done_at))::float8, max(total)
        FROM times WHERE nth BETWEEN total / 10 AND total * 9 / 10
        """
    )
    await pool.close()
    assert row is not None
    return float(row[0])


def _bare(port: int, count: int) -> float:
    """The same requests with the same client, in a process of its own, doing nothing else."""

    async def run() -> float:
        body = b'{"type":"payment_intent.succeeded","data":' + b'"' + b"x" * 2800 + b'"}'
        headers = {
            "content-type": "application/json",
            "holdfast-attempt": "1",
            "webhook-id": "msg_1_1",
            "webhook-timestamp": "1764000000",
            "webhook-signature": "v1," + "x" * 44,
        }
        left = iter(range(count))
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=15, connect=5)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:

            async def one() -> None:
                for number in left:
                    url = f"http://127.0.0.1:{port}/b{number % DESTINATIONS}"
                    async with session.post(
                        url, data=body, headers=headers, allow_redirects=False, timeout=timeout
                    ) as answer:
                        await answer.read()

            began = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(AT_ONCE)))
            return count / (time.perf_counter() - began)

    return uvloop.run(run())
