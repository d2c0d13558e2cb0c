"""Puts merchants, events and deliveries into the benchmark's database."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from bench import traffic
from holdfast.db import processes
from holdfast.db.notifications import hint
from holdfast.db.pool import Pool, create_pool
from holdfast.delivery import store as deliveries
from holdfast.delivery.signing import new_secret
from holdfast.delivery.store import NewDelivery
from holdfast.drills.stripe_objects import Json
from holdfast.drills.stripe_traffic import Mix
from holdfast.inbox import store as inbox
from holdfast.inbox.lanes import LaneTable
from holdfast.inbox.model import NewEvent, parse_stripe
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import NewDestination, NewMerchant
from holdfast.queue import channels
from holdfast.queue.model import Lane, Stage

BULK = Mix(payment=0, failed_payment=0, checkout=0, invoice=0, payout=0, transfer=0, noise=1)
MONEY = Mix(noise=0)
MIXED = Mix()
_BATCH = 500


def accounts(count: int) -> list[str]:
    return [f"acct_1Bench{number:05d}" for number in range(count)]


async def introduce(
    pool: Pool, names: Sequence[str], address: Callable[[int], str], events: Sequence[str]
) -> list[int]:
    """A merchant with a webhook for each account; returns the destinations' ids."""
    await merchants.upsert(pool, [NewMerchant(name.lower().replace("_", "-"), name, None, name) for name in names])
    ids = {merchant.stripe_account: merchant.id for merchant in await merchants.merchants(pool)}
    new = [
        NewDestination(ids[name], "webhook", address(number), (new_secret(),), tuple(events))
        for number, name in enumerate(names)
    ]
    await merchants.upsert_destinations(pool, new)
    return [destination.id for destination in await merchants.destinations(pool)]


def events(count: int, names: Sequence[str], mix: Mix, seed: int) -> Iterator[NewEvent]:
    templates: list[Json] = traffic.templates(500, names, mix, seed)
    for body in traffic.bodies(count, templates, seed):
        yield parse_stripe(body, '{"stripe-signature":"t=1,v1=00"}', time.time())


async def fill_inbox(pool: Pool, made: Iterator[NewEvent]) -> int:
    """Events as the web process would append them, without HTTP."""
    catalogue = Catalogue()
    await catalogue.refresh(pool)
    lanes = LaneTable(await inbox.lane_rules(pool))
    total, batch = 0, []
    for one in made:
        batch.append(one)
        if len(batch) == _BATCH:
            total += await _append(pool, batch, lanes, catalogue)
            batch = []
    return total + (await _append(pool, batch, lanes, catalogue) if batch else 0)


async def _append(pool: Pool, batch: list[NewEvent], lanes: LaneTable, catalogue: Catalogue) -> int:
    await inbox.append(
        pool, batch, [lanes.lane(one.type) for one in batch], [catalogue.merchant_of(one.account) for one in batch]
    )
    return len(batch)


async def plan(pool: Pool, chosen: Sequence[int], seqs: Sequence[int], lane: Lane = Lane.CRITICAL) -> None:
    """A delivery of each event, the destinations in turn."""
    owners = {found.id: found.merchant_id for found in await merchants.destinations(pool)}
    for start in range(0, len(seqs), _BATCH):
        part = [
            NewDelivery(seq, destination, owners[destination], lane)
            for place, seq in enumerate(seqs[start : start + _BATCH], start)
            for destination in [chosen[place % len(chosen)]]
        ]
        await deliveries.plan(pool, part)
    await hint(pool, channels.DELIVER)


async def until_empty(pool: Pool, stage: Stage, patience: float = 300.0) -> None:
    """Until nothing of this stage is due any more."""
    async with asyncio.timeout(patience):
        while await pool.fetchval("SELECT EXISTS (SELECT FROM work WHERE stage = $1)", stage):
            await asyncio.sleep(0.2)


async def until_at_work(url: str, kind: str, patience: float = 30.0) -> None:
    """Until a process of this kind says that it is there."""
    pool = await opened(url, size=1)
    async with asyncio.timeout(patience):
        while not any(process.kind == kind for process in await processes.alive(pool)):
            await asyncio.sleep(0.1)
    await pool.close()


async def settle_down(pool: Pool) -> None:
    """Statistics and a checkpoint, so that every round begins alike."""
    await pool.execute("VACUUM (ANALYZE)")
    await pool.execute("CHECKPOINT")


async def opened(url: str, size: int = 4) -> Pool:
    return await create_pool(url, size=size, name="bench")


async def seqs_of(pool: Pool) -> list[int]:
    return [row[0] for row in await pool.fetch("SELECT seq FROM event ORDER BY seq")]


async def latencies(pool: Pool, condition: str, *arguments: object) -> list[float]:
    """Seconds from an event's receipt to routed, for those that fit."""
    rows = await pool.fetch(
        f"""
        SELECT extract(epoch FROM d.done_at - e.received_at)::float8 FROM done d JOIN event e ON e.seq = d.ref
        WHERE d.stage = 1 AND {condition}
        """,
        *arguments,
    )
    return [row[0] for row in rows]
