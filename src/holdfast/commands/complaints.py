"""`holdfast complaints …`"""

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.commands import complaint_page, terminal
from holdfast.commands.acting import As, acting
from holdfast.commands.editing import edited
from holdfast.commands.options import Json, Limit, Yes, read_time
from holdfast.commands.session import FAILED, CommandError, with_store
from holdfast.complaints import api, proof, replying, service, store, view
from holdfast.complaints import export as exporting
from holdfast.complaints.export import Export
from holdfast.complaints.model import HOWS, Complaint, Filed
from holdfast.complaints.proof import Proof
from holdfast.complaints.view import View
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants

app = typer.Typer()
Number = Annotated[int, typer.Argument(metavar="ID", min=1, help="As `holdfast complaints list` shows.")]


@app.command("list")
def listing(
    everything: Annotated[bool, typer.Option("--all", help="Closed ones as well.")] = False,
    unanswered: Annotated[bool, typer.Option("--unanswered", help="Only those that wait for an answer.")] = False,
    limit: Limit = 50,
    before: Annotated[int | None, typer.Option(help="Go on behind this one.")] = None,
    json: Json = False,
) -> None:
    """Those that are not closed, newest first, and how long there is to answer."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Complaint], bool, dict[str, Any], dict[int, str]]:
        found = await store.listing(pool, unanswered=unanswered, is_open=not everything, limit=limit + 1, before=before)
        shown, more = found[:limit], len(found) > limit
        keys = await merchants.keys(pool, [one.merchant_id for one in shown])
        return shown, more, await api.listing(pool, shown, more, terminal.utc_now()), keys

    found, more, document, keys = with_store(body)
    if json:
        terminal.print_json(document)
        return
    now = terminal.utc_now()
    terminal.print_table(
        (">#", "ANSWER", "RECEIVED", "TEXTS OF", "THROUGH", "WHAT THEY SAID"),
        (
            (
                one.id,
                complaint_page.due(one, now),
                one.received_at,
                keys.get(one.merchant_id),
                one.source,
                " ".join((one.text or "").split())[:60],
            )
            for one in found
        ),
        empty="No complaint is open." if not everything else "Nobody has complained.",
    )
    if more:
        terminal.note(f"There are more: --before {found[-1].id}")


@app.command()
def file(
    phone: Annotated[str | None, typer.Argument(help="The person's number: +14155550123.")] = None,
    text: Annotated[str | None, typer.Option("--said", help="What they said.")] = None,
    merchant: Annotated[str | None, typer.Option(help="The key of whoever texted them, where it is known.")] = None,
    answer_to: Annotated[str | None, typer.Option(help="A mailbox or number where they want the answer.")] = None,
    at: Annotated[str, typer.Option(metavar="TIME", help="When they said it: 10m (ago), 2026-11-24T15:30.")] = "now",
    key: Annotated[str | None, typer.Option(help="Such as the ticket's number: the same again is one.")] = None,
    sid: Annotated[
        str | None, typer.Option("--text", metavar="SID", help="A text of theirs, instead of all this.")
    ] = None,
    audit: Annotated[bool, typer.Option("--audit", help="An audit found it; the person said nothing.")] = False,
    as_: As = None,
    json: Json = False,
) -> None:
    """File one: from that moment no merchant texts them, and what waited is cancelled. They are answered in an hour."""
    if (phone is None) == (sid is None):
        raise typer.BadParameter("give the person's number, or --text SID")
    if sid is not None and any(given is not None for given in (text, merchant, answer_to, key)):
        raise typer.BadParameter("--text SID says all of it: leave the other options out")
    when = read_time(at)

    async def body(pool: Pool, settings: Settings) -> tuple[Filed, dict[str, Any]]:
        actor, now = acting(settings, as_), terminal.utc_now()
        if sid is not None:
            filed = await service.file_text(pool, settings, sid, filed_by=actor, now=now)
        else:
            assert phone is not None
            filed = await service.file(
                pool,
                settings,
                phone=phone,
                merchant=merchant,
                source="audit" if audit else "cli",
                text=text,
                answer_to=answer_to,
                received_at=when,
                key=f"cli:{key}" if key is not None else None,
                filed_by=actor,
                now=now,
            )
        keys = await merchants.keys(pool, [filed.complaint.merchant_id])
        return filed, view.summary(filed.complaint, keys, now) | {"new": filed.is_new, "settled": filed.is_settled}

    filed, document = with_store(body)
    if json:
        terminal.print_json(document)
        return
    one = filed.complaint
    if not filed.is_new:
        terminal.say(f"This is complaint {one.id}, which was filed before.")
        return
    terminal.say(
        f"Complaint {one.id} is filed: no merchant texts them any more; {one.cancelled} waiting texts cancelled."
    )
    if not filed.is_settled:
        terminal.note("A text was being sent at that moment and may still arrive: prove it in a minute.")
    terminal.say(f"Answer them by {terminal.moment(one.due_at)}: holdfast complaints show {one.id}")


@app.command()
def show(
    number: Number,
    whole: Annotated[bool, typer.Option("--all", help="Every text, not the newest alone.")] = False,
    json: Json = False,
) -> None:
    """All that is known: consent then and now, stops, every text of any merchant, how they came in and who else did."""

    async def body(pool: Pool, settings: Settings) -> tuple[View, bool]:
        seen = await view.read(pool, await service.get(pool, number), terminal.utc_now())
        return seen, settings.smtp_url is not None

    seen, can_mail = with_store(body)
    if json:
        terminal.print_json(view.document(seen))
        return
    complaint_page.print_view(seen, whole=whole, can_mail=can_mail)


@app.command()
def reply(number: Number, json: Json = False) -> None:
    """The words of an answer, drafted. Nothing is sent."""

    async def body(pool: Pool, settings: Settings) -> tuple[Complaint, str]:
        found = await service.get(pool, number)
        return found, await replying.drafted(pool, settings, found)

    found, text = with_store(body)
    if json:
        terminal.print_json({"complaint": number, "answer_to": found.answer_to, "text": text})
        return
    terminal.say(text)


@app.command()
def answer(
    number: Number,
    how: Annotated[str, typer.Option(help=f"How they are, or were, answered: {', '.join(HOWS)}.")],
    text: Annotated[str | None, typer.Option(help="What they were told. With --send: else the draft, to edit.")] = None,
    send: Annotated[bool, typer.Option("--send", help="Mail it now, to the mailbox that they left.")] = False,
    yes: Yes = False,
    as_: As = None,
    json: Json = False,
) -> None:
    """Enter that they were answered, or with --send answer them by mail: the hour's clock stops."""
    if how not in HOWS:
        raise typer.BadParameter(f"{how!r} is no way to answer; there are {', '.join(HOWS)}")
    if text is None and not send:
        raise typer.BadParameter("say what they were told: --text …; or mail them the draft: --how email --send")

    async def draft(pool: Pool, settings: Settings) -> str:
        return await replying.drafted(pool, settings, await service.get(pool, number))

    if text is None:
        drafted = with_store(draft)
        text = drafted if yes else edited(drafted)
        if not text:
            raise CommandError("the answer was not saved, so nothing was sent")

    async def body(pool: Pool, settings: Settings) -> tuple[Complaint, dict[int, str]]:
        assert text is not None
        found = await replying.answer(
            pool, settings, number, how=how, text=text, send=send, actor=acting(settings, as_), now=terminal.utc_now()
        )
        return found, await merchants.keys(pool, [found.merchant_id])

    found, keys = with_store(body)
    if json:
        terminal.print_json(view.summary(found, keys, terminal.utc_now()))
        return
    assert found.answered_at is not None
    late = " too late" if found.answered_at > found.due_at else " in time"
    sent = f"is mailed to {found.answer_to}" if send else f"was told by {how}"
    terminal.say(f"Complaint {number} is answered{late}: the person {sent}.")


