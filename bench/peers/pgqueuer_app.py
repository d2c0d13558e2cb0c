"""`python -m bench.peers.pgqueuer_app COUNT`: PgQueuer with jobs that do nothing; prints jobs/s."""

import asyncio
import os
import sys
import time

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

BATCH = 500


async def main(count: int) -> float:
    connection = await asyncpg.connect(os.environ["HOLDFAST_DATABASE_URL"])
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    if not await queries.schema_is_installed():
        await queries.install()
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        await queries.enqueue(["nothing"] * size, [b"1"] * size, [0] * size)
    await connection.execute("VACUUM (ANALYZE)")
    worker = PgQueuer(driver)
    left, times = count, []

    @worker.entrypoint("nothing")
    async def nothing(_job: Job) -> None:
        nonlocal left
        left -= 1
        times.append(time.perf_counter())
        if not left:
            worker.shutdown.set()

    async with asyncio.timeout(300):
        await worker.run(batch_size=200)
    await connection.close()
    return (len(times) - 1) / (times[-1] - times[0])


if __name__ == "__main__":
    print(uvloop.run(main(int(sys.argv[1]))))
