"""`holdfast reports …`"""

import getpass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json, Limit, Since, read_time
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.watch import store
from holdfast.watch.model import KINDS, SOURCES, Report

app = typer.Typer()
_DAY = timedelta(days=1)


@app.command()
def add(
    kind: Annotated[str, typer.Argument(help=f"What it is of: {', '.join(KINDS)}.")],
    text: Annotated[str, typer.Argument(help="What they say, in a sentence.")],
    source: Annotated[str, typer.Option("--from", help=f"Who: {', '.join(SOURCES)}.")] = "merchant",
    merchant: Annotated[str | None, typer.Option(help="The merchant's key.")] = None,
    at: Annotated[str, typer.Option(metavar="TIME", help="When: 10m (ago), or 2026-11-24T15:30.")] = "now",
    json: Json = False,
) -> None:
    """Enter what a merchant or customer reported: health_watch takes it as evidence for half an hour."""
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is no kind of report; there are {', '.join(KINDS)}")
    if source not in SOURCES:
        raise typer.BadParameter(f"{source!r} is nobody who reports; there are {', '.join(SOURCES)}")
    when = read_time(at)

    async def body(pool: Pool, _settings: Settings) -> Report:
        merchant_id = None
        if merchant is not None:
            known = {one.key: one.id for one in await merchants.merchants(pool)}
            if merchant not in known:
                raise CommandError(f"there is no merchant {merchant!r}; see `holdfast merchants list`")
            merchant_id = known[merchant]
        return await store.file(pool, kind, source, merchant_id, text[:2000], actor=getpass.getuser(), at=when)

    made = with_store(body)
    if json:
        terminal.print_json(made)
        return
    terminal.say(f"Report {made.id} is taken: {kind}, from a {source}.")


@app.command("list")
def listing(since: Since = None, limit: Limit = 50, json: Json = False) -> None:
    """What was reported, newest first; of the last day unless --since says otherwise."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Report], dict[int, str]]:
        begin = read_time(since) if since is not None else datetime.now(UTC) - _DAY
        keys = {one.id: one.key for one in await merchants.merchants(pool)}
        return await store.reports(pool, begin, limit), keys

    found, keys = with_store(body)
    if json:
        rows: list[dict[str, Any]] = [
            {"id": one.id, "at": one.at, "kind": one.kind, "source": one.source, "text": one.text, "actor": one.actor}
            | {"merchant": keys.get(one.merchant_id or 0)}
            for one in found
        ]
        terminal.print_json({"reports": rows})
        return
    terminal.print_table(
        (">#", "AT", "OF", "FROM", "MERCHANT", "WHAT THEY SAY", "ENTERED BY"),
        ((one.id, one.at, one.kind, one.source, keys.get(one.merchant_id or 0), one.text, one.actor) for one in found),
        empty="Nobody reported anything.",
    )
