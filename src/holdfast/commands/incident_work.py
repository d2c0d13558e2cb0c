"""`holdfast incidents …`: what people do with an incident and its steps."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from holdfast.commands import terminal
from holdfast.commands.acting import As, Because, Number, StepName, acting, with_desk
from holdfast.commands.editing import edited
from holdfast.commands.options import Json
from holdfast.commands.session import CommandError
from holdfast.incidents import service
from holdfast.incidents.model import Incident, StepRow
from holdfast.runbooks import page
from holdfast.runbooks.working import Desk
from holdfast.watch.model import Severity

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
OnIncident = Callable[[Desk, str, datetime], Awaitable[Incident]]
OnStep = Callable[[Desk, StepRow, str, datetime], Awaitable[StepRow]]


def add_to(app: typer.Typer) -> None:
    """All of them."""
    app.command("open")(open_)
    app.command("ack")(acknowledge)
    for command in (take, assign, note, approve, done, skip, retry, undo, calm, merge, reopen, resolve):
        add: Callable[..., None] = command
        app.command(command.__name__)(add)


# The incident as a whole


def open_(
    runbook: Annotated[str, typer.Argument(metavar="RUNBOOK", help="As `holdfast runbooks list` shows.")],
    title: Annotated[str, typer.Option(help="What is wrong, in one line.")],
    severity: Annotated[str | None, typer.Option(metavar="|".join(SEVERITIES), help="Else the runbook's.")] = None,
    as_: As = None,
    json: Json = False,
) -> None:
    """Open an incident by hand; its runbook begins at once."""
    chosen = next((one for one in SEVERITIES if one == severity), None)
    if severity is not None and chosen is None:
        raise typer.BadParameter(f"{severity!r} is no severity; there are {', '.join(SEVERITIES)}")

    async def act(desk: Desk, actor: str, now: datetime) -> Incident:
        return await desk.open(runbook, title, severity=chosen, actor=actor, now=now)

    _whole(act, as_, json, "Incident {id} is open. Acknowledge it: holdfast incidents ack {id}")


def acknowledge(number: Number, as_: As = None, json: Json = False) -> None:
    """Say that you are on it: nobody else is called."""

    async def act(desk: Desk, actor: str, now: datetime) -> Incident:
        return await service.acknowledge(desk.pool, number, actor=actor, now=now)

    _whole(act, as_, json, "Incident {id} is acknowledged; {commander} commands it. See: holdfast incidents show {id}")


def take(number: Number, as_: As = None, json: Json = False) -> None:
    """Take command."""

    async def act(desk: Desk, actor: str, now: datetime) -> Incident:
        return await service.assign(desk.pool, number, actor, actor=actor, now=now)

    _whole(act, as_, json, "{commander} commands incident {id}.")


def assign(
    number: Number,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="As `holdfast people list` shows.")],
    as_: As = None,
    json: Json = False,
) -> None:
    """Make somebody the commander."""

    async def act(desk: Desk, actor: str, now: datetime) -> Incident:
        return await service.assign(desk.pool, number, person, actor=actor, now=now)

    _whole(act, as_, json, "{commander} commands incident {id}.")


def note(
    number: Number,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What you saw, thought, or did.")],
    as_: As = None,
    json: Json = False,
) -> None:
    """Write into the log."""

    async def body(desk: Desk, now: datetime) -> int:
        return await service.note(desk.pool, number, text, actor=acting(desk.settings, as_), now=now)

    entry = with_desk(body)
    if json:
        terminal.print_json({"incident_id": number, "entry": entry})
        return
    terminal.say(f"It is in the log of incident {number}.")


def calm(number: Number, because: Because, as_: As = None, json: Json = False) -> None:
    """Say that the trouble is over, where no alert tells: Recovery begins."""

    async def act(desk: Desk, actor: str, now: datetime) -> Incident:
        return await service.calm(desk.pool, number, actor=actor, reason=because, now=now)

    _whole(act, as_, json, "The trouble behind incident {id} is over; recovery begins.")


def merge(
    number: Number,
    into: Annotated[int, typer.Option(metavar="OTHER", help="The incident to go on with.")],
    as_: As = None,
    json: Json = False,
) -> None:
    """Go on with both as one: its alerts and what it changed become the other's."""

    async def act(desk: Desk, actor: str, now: datetime) -> Incident:
        return await service.merge(desk.pool, number, into, actor=actor, now=now)

    _whole(act, as_, json, f"Incident {number} goes on as incident {{id}}.")


def reopen(number: Number, because: Because, as_: As = None, json: Json = False) -> None:
    """It was not over after all."""

    async def act(desk: Desk, actor: str, now: datetime) -> Incident:
        return await desk.reopen(number, actor=actor, reason=because, now=now)

    _whole(act, as_, json, "Incident {id} is open again: {state}.")


