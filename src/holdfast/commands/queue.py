"""`holdfast queue …`"""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json
from holdfast.commands.session import with_store
from holdfast.config import Settings
from holdfast.db import processes
from holdfast.db.pool import Pool
from holdfast.db.processes import Process
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.queue import service
from holdfast.queue.model import BucketStats, LaneStats
from holdfast.queue.service import WINDOW

app = typer.Typer()

_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class _Stats:
    lanes: list[LaneStats]
    merchants: list[BucketStats]
    destinations: list[BucketStats]
    processes: list[Process]
    events: int
    duplicates: int
    merchant_keys: dict[int, str]
    addresses: dict[int, str]


@app.command()
def stats(
    all_: Annotated[bool, typer.Option("--all", help="All merchants and destinations, not the deepest ten.")] = False,
    json: Json = False,
) -> None:
    """Depth, age, rates and forecast by lane, merchant and destination; rates are of the last minute."""

    async def body(pool: Pool, _settings: Settings) -> _Stats:
        rates = await inbox.rates(pool, WINDOW)
        return _Stats(
            await service.lane_stats(pool),
            await service.bucket_stats(pool, "merchant_id"),
            await service.bucket_stats(pool, "destination_id"),
            await processes.alive(pool),
            rates["events"],
            rates["duplicates"],
            {m.id: m.key for m in await merchants.merchants(pool)},
            {d.id: d.address for d in await merchants.destinations(pool)},
        )

    found = with_store(body)
    if json:
        terminal.print_json(_json(found))
        return
    seconds = WINDOW.total_seconds()
    workers = sum(process.kind == "worker" for process in found.processes)
    terminal.say(
        f"{found.events / seconds:,.1f} events/s received, {found.duplicates / seconds:,.1f}/s of events we held "
        f"already; {workers} worker{'' if workers == 1 else 's'} at work"
    )
    if workers == 0 and any(lane.depth for lane in found.lanes):
        terminal.say(
            "Nothing is being worked on: no worker is running. Start one with `holdfast up` or `holdfast worker`."
        )
    terminal.say("")
    terminal.print_table(
        ("STAGE", "LANE", ">DEPTH", ">DUE", ">IN FLIGHT", ">LATER", ">OLDEST", ">IN/S", ">OUT/S", ">EMPTY IN"),
        (
            (
                lane.stage.name.lower(),
                lane.lane.label,
                lane.depth,
                lane.waiting,
                lane.in_flight,
                lane.delayed,
                terminal.duration(lane.oldest_age) if lane.depth else "",
                lane.arrival_rate,
                lane.service_rate,
                _forecast(lane),
            )
            for lane in found.lanes
        ),
        empty="",
    )
    _buckets("MERCHANT", found.merchants, found.merchant_keys, "(company or unknown)", all_)
    _buckets("DESTINATION", found.destinations, found.addresses, "(removed)", all_)


def _buckets(title: str, buckets: list[BucketStats], names: dict[int, str], nameless: str, all_: bool) -> None:
    waiting = [bucket for bucket in buckets if bucket.depth]
    if not waiting:
        return
    shown = waiting if all_ else waiting[:_DEEPEST]
    terminal.say("")
    terminal.print_table(
        ("STAGE", title, ">DEPTH", ">IN FLIGHT", ">OLDEST", ">IN/S", ">OUT/S", ">EMPTY IN"),
        (
            (
                bucket.stage.name.lower(),
                names.get(bucket.key, nameless),
                bucket.depth,
                bucket.in_flight,
                terminal.duration(bucket.oldest_age),
                bucket.arrival_rate,
                bucket.service_rate,
                _forecast(bucket),
            )
            for bucket in shown
        ),
        empty="",
    )
    if len(shown) < len(waiting):
        terminal.say(f"… and {len(waiting) - len(shown)} more (--all)")


def _forecast(stats: LaneStats | BucketStats) -> str:
    if stats.depth == 0:
        return ""
    if stats.drain_seconds is not None:
        return terminal.duration(stats.drain_seconds)
    grows = stats.arrival_rate - stats.service_rate > max(0.1, 0.05 * stats.arrival_rate)
    return "growing" if grows else "steady"


def _json(found: _Stats) -> dict[str, object]:
    def named(bucket: BucketStats, names: dict[int, str], label: str) -> dict[str, object]:
        return asdict(bucket) | {"stage": bucket.stage.name.lower(), label: names.get(bucket.key)}

    return {
        "window_seconds": WINDOW.total_seconds(),
        "events_received": found.events,
        "duplicates_received": found.duplicates,
        "lanes": [asdict(lane) | {"stage": lane.stage.name.lower(), "lane": lane.lane.label} for lane in found.lanes],
        "merchants": [named(bucket, found.merchant_keys, "merchant") for bucket in found.merchants],
        "destinations": [named(bucket, found.addresses, "address") for bucket in found.destinations],
        "processes": found.processes,
    }
