"""`holdfast signals …`: the named readings that guards are made of."""

from datetime import datetime
from typing import Annotated

import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json, read_time
from holdfast.commands.session import with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.signals import readings
from holdfast.signals.readings import READINGS, reading

app = typer.Typer()


@app.command("list")
def listing(json: Json = False) -> None:
    """Every named reading, and what it is now (over the last minute)."""

    async def body(pool: Pool, _settings: Settings) -> dict[str, float | None]:
        return await readings.take(pool, READINGS.values())

    found = with_store(body)
    if json:
        terminal.print_json(
            {
                "signals": [
                    {"name": one.name, "what": one.what, "unit": one.unit, "value": found[one.name]}
                    for one in READINGS.values()
                ]
            }
        )
        return
    terminal.print_table(
        ("SIGNAL", ">NOW", "WHAT IT IS"),
        ((one.name, _shown(found[one.name], one.unit), one.what) for one in READINGS.values()),
        empty="",
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="One of `holdfast signals list`.")],
    since: Annotated[str, typer.Option(help="From when on: 15m, 2h, 3d (ago).", metavar="TIME")] = "15m",
    json: Json = False,
) -> None:
    """One reading over time, by the minute or coarser."""
    chosen, begin = reading(name), read_time(since)

    async def body(pool: Pool, _settings: Settings) -> list[tuple[datetime, float | None]]:
        return await readings.series(pool, chosen, begin)

    points = with_store(body)
    if json:
        terminal.print_json(
            {
                "name": name,
                "what": chosen.what,
                "unit": chosen.unit,
                "points": [{"at": at, "value": value} for at, value in points],
            }
        )
        return
    terminal.say(chosen.what)
    terminal.print_table(
        ("UNTIL", ">" + name.upper()), ((at, _shown(value, chosen.unit)) for at, value in points), empty=""
    )


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return "unknown"
    match unit:
        case "share":
            return f"{100 * value:.1f} %"
        case "s":
            return terminal.duration(value)
        case "1/s":
            return f"{value:,.2f}/s"
    return f"{value:,.0f}"
