"""`holdfast voice test`, `holdfast voice repoint …`: what changes or tries something about calls."""

from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.status import Status

from holdfast.commands import terminal
from holdfast.commands.acting import As, acting
from holdfast.commands.asking import sure
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, Yes
from holdfast.commands.session import FAILED, CommandError, with_store
from holdfast.commands.voice import app
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.merchants import number_store
from holdfast.merchants.numbers import Number, e164
from holdfast.twilio import store as accounts_store
from holdfast.twilio.client import TwilioClient
from holdfast.voice import repoint_store
from holdfast.voice.real_calls import RealCall, RealCaller
from holdfast.voice.repoint_store import Repoint
from holdfast.voice.repointing import BATCH, Repointer, RepointError, Survey
from holdfast.voice.testing import CALLER, Answering, Flow, Step, Walker

_SHOWN = 20
repoint_app = typer.Typer(invoke_without_command=True)
app.add_typer(repoint_app, name="repoint", help="Move numbers' addresses at Twilio to another public URL, and back.")

Batch = Annotated[int, typer.Option(min=1, max=500, help="Numbers in a batch.")]


# Testing


@app.command("test")
def walk(
    number: Annotated[str, typer.Argument(help="One of your numbers: +14155550123.")],
    caller: Annotated[str | None, typer.Option(help="Who calls, as far as the plan can see.")] = None,
    nobody_answers: Annotated[bool, typer.Option("--nobody-answers", help="Every target rings out.")] = False,
    busy: Annotated[bool, typer.Option("--busy", help="Every target is busy.")] = False,
    unreachable: Annotated[bool, typer.Option("--unreachable", help="No target can be reached.")] = False,
    at: Annotated[
        str | None, typer.Option(help="Call this address instead of HOLDFAST_PUBLIC_URL.", metavar="URL")
    ] = None,
    real: Annotated[bool, typer.Option("--real", help="Let Twilio really call it: whoever is there hears it.")] = False,
    from_: Annotated[
        str | None, typer.Option("--from", help="Your number that calls; else HOLDFAST_TWILIO_TEST_NUMBER.")
    ] = None,
    json: Json = False,
) -> None:
    """Test what a call to one of your numbers comes to.

    Walks its plan through the front door with signed requests, as Twilio does, and shows every step. Nobody is rung,
    nothing is recorded, and it counts nowhere. With --real Twilio places a call, and it is waited for its end.

    Exit status 1 if something is wrong.
    """
    options: dict[Answering, bool] = {"no-answer": nobody_answers, "busy": busy, "failed": unreachable}
    chosen = [name for name, is_so in options.items() if is_so]
    if len(chosen) > 1 or (real and (chosen or at or caller)):
        raise typer.BadParameter("choose one of --nobody-answers, --busy, --unreachable; none of them goes with --real")
    if real:
        _real(number, from_, json=json)
        return
    answering: Answering = chosen[0] if chosen else "answered"

    async def body(pool: Pool, settings: Settings) -> Flow:
        found = await _number(pool, number)
        accounts = {one.sid: one for one in await accounts_store.accounts(pool)}
        async with Walker(settings, accounts, at) as walker:
            return await walker.call(found, caller=caller or CALLER, answering=answering)

    flow = with_store(body)
    if json:
        terminal.print_json({**asdict(flow), "problem": flow.problem, "said": flow.said})
    else:
        _show(flow)
    if flow.problem:
        raise typer.Exit(FAILED)


def _show(flow: Flow) -> None:
    terminal.say(f"A call to {flow.phone}, at {flow.base}")
    for place, step in enumerate(flow.steps, 1):
        terminal.say(_line(place, step))
        for verb in step.verbs:
            terminal.say(f"      {verb}")
        if step.problem:
            terminal.say(f"      WRONG: {step.problem}")
    terminal.say(f"\n{'Wrong: ' + flow.problem if flow.problem else 'Well: ' + flow.said}")


def _line(place: int, step: Step) -> str:
    answered = "no answer" if step.status is None else str(step.status)
    return f"{place:>3}  {step.told or '-'} → {step.door} ({answered}, {step.seconds * 1000:.0f} ms)"


