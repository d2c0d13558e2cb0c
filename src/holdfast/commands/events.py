"""`holdfast events …` and `holdfast lanes …`"""

from dataclasses import replace
from typing import Annotated

import asyncpg
import msgspec
import typer

from holdfast.commands import terminal
from holdfast.commands.asking import sure
from holdfast.commands.merchants import find
from holdfast.commands.options import DryRun, Json, Limit, Since, Until, Yes, read_optional_time
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.notifications import hint
from holdfast.db.pool import Pool
from holdfast.delivery import replay as delivery_replay
from holdfast.delivery import store as deliveries
from holdfast.inbox import replay as inbox_replay
from holdfast.inbox import store
from holdfast.inbox.model import ROUTED, Event
from holdfast.inbox.store import STATES, Filter
from holdfast.merchants import store as merchants
from holdfast.merchants.service import checked_events
from holdfast.queue import store as queue
from holdfast.queue.channels import DELIVER, ROUTE
from holdfast.queue.model import Lane, Stage

app = typer.Typer()
lanes_app = typer.Typer()

Type = Annotated[str | None, typer.Option(help="Event type, * for any part: charge.failed, payout.*.")]
LaneName = Annotated[str | None, typer.Option(help="critical, standard or bulk.")]
Account = Annotated[str | None, typer.Option(help="Connected account, acct_….")]
MerchantKey = Annotated[str | None, typer.Option(help="A merchant's key.")]
Object = Annotated[str | None, typer.Option(help="What it is about: pi_…, ch_…, in_….")]
State = Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")]
Live = Annotated[bool | None, typer.Option("--live/--test", help="Only live mode, or only test mode.")]


