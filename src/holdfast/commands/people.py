"""`holdfast people …` and `holdfast rota …`"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json
from holdfast.commands.session import with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.incidents import people, people_store
from holdfast.incidents.model import Person, Rota

app = typer.Typer()
rota_app = typer.Typer()

Key = Annotated[str, typer.Argument(help="The person's short name in commands and messages, such as ana.")]


@app.command()
def add(
    key: Key,
    name: Annotated[str | None, typer.Option(help="The full name.")] = None,
    email: Annotated[str | None, typer.Option(help="Where to call them by mail.")] = None,
    role: Annotated[
        str | None,
        typer.Option(metavar="responder|admin", help="An admin may also answer what is for the commander."),
    ] = None,
    json: Json = False,
) -> None:
    """Add somebody to the team, or change what is named of them."""

    async def body(pool: Pool, _settings: Settings) -> tuple[Person, bool]:
        return await people.add(pool, key, name=name, email=email, role=role)

    made, is_new = with_store(body)
    if json:
        terminal.print_json(made)
        return
    called = f" by mail at {made.email}" if made.email else " through the team's channels alone: no --email is known"
    terminal.say(f"{made.key} ({made.name}) is {'on the team' if is_new else 'changed'}: {made.role}, called{called}.")


@app.command("list")
def listing(json: Json = False) -> None:
    """Who is on the team; those in the rota first, in its order."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Person], Rota | None]:
        return await people_store.people(pool), await people_store.rota(pool)

    found, rota = with_store(body)
    if json:
        terminal.print_json({"people": found})
        return
    on_call = rota.on_call(datetime.now(UTC)) if rota is not None else None
    terminal.print_table(
        ("KEY", "NAME", "E-MAIL", "ROLE", "ROTA"),
        ((one.key, one.name, one.email, one.role, _place(one, on_call)) for one in found),
        empty="Nobody is on the team yet, so anybody may do anything. Add somebody: holdfast people add ana --email …",
    )


@app.command()
def remove(key: Key, json: Json = False) -> None:
    """Take somebody off the team; what they did stays in the logs."""

    async def body(pool: Pool, _settings: Settings) -> None:
        await people.remove(pool, key)

    with_store(body)
    if json:
        terminal.print_json({"key": key, "removed": True})
        return
    terminal.say(f"{key} is no longer on the team.")


@rota_app.command()
def show(
    weeks: Annotated[int, typer.Option(min=1, max=520, help="How many.")] = 6,
    json: Json = False,
) -> None:
    """Who is on call now, and in the weeks to come."""

    async def body(pool: Pool, _settings: Settings) -> Rota | None:
        return await people_store.rota(pool)

    rota, now = with_store(body), datetime.now(UTC)
    if json:
        terminal.print_json(_json(rota, now, weeks))
        return
    _print(rota, now, weeks)


@rota_app.command("set")
def change(
    keys: Annotated[list[str], typer.Argument(metavar="KEY…", help="In the order of their weeks.")],
    handover: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="When a week of the first begins: 2026-11-30 09:00, local time unless it has a zone."
        ),
    ],
    json: Json = False,
) -> None:
    """Who is on call in turn, a week each; replaces the rota that was."""
    begins = _moment(handover)

    async def body(pool: Pool, _settings: Settings) -> Rota:
        return await people.set_rota(pool, keys, begins)

    rota, now = with_store(body), datetime.now(UTC)
    if json:
        terminal.print_json(_json(rota, now, len(rota.people) + 1))
        return
    _print(rota, now, len(rota.people) + 1)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is not a date and time: write 2026-11-30 09:00") from None


def _place(person: Person, on_call: Person | None) -> str | None:
    if person.position is None:
        return None
    return (
        f"{person.position + 1}, on call now"
        if on_call is not None and person.key == on_call.key
        else (str(person.position + 1))
    )


def _json(rota: Rota | None, now: datetime, weeks: int) -> dict[str, Any]:
    on_call = rota.on_call(now) if rota is not None else None
    return {
        "on_call": on_call.key if on_call is not None else None,
        "handover": rota.handover if rota is not None else None,
        "people": [one.key for one in rota.people] if rota is not None else [],
        "weeks": [asdict(week) | {"person": week.person.key} for week in (rota.weeks(now, weeks) if rota else ())],
    }


def _print(rota: Rota | None, now: datetime, weeks: int) -> None:
    on_call = rota.on_call(now) if rota is not None else None
    if rota is None or on_call is None:
        terminal.say('There is no rota. Set one: holdfast rota set ana ben --handover "2026-11-30 09:00"')
        return
    reached = f" ({on_call.email})" if on_call.email else ""
    terminal.say(f"On call now: {on_call.name}{reached}")
    terminal.say("")
    terminal.print_table(
        ("FROM", "UNTIL", "WHO", "NAME"),
        (
            (_zoned(week.begins), _zoned(week.ends), week.person.key, week.person.name)
            for week in rota.weeks(now, weeks)
        ),
        empty="",
    )


def _zoned(at: datetime) -> str:
    """Local time with its zone: a rota is read by people in several."""
    return at.astimezone().strftime("%a %Y-%m-%d %H:%M %Z")