def _real(number: str, from_: str | None, *, json: bool) -> None:
    async def body(pool: Pool, settings: Settings) -> RealCall:
        calling = from_ or settings.twilio_test_number
        if calling is None:
            raise CommandError("say which of your numbers calls: --from +1…, or set HOLDFAST_TWILIO_TEST_NUMBER")
        found, caller = await _number(pool, number), await _number(pool, calling)
        with Status(f"calling {found.phone} from {caller.phone}", console=terminal.err) as status:
            async with await _client(pool, settings) as twilio:
                told = lambda state: status.update(f"calling {found.phone}: {state}")  # noqa: E731
                return await RealCaller(pool, twilio, told).call(found, caller)

    call = with_store(body)
    if json:
        terminal.print_json(call)
    else:
        terminal.print_fields(
            (
                ("Call", call.sid),
                ("From", call.caller),
                ("To", call.phone),
                ("Twilio says", call.status),
                ("Seconds", call.seconds),
                ("Told", call.answer),
                ("Outcome", call.outcome),
            )
        )
        terminal.say(f"Wrong: {call.problem}" if call.problem else "Well.")
    if call.problem:
        raise typer.Exit(FAILED)


async def _number(pool: Pool, phone: str) -> Number:
    found = await number_store.find(pool, e164(phone))
    if found is None:
        raise CommandError(f"{phone} is none of your numbers; see `holdfast numbers list`")
    return found


async def _client(pool: Pool, settings: Settings) -> TwilioClient:
    return TwilioClient.of(settings, await accounts_store.accounts(pool))


# Moving the public URL


@repoint_app.callback()
def repoint(
    ctx: typer.Context,
    to: Annotated[str | None, typer.Option(help="The new public URL; else HOLDFAST_PUBLIC_URL.", metavar="URL")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this merchant's numbers, or this number; again for more.")
    ] = None,
    batch: Batch = BATCH,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    yes: Yes = False,
    as_: As = None,
    json: Json = False,
) -> None:
    """Let Twilio call another public URL for your numbers: their voice URL, status callback, and what else was ours.

    Old addresses are kept: `undo` brings them back. A move that was interrupted goes on with `resume`. The door must
    still take requests signed for the old URL meanwhile: HOLDFAST_FORMER_PUBLIC_URLS.
    """
    if ctx.invoked_subcommand is not None:
        return

    async def body(pool: Pool, settings: Settings) -> tuple[Survey, Repoint | None]:
        numbers = await _chosen(pool, only or [])
        async with await _client(pool, settings) as twilio:
            repointer = _repointer(pool, settings, twilio)
            with Status("asking Twilio", console=terminal.err):
                survey = await repointer.survey(to or settings.public, numbers)
            if not json:
                _show_survey(survey)
            if dry_run or not survey.moves:
                return survey, None
            sure(f"move {len(survey.moves)} numbers to {survey.base}", yes=yes, json=json)
            number = await repointer.begin(survey, actor=acting(settings, as_), now=terminal.utc_now())
            return survey, await _watched(repointer.advance, number, batch)

    survey, moved = with_store(body)
    if json:
        terminal.print_json({"survey": asdict(survey), "move": None if moved is None else _document(moved)})
    _conclude(moved, json=json)


@repoint_app.command()
def resume(batch: Batch = BATCH, json: Json = False) -> None:
    """Go on with the last move, also with the numbers that could not be moved."""

    async def body(pool: Pool, settings: Settings) -> Repoint:
        last = await _last(pool)
        if last.state != "under way":
            raise CommandError(f"move {last.id} is {last.state}: there is nothing to go on with")
        async with await _client(pool, settings) as twilio:
            return await _watched(_repointer(pool, settings, twilio).advance, last.id, batch)

    _finish(with_store(body), json=json)


@repoint_app.command()
def finish(
    reason: Annotated[str, typer.Option("--reason", help="Why they are not moved; `status` shows it.")],
    yes: Yes = False,
    as_: As = None,
    json: Json = False,
) -> None:
    """End the last move: leave the numbers that are not moved yet as they are, so that later moves can begin."""

    async def body(pool: Pool, settings: Settings) -> Repoint:
        last = await _last(pool)
        if last.state != "under way":
            raise CommandError(f"move {last.id} is {last.state}: there is nothing to finish")
        count = last.numbers - last.done - last.left
        sure(f"leave {count} of {last.numbers} numbers where they are", yes=yes, json=json)
        why = f"left by {acting(settings, as_)}: {reason}"
        async with await _client(pool, settings) as twilio:
            return await _repointer(pool, settings, twilio).finish(last.id, why, now=terminal.utc_now())

    _finish(with_store(body), json=json)


@repoint_app.command()
def undo(batch: Batch = BATCH, yes: Yes = False, json: Json = False) -> None:
    """Bring back the addresses that numbers had before the last move, where nobody changed them since."""

    async def body(pool: Pool, settings: Settings) -> Repoint:
        last = await _last(pool)
        if last.state == "undone":
            raise CommandError(f"move {last.id} is undone already")
        sure(f"take back the move of {last.numbers} numbers to {last.base}", yes=yes, json=json)
        async with await _client(pool, settings) as twilio:
            return await _watched(_repointer(pool, settings, twilio).undo, last.id, batch)

    _finish(with_store(body), json=json)


