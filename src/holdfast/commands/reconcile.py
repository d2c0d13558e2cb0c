"""`holdfast reconcile`"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from holdfast.commands import terminal
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, read_time
from holdfast.commands.session import FAILED, CommandError, with_store
from holdfast.config import Settings
from holdfast.db.notifications import hint
from holdfast.db.pool import Pool
from holdfast.inbox.service import Inbox, InboxAway
from holdfast.merchants.catalogue import Catalogue
from holdfast.payments.endpoints import our_addresses
from holdfast.payments.reconcile import UNDER_WAY, ReconcileError, Reconciler, every_account
from holdfast.payments.report import AccountReport, Report
from holdfast.payments.stripe import StripeReader
from holdfast.queue.channels import ROUTE
from holdfast.queue.model import Lane
from holdfast.service import background

_SHOWN = 50


def reconcile(
    since: Annotated[str, typer.Option(help="Events created from here on: 2h, 3d (ago), 2026-11-24T15:30.")] = "24h",
    until: Annotated[str, typer.Option(help="Up to here, written likewise.")] = "now",
    merchant: Annotated[str | None, typer.Option(help="Only this merchant's account.")] = None,
    margin: Annotated[
        float,
        typer.Option(min=0, help="Events younger than this are left out: they may be on their way.", metavar="SECONDS"),
    ] = UNDER_WAY.total_seconds(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only compare; take nothing in.")] = False,
    wait: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds to wait for routing and delivery.", metavar="SECONDS")
    ] = 30.0,
    json: Json = False,
) -> None:
    """Compare Stripe's list of events with the inbox, take in what is missing, check that critical ones are done.

    Exit status 1 when something needs a person or is still on its way.
    """
    now = datetime.now(UTC)
    window = (read_time(since, now), read_time(until, now))

    async def body(pool: Pool, settings: Settings) -> Report:
        if settings.stripe_api_key is None:
            raise CommandError("set HOLDFAST_STRIPE_API_KEY to a key that may read events (a restricted one is best)")
        async with AsyncExitStack() as stack:
            key = settings.stripe_api_key.get_secret_value()
            stripe = await stack.enter_async_context(StripeReader(key, settings.stripe_api_url))
            catalogue = Catalogue()
            await catalogue.refresh(pool)
            box = Inbox(pool, merchant_of=catalogue.merchant_of)
            await box.refresh_lanes(pool)
            await stack.enter_async_context(background(box.run(), _hints(pool)))
            accounts = await accounts_of(pool, merchant)
            try:
                reconciler = Reconciler(
                    pool,
                    box,
                    stripe,
                    addresses=our_addresses(settings),
                    kept=timedelta(days=settings.retention_days),
                    margin=timedelta(seconds=margin),
                    take_in=not dry_run,
                )
                return await _with_progress(reconciler, window, accounts, now, wait)
            except ReconcileError as error:
                raise CommandError(str(error)) from None
            except InboxAway as error:
                raise CommandError(f"the inbox could not take events in: {error}") from None

    report = with_store(body)
    if json:
        terminal.print_json(asdict(report) | {"ok": report.ok, "dry_run": dry_run})
    else:
        _print(report, dry_run=dry_run)
    if not report.ok:
        raise typer.Exit(FAILED)


async def _hints(pool: Pool) -> None:
    """Workers hear at once of what is taken in."""
    while True:
        await hint(pool, ROUTE)
        await asyncio.sleep(0.5)


async def accounts_of(pool: Pool, merchant: str | None) -> list[tuple[str | None, str | None]]:
    """The (account, merchant key) pairs to compare: of one merchant, or the platform and all."""
    if merchant is not None:
        found = await find(pool, merchant)
        if found.stripe_account is None:
            raise CommandError(f"merchant {merchant} has no Stripe account")
        return [(found.stripe_account, found.key)]
    return await every_account(pool)


async def _with_progress(
    reconciler: Reconciler,
    window: tuple[datetime, datetime],
    accounts: list[tuple[str | None, str | None]],
    now: datetime,
    wait: float,
) -> Report:
    with terminal.progress() as progress:
        task = progress.add_task("Accounts compared", total=len(accounts))
        events = 0

        def looked(_account: AccountReport) -> None:
            progress.advance(task)

        def advanced(count: int) -> None:
            nonlocal events
            events += count
            progress.update(task, description=f"Accounts compared ({events} events)")

        def followed(what: str, done: int, total: int) -> None:
            progress.update(task, description=f"Critical events {what}", completed=done, total=total)

        return await reconciler.run(
            *window, accounts, now=now, wait=wait, looked=looked, advanced=advanced, followed=followed
        )


def _print(report: Report, *, dry_run: bool) -> None:
    taken_in = "none, --dry-run" if dry_run and report.missing else str(report.taken_in)
    terminal.say(
        f"Stripe ({report.mode} mode) lists {report.listed} events for us from {terminal.moment(report.since)} to "
        f"{terminal.moment(report.until)}; {report.missing} were missing here; taken in: {taken_in}."
    )
    for note in report.notes[:_SHOWN]:
        terminal.say(f"Note: {note}.")
    if len(report.notes) > _SHOWN:
        terminal.say(f"… and {len(report.notes) - _SHOWN} more (--json shows all)")
    interesting = [account for account in report.accounts if account.missing or account.error]
    if interesting:
        terminal.say("")
        terminal.print_table(
            ("ACCOUNT", "MERCHANT", ">LISTED", ">MISSING", ">CRITICAL", ">TAKEN IN", "ERROR"),
            (
                (
                    a.account or "(platform)",
                    a.merchant or "",
                    a.listed,
                    a.missing,
                    a.missing_by_lane.get(Lane.CRITICAL.label, 0),
                    a.taken_in,
                    a.error or "",
                )
                for a in interesting
            ),
            empty="",
        )
    terminal.say("")
    terminal.print_table(
        ("", ">TOTAL", ">DONE", ">ON THEIR WAY", ">IN TROUBLE"),
        (
            (
                "critical events",
                report.critical,
                report.critical_applied,
                report.critical_waiting,
                report.critical_trouble,
            ),
            (
                "their notifications",
                report.notifications,
                report.notifications_delivered,
                report.notifications_waiting,
                report.notifications_dead,
            ),
        ),
        empty="",
    )
    terminal.say("")
    if not report.findings:
        terminal.say("Nothing needs a person." if report.ok else "Some are still on their way: look again later.")
        return
    terminal.say(f"{len(report.findings)} need a person:")
    terminal.print_table(
        ("WHAT", "WHY", "WHAT TO DO"),
        ((finding.what, finding.why, finding.do) for finding in report.findings[:_SHOWN]),
        empty="",
    )
    if len(report.findings) > _SHOWN:
        terminal.say(f"… and {len(report.findings) - _SHOWN} more (--json shows all)")