@app.command("list")
def listing(
    type_: Annotated[str | None, typer.Option("--type", help="Event type, * for any part: payout.*.")] = None,
    lane: LaneName = None,
    account: Account = None,
    merchant: MerchantKey = None,
    object_: Annotated[str | None, typer.Option("--object", help="What it is about: pi_…, ch_….")] = None,
    state: State = None,
    live: Live = None,
    since: Since = None,
    until: Until = None,
    before: Annotated[int | None, typer.Option(help="Go on behind this number (#).")] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List events, newest first."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[asyncpg.Record], dict[int, str]]:
        chosen = await _filter(
            pool,
            type_=type_,
            lane=lane,
            account=account,
            merchant=merchant,
            object_=object_,
            state=state,
            live=live,
            since=since,
            until=until,
        )
        rows = await store.listing(pool, chosen, limit=limit, before=before)
        return rows, {m.id: m.key for m in await merchants.merchants(pool)}

    rows, keys = with_store(body)
    if json:
        terminal.print_json({"events": [_event_json(row, keys) for row in rows]})
        return
    terminal.print_table(
        (">#", "RECEIVED", "EVENT", "TYPE", "LANE", "MERCHANT", "STATE", "NOTE"),
        (
            (
                row["seq"],
                row["received_at"],
                row["event_id"],
                row["type"],
                Lane(row["lane"]).label,
                keys.get(row["merchant_id"], row["account"] or "(company)"),
                terminal.status(row["state"] or "live"),
                row["note"] or "",
            )
            for row in rows
        ),
        empty="No events. Stripe sends them to /hooks/stripe; `make demo` plays some.",
    )
    if len(rows) == limit:
        terminal.note(f"There may be more: --before {rows[-1]['seq']}")


@app.command()
def show(
    event: Annotated[str, typer.Argument(help="The event's id, evt_….")],
    body_only: Annotated[
        bool, typer.Option("--body", help="Print the body exactly as it came, and only that.")
    ] = False,
    json: Json = False,
) -> None:
    """Show one event: how it came, what became of it, whom it was sent to, and its body."""

    async def body(pool: Pool, _settings: Settings) -> dict[str, object]:
        return await _whole(pool, event, with_rest=not body_only)

    whole = with_store(body)
    found = whole["event"]
    assert isinstance(found, Event)
    if body_only:
        typer.get_binary_stream("stdout").write(found.body)
    elif json:
        terminal.print_json(_show_json(found, whole))
    else:
        _print_event(found, whole)


@app.command()
def replay(
    events: Annotated[list[str] | None, typer.Argument(help="Event ids; or choose by the options.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Event type, * for any part: payout.*.")] = None,
    lane: LaneName = None,
    account: Account = None,
    merchant: MerchantKey = None,
    state: State = None,
    since: Since = None,
    until: Until = None,
    notify: Annotated[
        bool, typer.Option("--notify", help="Also send again what was delivered or given up for these events.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Route events again. The ledger stays right, and whoever was notified is not notified again (but see --notify)."""
    if not any((events, type_, lane, account, merchant, state, since, until)):
        raise typer.BadParameter("name events, or choose them with --type, --state, --since …")

    async def body(pool: Pool, _settings: Settings) -> dict[str, int]:
        chosen = await _filter(
            pool,
            type_=type_,
            lane=lane,
            account=account,
            merchant=merchant,
            object_=None,
            state=state,
            live=None,
            since=since,
            until=until,
            ids=events,
        )
        chosen = replace(chosen, routed=True)
        total = await store.count(pool, chosen)
        if events and total < len(set(events)):
            await _check_routed(pool, events)
        again = await _would_send(pool, chosen) if notify and (dry_run or not yes) else 0
        if dry_run:
            return {"events": total, "queued": 0, "deliveries": again}
        if total > 1 or again > 1:
            sending = f" and send {again} notifications of them again" if notify else ""
            sure(f"replay {total} events{sending}", yes=yes, json=json)
        return await _replay(pool, chosen, total, notify=notify)

    result = with_store(body)
    if json:
        terminal.print_json(result | {"dry_run": dry_run})
        return
    if dry_run:
        sending = f", and {result['deliveries']} notifications of them sent again" if notify else ""
        terminal.say(f"{result['events']} events would be replayed{sending}.")
        return
    again = f" {result['deliveries']} deliveries are sent again." if notify else ""
    terminal.say(
        f"{result['queued']} of {result['events']} events queued; the others are in the queue already.{again}"
        if result["queued"] < result["events"]
        else f"{result['queued']} events queued.{again}"
    )


@lanes_app.command("list")
def lanes_list(json: Json = False) -> None:
    """List the lane table. The most specific pattern wins; types that none fits are standard."""

    async def body(pool: Pool, _settings: Settings) -> dict[str, Lane]:
        return dict(await store.lane_rules(pool))

    rules = with_store(body)
    if json:
        terminal.print_json({"lanes": {pattern: lane.label for pattern, lane in rules.items()}})
        return
    rows = sorted(rules.items(), key=lambda rule: (rule[1], rule[0]))
    terminal.print_table(
        ("LANE", "PATTERN"),
        ((lane.label, pattern) for pattern, lane in rows),
        empty="No rules: everything is standard.",
    )


@lanes_app.command("set")
def lanes_set(
    pattern: Annotated[str, typer.Argument(help="Event type, * for any part: invoice.*.")],
    lane: Annotated[str, typer.Argument(help="critical, standard or bulk.")],
    json: Json = False,
) -> None:
    """Put event types into a lane, for events that come from now on."""
    chosen = _lane(lane)
    checked_events([pattern])

    async def body(pool: Pool, _settings: Settings) -> None:
        await store.set_lane_rule(pool, pattern, chosen)

    with_store(body)
    if json:
        terminal.print_json({"pattern": pattern, "lane": chosen.label})
        return
    terminal.say(f"{pattern} is {chosen.label} from now on.")


@lanes_app.command("clear")
def lanes_clear(
    pattern: Annotated[str, typer.Argument(help="The pattern, as `lanes list` shows it.")], json: Json = False
) -> None:
    """Take a pattern out of the lane table."""

    async def body(pool: Pool, _settings: Settings) -> bool:
        return await store.clear_lane_rule(pool, pattern)

    if not with_store(body):
        raise typer.BadParameter(f"there is no rule {pattern!r}; `holdfast lanes list` shows them")
    if json:
        terminal.print_json({"pattern": pattern, "removed": True})
        return
    terminal.say(f"{pattern} has no rule of its own any more.")


def _lane(name: str) -> Lane:
    try:
        return Lane[name.upper()]
    except KeyError:
        raise typer.BadParameter(f"{name!r} is not a lane: critical, standard or bulk") from None


async def _filter(
    pool: Pool,
    *,
    type_: str | None,
    lane: str | None,
    account: str | None,
    merchant: str | None,
    object_: str | None,
    state: str | None,
    live: bool | None,
    since: str | None,
    until: str | None,
    ids: list[str] | None = None,
) -> Filter:
    if state is not None and state not in STATES:
        raise typer.BadParameter(f"{state!r} is not a state: {', '.join(STATES)}")
    return Filter(
        ids=ids or None,
        type=type_,
        lane=_lane(lane) if lane else None,
        account=account,
        merchant_id=(await find(pool, merchant)).id if merchant else None,
        object_id=object_,
        livemode=live,
        since=read_optional_time(since),
        until=read_optional_time(until),
        state=state,
    )


def _event_json(row: asyncpg.Record, keys: dict[int, str]) -> dict[str, object]:
    merchant_id = row["merchant_id"]
    return dict(row) | {"lane": Lane(row["lane"]).label, "merchant": keys.get(merchant_id)}


async def _whole(pool: Pool, event_id: str, *, with_rest: bool) -> dict[str, object]:
    event = await store.show(pool, event_id)
    if event is None:
        raise CommandError(f"there is no event {event_id} in the inbox; `holdfast reconcile` fetches what is missing")
    if not with_rest:
        return {"event": event}
    return {
        "event": event,
        "duplicates": await store.duplicates(pool, event.provider, event.event_id),
        "live": event.seq in await queue.live(pool, Stage.ROUTE, [event.seq]),
        "done": (await queue.outcomes(pool, Stage.ROUTE, [event.seq])).get(event.seq),
        "deliveries": await deliveries.listing(
            pool, deliveries.Filter(event_seqs=[event.seq]), limit=1000, before=None
        ),
    }


def _show_json(event: Event, whole: dict[str, object]) -> dict[str, object]:
    done = whole["done"]
    sent = whole["deliveries"]
    assert isinstance(sent, list)
    return {
        "event": {
            "seq": event.seq,
            "provider": event.provider,
            "event_id": event.event_id,
            "type": event.type,
            "lane": event.lane.label,
            "object_id": event.object_id,
            "account": event.account,
            "livemode": event.livemode,
            "created_at": event.created_at,
            "received_at": event.received_at,
            "headers": msgspec.json.decode(event.headers),
            "body": event.body.decode(errors="replace"),
        },
        "duplicates": whole["duplicates"],
        "live": whole["live"],
        "done": dict(done) if isinstance(done, asyncpg.Record) else None,
        "deliveries": [dict(row) | {"lane": Lane(row["lane"]).label} for row in sent],
    }


def _print_event(event: Event, whole: dict[str, object]) -> None:
    duplicates, done, sent = whole["duplicates"], whole["done"], whole["deliveries"]
    assert isinstance(duplicates, list)
    assert isinstance(sent, list)
    state = "in the queue" if whole["live"] else "unknown"
    if isinstance(done, asyncpg.Record):
        note = f" ({done['note']})" if done["note"] else ""
        again = ", and in the queue again" if whole["live"] else ""
        state = f"{done['outcome']}{note} at {terminal.moment(done['done_at'])}{again}"
    terminal.print_fields(
        (
            ("Event", f"{event.event_id}  #{event.seq}"),
            ("Type", f"{event.type} ({event.lane.label})"),
            ("About", event.object_id),
            ("Account", event.account),
            ("Mode", "live" if event.livemode else "test"),
            ("Created", event.created_at),
            ("Received", event.received_at),
            (
                "Sent again",
                f"{len(duplicates)} times, last at {terminal.moment(duplicates[-1])}" if duplicates else None,
            ),
            ("Routing", state),
        )
    )
    terminal.say("")
    terminal.print_table(
        (">DELIVERY", ">DESTINATION", "STATE", ">TRIES", "NOTE"),
        (
            (row["id"], row["destination_id"], terminal.status(row["state"]), row["attempts"], row["note"] or "")
            for row in sent
        ),
        empty="No destination asked for it.",
    )
    terminal.say("")
    terminal.out.print(event.body.decode(errors="replace"), markup=False)


async def _would_send(pool: Pool, chosen: Filter) -> int:
    """How many notifications there are of the chosen events."""
    sent = after = 0
    while rows := await store.matching(pool, chosen, after=after, limit=inbox_replay.CHUNK):
        after = rows[-1]["seq"]
        sent += await deliveries.count(pool, deliveries.Filter(event_seqs=[row["seq"] for row in rows]))
    return sent


async def _check_routed(pool: Pool, events: list[str]) -> None:
    """Raises CommandError where one of them is not there, or of those that nothing routes."""
    held = await store.providers(pool, events)
    missing = sorted(set(events) - {event_id for event_id, _ in held})
    if missing:
        raise CommandError(f"not in the inbox: {', '.join(missing)}; `holdfast reconcile` fetches what is missing")
    kept = sorted(set(events) - {event_id for event_id, provider in held if provider == ROUTED})
    if kept:
        raise CommandError(
            f"not routed, so there is nothing to replay: {', '.join(kept)}; callbacks and messages of ours are done"
            " once they are kept. `holdfast deliveries replay` sends again what was delivered for them"
        )


async def _replay(pool: Pool, chosen: Filter, total: int, *, notify: bool) -> dict[str, int]:
    queued = again = looked = 0
    with terminal.progress() as progress:
        task = progress.add_task("Replaying", total=total)
        async for seqs, added in inbox_replay.replay(pool, chosen):
            queued, looked = queued + added, looked + len(seqs)
            if notify:
                async for _, sent in delivery_replay.replay(pool, deliveries.Filter(event_seqs=seqs)):
                    again += sent
            progress.advance(task, len(seqs))
    await hint(pool, ROUTE)
    if again:
        await hint(pool, DELIVER)
    return {"events": looked, "queued": queued, "deliveries": again}
