"""`holdfast deliveries …`"""

from typing import Annotated

import asyncpg
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
from holdfast.delivery import store
from holdfast.delivery.store import STATES, Filter
from holdfast.merchants import store as merchants
from holdfast.queue.channels import DELIVER
from holdfast.queue.model import Lane

app = typer.Typer()

MerchantKey = Annotated[str | None, typer.Option(help="A merchant's key.")]
DestinationId = Annotated[int | None, typer.Option(help="A destination's number.")]
State = Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")]


@app.command("list")
def listing(
    state: State = None,
    destination: DestinationId = None,
    merchant: MerchantKey = None,
    since: Since = None,
    until: Until = None,
    before: Annotated[int | None, typer.Option(help="Go on behind this number.")] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List deliveries, newest first. Dead letters: --state dead."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[asyncpg.Record], dict[int, str]]:
        chosen = await _filter(pool, state, destination, merchant, since, until)
        rows = await store.listing(pool, chosen, limit=limit, before=before)
        return rows, {m.id: m.key for m in await merchants.merchants(pool)}

    rows, keys = with_store(body)
    if json:
        terminal.print_json({"deliveries": [_json(row, keys) for row in rows]})
        return
    terminal.print_table(
        (">ID", "PLANNED", "EVENT", "TYPE", "MERCHANT", ">DESTINATION", "STATE", ">TRIES", "NEXT TRY", "NOTE"),
        (
            (
                row["id"],
                row["created_at"],
                row["event_id"],
                row["type"],
                keys.get(row["merchant_id"], "(company)"),
                row["destination_id"],
                terminal.status(row["state"]),
                row["attempts"],
                row["next_try"] or "",
                row["note"] or "",
            )
            for row in rows
        ),
        empty="No deliveries like that." if state or destination or merchant else "Nothing was to be delivered yet.",
    )
    if len(rows) == limit:
        terminal.note(f"There may be more: --before {rows[-1]['id']}")


@app.command()
def show(delivery: Annotated[int, typer.Argument(help="The delivery's number.")], json: Json = False) -> None:
    """Show one delivery and every try of it."""

    async def body(pool: Pool, _settings: Settings) -> tuple[asyncpg.Record, list[asyncpg.Record], dict[int, str]]:
        rows = await store.listing(pool, Filter(ids=[delivery]), limit=1, before=None)
        if not rows:
            raise CommandError(f"there is no delivery {delivery}")
        keys = await merchants.keys(pool, [rows[0]["merchant_id"]])
        return rows[0], await store.attempts(pool, delivery), keys

    row, tries, keys = with_store(body)
    if json:
        shown = [dict(t) | {"response": (t["response"] or b"").decode(errors="replace")} for t in tries]
        terminal.print_json({"delivery": _json(row, keys), "attempts": shown})
        return
    terminal.print_fields(
        (
            ("Delivery", row["id"]),
            ("Event", f"{row['event_id']} {row['type']}"),
            ("Merchant", keys.get(row["merchant_id"], "(company)")),
            ("Destination", row["destination_id"]),
            ("State", f"{row['state']}{': ' + row['note'] if row['note'] else ''}"),
            ("Next try", row["next_try"]),
        )
    )
    terminal.say("")
    terminal.print_table(
        (">TRY", "AT", "OUTCOME", ">STATUS", ">TOOK", "ERROR", "ANSWER"),
        (
            (
                t["attempt"],
                t["at"],
                terminal.status(t["outcome"]),
                t["status"],
                terminal.duration(t["latency"]),
                t["error"] or "",
                (t["response"] or b"").decode(errors="replace")[:80],
            )
            for t in tries
        ),
        empty="Not tried yet.",
    )


@app.command()
def replay(
    deliveries: Annotated[list[int] | None, typer.Argument(help="Numbers of deliveries; or choose by options.")] = None,
    state: State = None,
    destination: DestinationId = None,
    merchant: MerchantKey = None,
    since: Since = None,
    until: Until = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Send deliveries again, such as dead letters: --state dead. The receiver sees the same webhook-id."""
    if not any((deliveries, state, destination, merchant, since, until)):
        raise typer.BadParameter("name deliveries, or choose them with --state dead, --destination, --since …")

    async def body(pool: Pool, _settings: Settings) -> dict[str, int]:
        chosen = await _filter(pool, state, destination, merchant, since, until, deliveries)
        total = await store.count(pool, chosen)
        if deliveries and total < len(set(deliveries)):
            raise CommandError("some of these deliveries do not exist; `holdfast deliveries list` shows them")
        if dry_run:
            return {"deliveries": total, "queued": 0}
        if total > 1:
            sure(f"send {total} deliveries again", yes=yes, json=json)
        queued = looked = 0
        with terminal.progress() as progress:
            task = progress.add_task("Replaying", total=total)
            async for some, added in delivery_replay.replay(pool, chosen):
                queued, looked = queued + added, looked + some
                progress.advance(task, some)
        await hint(pool, DELIVER)
        return {"deliveries": looked, "queued": queued}

    result = with_store(body)
    if json:
        terminal.print_json(result | {"dry_run": dry_run})
    elif dry_run:
        terminal.say(f"{result['deliveries']} deliveries would be sent again.")
    else:
        there = result["deliveries"] - result["queued"]
        terminal.say(f"{result['queued']} deliveries queued{f'; {there} are in the queue already' if there else ''}.")


async def _filter(
    pool: Pool,
    state: str | None,
    destination: int | None,
    merchant: str | None,
    since: str | None,
    until: str | None,
    ids: list[int] | None = None,
) -> Filter:
    if state is not None and state not in STATES:
        raise typer.BadParameter(f"{state!r} is not a state: {', '.join(STATES)}")
    return Filter(
        ids=ids or None,
        destination_id=destination,
        merchant_id=(await find(pool, merchant)).id if merchant else None,
        state=state,
        since=read_optional_time(since),
        until=read_optional_time(until),
    )


def _json(row: asyncpg.Record, keys: dict[int, str]) -> dict[str, object]:
    return dict(row) | {"lane": Lane(row["lane"]).label, "merchant": keys.get(row["merchant_id"])}
