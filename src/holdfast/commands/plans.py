"""`holdfast plans …`"""

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from holdfast.commands import terminal
from holdfast.commands.numbers import Phone, Targets, given_plan, note_zone, summary
from holdfast.commands.options import Json, read_time
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.voice import service, store
from holdfast.voice.explaining import Told, document, explain, sentence
from holdfast.voice.model import Plan
from holdfast.voice.plans import document_of

app = typer.Typer()


@app.command()
def show(
    phone: Phone,
    at: Annotated[
        str, typer.Option(metavar="TIME", help="At this time: 2026-12-24T15:30, or 2h (ago); now unless given.")
    ] = "now",
    json: Json = False,
) -> None:
    """Show a number's call plan, and what a call would be told, by the levers that are in force."""
    when = read_time(at, datetime.now(UTC))

    async def body(pool: Pool, _settings: Settings) -> Told:
        number = await service.find(pool, phone)
        told = await explain(pool, number.phone, when)
        if told is None:  # removed at this instant
            raise service.missing(number.phone)
        return told

    told = with_store(body)
    if json:
        terminal.print_json(document(told))
        return
    _show(told)


def _show(told: Told) -> None:
    line = told.line
    state = ("open" if told.is_open else "closed") if line.plan.hours else None
    if told.changes_at is not None:
        state = f"{state}; {'closes' if told.is_open else 'opens'} {told.changes_at:%a %Y-%m-%d %H:%M}"
    terminal.print_fields(
        (
            ("number", line.phone),
            ("merchant", f"{line.merchant_name} ({line.merchant})" if line.merchant else "the company"),
            ("calls", summary(line.plan if line.plan.targets else None)),
            ("hours", f"{told.hours} ({line.time_zone})" if line.plan.hours else told.hours),
            ("at that time", state),
            ("greeting", line.plan.greeting),
            ("voicemail", f"at most {line.plan.voicemail_seconds} s{', written down' * line.plan.transcribe}"),
        )
    )
    terminal.say("")
    terminal.say(f"A call at {terminal.moment(told.at)} that nobody answers:")
    for place, step in enumerate(told.steps, 1):
        terminal.say(f"  {place}. {sentence(step)}")
    for skipped in told.skipped:
        terminal.say(f"  {skipped.address} is not rung: {skipped.why}")
    if told.levers:
        terminal.say(f"Levers: {'; '.join(told.levers)}")


@app.command("set")
def change(
    phone: Phone,
    file: Annotated[Path | None, typer.Argument(help="The plan, in YAML or JSON; docs/calls.md has one.")] = None,
    target: Targets = None,
    json: Json = False,
) -> None:
    """Give a number a call plan, in force within a second: from a file, or simply whom to ring."""
    plan = given_plan(file, target)
    if plan is None:
        raise CommandError("give a plan file, or --target for whom to ring")

    async def body(pool: Pool, _settings: Settings) -> tuple[str, Plan, bool]:
        number = await service.find(pool, phone)
        made = await service.set_plan(pool, number.phone, plan, by=getpass.getuser())
        return number.phone, made, await service.zone_is_certain(pool, number, made)

    number, made, zone_is_certain = with_store(body)
    if json:
        terminal.print_json({"number": number, "plan": document_of(made)})
        return
    terminal.say(f"{number} {summary(made)}.")
    if not zone_is_certain:
        note_zone()


@app.command()
def remove(phone: Phone, json: Json = False) -> None:
    """Take a number's call plan away: its calls are asked for a message."""

    async def body(pool: Pool, _settings: Settings) -> tuple[str, bool]:
        number = await service.find(pool, phone)
        return number.phone, await store.remove_plan(pool, number.phone)

    number, removed = with_store(body)
    if json:
        terminal.print_json({"number": number, "removed": removed})
        return
    terminal.say(f"Calls to {number} are asked for a message{'' if removed else ', as before'}.")
