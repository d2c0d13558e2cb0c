"""`holdfast runbooks …`"""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast import actions, durations, logs
from holdfast.commands import rehearsal, terminal
from holdfast.commands.options import Json
from holdfast.commands.phrases import call, count, kinds, parameters, plain, whose
from holdfast.commands.session import FAILED, CommandError, settings, with_store
from holdfast.review import service as reviews
from holdfast.runbooks import library, parser
from holdfast.runbooks.actions import Registry
from holdfast.runbooks.library import Library
from holdfast.runbooks.model import Runbook, RunbookError

app = typer.Typer()

Id = Annotated[str, typer.Argument(metavar="ID", help="As `holdfast runbooks list` shows.")]


def opened() -> Library:
    """The runbooks that the settings ask for; what packages lack is told on stderr."""
    for line in actions.missing():
        terminal.note(f"Some actions are missing: {line}")
    return _library()


def _library() -> Library:
    chosen = settings()
    # What the library logs of mistakes, these commands say themselves.
    logs.configure(chosen.log_format, "critical", process="command")
    return Library(chosen.runbooks_dir, actions.registry())


@app.command("list")
def listing(json: Json = False) -> None:
    """The runbooks in force: the product's own, and yours, which override and add."""
    found = opened()
    runbooks, mistakes = found.all(), found.mistakes()
    if json:
        terminal.print_json({"runbooks": [_document(one) for one in runbooks], "mistakes": mistakes})
        return
    terminal.print_table(
        ("RUNBOOK", "TITLE", "TRIGGERS", "STEPS", "WHOSE", "VERSION"),
        ((one.id, one.title, ", ".join(one.triggers) or "-", kinds(one), whose(one), one.version) for one in runbooks),
        empty="There is no runbook. Write one into a directory and name it in HOLDFAST_RUNBOOKS_DIR; "
        "docs/writing-runbooks.md shows how.",
    )
    if mistakes:
        terminal.note(f"{count(len(mistakes), 'mistake')} in other files; see `holdfast runbooks check`.")


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(metavar="ID", help="As `holdfast runbooks list` shows.")] = None,
    actions_: Annotated[bool, typer.Option("--actions", help="Every action that a runbook can use.")] = False,
    json: Json = False,
) -> None:
    """One runbook, with what each step runs and what that is for; or, with --actions, all that steps can run."""
    if actions_ == (name is not None):
        raise typer.BadParameter("name a runbook (see `holdfast runbooks list`), or write --actions")
    found = opened()
    if name is None:
        _show_actions(actions.registry(), json)
        return
    runbook = found.get(name)
    if json:
        terminal.print_json(_document(runbook) | {"text": runbook.text})
        return
    terminal.print_fields(
        (
            ("runbook", runbook.id),
            ("triggers", ", ".join(runbook.triggers) or "none: people begin it"),
            ("severity", runbook.severity),
            ("acknowledged", f"within {durations.write(runbook.clocks.acknowledge)}"),
            ("updates", f"every {durations.write(runbook.clocks.update)}"),
            ("whose", whose(runbook)),
            ("version", runbook.version),
            ("file", runbook.path),
        )
    )
    terminal.say("")
    terminal.print_markdown(parser.without_front_matter(runbook.text))
    terminal.say("")
    terminal.print_table(
        (">#", "PHASE", "STEP", "KIND", "RUNS", "WHO", "WHAT THE ACTION IS FOR"),
        (
            (number, step.phase, step.key, step.kind, call(step) or "-", step.role, _purpose(step.action))
            for number, step in enumerate(runbook.steps, 1)
        ),
        empty="",
    )
    if mistakes := found.mistakes(name):
        terminal.note(f"The file as it is now has mistakes, and is not what is shown:\n{chr(10).join(mistakes)}")


@app.command()
def check(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Files or directories; without, all in force.")
    ] = None,
    json: Json = False,
) -> None:
    """Find every mistake in runbooks, with file, line and what to write instead. Exit 1 if there is one."""
    if paths:
        runbooks, mistakes = _read(paths)
    else:
        found = _library()
        runbooks, mistakes = found.all(), found.mistakes()
    mistakes = [*(f"missing actions: {line}" for line in actions.missing()), *mistakes]
    if json:
        terminal.print_json({"right": [one.id for one in runbooks], "mistakes": mistakes})
    elif mistakes:
        for line in mistakes:
            terminal.say(line)
        terminal.note(f"{count(len(mistakes), 'mistake')}.")
    elif not runbooks:
        terminal.say("There is no runbook to check.")
    else:
        is_right = "is right" if len(runbooks) == 1 else "are right"
        steps = sum(len(one.steps) for one in runbooks)
        terminal.say(f"{count(len(runbooks), 'runbook')} with {count(steps, 'step')} {is_right}.")
    if mistakes:
        raise typer.Exit(FAILED)


