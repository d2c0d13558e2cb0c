"""`holdfast numbers …`"""

import getpass
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.commands import terminal
from holdfast.commands.asking import sure
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, Limit, Yes
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.merchants import number_store
from holdfast.merchants.files import Rejected
from holdfast.merchants.model import MerchantError
from holdfast.merchants.numbers import e164
from holdfast.voice import service
from holdfast.voice.hours import in_words
from holdfast.voice.model import Plan, PlanTarget
from holdfast.voice.number_files import COLUMNS, read_file
from holdfast.voice.plans import document_of, read_plan
from holdfast.voice.service import Imported, Known, Wanted

app = typer.Typer()

Phone = Annotated[str, typer.Argument(metavar="NUMBER", help="With its country's code, such as +14155550123.")]
Owner = Annotated[
    str | None,
    typer.Option("--merchant", "-m", metavar="KEY", help="Whose it is; '' for the company itself."),
]
Region = Annotated[
    str | None, typer.Option(help="Where it is, for health and levers: its country unless given; US-west, say.")
]
StandsIn = Annotated[
    bool | None,
    typer.Option("--stands-in/--no-stands-in", help="Whether it may be shown as caller ID instead of another number."),
]
Account = Annotated[
    str | None, typer.Option(metavar="AC…", help="The Twilio account that has it: that of the settings unless given.")
]
Sid = Annotated[str | None, typer.Option(metavar="PN…", help="Its SID at Twilio; looked up where it is not given.")]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target", "-t", metavar="ADDRESS", help="Who is rung, in order: a number or sip:…; may be repeated."
    ),
]
PlanFile = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Its call plan, in YAML or JSON.")]
_SHOWN_REJECTS = 20


@app.command()
def add(
    phone: Phone,
    merchant: Owner = None,
    target: Targets = None,
    plan: PlanFile = None,
    region: Region = None,
    stands_in: StandsIn = None,
    account: Account = None,
    sid: Sid = None,
    json: Json = False,
) -> None:
    """Add a number, with whom to ring; without, its calls are asked for a message."""
    wanted = Wanted(phone, merchant, region, account, sid, stands_in, given_plan(plan, target))
    _put(wanted, new=True, json=json)


@app.command("set")
def change(
    phone: Phone,
    merchant: Owner = None,
    region: Region = None,
    stands_in: StandsIn = None,
    account: Account = None,
    sid: Sid = None,
    json: Json = False,
) -> None:
    """Change a number; what is not named stays. Its call plan: `holdfast plans set`."""
    _put(Wanted(phone, merchant, region, account, sid, stands_in), new=False, json=json)


def _put(wanted: Wanted, *, new: bool, json: bool) -> None:
    async def body(pool: Pool, settings: Settings) -> tuple[Known, bool]:
        main = settings.twilio_account_sid
        number, _ = await service.put(pool, wanted, by=getpass.getuser(), main=main, new=new)
        (known,) = await service.known(pool, [number])
        return known, await service.zone_is_certain(pool, number, known.plan or Plan())

    known, zone_is_certain = with_store(body)
    if json:
        terminal.print_json({"number": document(known)})
        return
    terminal.say(f"{known.phone} of {owner(known)} {'added' if new else 'changed'}; {summary(known.plan)}.")
    if new and known.plan is None:
        terminal.say(f"Say whom to ring: holdfast plans set {known.phone} --target +1…")
    if not zone_is_certain:
        note_zone()


