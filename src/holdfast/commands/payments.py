"""`holdfast payments …`"""

from datetime import datetime
from typing import Annotated

import asyncpg
import typer

from holdfast.commands import terminal
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, Limit, Since, Until, read_optional_time
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.money import money
from holdfast.payments import store
from holdfast.payments.model import KINDS, Entry
from holdfast.payments.store import Filter

app = typer.Typer()

MerchantKey = Annotated[str | None, typer.Option(help="A merchant's key.")]
Live = Annotated[bool | None, typer.Option("--live/--test", help="Only live mode, or only test mode.")]


@app.command("list")
def listing(
    kind: Annotated[str | None, typer.Option(help=f"One of {', '.join(KINDS)}.")] = None,
    status: Annotated[str | None, typer.Option(help="The provider's word: succeeded, failed, open ….")] = None,
    merchant: MerchantKey = None,
    account: Annotated[str | None, typer.Option(help="Connected account, acct_….")] = None,
    live: Live = None,
    since: Since = None,
    until: Until = None,
    after: Annotated[str | None, typer.Option(help="Go on behind this id.")] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List payment objects, newest first."""
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is not a kind: {', '.join(KINDS)}")

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Entry], dict[int, str]]:
        chosen = Filter(
            kind=kind,
            status=status,
            merchant_id=(await find(pool, merchant)).id if merchant else None,
            account=account,
            livemode=live,
            since=read_optional_time(since),
            until=read_optional_time(until),
        )
        found = await store.listing(pool, chosen, limit=limit, before=await _cursor(pool, after))
        return found, {m.id: m.key for m in await merchants.merchants(pool)}

    found, keys = with_store(body)
    if json:
        terminal.print_json({"payments": [_json(item, keys) for item in found]})
        return
    terminal.print_table(
        ("CREATED", "ID", "KIND", "MERCHANT", "MODE", "STATUS", ">AMOUNT", ">SETTLED", ">BACK", "LAST EVENT"),
        (
            (
                item.created_at,
                item.id,
                item.kind,
                keys.get(item.merchant_id, item.account or "(company)"),
                _mode(item.livemode),
                item.state.status,
                _money(item.state.amount, item),
                _money(item.state.settled, item),
                _money(item.state.reversed, item) if item.state.reversed else "",
                item.last_event_at,
            )
            for item in found
        ),
        empty="No payments like that."
        if any((kind, status, merchant, account, since, until)) or live is not None
        else "The ledger is empty: no payment event has been routed yet.",
    )
    if len(found) == limit:
        terminal.note(f"There may be more: --after {found[-1].id}")


@app.command()
def show(
    payment: Annotated[str, typer.Argument(help="The object's id: pi_…, ch_…, in_….")], json: Json = False
) -> None:
    """Show one payment object: its state, what belongs to it, and its events."""

    async def body(pool: Pool, _settings: Settings) -> tuple[Entry, list[Entry], list[asyncpg.Record], dict[int, str]]:
        found = (await store.find(pool, [payment])).get(payment)
        if found is None:
            raise CommandError(f"there is no {payment} in the ledger; `holdfast payments list` shows what is")
        events = await inbox.listing(pool, inbox.Filter(object_id=payment), limit=1000, before=None)
        keys = {m.id: m.key for m in await merchants.merchants(pool)}
        return found, await store.parts(pool, payment), events, keys

    found, parts, events, keys = with_store(body)
    if json:
        terminal.print_json(
            {
                "payment": _json(found, keys),
                "parts": [_json(part, keys) for part in parts],
                "events": [
                    {name: row[name] for name in ("event_id", "type", "created_at", "received_at", "state")}
                    for row in events
                ],
            }
        )
        return
    terminal.print_fields(
        (
            ("Payment", f"{found.id} ({found.kind})"),
            ("Merchant", keys.get(found.merchant_id)),
            ("Account", found.account),
            ("Mode", _mode(found.livemode)),
            ("Status", found.state.status),
            ("Amount", _money(found.state.amount, found)),
            ("Settled", _money(found.state.settled, found)),
            ("Went back", _money(found.state.reversed, found) if found.state.reversed else None),
            ("Belongs to", found.state.belongs_to),
            ("Created", found.created_at),
            ("First event", f"{found.first_event} at {terminal.moment(found.first_event_at)}"),
            ("Last event", f"{found.last_event} at {terminal.moment(found.last_event_at)}"),
        )
    )
    if parts:
        terminal.say("")
        terminal.print_table(
            ("PART", "KIND", "STATUS", ">AMOUNT"),
            ((part.id, part.kind, part.state.status, _money(part.state.amount, part)) for part in parts),
            empty="",
        )
    terminal.say("")
    terminal.print_table(
        ("CREATED", "EVENT", "TYPE", "STATE"),
        (
            (row["created_at"], row["event_id"], row["type"], terminal.status(row["state"] or "live"))
            for row in sorted(events, key=lambda row: (row["created_at"], row["seq"]))
        ),
        empty="Its events are older than the retention.",
    )


@app.command()
def totals(
    merchant: MerchantKey = None, live: Live = None, since: Since = None, until: Until = None, json: Json = False
) -> None:
    """Sums by mode, kind, status and currency."""

    async def body(pool: Pool, _settings: Settings) -> list[asyncpg.Record]:
        return await store.totals(
            pool,
            Filter(
                merchant_id=(await find(pool, merchant)).id if merchant else None,
                livemode=live,
                since=read_optional_time(since),
                until=read_optional_time(until),
            ),
        )

    rows = with_store(body)
    if json:
        numbers = ("count", "amount", "settled", "reversed")
        terminal.print_json(
            {
                "totals": [
                    {name: row[name] for name in ("livemode", "kind", "status", "currency")}
                    | {name: int(row[name] or 0) for name in numbers}
                    for row in rows
                ]
            }
        )
        return
    terminal.print_table(
        ("MODE", "KIND", "STATUS", ">COUNT", ">AMOUNT", ">SETTLED", ">BACK"),
        (
            (
                _mode(row["livemode"]),
                row["kind"],
                row["status"],
                row["count"],
                *(
                    money(int(row[name]), row["currency"]) if row[name] is not None and row["currency"] else ""
                    for name in ("amount", "settled", "reversed")
                ),
            )
            for row in rows
        ),
        empty="No payments like that."
        if any((merchant, since, until)) or live is not None
        else "The ledger is empty: no payment event has been routed yet.",
    )


async def _cursor(pool: Pool, after: str | None) -> tuple[datetime, str] | None:
    if after is None:
        return None
    found = (await store.find(pool, [after])).get(after)
    if found is None:
        raise CommandError(f"there is no {after} in the ledger to go on behind")
    return found.created_at, found.id


def _mode(livemode: bool) -> str:
    return "live" if livemode else "test"


def _money(amount: int | None, item: Entry) -> str | None:
    if amount is None:
        return None
    return money(amount, item.state.currency) if item.state.currency else str(amount)


def _json(item: Entry, keys: dict[int, str]) -> dict[str, object]:
    state = item.state
    return {
        "id": item.id,
        "kind": item.kind,
        "merchant": keys.get(item.merchant_id),
        "account": item.account,
        "livemode": item.livemode,
        "status": state.status,
        "currency": state.currency,
        "amount": state.amount,
        "amount_settled": state.settled,
        "amount_reversed": state.reversed,
        "belongs_to": state.belongs_to,
        "created_at": item.created_at,
        "first_event": item.first_event,
        "first_event_at": item.first_event_at,
        "last_event": item.last_event,
        "last_event_at": item.last_event_at,
    }