@app.command()
def diff(
    name: Id,
    review: Annotated[
        int | None, typer.Option("--review", metavar="INCIDENT", help="What the review of this incident proposes.")
    ] = None,
    json: Json = False,
) -> None:
    """What your file changes in the shipped runbook, as a patch for `patch -p1` and `git apply`.

    With --review: what a review proposes to change in the runbook as its incident ran it.
    """
    if review is not None:
        _proposal(name, review, json=json)
        return
    patch = opened().diff(name)
    if json:
        terminal.print_json({"id": name, "differs": bool(patch), "patch": patch})
        return
    sys.stdout.write(patch)
    if not patch:
        terminal.note(f"{name} is as shipped.")


def _proposal(name: str, incident: int, *, json: bool) -> None:
    case = with_store(lambda pool, _settings: reviews.case(pool, incident, datetime.now(UTC)))
    if case.incident.runbook != name:
        raise CommandError(f"incident {incident} ran {case.incident.runbook}, not {name}")
    if json:
        terminal.print_json({"id": name, "incident": incident, "differs": bool(case.patch), "patch": case.patch})
    elif case.patch:
        sys.stdout.write(case.patch)
    else:
        terminal.note(f"The review of incident {incident} proposes no change.")


@app.command("test")
def rehearse(
    name: Id,
    checks: Annotated[bool, typer.Option("--checks", help="Run the `check` steps for real, on the database.")] = False,
    json: Json = False,
) -> None:
    """A dry run: what each step would run, who is asked, what can be undone and when it expires. Opens no incident."""
    found = opened()
    if mistakes := found.mistakes(name):
        raise RunbookError(mistakes)
    runbook = found.get(name)
    outcomes = rehearsal.run_checks(runbook, actions.registry()) if checks else {}
    failed = [key for key, outcome in outcomes.items() if outcome.is_bad]
    planned = rehearsal.plan(runbook, actions.registry())
    if json:
        steps = [
            plain(asdict(one)) | {"outcome": plain(asdict(outcomes[one.key])) if one.key in outcomes else None}
            for one in planned
        ]
        terminal.print_json({"id": runbook.id, "version": runbook.version, "steps": steps, "failed": failed})
    else:
        rehearsal.say(runbook, planned, outcomes)
        ran = f"{count(len(outcomes), 'check')} ran, {len(failed)} failed" if checks else "nothing was run"
        terminal.say(f"{count(len(runbook.steps), 'step')}: {kinds(runbook)}; {ran}.")
    if failed:
        raise typer.Exit(FAILED)


def _read(given: list[Path]) -> tuple[list[Runbook], list[str]]:
    """The runbooks in these files and directories, and the mistakes."""
    runbooks: list[Runbook] = []
    mistakes: list[str] = []
    for path in given:
        try:
            files = library.paths(path) if path.is_dir() else [path]
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}") from None
        if not files:
            mistakes.append(f"{path}:1: there is no runbook in it; its files end in .md")
        for file in files:
            try:
                runbooks.append(parser.load(file, actions.registry(), shipped=False))
            except RunbookError as error:
                mistakes += error.mistakes
    return runbooks, mistakes + library.together(runbooks)


def _show_actions(registry: Registry, json: bool) -> None:
    found = [registry.actions[name] for name in sorted(registry.actions)]
    if json:
        terminal.print_json(
            {
                "actions": [
                    {
                        "name": one.name,
                        "what": one.what,
                        "expires": None if one.expires is None else one.expires.total_seconds(),
                        "parameters": parameters(one),
                    }
                    for one in found
                ]
            }
        )
        return
    terminal.print_table(
        ("ACTION", "PARAMETERS", "EXPIRES", "WHAT IT IS FOR"),
        (
            (
                one.name,
                "\n".join(f"{name}={takes}" for name, takes in parameters(one).items()) or "-",
                "-" if one.expires is None else f"after {durations.write(one.expires)}",
                one.what,
            )
            for one in found
        ),
        empty="There is no action: no domain and no installed package offers one.",
    )


def _purpose(action: str | None) -> str:
    return actions.registry().get(action).what if action else "-"


def _document(runbook: Runbook) -> dict[str, Any]:
    found: dict[str, Any] = plain(asdict(runbook))
    del found["text"]
    return found