@app.command("list")
def listing(
    merchant: Annotated[str | None, typer.Option("--merchant", "-m", metavar="KEY", help="Only its numbers.")] = None,
    region: Annotated[str | None, typer.Option(help="Only those in this region.")] = None,
    after: Annotated[str | None, typer.Option(help="Go on behind this number.")] = None,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List numbers, with whom their calls ring."""

    async def body(pool: Pool, _settings: Settings) -> list[Known]:
        merchant_id = (await find(pool, merchant)).id if merchant is not None else None
        found = await number_store.numbers(pool, merchant_id=merchant_id, region=region, after=after, limit=limit)
        return await service.known(pool, found)

    numbers = with_store(body)
    if json:
        terminal.print_json({"numbers": [document(one) for one in numbers]})
        return
    terminal.print_table(
        ("NUMBER", "MERCHANT", "REGION", "CALLS", "STANDS IN", "ACCOUNT"),
        (
            (one.phone, owner(one), one.region, summary(one.plan), one.stands_in, one.account or "main")
            for one in numbers
        ),
        empty="No numbers yet. Add one: holdfast numbers add +1… --merchant bakery --target +1…"
        if merchant is None and region is None
        else "No such numbers.",
    )
    if len(numbers) == limit:
        terminal.note(f"There may be more: --after {numbers[-1].phone}")


@app.command()
def show(phone: Phone, json: Json = False) -> None:
    """Show one number. What its calls would be told: `holdfast plans show`."""

    async def body(pool: Pool, _settings: Settings) -> Known:
        return (await service.known(pool, [await service.find(pool, phone)]))[0]

    known = with_store(body)
    if json:
        terminal.print_json({"number": document(known)})
        return
    terminal.print_fields(
        (
            ("number", known.phone),
            ("merchant", owner(known)),
            ("region", known.region),
            ("stands in", known.stands_in),
            ("account", known.account or "main"),
            ("sid", known.sid or "not looked up yet"),
            ("calls", summary(known.plan)),
            ("hours", in_words(known.plan.hours) if known.plan is not None else None),
            ("since", known.created_at),
        )
    )


@app.command("import")
def load(
    file: Annotated[Path, typer.Argument(help=f"CSV with a header line, or JSON lines. Fields: {', '.join(COLUMNS)}.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the file.")] = False,
    json: Json = False,
) -> None:
    """Add or change many numbers, with what the file says of their call plans. All rows or none."""

    async def body(pool: Pool, settings: Settings) -> tuple[Imported, list[Rejected], int]:
        try:
            found = list(read_file(file))
        except OSError as error:
            raise CommandError(f"cannot read {file}: {error.strerror}") from None
        except MerchantError as error:
            raise CommandError(f"{file}: {error}") from None
        main = settings.twilio_account_sid
        taken = await service.import_rows(pool, found, by=getpass.getuser(), main=main, dry_run=dry_run)
        return *taken, len(found)

    result, rejected, count = with_store(body)
    if rejected:
        for reject in rejected[:_SHOWN_REJECTS]:
            terminal.note(f"{file}, line {reject.line}: {reject.reason}")
        more = len(rejected) - _SHOWN_REJECTS
        if more > 0:
            terminal.note(f"… and {more} more")
        raise CommandError(f"{len(rejected)} of {count} rows cannot be taken; nothing was changed")
    if json:
        terminal.print_json({"file": str(file), "dry_run": dry_run, **asdict(result)})
    elif dry_run:
        terminal.say(f"{result.rows} numbers, all of them as they should be. Nothing was changed (--dry-run).")
    else:
        terminal.say(
            f"{result.rows} numbers: {result.added} added, {result.changed} changed, "
            f"{result.rows - result.added - result.changed} as they were; {result.plans} call plans set."
        )


@app.command()
def remove(phone: Phone, yes: Yes = False, json: Json = False) -> None:
    """Remove a number and its call plan: calls to it are told that it is not in service."""
    number = _written(phone)
    sure(f"remove {number}: calls to it will be told that it is not in service", yes=yes, json=json)

    async def body(pool: Pool, _settings: Settings) -> None:
        if not await number_store.remove(pool, number):
            raise service.missing(number)

    with_store(body)
    if json:
        terminal.print_json({"number": number, "removed": True})
        return
    terminal.say(f"{number} removed.")


def given_plan(file: Path | None, targets: list[str] | None) -> Plan | None:
    """The plan that options give, if any. Raises CommandError, VoiceError."""
    if file is not None and targets:
        raise CommandError("give a plan file or --target, not both")
    if file is None:
        return Plan(tuple(PlanTarget(one) for one in targets)) if targets else None
    try:
        return read_plan(file)
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from None


def document(known: Known) -> dict[str, Any]:
    """A number as it is printed for programs."""
    return asdict(known) | {"plan": document_of(known.plan) if known.plan is not None else None}


def owner(known: Known) -> str:
    return known.merchant or "the company"


def summary(plan: Plan | None) -> str:
    """Whom a plan rings, in a line."""
    if plan is None:
        return "calls are asked for a message"
    return f"rings {', '.join(one.address for one in plan.targets)}"


def note_zone() -> None:
    terminal.note(
        "By which clock its hours go is not certain: UTC is taken. Give the plan a time_zone, or the merchant one: "
        "holdfast merchants set KEY --time-zone Europe/Berlin"
    )


def _written(phone: str) -> str:
    try:
        return e164(phone)
    except MerchantError as error:
        raise CommandError(str(error)) from None
