"""`holdfast queue …`"""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json, read_duration
from holdfast.commands.session import with_store
from holdfast.config import Settings
from holdfast.db import processes
from holdfast.db.pool import Pool
from holdfast.db.processes import Process
from holdfast.health import capacity as forecasts
from holdfast.health.capacity import Capacity
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.queue import service
from holdfast.queue.capacity import Forecast, LaneForecast
from holdfast.queue.model import BucketStats, LaneStats, Stage
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


@app.command()
def capacity(
    within: Annotated[str, typer.Option(help="Drain what waits in this time: 15m, 1h.")] = "15m", json: Json = False
) -> None:
    """How long what waits will take, how many workers would drain it in time, and what limits now."""
    length = read_duration(within)

    async def body(pool: Pool, settings: Settings) -> Capacity:
        return await forecasts.capacity(pool, settings, length)

    found = with_store(body)
    if json:
        terminal.print_json(forecasts.document(found))
        return
    terminal.print_table(
        ("STAGE", "LANE", ">READY", ">LATER", ">IN/S", ">OUT/S", ">NEW WORK WAITS", ">EMPTY IN", "BETWEEN"),
        (_lane_row(stage.stage, lane) for stage in found.stages for lane in stage.lanes),
        empty="",
    )
    terminal.say("")
    _print_workers(found, within)
    terminal.say("")
    terminal.say("What limits now:")
    for limit in found.limits:
        where = f"{_verb(limit.stage)}: " if limit.stage is not None else ""
        terminal.say(f"  {where}{limit.what}")
    terminal.say(_advice(found))
    if found.not_known:
        terminal.say(f"Not known: {'; '.join(found.not_known)}.")


def _lane_row(stage: Stage, lane: LaneForecast) -> tuple[object, ...]:
    flow = lane.flow
    return (
        stage.name.lower(),
        lane.flow.lane.label,
        flow.ready,
        flow.later,
        lane.arrival.per_second,
        lane.service.per_second,
        terminal.duration(lane.wait) if flow.ready else "",
        _empty(lane.empty) if flow.ready else "",
        _between(lane.empty) if flow.ready else "",
    )


def _empty(forecast: Forecast) -> str:
    if forecast.seconds is None:
        return "not at this rate"
    return terminal.duration(forecast.seconds) if forecast.seconds else "keeps up"


def _between(forecast: Forecast) -> str:
    """How far it can be trusted."""
    if forecast.seconds == 0 or forecast.soonest is None:
        return ""
    latest = terminal.duration(forecast.latest) if forecast.latest is not None else "never"
    return f"{terminal.duration(forecast.soonest)} and {latest} ({forecast.confidence})"


def _verb(stage: Stage) -> str:
    return "routing" if stage is Stage.ROUTE else "delivering"


def _print_workers(found: Capacity, within: str) -> None:
    terminal.say(f"{found.workers} worker{'' if found.workers == 1 else 's'} at work.")
    for one in found.per_worker:
        work = found.work_needed[one.stage]
        least = "at least " if one.is_least else ""
        does = (
            f"one worker does {least}{one.per_second:,.1f}/s" if one.per_second else "what one worker does is not known"
        )
        terminal.say(
            f"{_verb(one.stage).capitalize()}: {work:,.1f}/s would drain it in {within}; {does} ({one.basis})."
        )
    if found.workers_needed is None:
        terminal.say(f"How many workers would drain it in {within} is not known.")
    else:
        most = "at most " if any(one.is_least for one in found.per_worker) and found.workers_needed else ""
        terminal.say(f"Workers needed to drain it in {within}: {most}{found.workers_needed}.")


def _advice(found: Capacity) -> str:
    kind = found.limits[0].kind
    if kind == "nothing":
        return "No more workers are needed."
    if kind == "cpu":
        return "More workers would not help on this machine; on another one they would."
    match found.more_workers_help:
        case True:
            return "More workers would help."
        case False:
            return "More workers would not help."
    return "Whether more workers would help is not known: try one."


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
