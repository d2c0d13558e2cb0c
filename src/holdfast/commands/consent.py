"""`holdfast consent …`"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.commands import consent_links, terminal
from holdfast.commands.acting import As, acting
from holdfast.commands.asking import sure
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, Limit, Yes, read_optional_time, read_time
from holdfast.commands.session import FAILED, CommandError, with_store
from holdfast.config import Settings
from holdfast.consent import customers, documents, import_store, verifying
from holdfast.consent.erasing import Erased
from holdfast.consent.history import SENSES, Sense
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import EVERY_MERCHANT, Scope
from holdfast.consent.verifying import Verified
from holdfast.db.pool import Pool
from holdfast.messaging import blocking, erasing
from holdfast.messaging.blocking import Recorded, Said

app = typer.Typer()
app.command("link")(consent_links.link)

Phone = Annotated[str, typer.Argument(metavar="PHONE", help="With its country's code, such as +14155550123.")]
MerchantKey = Annotated[str, typer.Option("--merchant", "-m", metavar="KEY", help="To whom.")]
OneMerchant = Annotated[str | None, typer.Option("--merchant", "-m", metavar="KEY", help="Only towards this one.")]
When = Annotated[str, typer.Option("--when", metavar="TIME", help="When they did it: 2026-11-24T15:30, 2h (ago), now.")]
SourceWord = Annotated[str, typer.Option(help=f"How we heard of it: {', '.join(blocking.TWILIO_SOURCES)}.")]
Method = Annotated[str | None, typer.Option(help="How: paper form, phone call, web form …")]
Collector = Annotated[str | None, typer.Option(help="Who collected it.")]
Ip = Annotated[str | None, typer.Option(help="The address that they used.")]
Recording = Annotated[str | None, typer.Option(help="Where the recording of it is.")]


@app.command()
def show(
    phone: Phone,
    merchant: OneMerchant = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="What held then: 2025-11-24T15:30, or 3d (ago).")
    ] = None,
    sense: Annotated[
        str, typer.Option(help="As of then: what had `happened`, as is known today; or what was `known` to us.")
    ] = "happened",
    json: Json = False,
) -> None:
    """What a person agreed to and took back, who may text them, and how they came in."""
    if sense not in SENSES:
        raise typer.BadParameter(f"{sense!r} is not a sense: write {' or '.join(SENSES)}")
    chosen: Sense = "known" if sense == "known" else "happened"
    at = read_optional_time(as_of)

    async def body(pool: Pool, settings: Settings) -> dict[str, Any]:
        merchant_id = (await find(pool, merchant)).id if merchant is not None else None
        number = blocking.number(phone)
        found = (await customers.find(pool, [number], PhoneKey.load(settings))).get(number)
        if found is None:
            raise CommandError("nothing is known of this number: nobody consented, nobody is blocked")
        return await documents.person(pool, found, merchant_id=merchant_id, as_of=at, sense=chosen)

    document = with_store(body)
    if json:
        terminal.print_json(document)
        return
    _print_person(document)


@app.command()
def grant(
    phone: Phone,
    merchant: MerchantKey,
    purpose: Annotated[str, typer.Option(help="marketing or informational.")],
    disclosure: Annotated[
        str | None, typer.Option(help="The text that they were shown; @FILE reads it from a file. Marketing needs it.")
    ] = None,
    source: SourceWord = "offline",
    when: When = "now",
    method: Method = None,
    collector: Collector = None,
    ip: Ip = None,
    recording: Recording = None,
    origin: Annotated[
        str | None, typer.Option(help="The form, keyword or campaign: who else came this way is told by it.")
    ] = None,
    by: As = None,
    json: Json = False,
) -> None:
    """Record by hand that somebody consented. It lifts no block: that is the person's own deed."""
    detail = _detail(method=method, ip=ip, recording=recording)
    text, at = read_text(disclosure), read_time(when)

    async def body(pool: Pool, settings: Settings) -> Recorded:
        said = Said(
            blocking.number(phone),
            (await find(pool, merchant)).id,
            "grant",
            blocking.purpose_of(purpose),
            blocking.source(source),
            at,
            disclosure=text,
            origin=origin,
            collector=collector,
            detail=detail,
        )
        return await _record(pool, settings, said, by)

    done = with_store(body)
    if json:
        terminal.print_json(done)
        return
    terminal.say(f"Row {done.consent_seq} of the ledger: consent to {purpose} texts of {merchant}.")
    if purpose == "marketing" and text is None:
        terminal.note("It has no disclosure, and so cannot be used for marketing: --disclosure @FILE")
    if done.blocked:
        terminal.note(f"The person is blocked all the same ({', '.join(done.blocked)}): holdfast consent show {phone}")


