"""One worker of all judges how texts stand and audits them; when it is gone, another does."""

import asyncio
from datetime import UTC, datetime, timedelta

from holdfast.config import Settings
from holdfast.messaging.signals import FINDINGS
from holdfast.service import background
from holdfast.text_watch import TextWatch
from tests.messaging.sent import text
from tests.messaging.texts import ANN, grant, town


async def found(pool):
    return await pool.fetchval("SELECT count(*) FROM audit_finding")


async def test_the_worker_that_leads_looks_at_once_and_the_next_when_it_is_gone(pool, database_url, tmp_path):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    await text(pool, merchant, ANN, datetime.now(UTC) - timedelta(minutes=1))
    await pool.execute("UPDATE message SET consent_seq = NULL")
    stop = asyncio.Event()
    async with (
        TextWatch(Settings(data_dir=tmp_path), pool, database_url) as first,
        TextWatch(Settings(data_dir=tmp_path), pool, database_url) as second,
    ):
        async with asyncio.timeout(20), background(*first.loops(stop), stop=stop):
            while not (FINDINGS.values and await pool.fetchval("SELECT sum(sent) FROM text_tally")):
                await asyncio.sleep(0.02)
            await second._lead()
            assert not second._leadership.is_held
            stop.set()
        first._leadership.release()
        async with asyncio.timeout(20):
            while not second._leadership.is_held:
                await second._lead()
    assert await found(pool) == 1