@repoint_app.command()
def status(json: Json = False) -> None:
    """Show the last moves, and what of the last one could not be moved or was left, and why."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Repoint], list[repoint_store.Row]]:
        moves = await repoint_store.latest(pool, 10)
        rows = await repoint_store.rows(pool, moves[0].id) if moves else []
        return moves, [row for row in rows if row.error]

    moves, failed = with_store(body)
    if json:
        terminal.print_json(
            {
                "moves": [_document(one) for one in moves],
                "failed": {row.phone: row.error for row in failed if row.left_at is None},
                "left": {row.phone: row.error for row in failed if row.left_at is not None},
            }
        )
        return
    terminal.print_table(
        ("ID", "TO", "BY", "BEGAN", "STATE", ">NUMBERS", ">MOVED", ">LEFT", ">MOVED BACK", ">FAILED"),
        (
            (
                *(one.id, one.base, one.actor, one.began_at, one.state, one.numbers),
                *(one.done, one.left, one.undone, one.failed),
            )
            for one in moves
        ),
        empty="No number was ever moved.",
    )
    for row in failed[:_SHOWN]:
        terminal.say(f"{row.phone}{' stays' if row.left_at else ''}: {row.error}")


def _repointer(pool: Pool, settings: Settings, twilio: TwilioClient) -> Repointer:
    return Repointer(pool, twilio, (settings.public, *settings.former_public_urls))


async def _last(pool: Pool) -> Repoint:
    moves = await repoint_store.latest(pool)
    if not moves:
        raise CommandError("no number was ever moved")
    return moves[0]


async def _chosen(pool: Pool, only: list[str]) -> list[Number]:
    if not only:
        return await number_store.numbers(pool)
    found: dict[str, Number] = {}
    for one in only:
        if one.startswith("+"):
            number = await _number(pool, one)
            found[number.phone] = number
        else:
            merchant = await find(pool, one)
            found |= {each.phone: each for each in await number_store.numbers(pool, merchant_id=merchant.id)}
    return list(found.values())


async def _watched(work: Any, repoint_id: int, batch: int) -> Repoint:
    """Do it with a bar that shows how far it is."""
    async with AsyncExitStack() as stack:
        bar = stack.enter_context(terminal.progress())
        task = bar.add_task("numbers", total=None)
        told = lambda done, total: bar.update(task, completed=done, total=total)  # noqa: E731
        try:
            found: Repoint = await work(repoint_id, now=datetime.now(UTC), batch=batch, told=told)
        except RepointError as error:
            raise CommandError(str(error)) from None
        return found


def _show_survey(survey: Survey) -> None:
    terminal.print_fields(
        (
            ("To", survey.base),
            ("Moved", len(survey.moves)),
            ("There already", len(survey.there)),
            ("Cannot be moved", len(survey.cannot)),
            ("From elsewhere", len(survey.from_elsewhere) or None),
        )
    )
    for row in survey.moves[:_SHOWN]:
        terminal.say(row.phone)
        for name, value in row.after.items():
            terminal.say(f"  {name}: {row.before.get(name) or '-'} → {value}")
    if len(survey.moves) > _SHOWN:
        terminal.say(f"… and {len(survey.moves) - _SHOWN} more; --json shows all")
    for phone, why in list(survey.cannot.items())[:_SHOWN]:
        terminal.say(f"{phone} stays: {why}")
    if survey.from_elsewhere:
        terminal.note(f"Calls of {len(survey.from_elsewhere)} of them are answered elsewhere now, and come here then.")


def _document(moved: Repoint) -> dict[str, Any]:
    return asdict(moved) | {"state": moved.state}


def _finish(moved: Repoint, *, json: bool) -> None:
    if json:
        terminal.print_json(_document(moved))
    _conclude(moved, json=json)


def _conclude(moved: Repoint | None, *, json: bool) -> None:
    if moved is None:
        return
    if not json:
        left = f", {moved.left} left" if moved.left else ""
        back = f", {moved.undone} moved back or left" if moved.undone else ""
        terminal.say(f"Move {moved.id} is {moved.state}: {moved.done} of {moved.numbers} moved{left}{back}.")
        if moved.left and not moved.undone:
            terminal.note("`holdfast voice repoint status` says why some were left.")
    if moved.state == "under way":
        terminal.note(
            f"{moved.failed} failed: see `holdfast voice repoint status`; `resume` tries again, `finish` leaves them."
        )
        raise typer.Exit(FAILED)
