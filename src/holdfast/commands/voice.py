"""`holdfast voice …`: how calls go through numbers, regions and targets, and what Twilio's Debugger says."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.text import Text

from holdfast.commands import terminal
from holdfast.commands.options import Json, Limit, read_duration
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.voice import debugger_store
from holdfast.voice.debugger import meaning
from holdfast.voice.debugger_store import CodeCount, KeptAlert
from holdfast.voice.health import dated
from holdfast.voice.health import health as lines_of
from holdfast.voice.health_api import alerts_document, health_document
from holdfast.voice.isolation import Isolation, isolation
from holdfast.voice.model import LineHealth

app = typer.Typer()
LONGEST = timedelta(days=1)
_COLOURS = {"ill": "red", "well": "green"}

Window = Annotated[str, typer.Option("--window", help="Over the last: 15m, 1h; 1d at most.", metavar="TIME")]


@app.command()
def health(
    everything: Annotated[bool, typer.Option("--all", help="Also what nothing failed of.")] = False,
    window: Window = "15m",
    json: Json = False,
) -> None:
    """Regions, numbers and targets: what could not be put through, the bound of that share, and who is ill.

    A line is ill once the share that fails is above 35 % very probably, not by bad luck: three failures of three are
    not enough, five of five are. `holdfast levers` turns calls away from what is ill.
    """
    length = _length(window)

    async def body(pool: Pool, _settings: Settings) -> tuple[list[LineHealth], Isolation]:
        now = terminal.utc_now()
        lines = await dated(pool, await lines_of(pool, now, window=length), now)
        return lines, await isolation(pool, now, window=length)

    lines, reach = with_store(body)
    shown = [line for line in lines if everything or line.failed or line.alerts or line.verdict == "ill"]
    if json:
        terminal.print_json(health_document(shown, reach))
        return
    terminal.say(reach.said)
    terminal.print_table(
        ("KIND", "LINE", ">TRIED", ">ANSWERED", ">FAILED", ">FAIL BETWEEN", "VERDICT", "SINCE", "ALERTS"),
        (_row(line) for line in shown),
        empty="Nothing failed." if lines else "No call was put through to anybody in this time.",
    )


def _row(line: LineHealth) -> tuple[object, ...]:
    codes = ", ".join(f"{code} x{count}" for code, count in sorted(line.alerts.items()))
    between = f"{100 * line.low:.0f}-{100 * line.high:.0f} %"
    said = Text(line.verdict, style=_COLOURS.get(line.verdict, ""))
    return (line.kind, line.key, line.tried, line.answered, line.failed, between, said, line.since, codes or "-")


@app.command()
def alerts(
    since: Window = "1h",
    code: Annotated[int | None, typer.Option(help="Only this code, such as 11200.")] = None,
    phone: Annotated[str | None, typer.Option(help="Only of this number of ours, in E.164.")] = None,
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """What Twilio's Debugger says: by code, with whose trouble it is, and one by one."""
    length = read_duration(since)

    async def body(pool: Pool, _settings: Settings) -> tuple[list[CodeCount], list[KeptAlert]]:
        now = terminal.utc_now()
        grouped = await debugger_store.by_code(pool, now - length, now)
        listed = await debugger_store.alerts(pool, now - length, now, code=code, phone=phone, limit=limit)
        return grouped, listed

    grouped, listed = with_store(body)
    if json:
        terminal.print_json(alerts_document(grouped, listed))
        return
    terminal.print_table(
        (">CODE", ">TIMES", "WHOSE", "PRODUCT", "WHAT IT MEANS", ">NUMBERS", "LAST"),
        (
            (one.code, one.count, meant.whose, meant.product, meant.said, one.phones, one.last_at)
            for one in grouped
            for meant in (meaning(one.code, is_foreign=one.is_foreign),)
        ),
        empty="The Debugger says nothing.",
    )
    if not listed:
        return
    terminal.say("")
    terminal.print_table(
        ("AT", ">CODE", "LEVEL", "NUMBER", "REGION", "TARGET", "RESOURCE", "SAID"),
        (
            (one.at, one.code, one.level, one.phone, one.region, one.target, one.resource, one.said[:80])
            for one in listed
        ),
        empty="",
    )


def _length(text: str) -> timedelta:
    length = read_duration(text)
    if length > LONGEST:
        raise CommandError(f"{text} is too long; ask for 1d at most")
    return length
