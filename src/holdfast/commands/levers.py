"""`holdfast levers …`"""

import getpass
from dataclasses import asdict
from typing import Annotated, Any

import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json, Limit, read_duration
from holdfast.commands.session import with_store
from holdfast.config import Settings
from holdfast.db.notifications import hint
from holdfast.db.pool import Pool
from holdfast.levers import store
from holdfast.levers.model import LEVERS, Change, Lever, LeverError, Target, Turned, Value, lever
from holdfast.levers.service import CHANNEL
from holdfast.merchants import store as merchants

app = typer.Typer()

Name = Annotated[str, typer.Argument(help="One of `holdfast levers list --all`.")]
On = Annotated[
    str,
    typer.Option("--target", "-t", metavar="TARGET", help="lane:bulk, stage:deliver, merchant:KEY or destination:ID."),
]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why: for whoever finds it turned.")]


@app.command("list")
def listing(
    all_: Annotated[bool, typer.Option("--all", help="Also those at their default.")] = False, json: Json = False
) -> None:
    """What is turned, by whom, why, and until when."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Turned], dict[int, str]]:
        return await store.current(pool), {found.id: found.key for found in await merchants.merchants(pool)}

    turned, keys = with_store(body)
    if json:
        known = [{"name": one.name, "what": one.what, "targets": one.targets, "values": _range(one)} for one in _all()]
        rows = [asdict(one) | {"target": _shown(one.target, keys)} for one in turned]
        terminal.print_json({"turned": rows, "levers": known})
        return
    terminal.print_table(
        ("LEVER", "TARGET", "VALUE", "SINCE", "UNTIL", "BY", "WHY"),
        (
            (
                one.name,
                _shown(one.target, keys),
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
            ((one.name, _range(one), ", ".join(f"{t}:…" for t in one.targets if t), one.what) for one in _all()),
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
    json: Json = False,
) -> None:
    """Turn a lever; every process heeds it within a second."""
    lasts = read_duration(for_) if for_ is not None else None

    async def body(pool: Pool, _settings: Settings) -> Turned:
        chosen, on = await _checked(pool, name, target)
        turned = await store.turn(
            pool, name, on, chosen.read(value), actor=getpass.getuser(), reason=reason, lasts=lasts
        )
        await hint(pool, CHANNEL)
        return turned

    turned = with_store(body)
    if json:
        terminal.print_json(turned)
        return
    until = f" until {terminal.text(turned.expires_at)}" if turned.expires_at else ", until it is cleared"
    terminal.say(f"{name}{f' of {target}' if target else ''} is {_word(turned.value)}{until}.")


@app.command()
def clear(name: Name, target: On = "", reason: Reason = "", json: Json = False) -> None:
    """Back to the default."""

    async def body(pool: Pool, _settings: Settings) -> bool:
        _, on = await _checked(pool, name, target, exists=False)
        cleared = await store.clear(pool, name, on, actor=getpass.getuser(), reason=reason)
        await hint(pool, CHANNEL)
        return cleared

    cleared = with_store(body)
    if json:
        terminal.print_json({"name": name, "target": target, "cleared": cleared})
        return
    what = f"{name}{f' of {target}' if target else ''}"
    terminal.say(f"{what} is at its default again." if cleared else f"{what} was at its default already.")


@app.command()
def history(
    name: Annotated[str | None, typer.Argument(help="Only this lever.")] = None, limit: Limit = 50, json: Json = False
) -> None:
    """Every turn: what, by whom, why. Newest first."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Change], dict[int, str]]:
        if name is not None:
            lever(name)
        found = await store.history(pool, name, limit)
        return list(found), {merchant.id: merchant.key for merchant in await merchants.merchants(pool)}

    changes, keys = with_store(body)
    if json:
        terminal.print_json({"changes": [asdict(one) | {"target": _shown(one.target, keys)} for one in changes]})
        return
    terminal.print_table(
        ("AT", "WHAT", "LEVER", "TARGET", "BEFORE", "NOW", "BY", "WHY"),
        (
            (
                one.at,
                one.what,
                one.name,
                _shown(one.target, keys),
                _word(one.before),
                _word(one.value),
                one.actor,
                one.reason,
            )
            for one in changes
        ),
        empty="No lever was turned yet.",
    )


async def _checked(pool: Pool, name: str, target: str, *, exists: bool = True) -> tuple[Lever, Target]:
    """The lever and its target; a merchant is named by its key and kept by its id. Raises LeverError."""
    chosen = lever(name)
    kind, _, key = target.partition(":")
    if kind == "merchant":
        found = next((merchant for merchant in await merchants.merchants(pool) if merchant.key == key), None)
        if found is None:
            raise LeverError(f"there is no merchant {key!r}; see `holdfast merchants list`")
        target = f"merchant:{found.id}"
    on = Target.read(target)
    chosen.accept(on)
    if exists and on.kind == "destination":
        known = {destination.id for destination in await merchants.destinations(pool)}
        if int(on.key) not in known:
            raise LeverError(f"there is no destination {on.key}; see `holdfast destinations list`")
    return chosen, on


def _all() -> list[Lever]:
    return list(LEVERS.values())


def _range(one: Lever) -> str:
    return "on, off" if one.switch else ", ".join(one.choices) or f"{one.low} to {one.high}"


def _word(value: Value | None) -> Any:
    if value is None:
        return "default"
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


def _shown(target: str, keys: dict[int, str]) -> str:
    kind, _, key = target.partition(":")
    return f"merchant:{keys.get(int(key), key)}" if kind == "merchant" else target
