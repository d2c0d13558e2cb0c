"""`holdfast reviews item …`"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from holdfast import durations
from holdfast.commands import terminal
from holdfast.commands.acting import As, acting
from holdfast.commands.options import Json, read_time
from holdfast.commands.session import with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.incidents import store as incidents
from holdfast.incidents.model import Obligation
from holdfast.review import service
from holdfast.review.document import item_state

app = typer.Typer()


@app.command()
def add(
    incident: Annotated[int, typer.Argument(metavar="ID", help="The incident's number.")],
    text: Annotated[str, typer.Argument(help="What is to be done, in a sentence.")],
    owner: Annotated[str | None, typer.Option(help="Who does it; else the commander.")] = None,
    due: Annotated[
        str | None, typer.Option(metavar="TIME", help="2026-12-01, or in 3d, 2w; else in two weeks.")
    ] = None,
    as_: As = None,
    json: Json = False,
) -> None:
    """Add an action item; its owner is reminded of it while it is overdue."""
    now = datetime.now(UTC)
    due_at = _due(due, now) if due is not None else None
    made = with_store(
        lambda pool, settings: service.add_item(
            pool, incident, text, owner=owner, due_at=due_at, actor=acting(settings, as_), now=now
        )
    )
    if json:
        terminal.print_json(made)
        return
    terminal.say(f"Action item {made.id} for {made.owner or 'nobody yet'}, due {made.due_at:%Y-%m-%d}.")


@app.command()
def done(
    number: Annotated[int, typer.Argument(help="The item's number, as `holdfast reviews item list` shows.")],
    as_: As = None,
    json: Json = False,
) -> None:
    """An action item is done."""
    made = with_store(
        lambda pool, settings: service.item_done(pool, number, actor=acting(settings, as_), now=datetime.now(UTC))
    )
    if json:
        terminal.print_json(made)
        return
    terminal.say(f"Done: {made.text}")


@app.command("list")
def listing(
    incident: Annotated[int | None, typer.Argument(metavar="[ID]", help="Only those of this incident.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are done.")] = False,
    json: Json = False,
) -> None:
    """What is to be done, what is due first at the top."""

    async def body(pool: Pool, _settings: Settings) -> list[Obligation]:
        return await incidents.obligations(pool, incident_id=incident, kind="action", unmet=not all_)

    found = with_store(body)
    if json:
        now = datetime.now(UTC)
        terminal.print_json({"items": [_json(one, now) for one in found]})
        return
    print_items(found)


def print_items(items: Sequence[Obligation]) -> None:
    now = datetime.now(UTC)
    terminal.print_table(
        (">ITEM", ">INCIDENT", "OWNER", "DUE", "STATE", "WHAT"),
        (
            (one.id, one.incident_id, one.owner, f"{one.due_at:%Y-%m-%d}", item_state(one, now), one.text)
            for one in items
        ),
        empty="No action items.",
    )


def _json(item: Obligation, now: datetime) -> dict[str, object]:
    return {
        "id": item.id,
        "incident": item.incident_id,
        "text": item.text,
        "owner": item.owner,
        "due_at": item.due_at,
        "done_at": item.met_at,
        "state": item_state(item, now),
    }


def _due(text: str, now: datetime) -> datetime:
    """In 3d, or on a day."""
    if durations.WRITTEN.fullmatch(text.strip()):
        return now + durations.read(text)
    return read_time(text, now)
