"""`holdfast contacts …`"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from holdfast.commands import rejects as rejected_rows
from holdfast.commands import terminal
from holdfast.commands.acting import As, acting
from holdfast.commands.consent import Phone, print_batches, read_text
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, Limit
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.consent import customers, documents, import_files, import_rows, import_store, importing, undoing
from holdfast.consent.import_files import Source, Unread
from holdfast.consent.import_rows import FIELDS, Reading
from holdfast.consent.importing import Job, Outcome
from holdfast.consent.keys import PhoneKey
from holdfast.consent.undoing import Undone
from holdfast.db.pool import Pool
from holdfast.messaging import blocking
from holdfast.naming import ZONE_IS, time_zone

app = typer.Typer()
_PAGE = 1000
_BLOCKED = "holdfast suppressions list --live --reason import"

MerchantKey = Annotated[str, typer.Option("--merchant", "-m", metavar="KEY", help="Whose people they are.")]
SomeMerchant = Annotated[str | None, typer.Option("--merchant", "-m", metavar="KEY", help="Only of this one.")]
Batch = Annotated[int, typer.Argument(metavar="BATCH", help="As `holdfast contacts batches` shows.")]


@app.command("import")
def load(
    file: Annotated[Path, typer.Argument(help="CSV, XLSX or JSON lines.")],
    merchant: MerchantKey,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without, it is only looked at.")] = False,
    origin: Annotated[
        str, typer.Option(help="The form or campaign that they come from, such as 'spring web form'.")
    ] = "",
    region: Annotated[str | None, typer.Option(help="The country of numbers that say none, such as US.")] = None,
    purpose: Annotated[
        str | None, typer.Option(help="marketing or informational, where the file does not say it.")
    ] = None,
    dates: Annotated[
        str | None, typer.Option(help="How dates such as 03/04/2025 are meant: dmy or mdy. It is not guessed.")
    ] = None,
    zone: Annotated[
        str | None, typer.Option(help="Of times without one: Europe/Berlin. Else that of the merchant, else UTC.")
    ] = None,
    disclosure: Annotated[
        str | None, typer.Option(help="The text that all of them were shown, where the file does not say it; or @FILE.")
    ] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help=f"Fields: {', '.join(FIELDS)}.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="Of an XLSX file; the first unless given.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Write every rejected row with its reason to this CSV.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over the file of --rejects, if it is there.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Though the same file was imported before.")] = False,
    by: As = None,
    json: Json = False,
) -> None:
    """Import people and their consents. A dry run, unless --apply; never lifts a block; can be undone."""
    columns = _columns(map_ or [])
    if dates not in (None, "dmy", "mdy"):
        raise typer.BadParameter(f"{dates!r} is no order of dates: write dmy or mdy")
    if zone is not None and time_zone(zone) is None:
        raise typer.BadParameter(f"{zone!r} is no time zone: {ZONE_IS}")
    order: Literal["dmy", "mdy"] | None = "dmy" if dates == "dmy" else "mdy" if dates == "mdy" else None

    async def body(pool: Pool, settings: Settings) -> tuple[Job, int | None, Outcome]:
        known = await find(pool, merchant)
        source = _examined(file, sheet)
        reading = Reading(
            import_rows.guess(source.columns, columns),
            datetime.now(UTC),
            region=region.upper() if region else None,
            purpose=blocking.purpose_of(purpose) if purpose is not None else None,
            zone=zone or known.time_zone or "UTC",
            dates=order,
            disclosure=read_text(disclosure),
        )
        job = Job(source, reading, known.id, origin, acting(settings, by), PhoneKey.load(settings), again)
        if not json:
            _print_columns(job)
        what = f"{'Importing' if apply else 'Looking at'} rows"
        with rejected_rows.writing(rejects, file, force=force) as rejected, _bar(source, what) as hear:
            try:
                if not apply:
                    return job, None, await importing.check(pool, job, hear, rejected)
                stops = blocking.ImportStops(pool)
                number, outcome = await importing.apply(pool, job, stops, terminal.utc_now, hear=hear)
            except OSError as error:
                raise CommandError(f"cannot read {file}: {error.strerror or error}") from None
            if rejects is not None:  # all of them, also of an earlier try that was broken off
                async for page in _all_rejects(pool, number):
                    rejected(page)
            return job, number, outcome

    job, number, outcome = with_store(body)
    if json:
        document = {"file": str(file), "applied": apply, "batch": number, "encoding": job.source.encoding}
        shown = {"samples": [asdict(one) for one in outcome.samples], "met": [asdict(one) for one in outcome.met]}
        terminal.print_json(document | {"options": job.options} | outcome.document() | shown)
        return
    _print_outcome(job, outcome, number, rejects)


@app.command()
def undo(
    batch: Batch,
    why: Annotated[str, typer.Option("--why", help="Why: it is kept.")],
    by: As = None,
    json: Json = False,
) -> None:
    """Take an import back: its consents count no more, contacts are as before. Blocks of its opt-outs stay."""

    async def body(pool: Pool, settings: Settings) -> Undone:
        with terminal.progress() as bar:
            task = bar.add_task("People", total=None)
            return await undoing.undo(
                pool,
                batch,
                actor=acting(settings, by),
                why=why,
                clock=terminal.utc_now,
                hear=lambda count: bar.advance(task, count),
            )

    done = with_store(body)
    if json:
        terminal.print_json(done)
        return
    terminal.say(
        f"Import {batch} is undone: {done.grants} consents count no more, {done.contacts_deleted} contacts removed, "
        f"{done.contacts_restored} as they were before."
    )
    if done.kept_blocks:
        terminal.note(f"{done.kept_blocks} people whom the file said opted out stay blocked: {_BLOCKED}")


@app.command()
def batches(
    merchant: SomeMerchant = None,
    before: Annotated[int | None, typer.Option(metavar="BATCH", help="Go on behind this one.")] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """Files that were imported, newest first."""
    print_batches(merchant, before, limit, json=json)


@app.command("rejects")
def show_rejects(
    batch: Batch,
    after: Annotated[int, typer.Option(metavar="LINE", help="Go on behind this line.")] = 0,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """Rows of an import that could not be taken, and why."""

    async def body(pool: Pool, _settings: Settings) -> list[Unread]:
        if await import_store.batch(pool, batch) is None:
            raise CommandError(f"there is no import {batch}; see `holdfast contacts batches`")
        return await import_store.rejects(pool, batch, after=after, limit=limit)

    found = with_store(body)
    if json:
        terminal.print_json({"rejects": found})
        return
    terminal.print_table(
        (">LINE", "REASON", "SAID"), ((one.line, one.reason, one.said) for one in found), empty="All rows were taken."
    )
    if len(found) == limit:
        terminal.note(f"There may be more: --after {found[-1].line}")


@app.command()
def show(phone: Phone, json: Json = False) -> None:
    """What merchants call a person, and where they have that from. Consents: `holdfast consent show`."""

    async def body(pool: Pool, settings: Settings) -> list[dict[str, Any]]:
        number = blocking.number(phone)
        known = (await customers.find(pool, [number], PhoneKey.load(settings))).get(number)
        rows = await import_store.contacts(pool, known.id) if known is not None else []
        keys = await documents.keys_of(pool, [row["merchant_id"] for row in rows])
        return [{"merchant": documents.merchant(row["merchant_id"], keys), **dict(row)} for row in rows]

    found = with_store(body)
    if json:
        terminal.print_json({"phone": phone, "contacts": found})
        return
    terminal.print_table(
        ("MERCHANT", "NAME", "E-MAIL", "REFERENCE", "IMPORT", ">LINE", "CHANGED"),
        (
            (
                one["merchant"],
                one["name"],
                one["email"],
                one["reference"],
                one["batch_id"],
                one["batch_row"] or "",
                one["changed_at"],
            )
            for one in found
        ),
        empty="No merchant has this number among its contacts.",
    )


def _columns(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, column = one.partition("=")
        if not equals:
            raise typer.BadParameter(f"--map {one}: write FIELD=COLUMN, such as phone=Mobile")
        found[name.strip()] = column.strip()
    return found


def _examined(file: Path, sheet: str | None) -> Source:
    try:
        return import_files.examine(file, sheet)
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror or error}") from None


async def _all_rejects(pool: Pool, batch: int) -> AsyncIterator[list[Unread]]:
    after = 0
    while page := await import_store.rejects(pool, batch, after=after, limit=_PAGE):
        yield page
        after = page[-1].line


@contextmanager
def _bar(source: Source, what: str) -> Iterator[Callable[[int], None]]:
    """How many rows are done, and how fast: how many there are is guessed from the size of the first."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} rows/s"),
        TimeRemainingColumn(),
        console=terminal.err,
        transient=True,
        disable=not terminal.err.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=import_files.guess_rows(source), rate="-")

        def hear(count: int) -> None:
            bar.advance(task, count)
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(task, rate=f"{speed:,.0f}" if speed else "-")

        yield hear