@app.command()
def revoke(
    phone: Phone,
    merchant: OneMerchant = None,
    every: Annotated[bool, typer.Option("--every-merchant", help="Towards all of them.")] = False,
    purpose: Annotated[str, typer.Option(help="all, or only marketing or informational.")] = "all",
    source: SourceWord = "offline",
    when: When = "now",
    method: Method = None,
    collector: Collector = None,
    recording: Recording = None,
    by: As = None,
    json: Json = False,
) -> None:
    """Record by hand that somebody took their consent back. Of everything, they are blocked at once."""
    if (merchant is None) != every:
        raise typer.BadParameter("say --merchant KEY, or --every-merchant")
    detail = _detail(method=method, recording=recording)
    at = read_time(when)
    scope: Scope = "all" if purpose == "all" else blocking.purpose_of(purpose)

    async def body(pool: Pool, settings: Settings) -> Recorded:
        said = Said(
            blocking.number(phone),
            (await find(pool, merchant)).id if merchant is not None else EVERY_MERCHANT,
            "revoke",
            scope,
            blocking.source(source),
            at,
            channel="all" if scope == "all" else "text",
            collector=collector,
            detail=detail,
        )
        return await _record(pool, settings, said, by)

    done = with_store(body)
    if json:
        terminal.print_json(done)
        return
    blocked = f"; blocked by suppression {done.suppression_id}, {done.cancelled} waiting texts cancelled"
    terminal.say(f"Row {done.consent_seq} of the ledger{blocked if done.suppression_id is not None else ''}.")


