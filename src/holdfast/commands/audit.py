"""`holdfast audit …`"""

import getpass
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json, Limit, read_time
from holdfast.commands.session import FAILED, with_store
from holdfast.config import Settings
from holdfast.consent.keys import PhoneKey
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.messaging import auditing
from holdfast.messaging import auditing_store as store
from holdfast.messaging.api import merchant_id
from holdfast.messaging.audit_api import document
from holdfast.messaging.auditing import Comparison, Report
from holdfast.messaging.auditing_store import SAID, Finding, FindingKind, Which
from holdfast.messaging.missing import Missing
from holdfast.twilio import store as twilio
from holdfast.twilio.client import TwilioClient

app = typer.Typer()
findings_app = typer.Typer()
app.add_typer(
    findings_app, name="findings", help="Findings: texts that should not have gone out.", no_args_is_help=True
)


@app.command()
def texts(
    since: Annotated[str, typer.Option(help="Texts from here on: 2h, 3d (ago), 2026-11-24T15:30.")] = "25h",
    json: Json = False,
) -> None:
    """Compare what went out with the ledger, the suppressions and Twilio's own list.

    Exit status 1 when anything is new, or a list could not be read.
    """
    now = datetime.now(UTC)
    begin = read_time(since, now)
    if not now - auditing.LONGEST <= begin < now:
        raise typer.BadParameter(f"--since: at most {auditing.LONGEST.days} days ago, and before now")

    async def body(pool: Pool, settings: Settings) -> Report:
        accounts = await twilio.accounts(pool)
        report = Report(begin, now)
        asked: list[str | None] = [None, *(account.sid for account in accounts)]
        with terminal.progress() as progress:
            looks = len(auditing.slices(begin, now, auditing.SLICE))
            task = progress.add_task("Texts looked at", total=looks)
            await auditing.look(pool, begin, now, report=report, done=lambda: progress.advance(task))
            if settings.twilio_account_sid is None:
                return report
            listed = progress.add_task("Twilio's lists compared", total=len(asked))
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(TwilioClient.of(settings, accounts))
                comparison = Comparison(pool, client, PhoneKey.load(settings), now, report, Missing.of(settings, pool))
                await comparison.run(asked, begin, lambda: progress.advance(listed))
        return report

    report = with_store(body)
    is_well = not any(report.found.values()) and not report.refused
    if json:
        terminal.print_json(asdict(report) | {"ok": is_well})
    else:
        _print(report)
    if not is_well:
        raise typer.Exit(FAILED)


def _print(report: Report) -> None:
    terminal.say(f"{report.messages} texts went out since {terminal.moment(report.since)}; all were looked at.")
    if report.compared:
        terminal.say(f"Twilio lists {report.listed} texts in both directions.")
        if report.heard:
            terminal.say(f"{report.heard} texts from people were only found there, and are taken in now.")
    else:
        terminal.say("Twilio's list was not asked for: no account is set (HOLDFAST_TWILIO_ACCOUNT_SID).")
    for sid, why in report.refused.items():
        terminal.say(f"The list of {sid} could not be read: {why}")
    new = {kind: ids for kind, ids in report.found.items() if ids}
    if not new:
        terminal.say("Nothing new was found.")
        return
    for kind, ids in new.items():
        terminal.say(f"New: {len(ids)} {SAID[kind]} ({kind}).")
    terminal.say("See holdfast audit findings list")


@findings_app.command("list")
def listing(
    kind: Annotated[str | None, typer.Option(help="no_consent, after_stop or bypassed.")] = None,
    merchant: Annotated[str | None, typer.Option(help="Only of this merchant.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are settled.")] = False,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """What the audit found, newest first: texts that should not have gone out."""
    wanted = _kind(kind)

    async def body(pool: Pool, _settings: Settings) -> list[dict[str, Any]]:
        chosen = await merchant_id(pool, merchant)
        found = await store.findings(pool, kind=wanted, merchant_id=chosen, open_only=not all_, limit=limit)
        keys = await merchants.keys(pool, [one.merchant_id for one in found])
        return [document(one, keys) for one in found]

    found = with_store(body)
    if json:
        terminal.print_json({"findings": found})
        return
    terminal.print_table(
        (">#", "KIND", "MERCHANT", "SENT", "CRITICAL", "STATE", "WHAT"),
        (
            (
                one["id"],
                one["kind"],
                one["merchant"],
                one["sent_at"],
                one["is_critical"],
                "open" if one["settled_at"] is None else f"settled by {one['settled_by']}: {one['settled_why']}",
                one["said"],
            )
            for one in found
        ),
        empty="The audit found nothing." if all_ else "Nothing is open: the audit found nothing, or it is settled.",
    )


@findings_app.command()
def settle(
    number: Annotated[int | None, typer.Argument(min=1, help="As `holdfast audit findings list` shows.")] = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why it needs nothing more.")] = "",
    kind: Annotated[str | None, typer.Option(help="All of this kind: no_consent, after_stop or bypassed.")] = None,
    merchant: Annotated[str | None, typer.Option(help="All of this merchant.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="All texts that this import's consents allowed.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    json: Json = False,
) -> None:
    """Say that a finding was looked at, and why it is settled: then it alarms nobody any more. Or many, for one reason.

    Of --kind, --merchant and --batch all that are given have to hold.
    """
    if not reason.strip():
        raise typer.BadParameter("--reason: say why it needs nothing more")
    which = (kind, merchant, batch)
    is_many = all_ or any(one is not None for one in which)
    if (number is None) != is_many:
        raise typer.BadParameter("give one finding's number, or say which: --kind, --merchant, --batch, or --all")
    if number is None:
        _settle_many(_kind(kind), merchant, batch, reason, json)
        return
    chosen = number

    async def body(pool: Pool, _settings: Settings) -> tuple[Finding, dict[int, str]]:
        done = await auditing.settle(pool, chosen, actor=getpass.getuser(), why=reason, now=datetime.now(UTC))
        return done, await merchants.keys(pool, [done.merchant_id])

    found, keys = with_store(body)
    if json:
        terminal.print_json(document(found, keys))
        return
    terminal.say(f"Finding {number} is settled: {found.settled_why}")


def _settle_many(kind: FindingKind | None, merchant: str | None, batch: int | None, reason: str, json: bool) -> None:
    async def body(pool: Pool, _settings: Settings) -> list[int]:
        which = Which(kind, await merchant_id(pool, merchant), batch)
        actor = getpass.getuser()
        return await auditing.settle_many(pool, which, actor=actor, why=reason, now=datetime.now(UTC))

    ids = with_store(body)
    if json:
        terminal.print_json({"settled": len(ids), "ids": ids})
        return
    terminal.say(f"{len(ids)} findings are settled: {reason.strip()}" if ids else "None of these was open.")


def _kind(given: str | None) -> FindingKind | None:
    """Raises BadParameter."""
    for known in auditing.KINDS:
        if given == known:
            return known
    if given is not None:
        raise typer.BadParameter(f"--kind: {', '.join(auditing.KINDS)}")
    return None
