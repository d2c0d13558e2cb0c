"""`holdfast levers …`"""

import getpass
from dataclasses import asdict
from typing import Annotated

import typer

from holdfast.commands import ramps, terminal
from holdfast.commands.options import Json, Limit, read_duration
from holdfast.commands.session import with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.levers import store
from holdfast.levers.model import LEVERS, VOICE, Change, Cleared, Turned, Value, lever, written
from holdfast.levers.turning import Turner
from holdfast.merchants.names import Names
from holdfast.voice.reach import Reach, reach

app = typer.Typer()
app.command("ramp")(ramps.start)
app.command("ramps")(ramps.listing)
app.command("stop-ramp")(ramps.stop)

Name = Annotated[str, typer.Argument(help="One of `holdfast levers list --all`.")]
On = Annotated[
    str,
    typer.Option(
        "--target",
        "-t",
        metavar="TARGET",
        help="lane:bulk, stage:deliver, merchant:KEY, destination:ID, pool:web/general; of calls also region:US, "
        "number:+1…, target:+1….",
    ),
]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why: for whoever finds it turned.")]


@app.command("list")
def listing(
    all_: Annotated[bool, typer.Option("--all", help="Also those at their default.")] = False, json: Json = False
) -> None:
    """What is turned, by whom, why, and until when."""

    async def body(pool: Pool, settings: Settings) -> tuple[list[Turned], dict[str, str]]:
        found = await store.current(pool)
        return found, await Turner(pool, settings, Names(pool)).shown(one.target for one in found)

    turned, names = with_store(body)
    if json:
        known = [
            {"name": one.name, "what": one.what, "targets": one.targets, "values": one.values}
            for one in LEVERS.values()
        ]
        rows = [asdict(one) | {"target": names[one.target]} for one in turned]
        terminal.print_json({"turned": rows, "levers": known})
        return
    terminal.print_table(
        ("LEVER", "TARGET", "VALUE", "SINCE", "UNTIL", "BY", "WHY"),
        (
            (
                one.name,
                names[one.target],
                _word(one.value),
                one.set_at,
                one.expires_at or "cleared",
                one.actor,
                one.reason,
            )
            for one in turned
        ),
        empty="Every lever is at its default.",
    )
    if all_:
        terminal.say("")
        terminal.print_table(
            ("LEVER", "VALUES", "TARGETS", "WHAT IT DOES"),
            (
                (one.name, one.values, ", ".join(f"{t}:…" for t in one.targets if t), one.what)
                for one in LEVERS.values()
            ),
            empty="",
        )


@app.command("set")
def turn(
    name: Name,
    value: Annotated[str, typer.Argument(help="A number, on or off, or a word.")],
    target: On = "",
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Undo it by itself after 30m, 2h, 1d.")
    ] = None,
    reason: Reason = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would be, and of a lever of calls whom it touches.")
    ] = False,
    json: Json = False,
) -> None:
    """Turn a lever; every process heeds it within a second. A lever of calls shows first whom it touches."""
    lasts = read_duration(for_) if for_ is not None else None

    async def body(pool: Pool, settings: Settings) -> tuple[Turned | None, Reach | None]:
        turner = Turner(pool, settings, Names(pool))
        chosen, on = await turner.read(name, target)
        percent = chosen.read(value)
        touched = await reach(pool, name, on, int(percent)) if chosen in VOICE else None
        if touched is not None and not json:
            terminal.say(f"{'It would touch' if dry_run else 'It touches'} {touched}.")
        if dry_run:
            return None, touched
        by = getpass.getuser()
        return await turner.turn(name, target, value, actor=by, reason=reason, lasts=lasts), touched

    turned, touched = with_store(body)
    if json:
        reached = {"reach": asdict(touched)} if touched is not None else {}
        would = {"name": name, "target": target, "value": lever(name).read(value), "dry_run": True}
        terminal.print_json((asdict(turned) if turned is not None else would) | reached)
        return
    if turned is None:
        what = f"{name}{f' of {target}' if target else ''}"
        terminal.say(f"{what} would be {_word(lever(name).read(value))}. Nothing was changed (--dry-run).")
        return
    until = f" until {terminal.text(turned.expires_at)}" if turned.expires_at else ", until it is cleared"
    terminal.say(f"{name}{f' of {target}' if target else ''} is {_word(turned.value)}{until}.")
    if turned.incident_id is not None:
        terminal.say(f"It is off its default because of incident {turned.incident_id}, and stays in its ledger.")


@app.command()
def clear(name: Name, target: On = "", reason: Reason = "", json: Json = False) -> None:
    """Back to the default; from what was turned for an incident, to what it was before."""

    async def body(pool: Pool, settings: Settings) -> Cleared | None:
        turner = Turner(pool, settings, Names(pool))
        return await turner.clear(name, target, actor=getpass.getuser(), reason=reason)

    cleared = with_store(body)
    if json:
        back = cleared.now if cleared is not None else None
        terminal.print_json({"name": name, "target": target, "cleared": cleared is not None, "restored": back})
        return
    what = f"{name}{f' of {target}' if target else ''}"
    if cleared is None:
        terminal.say(f"{what} was at its default already.")
    elif cleared.now is None:
        terminal.say(f"{what} is at its default again.")
    else:
        terminal.say(f"{what} is {written(cleared.now.value)} again, as {cleared.now.actor} had set it.")


@app.command()
def history(
    name: Annotated[str | None, typer.Argument(help="Only this lever.")] = None, limit: Limit = 50, json: Json = False
) -> None:
    """Every turn, and what ramps did: what, by whom, why. Newest first."""

    async def body(pool: Pool, settings: Settings) -> tuple[list[Change], dict[str, str]]:
        if name is not None:
            lever(name)
        found = list(await store.history(pool, name, limit))
        return found, await Turner(pool, settings, Names(pool)).shown(one.target for one in found)

    changes, names = with_store(body)
    if json:
        terminal.print_json({"changes": [asdict(one) | {"target": names[one.target]} for one in changes]})
        return
    terminal.print_table(
        ("AT", "WHAT", "LEVER", "TARGET", "BEFORE", "NOW", "BY", "WHY"),
        (
            (
                one.at,
                one.what,
                one.name,
                names[one.target],
                _word(one.before) if one.percent is None else "",
                _word(one.value) if one.percent is None else f"{one.percent} %",
                one.actor if one.ramp_id is None else f"{one.actor} (ramp {one.ramp_id})",
                one.reason,
            )
            for one in changes
        ),
        empty="No lever was turned yet.",
    )


def _word(value: Value | None) -> str:
    return "default" if value is None else written(value)