@app.command()
def verify(
    expect: Annotated[
        str | None,
        typer.Option(
            metavar="SEQ:HASH", help="A head that was printed before: proves that nothing up to it was rewritten."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Prove that the ledger is as it was written, or name the first row that is not. Exit 1 then."""
    head = verifying.read_head(expect) if expect is not None else None

    async def body(pool: Pool, _settings: Settings) -> Verified:
        with terminal.progress() as bar:
            task = bar.add_task("Rows of the ledger", total=None)
            return await verifying.verify(
                pool, expect=head, progress=lambda done, of: bar.update(task, completed=done, total=of)
            )

    found = with_store(body)
    broken = found.broken
    if json:
        terminal.print_json(
            {
                "ok": found.is_ok,
                "rows": found.rows,
                "head": str(found.head),
                "broken": {"seq": broken.seq, "what": broken.what} if broken is not None else None,
            }
        )
    elif broken is None:
        terminal.say(f"The ledger holds: {found.rows} rows, as they were written. Its head:")
        terminal.say(str(found.head))
        terminal.note("Note it where nobody who can write to the database can change it; --expect checks against it.")
    else:
        terminal.say(f"The ledger is broken at row {broken.seq}: {broken.what}.")
        terminal.say(f"{found.rows} rows before it hold; the head of these: {found.head}")
    if broken is not None:
        raise typer.Exit(FAILED)


@app.command()
def batches(merchant: OneMerchant = None, limit: Limit = 50, json: Json = False) -> None:
    """Files through which consents came in, newest first. The same as `holdfast contacts batches`."""
    print_batches(merchant, None, limit, json=json)


@app.command()
def erase(
    phone: Phone,
    why: Annotated[str, typer.Option(help="The request, such as a ticket and its date.")],
    by: As = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Erase a person on request: what is personal goes, the number stays blocked for ever. Not to be undone."""
    sure(f"erase all that is personal of {phone}, for ever", yes=yes, json=json)

    async def body(pool: Pool, settings: Settings) -> Erased:
        key = PhoneKey.load_or_make(settings)
        with terminal.progress() as bar:
            task = bar.add_task("Events looked through", total=None)
            return await erasing.erase(
                pool,
                blocking.number(phone),
                key,
                actor=acting(settings, by),
                why=why,
                now=datetime.now(UTC),
                progress=lambda seq: bar.update(task, completed=seq),
                exports=settings.data_dir / erasing.EXPORTS,
            )

    done = with_store(body)
    if json:
        terminal.print_json({"erasure": done, "out_of_reach": done.out_of_reach})
        return
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in done.counts.items() if count)
    terminal.say(
        f"Customer {done.customer_id} "
        f"{'was erased before; looked through again' if done.id is None else 'is erased'}: "
        f"{counts or 'nothing'} blanked or deleted, {done.cancelled} waiting texts cancelled. The number stays blocked."
    )
    terminal.say("Not reached: " + "; ".join(done.out_of_reach) + ".")
    terminal.note("Back up the key (HOLDFAST_ERASURE_KEY, or erasure.key in the data directory): docs/consent.md")


def print_batches(merchant: str | None, before: int | None, limit: int, *, json: bool) -> None:
    """What `consent batches` and `contacts batches` show."""

    async def body(pool: Pool, _settings: Settings) -> list[dict[str, Any]]:
        merchant_id = (await find(pool, merchant)).id if merchant is not None else None
        found = await import_store.batches(pool, merchant_id=merchant_id, before=before, limit=limit)
        keys = await documents.keys_of(pool, [one.merchant_id for one in found])
        return [documents.batch(one, keys) for one in found]

    found = with_store(body)
    if json:
        terminal.print_json({"batches": found})
        return
    terminal.print_table(
        (">#", "MERCHANT", "FILE", "ORIGIN", "STATE", ">ROWS", ">CONSENTS", ">OPT-OUTS", ">REJECTS", "BY", "BEGAN"),
        (
            (
                one["id"],
                one["merchant"],
                one["file"],
                one["origin"],
                one["state"],
                *(one["counts"].get(name, 0) for name in ("rows", "grants", "opt_outs", "rejects")),
                one["actor"],
                one["began_at"],
            )
            for one in found
        ),
        empty="Nothing was imported yet: holdfast contacts import FILE --merchant KEY",
    )
    if len(found) == limit:
        terminal.note(f"There may be more: --before {found[-1]['id']}")


async def _record(pool: Pool, settings: Settings, said: Said, by: str | None) -> Recorded:
    key, now = PhoneKey.load(settings), datetime.now(UTC)
    return (await blocking.record(pool, [said], key, actor=acting(settings, by), now=now))[0]


def read_text(given: str | None) -> str | None:
    """A disclosure as it is given, or what stands in the FILE of @FILE. Raises CommandError."""
    if given is None or not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {given[1:]}: {error}") from None


def _detail(**given: str | None) -> dict[str, str]:
    return {name: value for name, value in given.items() if value}


def _print_person(document: dict[str, Any]) -> None:
    customer = document["customer"]
    erased = customer["erased_at"]
    terminal.print_fields(
        (
            ("customer", customer["id"]),
            ("number", customer["phone"] or "erased"),
            ("time zones", ", ".join(customer["zones"]) or None),
            ("known since", customer["created_at"]),
            ("erased", erased),
            ("as of", document["as_of"]),
        )
    )
    terminal.say("")
    terminal.print_table(
        ("MERCHANT", "PURPOSE", "CONSENT", ">ROW", "SINCE", "BLOCKED", "MAY TEXT"),
        (
            (
                one["merchant"],
                one["purpose"],
                one["consent"],
                one["consent_seq"] or "",
                one["given_at"] or "",
                ", ".join(f"{block['reason']} ({block['id']})" for block in one["blocks"]),
                one["may_text"],
            )
            for one in document["standings"]
        ),
        empty="Nothing was ever said to a merchant.",
    )
    terminal.say("")
    terminal.print_table(
        (
            ">ROW",
            "GIVEN",
            "RECORDED",
            "ACTION",
            "MERCHANT",
            "PURPOSE",
            "SOURCE",
            "ORIGIN",
            "BATCH",
            "BY",
            "HOW",
            "SHOWN",
        ),
        (
            (
                one["seq"],
                one["given_at"],
                one["recorded_at"],
                one["action"],
                one["merchant"],
                one["purpose"],
                one["source"],
                one["origin"] or "",
                f"{one['batch_id']}, line {one['batch_row']}" if one["batch_id"] is not None else "",
                one["collector"] or one["actor"],
                "; ".join(f"{name}: {value}" for name, value in one["detail"].items()),
                (one["disclosure"] or "")[:60],
            )
            for one in document["rows"]
        ),
        empty="No rows of the ledger.",
    )
    if document["suppressions"]:
        terminal.say("")
        print_suppressions(document["suppressions"], empty="")
    for one in document["origins"]:
        terminal.say(f"Came to {one['merchant']} by {one['label']}.")


def print_suppressions(found: list[dict[str, Any]], *, empty: str) -> None:
    """Blocks as `documents.suppression` writes them."""
    terminal.print_table(
        (">#", "NUMBER", "MERCHANT", "REASON", "SOURCE", "BY", "MADE", "LIFTED", "NOTE"),
        (
            (
                one["id"],
                one["phone"] or "erased",
                one["merchant"] + (f" but {', '.join(one['excepted'])}" if one["excepted"] else ""),
                one["reason"],
                one["source"],
                one["actor"],
                one["made_at"],
                f"{terminal.moment(one['lifted_at'])} by {one['lifted_by']}: {one['lifted_why']}"
                if one["lifted_at"]
                else "",
                one["note"],
            )
            for one in found
        ),
        empty=empty,
    )