def resolve(number: Number, because: Because = "", as_: As = None, json: Json = False) -> None:
    """The end. Refused over a forgotten mitigation or a missing proof, unless you say why."""

    async def act(desk: Desk, actor: str, now: datetime) -> Incident:
        return await desk.resolve(number, actor=actor, reason=because, now=now)

    _whole(act, as_, json, "Incident {id} is resolved.")


# Its steps


def approve(
    number: Number,
    step: StepName,
    text: Annotated[str | None, typer.Option(help="Send this instead of the draft.")] = None,
    file: Annotated[Path | None, typer.Option(help="The same, from a file; - reads standard input.")] = None,
    edit: Annotated[bool, typer.Option("--edit", "-e", help="Change the draft in $EDITOR first.")] = False,
    as_: As = None,
    json: Json = False,
) -> None:
    """Say yes to what a step asks; it is done at once."""
    if sum((text is not None, file is not None, edit)) > 1:
        raise typer.BadParameter("give one of --text, --file and --edit")
    if file is not None:
        text = _read(file)
    if edit:
        text = _edited(number, step)

    async def act(desk: Desk, found: StepRow, actor: str, now: datetime) -> StepRow:
        return await desk.approve(number, found.key, actor=actor, text=text, now=now)

    try:
        _one(number, step, act, as_, json, "is approved: it runs within seconds")
    except Exception:
        if edit and text is not None:
            terminal.note(f"Your text did not go out; here it is:\n{text}")
        raise


def done(
    number: Number,
    step: StepName,
    note: Annotated[str, typer.Option(help="What came of it.")] = "",
    as_: As = None,
    json: Json = False,
) -> None:
    """You did it: a step for people, or by hand what failed."""

    async def act(desk: Desk, found: StepRow, actor: str, now: datetime) -> StepRow:
        return await desk.done(number, found.key, actor=actor, note=note, now=now)

    _one(number, step, act, as_, json, "is done")


def skip(number: Number, step: StepName, because: Because, as_: As = None, json: Json = False) -> None:
    """It shall not be done."""

    async def act(desk: Desk, found: StepRow, actor: str, now: datetime) -> StepRow:
        return await desk.skip(number, found.key, actor=actor, reason=because, now=now)

    _one(number, step, act, as_, json, "is skipped")


def retry(number: Number, step: StepName, as_: As = None, json: Json = False) -> None:
    """Try a step again that failed, or run one again that is finished."""

    async def act(desk: Desk, found: StepRow, actor: str, now: datetime) -> StepRow:
        return await desk.retry(number, found.key, actor=actor, now=now)

    _one(number, step, act, as_, json, "is tried again within seconds")


def undo(number: Number, step: StepName, because: Because, as_: As = None, json: Json = False) -> None:
    """Take back what a step changed."""

    async def act(desk: Desk, found: StepRow, actor: str, now: datetime) -> StepRow:
        return await desk.undo(number, found.key, actor=actor, reason=because, now=now)

    _one(number, step, act, as_, json, "is undone")


# Parts


def step_document(step: StepRow) -> dict[str, Any]:
    """A step as JSON: `number` as people call it, `every` in seconds."""
    every = step.every.total_seconds() if step.every is not None else None
    return asdict(step) | {"number": step.position + 1, "every": every}


def _whole(act: OnIncident, as_: str | None, json: bool, said: str) -> None:
    async def body(desk: Desk, now: datetime) -> Incident:
        return await act(desk, acting(desk.settings, as_), now)

    incident = with_desk(body)
    if json:
        terminal.print_json(incident)
        return
    terminal.say(said.format(id=incident.id, commander=incident.commander, state=incident.state))


def _one(number: int, name: str, act: OnStep, as_: str | None, json: bool, said: str) -> None:
    async def body(desk: Desk, now: datetime) -> StepRow:
        found = await page.step_named(desk.pool, number, name)
        return await act(desk, found, acting(desk.settings, as_), now)

    step = with_desk(body)
    if json:
        terminal.print_json(step_document(step))
        return
    more = f": {step.said}" if step.state in ("undone", "skipped") else ""
    terminal.say(f"Step {step.position + 1} ({step.text}) {said}{more}.")


def _read(file: Path) -> str:
    try:
        return typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from None


def _edited(number: int, name: str) -> str:
    """The draft as somebody changed it. Raises CommandError if they closed it without saving."""

    async def body(desk: Desk, _now: datetime) -> StepRow:
        return await page.step_named(desk.pool, number, name)

    step = with_desk(body)
    text = edited(step.draft or "")
    if text is None:
        raise CommandError(f"nothing was saved, so step {step.key} still waits: save the text to send it")
    return text