def _print_columns(job: Job) -> None:
    source, reading = job.source, job.reading
    said = f"{source.path.name}: {source.kind}"
    if source.delimiter is not None:
        said += f", fields separated by {'tabs' if source.delimiter == chr(9) else source.delimiter!r}"
    if source.sheet is not None:
        said += f", sheet {source.sheet!r}"
    terminal.note(said + (f", {source.encoding}" if source.encoding else ""))
    if source.encoding == "latin-1":
        terminal.note("It is no UTF-8, so Latin-1 is taken: look whether accents are right, or save it as UTF-8.")
    used = {place: name for name, place in reading.columns.items()}
    for place, column in enumerate(source.columns):
        terminal.note(f"  {column or '(no name)'} → {used.get(place, 'not used')}")
    if not reading.has_consents:
        terminal.note(
            "No column says whether or when people consented: contacts alone are taken; they give no consent."
        )


def _print_outcome(job: Job, outcome: Outcome, number: int | None, rejects: Path | None) -> None:
    would = "" if number is not None else "would be "
    terminal.say(
        f"{outcome.rows} rows: {outcome.grants} consents and {outcome.opt_outs} opt-outs {would}recorded, "
        f"{outcome.known} on record already, {outcome.rejects} rejected; {outcome.people} people new; contacts: "
        f"{outcome.contacts_new} new, {outcome.contacts_changed} changed."
    )
    lost = {why: n for why, n in outcome.rejected.items() if import_rows.may_be_opt_out(why, job.reading)}
    if lost:
        terminal.note(
            f"{sum(lost.values())} of the rejected may be opt-outs: people who must get no texts. Look at them first."
        )
    for title, counted in (
        ("May be opt-outs", lost),
        ("Rejected", {why: n for why, n in outcome.rejected.items() if why not in lost}),
        ("Taken, but", outcome.warnings),
        ("On record", outcome.conflicts),
    ):
        if counted:
            terminal.say("")
            _print_counts(title, counted)
    for one in outcome.samples:
        terminal.note(f"line {one.line}: {one.reason}{f' ({one.said})' if one.said else ''}")
    if outcome.rejects > len(outcome.samples):
        terminal.note(f"… and {outcome.rejects - len(outcome.samples)} more" + ("" if rejects else ": --rejects FILE"))
    if number is None:
        terminal.say("Nothing was changed: this was a dry run. To do it: --apply")
    else:
        terminal.say(f"Import {number} is done. To take it back: holdfast contacts undo {number} --why …")


def _print_counts(title: str, counted: Mapping[str, int]) -> None:
    rows = sorted(counted.items(), key=lambda one: -one[1])
    terminal.print_table((f">{title.upper()}", "WHY"), ((count, what) for what, count in rows), empty="")
