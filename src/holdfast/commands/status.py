"""`holdfast status …`"""

import getpass
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json, Limit
from holdfast.commands.session import CommandError, with_store
from holdfast.comms import publishing, status_board, status_store
from holdfast.comms.status import (
    COMPONENTS,
    OVERALL,
    WORDS,
    ComponentState,
    Impact,
    Status,
    StatusError,
    Update,
    UpdateState,
    compose,
)
from holdfast.comms.status_store import Subscriber
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.incidents import store as incidents

app = typer.Typer()


@app.command()
def show(json: Json = False) -> None:
    """What the page says now."""

    async def body(pool: Pool, _settings: Settings) -> Status:
        now = terminal.utc_now()
        return compose(await status_board.read(pool, now), now)

    status = with_store(body)
    if json:
        terminal.print_json(
            {
                "indicator": status.indicator,
                "components": [
                    {"key": one.component.key, "name": one.component.name, "state": one.state, "uptime": one.uptime}
                    for one in status.components
                ],
                "open": [
                    {"id": one.id, "title": one.title, "impact": one.impact, "updates": one.updates}
                    for one in status.open
                ],
                "past": len(status.incidents) - len(status.open),
                "changed_at": status.changed_at,
            }
        )
        return
    terminal.say(OVERALL[status.indicator])
    terminal.say("")
    terminal.print_table(
        ("COMPONENT", "STATE", ">UPTIME, 90 DAYS"),
        ((one.component.name, WORDS[one.state], f"{one.uptime:.2f} %") for one in status.components),
        empty="",
    )
    for incident in status.open:
        terminal.say("")
        terminal.say(f"Incident {incident.id}: {incident.title} ({incident.impact})")
        for update in reversed(incident.updates):
            terminal.say(f"  {terminal.moment(update.at)}  {WORDS[update.state]}: {update.body}")


@app.command()
def publish(
    incident: Annotated[int, typer.Argument(help="Its number; the first update makes it public.")],
    state: Annotated[str, typer.Argument(help="investigating, identified, monitoring or resolved.")],
    text: Annotated[str, typer.Argument(help="What to say, in words for the public.")],
    title: Annotated[str | None, typer.Option(help="What the incident is called in public.")] = None,
    impact: Annotated[str | None, typer.Option(help="none, minor, major or critical.")] = None,
    component: Annotated[
        list[str] | None,
        typer.Option(
            "--component",
            "-c",
            metavar="NAME=STATE",
            help=f"How {', '.join(one.key for one in COMPONENTS)} is, such as payments=partial_outage.",
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Publish once under this key, however often it is called.")] = None,
    json: Json = False,
) -> None:
    """Publish an update of an incident, and mail it to the subscribers."""
    components = dict(_pair(one) for one in component or ())

    async def body(pool: Pool, _settings: Settings) -> Update | None:
        found = await incidents.get(pool, incident)
        if found is None:
            raise CommandError(f"there is no incident {incident}")
        if found.merged_into is not None:
            raise CommandError(f"incident {incident} is part of incident {found.merged_into}: publish of that one")
        number = await publishing.publish(
            pool,
            found,
            f"command/{key or uuid.uuid4().hex}",
            cast(UpdateState, state),
            text,
            impact=cast(Impact | None, impact),
            components=components or None,
            title=title,
            now=terminal.utc_now(),
            actor=getpass.getuser(),
        )
        return await status_store.get(pool, number) if number is not None else None

    update = with_store(body)
    if json:
        terminal.print_json({"published": update is not None, "update": asdict(update) if update is not None else None})
        return
    terminal.say(f"Published: {update.title}" if update is not None else "It was published already.")


@app.command()
def subscribers(
    limit: Limit = 1000,
    after: Annotated[int, typer.Option(help="Go on behind this number.")] = 0,
    json: Json = False,
) -> None:
    """Who gets mail of every update."""

    async def body(pool: Pool, _settings: Settings) -> list[Subscriber]:
        return list(await status_store.subscribers(pool, after=after, limit=limit))

    found = with_store(body)
    if json:  # without what signs their links
        rows = [
            {"id": one.id, "email": one.email, "asked_at": one.asked_at, "confirmed_at": one.confirmed_at}
            for one in found
        ]
        terminal.print_json({"subscribers": rows})
        return
    terminal.print_table(
        (">NUMBER", "ADDRESS", "ASKED", "CONFIRMED"),
        ((one.id, one.email, one.asked_at, one.confirmed_at or "not yet") for one in found),
        empty="Nobody is subscribed.",
    )


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="Where to; it is made if it is not there.")], json: Json = False
) -> None:
    """Write the page as static files, for another host."""

    async def body(pool: Pool, settings: Settings) -> list[Path]:
        try:
            return await status_board.export(pool, settings, directory, terminal.utc_now())
        except OSError as error:
            raise CommandError(f"cannot write to {directory}: {error.strerror or error}") from None

    written = with_store(body)
    if json:
        terminal.print_json({"files": [str(path) for path in written]})
        return
    for path in written:
        terminal.say(str(path))


def _pair(text: str) -> tuple[str, ComponentState]:
    name, equals, state = text.partition("=")
    if not equals:
        raise StatusError(f"{text!r}: write NAME=STATE, such as payments=degraded_performance")
    return name.strip(), cast(ComponentState, state.strip())