@app.command()
def close(
    number: Number,
    cause: Annotated[str, typer.Option(help="How it came about, in a sentence or two.")],
    as_: As = None,
    json: Json = False,
) -> None:
    """Nothing is left to be done of it, and this was the cause. Again: the cause is another."""

    async def body(pool: Pool, settings: Settings) -> tuple[Complaint, dict[int, str]]:
        found = await service.close(pool, number, cause=cause, actor=acting(settings, as_), now=terminal.utc_now())
        return found, await merchants.keys(pool, [found.merchant_id])

    found, keys = with_store(body)
    if json:
        terminal.print_json(view.summary(found, keys, terminal.utc_now()))
        return
    terminal.say(f"Complaint {number} is closed.")


@app.command()
def prove(number: Number, json: Json = False) -> None:
    """Prove that nobody texts them: by our record, and by Twilio's own list of every account. Exit status 1 if not."""

    async def body(pool: Pool, settings: Settings) -> Proof:
        return await proof.prove(pool, settings, await service.get(pool, number), terminal.utc_now())

    found = with_store(body)
    if json:
        terminal.print_json(proof.document(found))
    else:
        complaint_page.print_proof(found)
    if not found.holds:
        raise typer.Exit(FAILED)


@app.command()
def export(
    number: Number,
    out: Annotated[Path, typer.Option(metavar="FILE.zip", help="Where to.")],
    prove_it: Annotated[bool, typer.Option("--prove/--no-prove", help="Whether Twilio is asked for its list.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Over a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write the file for an auditor: data, a readable page, and a manifest of SHA-256 over all of it."""
    if out.exists() and not force:
        raise CommandError(f"{out} is there already: choose another name, or --force")

    async def body(pool: Pool, settings: Settings) -> Export:
        found, now = await service.get(pool, number), terminal.utc_now()
        proved = await proof.prove(pool, settings, found, now) if prove_it else None
        return await exporting.export(pool, found, now, proof=proved)

    made = with_store(body)
    try:
        exporting.write_private(out, made.data)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from None
    if json:
        terminal.print_json({"file": str(out), "sha256": made.sha256, "bytes": len(made.data), "files": made.files})
        return
    terminal.say(f"{out}: {len(made.files)} files, SHA-256 {made.sha256}")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="As `export` wrote it.")], json: Json = False
) -> None:
    """Check an exported file against its own manifest. Exit status 1 if anything in it was changed."""
    try:
        wrong = exporting.check(file.read_bytes())
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from None
    if json:
        terminal.print_json({"file": str(file), "holds": not wrong, "wrong": wrong})
    else:
        terminal.say("\n".join(wrong) if wrong else f"{file} is as it was written.")
    if wrong:
        raise typer.Exit(FAILED)
