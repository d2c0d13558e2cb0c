"""`holdfast levers ramp`, `ramps`, `stop-ramp`."""

import getpass
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json, Limit, read_duration
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.levers import ramp_store, store
from holdfast.levers.model import Change
from holdfast.levers.ramp import HOLD, STEPS, Ramp
from holdfast.levers.turning import Turner, written_plan
from holdfast.merchants.names import Names

Reason = Annotated[str, typer.Option("--reason", "-r", help="Why: for whoever finds it.")]


def start(
    name: Annotated[str, typer.Argument(help="The lever: one of `holdfast levers list --all`.")],
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", metavar="TARGET", help="As for `set`; merchant:* is all. Repeatable."),
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="VALUE", help="The value to come to; else the default.")] = None,
    steps: Annotated[str, typer.Option(metavar="PERCENTS", help="Parts of the way.")] = ",".join(map(str, STEPS)),
    hold: Annotated[str, typer.Option(metavar="TIME", help="How long each step is held.")] = f"{HOLD:.0f}s",
    guard: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GUARD",
            help="What must be well: 'database.round_trip<0.1'; see `holdfast signals list`. Repeatable.",
        ),
    ] = None,
    unguarded: Annotated[bool, typer.Option("--unguarded", help="By the clock alone.")] = False,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Bring a lever back in steps while its guards say that all is well; it steps back when they are clearly worse."""
    if unguarded and guard:
        raise typer.BadParameter("give --guard or --unguarded, not both")
    guards = [] if unguarded else guard

    async def body(pool: Pool, settings: Settings) -> tuple[Ramp, dict[str, str]]:
        turner = Turner(pool, settings, Names(pool))
        ramp = await turner.start_ramp(
            name,
            target or [],
            to=to,
            steps=_percents(steps),
            hold=read_duration(hold).total_seconds(),
            guards=guards,
            actor=getpass.getuser(),
            reason=reason,
        )
        return ramp, await _names(turner, [ramp])

    ramp, names = with_store(body)
    if json:
        terminal.print_json(_json(ramp, names))
        return
    terminal.say(f"Ramp {ramp.id} brings {name} back {written_plan(ramp.plan)}, each held for {ramp.plan.hold:.0f} s.")
    if ramp.plan.guards:
        terminal.say(f"It is guarded by {', '.join(str(one) for one in ramp.plan.guards)}.")
    terminal.note(f"See `holdfast levers ramps {ramp.id}`; stop it with `holdfast levers stop-ramp {ramp.id}`.")


def listing(
    number: Annotated[
        int | None, typer.Argument(min=1, max=2**62, help="Only this one, with each of its steps.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """Ramps: where they are, and what they wait for."""
    if number is not None:
        _show(number, limit, json=json)
        return

    async def body(pool: Pool, settings: Settings) -> tuple[list[Ramp], dict[str, str]]:
        found = await ramp_store.ramps(pool, None if all_ else "running", limit)
        return found, await _names(Turner(pool, settings, Names(pool)), found)

    ramps, names = with_store(body)
    if json:
        terminal.print_json({"ramps": [_json(ramp, names) for ramp in ramps]})
        return
    terminal.print_table(
        (">#", "LEVER", "TARGET", "STATE", ">AT", "SINCE", "BY", "WHY", "NOW"),
        (
            (
                ramp.id,
                ramp.plan.lever.name,
                names.get(ramp.targets, ramp.targets),
                ramp.state,
                f"{ramp.percent} %",
                ramp.since,
                ramp.actor,
                ramp.reason,
                ramp.note,
            )
            for ramp in ramps
        ),
        empty="No ramp is running." if not all_ else "There was no ramp yet.",
    )


def stop(
    number: Annotated[int, typer.Argument(min=1, max=2**62, help="As `holdfast levers ramps` shows.")],
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Stop a ramp; the lever stays where it is, until it is cleared."""

    async def body(pool: Pool, settings: Settings) -> tuple[Ramp, dict[str, str]]:
        turner = Turner(pool, settings, Names(pool))
        ramp = await turner.stop_ramp(number, actor=getpass.getuser(), reason=reason)
        return ramp, await _names(turner, [ramp])

    ramp, names = with_store(body)
    if json:
        terminal.print_json(_json(ramp, names))
        return
    terminal.say(f"Ramp {number} stopped at {ramp.percent} %; {ramp.plan.lever.name} stays so until it is cleared.")


def _show(number: int, limit: int, *, json: bool) -> None:
    async def body(pool: Pool, settings: Settings) -> tuple[Ramp | None, Sequence[Change], dict[str, str]]:
        ramp = await ramp_store.ramp(pool, number)
        if ramp is None:
            raise CommandError(f"there is no ramp {number}; see `holdfast levers ramps --all`")
        names = await _names(Turner(pool, settings, Names(pool)), [ramp])
        return ramp, await store.history(pool, None, limit, ramp_id=number), names

    ramp, log, names = with_store(body)
    assert ramp is not None
    if json:
        terminal.print_json(_json(ramp, names) | {"log": [asdict(change) for change in log]})
        return
    terminal.print_fields(
        (
            ("lever", ramp.plan.lever.name),
            ("target", ", ".join(names[str(one)] for one in ramp.plan.targets if str(one)) or None),
            ("way", written_plan(ramp.plan)),
            ("hold", f"{ramp.plan.hold:.0f} s"),
            ("guards", ", ".join(str(guard) for guard in ramp.plan.guards) or "none"),
            ("by", f"{ramp.actor}: {ramp.reason}" if ramp.reason else ramp.actor),
            ("state", f"{ramp.state}, at {ramp.percent} % since {terminal.moment(ramp.since)}"),
            ("now", ramp.note or None),
        )
    )
    terminal.say("")
    terminal.print_table(
        ("AT", "WHAT", ">AT", "WHY", "GUARDS"),
        (
            (one.at, one.what, f"{one.percent} %", one.reason, _seen(one.evidence))
            for one in log
            if one.what.startswith("ramp ")
        ),
        empty="It has done nothing yet.",
    )


def _seen(evidence: Any) -> str:
    """What the guards saw at a step."""
    return ", ".join(f"{row['guard']}: {_value(row['value'])}" for row in evidence or ())


def _value(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


async def _names(turner: Turner, ramps: Sequence[Ramp]) -> dict[str, str]:
    return await turner.shown(str(target) for ramp in ramps for target in ramp.plan.targets)


def _json(ramp: Ramp, names: dict[str, str]) -> dict[str, Any]:
    plan = ramp.plan
    return {
        "id": ramp.id,
        "name": plan.lever.name,
        "targets": [names[str(target)] for target in plan.targets],
        "origin": plan.origin,
        "goal": plan.goal,
        "steps": plan.steps,
        "hold": plan.hold,
        "guards": [str(guard) for guard in plan.guards],
        "state": ramp.state,
        "percent": ramp.percent,
        "since": ramp.since,
        "note": ramp.note,
        "actor": ramp.actor,
        "reason": ramp.reason,
        "started_at": ramp.started_at,
        "ended_at": ramp.ended_at,
    }


def _percents(text: str) -> list[int]:
    parts = [part.strip().removesuffix("%").strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() and len(part) <= 3 for part in parts):
        raise typer.BadParameter(f"{text!r} are no percents: write 10,25,50,100")
    return [int(part) for part in parts]
