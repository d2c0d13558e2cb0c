"""`holdfast incidents …`: what there is, and one as a page. What people do with them is in `incident_work`."""

import asyncio
import contextlib
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from holdfast.commands import incident_page, incident_work, terminal
from holdfast.commands.acting import As, Number, acting, with_desk
from holdfast.commands.options import Json, Limit
from holdfast.commands.session import with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.incidents import service, store
from holdfast.incidents.model import Obligation
from holdfast.runbooks import page
from holdfast.runbooks.actions import Mitigation
from holdfast.runbooks.page import Line, Page
from holdfast.runbooks.working import Desk
from holdfast.watch import store as watch
from holdfast.watch.model import Beat

app = typer.Typer()
SILENT = 30.0
"""Seconds after which a `health_watch` that did not look counts as not running."""
FOLLOWS = 1.0
"""How often, in seconds, a log that is followed is looked at."""


@app.command("list")
def listing(
    all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    runbook: Annotated[str | None, typer.Option(help="Only those of this runbook.")] = None,
    before: Annotated[int | None, typer.Option(metavar="ID", help="Go on behind this one.")] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """What is open, in what state, and what waits for people or is overdue. Newest first."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Line], Beat | None, int]:
        now = datetime.now(UTC)
        found = await page.listing(pool, now, is_open=not all_, runbook=runbook, limit=limit, before=before)
        return found, await watch.last_beat(pool), len(await watch.open_alerts(pool))

    found, beat, alerts = with_store(body)
    if json:
        terminal.print_json(
            {"incidents": [_line(one) for one in found], "watched_at": beat.at if beat is not None else None}
        )
        return
    now = datetime.now(UTC)
    if found:
        incident_page.print_lines(found, now)
    else:
        terminal.say("There was no incident." if all_ else _calm(beat, alerts, now))
    if len(found) == limit:
        terminal.note(f"There may be more: --before {found[-1].incident.id}")


@app.command()
def show(number: Number, as_: As = None, json: Json = False) -> None:
    """One incident as a page: what it needs from you now, every step, what is not as usual, the latest of its log."""

    async def body(desk: Desk, now: datetime) -> tuple[Page, str]:
        return await page.read(desk, number, now), acting(desk.settings, as_)

    found, actor = with_desk(body)
    if json:
        terminal.print_json(_page(found))
        return
    incident_page.print_page(found, actor=actor, now=datetime.now(UTC))


@app.command()
def log(
    number: Number,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """The log: everything that happened, the oldest first."""
    if follow and json:
        raise typer.BadParameter("--follow has no end, and --json is one document: leave one of them out")

    async def body(pool: Pool, _settings: Settings) -> None:
        await service.get(pool, number)
        if json:
            terminal.print_json({"log": await store.entries(pool, number)})
            return
        last = 0
        while True:
            for entry in await store.entries(pool, number, after=last):
                incident_page.print_entry(entry)
                last = entry.id
            if not follow:
                return
            await asyncio.sleep(FOLLOWS)

    with contextlib.suppress(KeyboardInterrupt):
        with_store(body)


@app.command()
def ledger(number: Number, json: Json = False) -> None:
    """What is not as usual because of it: by whom, until when, and how to take it back."""

    async def body(desk: Desk, now: datetime) -> list[Mitigation]:
        return await desk.ledger(await service.get(desk.pool, number), now)

    found = with_desk(body)
    if json:
        terminal.print_json({"ledger": found})
        return
    now = datetime.now(UTC)
    for one in found:
        terminal.lines(incident_page.ledger_lines(one, now))
    if not found:
        terminal.say(f"Everything is as usual, as far as incident {number} goes.")


@app.command()
def obligations(
    overdue: Annotated[bool, typer.Option("--overdue", help="Only what is past its time.")] = False,
    json: Json = False,
) -> None:
    """What somebody has to do by a time, over all incidents; what is due first comes first."""

    async def body(pool: Pool, _settings: Settings) -> list[Obligation]:
        now = datetime.now(UTC)
        return [one for one in await store.obligations(pool) if one.due_at <= now or not overdue]

    found, now = with_store(body), datetime.now(UTC)
    if json:
        terminal.print_json({"obligations": found})
        return
    terminal.print_table(
        ("DUE", "", "WHAT", "OF", ">INCIDENT"),
        (
            (one.due_at, "OVERDUE" if one.due_at <= now else "", one.text, one.owner or "nobody", one.incident_id)
            for one in found
        ),
        empty="Nothing is overdue." if overdue else "Nobody owes anything.",
    )


incident_work.add_to(app)


def _calm(beat: Beat | None, alerts: int, now: datetime) -> str:
    """That all is well, if it is known to be."""
    if beat is None:
        return "No incident is open. But nobody looks: start `holdfast watch` (`holdfast up` does)."
    ago = (now - beat.at).total_seconds()
    looked = f"health_watch last looked {terminal.duration(ago)} ago"
    if ago > SILENT:
        return f"No incident is open. But {looked}, on {beat.host}: it is not running."
    if alerts:
        return f"No incident is open, but {alerts} alert{'s are' if alerts > 1 else ' is'}: holdfast alerts list"
    return f"All is well: no incident is open. {looked}."


def _line(line: Line) -> dict[str, Any]:
    return asdict(line.incident) | {
        name: getattr(line, name) for name in ("waiting", "failed", "overdue", "update_due")
    }


def _page(found: Page) -> dict[str, Any]:
    return asdict(found) | {"steps": [incident_work.step_document(step) for step in found.steps]}
