"""What a worker does about complaints in the background."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime

from holdfast.complaints import cohort, from_texts, service
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.loops import repeat

MEASURED_EVERY = 5.0
EXPIRED_EVERY = 60.0


def loops(pool: Pool, settings: Settings, stop: asyncio.Event) -> list[Awaitable[None]]:
    """Of every worker: each does what no other has done."""

    async def file() -> int:
        return await from_texts.tick(pool, settings, datetime.now(UTC))

    async def measure() -> int:
        return await service.measure(pool, datetime.now(UTC))

    async def settle() -> int:
        now = datetime.now(UTC)
        return await service.close_erased(pool, now) + await service.join_open(pool, now)

    async def expire() -> int:
        return await cohort.expire(pool, datetime.now(UTC))

    return [
        repeat("complaints_from_texts", file, every=from_texts.EVERY, stop=stop),
        repeat("measure_complaints", measure, every=MEASURED_EVERY, stop=stop),
        repeat("settle_complaints", settle, every=MEASURED_EVERY, stop=stop),
        repeat("expire_holds", expire, every=EXPIRED_EVERY, stop=stop),
    ]
