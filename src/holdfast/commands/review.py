"""`holdfast reviews …`"""

import asyncio
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer

from holdfast import actions
from holdfast.commands import review_items, review_trends, terminal
from holdfast.commands.acting import As, acting
from holdfast.commands.options import Json, Limit, Since, read_optional_time
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.incidents import store as incidents
from holdfast.incidents.model import Incident
from holdfast.review import document, rendering, service, store
from holdfast.review.model import Review
from holdfast.review.service import Case
from holdfast.runbooks import parser

app = typer.Typer()
app.add_typer(
    review_items.app, name="item", help="Action items: what is to be done, by whom, by when.", no_args_is_help=True
)
app.command("trends")(review_trends.trends)

Number = Annotated[int, typer.Argument(metavar="ID", help="The incident's number, as `holdfast reviews list` shows.")]
_OVER = ("resolved", "reviewed")
_SLOW = 1.0
"""Seconds from which on progress is shown."""


@app.command("list")
def listing(
    since: Since = None,
    open_: Annotated[bool, typer.Option("--open", help="Only those that are still to be closed.")] = False,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """Incidents that have resolved, and how far their reviews are."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Incident], list[asyncpg.Record]]:
        states = _OVER[:1] if open_ else _OVER
        found = await incidents.listing(pool, states=states, since=read_optional_time(since), limit=limit)
        return found, await store.listing(pool, [one.id for one in found])

    found, reviews = with_store(body)
    by_id = {row["incident_id"]: row for row in reviews}
    if json:
        rows = [
            {
                "incident": one.id,
                "runbook": one.runbook,
                "title": one.title,
                "since": one.since,
                "resolved_at": one.resolved_at,
                "state": _state(by_id.get(one.id)),
                "verdict": (by_id[one.id]["verdict"] or None) if one.id in by_id else None,
            }
            for one in found
        ]
        terminal.print_json({"reviews": rows})
        return
    terminal.print_table(
        (">ID", "RUNBOOK", "BEGAN", "TOOK", "REVIEW", "VERDICT", "WHAT"),
        (
            (
                one.id,
                one.runbook,
                one.since,
                terminal.duration((one.resolved_at - one.since).total_seconds()) if one.resolved_at else None,
                _state(by_id.get(one.id)),
                (by_id[one.id]["verdict"] or None) if one.id in by_id else None,
                one.title,
            )
            for one in found
        ),
        empty="No incident waits for its review." if open_ else "No incident has resolved yet.",
    )


@app.command()
def show(number: Number, json: Json = False) -> None:
    """One review: what happened, what people wrote, what is missing. Drafts it if nobody has."""
    found = with_store(lambda pool, _settings: service.case(pool, number, _now()))
    if json:
        terminal.print_json(_json(found))
        return
    review = found.review
    terminal.say(document.summary(found))
    terminal.say("")
    terminal.print_fields(
        (
            ("review", document.build(found, _now()).status),
            ("lacks", " and ".join(review.missing) or None),
            ("root cause", review.root_cause.strip() or None),
            ("lessons", review.lessons.strip() or None),
            ("verdict", f"{review.verdict}: {review.verdict_why}" if review.verdict else None),
            ("proposal", f"see `holdfast reviews diff {number}`" if review.proposal is not None else None),
        )
    )
    terminal.say("")
    review_items.print_items(found.items)
    terminal.say("")
    terminal.print_table(
        ("STEP", "WHAT HAPPENED", "CONSIDER"),
        ((one.step, one.what, one.consider) for one in review.figures.suggestions),
        empty="The run has nothing to say about its runbook: every step did what it was there for.",
    )
    terminal.say("")
    terminal.say(f"All of it, with timeline and plots: holdfast reviews export {number} --format html --out FILE")


@app.command()
def write(
    number: Number,
    root_cause: Annotated[str | None, typer.Option("--root-cause", help="Why it happened.")] = None,
    lessons: Annotated[str | None, typer.Option("--lessons", help="What was learned.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="A Markdown file with `# Root cause` and `# Lessons` instead; - is stdin."),
    ] = None,
    as_: As = None,
    json: Json = False,
) -> None:
    """Write the root cause and the lessons; what is not given stays."""
    if file is not None:
        if root_cause is not None or lessons is not None:
            raise typer.BadParameter("give --file, or --root-cause and --lessons")
        root_cause, lessons = _parted(_read(file), str(file))
    if root_cause is None and lessons is None:
        raise typer.BadParameter("give --root-cause, --lessons or --file")
    made = with_store(
        lambda pool, settings: service.write(
            pool, number, root_cause=root_cause, lessons=lessons, actor=acting(settings, as_), now=_now()
        )
    )
    _say(made, json, f"Written into the review of incident {number}.")


@app.command()
def propose(
    number: Number,
    file: Annotated[Path, typer.Option("--file", help="The whole runbook as it should become; - is stdin.")],
    as_: As = None,
    json: Json = False,
) -> None:
    """Propose a change of the runbook; `holdfast reviews diff` shows it as a patch."""
    text = _read(file)

    async def body(pool: Pool, settings: Settings) -> Review:
        incident = await incidents.get(pool, number)
        # As the file that it becomes: its name must fit its id, whatever the proposal's file is called.
        becomes = f"{incident.runbook}.md" if incident is not None else file

        def check(text: str) -> None:
            parser.parse(text, becomes, actions.registry(), shipped=False)

        return await service.propose(pool, number, text, check=check, actor=acting(settings, as_), now=_now())

    made = with_store(body)
    _say(made, json, f"Proposed. Look at it with `holdfast reviews diff {number}`.")


@app.command()
def diff(number: Number, json: Json = False) -> None:
    """The proposed change as a patch for `git apply` or `patch -p1`."""
    found = with_store(lambda pool, _settings: service.case(pool, number, _now()))
    if json:
        terminal.print_json({"incident": number, "runbook": found.incident.runbook, "patch": found.patch})
    elif found.patch:
        sys.stdout.write(found.patch)  # as it is: a terminal's line breaks would spoil it
    else:
        terminal.note(f"No change is proposed: `holdfast reviews propose {number} --file runbook.md`.")


@app.command()
def verdict(
    number: Number,
    found: Annotated[str, typer.Argument(metavar="unchanged|changed", help="What becomes of the runbook.")],
    because: Annotated[str, typer.Option("--because", help="Why.")],
    as_: As = None,
    json: Json = False,
) -> None:
    """Say whether the runbook stays as it is, or changes as proposed."""
    if found not in ("unchanged", "changed"):
        raise typer.BadParameter(f"{found!r} is no verdict: write unchanged or changed")
    made = with_store(
        lambda pool, settings: service.verdict(
            pool,
            number,
            "changed" if found == "changed" else "unchanged",
            because,
            actor=acting(settings, as_),
            now=_now(),
        )
    )
    _say(made, json, f"The runbook is {found}.")


@app.command()
def close(number: Number, as_: As = None, json: Json = False) -> None:
    """Close the review: the incident is reviewed. Says what is missing if it is not done."""
    made = with_store(lambda pool, settings: service.close(pool, number, actor=acting(settings, as_), now=_now()))
    _say(made, json, f"Incident {number} is reviewed. Its action items are still chased until they are done.")


@app.command()
def export(
    number: Number,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write; - is stdout.")],
    format_: Annotated[
        str | None, typer.Option("--format", "-f", help="md, html or pdf; else as the file's name ends.")
    ] = None,
    json: Json = False,
) -> None:
    """The whole review as Markdown, HTML (one file) or PDF, with timeline and plots."""
    form = format_ or out.suffix.removeprefix(".")
    if form not in rendering.FORMS:
        raise typer.BadParameter(f"{form!r} is no form; --format takes {', '.join(rendering.FORMS)}")
    if json and str(out) == "-":
        raise typer.BadParameter("with --json the review goes to a file: --out FILE")
    chosen = next(one for one in rendering.FORMS if one == form)

    async def body(pool: Pool, _settings: Settings) -> bytes:
        case = await service.case(pool, number, _now())
        return await asyncio.to_thread(_rendered, case, chosen)

    data = with_store(body)
    if str(out) == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from None
    if json:
        terminal.print_json({"incident": number, "format": form, "file": str(out), "bytes": len(data)})
        return
    terminal.say(f"{out}: {len(data):,} bytes.")


def _rendered(case: Case, form: rendering.Form) -> bytes:
    """With progress, once it takes a while."""
    began = time.monotonic()
    progress = terminal.progress()
    task = progress.add_task("Drawing", total=len(document.build(case, _now()).sections) + 1)
    is_shown = False

    def drawn() -> None:
        nonlocal is_shown
        progress.advance(task)
        if not is_shown and time.monotonic() - began > _SLOW:
            progress.start()
            is_shown = True

    try:
        return rendering.render(case, form, _now(), drawn)
    finally:
        progress.stop()


def _say(made: Review, json: bool, text: str) -> None:
    if json:
        terminal.print_json(_fields(made))
        return
    terminal.say(text)
    if made.missing and not made.is_closed:
        terminal.note(f"Before it can be closed it needs {' and '.join(made.missing)}.")


def _json(case: Case) -> dict[str, Any]:
    return _fields(case.review) | {
        "title": case.incident.title,
        "runbook": case.incident.runbook,
        "summary": document.summary(case),
        "figures": asdict(case.review.figures),
        "items": case.items,
        "timeline": case.lines,
        "steps": case.steps,
        "patch": case.patch,
    }


def _fields(review: Review) -> dict[str, Any]:
    return {
        "incident": review.incident_id,
        "root_cause": review.root_cause,
        "lessons": review.lessons,
        "verdict": review.verdict or None,
        "verdict_why": review.verdict_why,
        "is_proposed": review.proposal is not None,
        "missing": review.missing,
        "made_at": review.made_at,
        "closed_at": review.closed_at,
        "closed_by": review.closed_by,
    }


def _state(row: asyncpg.Record | None) -> str:
    if row is None:
        return "not drafted"
    if row["closed_at"] is not None:
        return f"closed by {row['closed_by']}"
    return "root cause written" if row["root_cause"].strip() else "drafted"


def _read(file: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return data.decode()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{file} is not UTF-8 text") from None


def _parted(text: str, file: str) -> tuple[str | None, str | None]:
    """The parts under the headings `Root cause` and `Lessons`, of whatever level."""
    found: dict[str, list[str]] = {}
    under = None
    for line in text.splitlines():
        heading = line.lstrip("#").strip().lower() if line.startswith("#") else None
        if heading in ("root cause", "lessons"):
            under = heading
            found[under] = []
        elif under is not None:
            found[under].append(line)
    if not found:
        raise CommandError(f"{file} has neither a heading `# Root cause` nor `# Lessons`")
    parts = {name: "\n".join(lines).strip() for name, lines in found.items()}
    return parts.get("root cause"), parts.get("lessons")


def _now() -> datetime:
    return datetime.now(UTC)
