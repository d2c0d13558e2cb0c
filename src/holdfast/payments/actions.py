"""Actions on payment events: fetch what Stripe has and we do not."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

from holdfast.db.notifications import hint
from holdfast.inbox.service import Inbox, InboxAway
from holdfast.merchants.catalogue import Catalogue
from holdfast.payments.endpoints import our_addresses
from holdfast.payments.reconcile import ReconcileError, Reconciler, every_account
from holdfast.payments.report import Report
from holdfast.payments.stripe import StripeReader
from holdfast.queue.channels import ROUTE
from holdfast.runbooks.actions import Done, Failed, NotApplicable, Outcome, Run, action

BEFORE = timedelta(minutes=5)
MOST_NOTES = 20


@action("payments.reconcile", patience=timedelta(minutes=10))
async def reconcile(run: Run) -> Outcome:
    """Fetch the events of the trouble's time that Stripe lists and that never reached us."""
    key = run.settings.stripe_api_key
    if key is None:
        return NotApplicable("HOLDFAST_STRIPE_API_KEY is not set: Stripe's list cannot be read")
    try:
        async with StripeReader(key.get_secret_value(), run.settings.stripe_api_url) as stripe:
            report = await _reconciled(run, stripe)
    except (ReconcileError, InboxAway) as error:
        return Failed(str(error))
    await hint(run.pool, ROUTE)
    evidence = {
        "listed": report.listed,
        "missing": report.missing,
        "taken_in": report.taken_in,
        "mode": report.mode,
        "notes": report.notes[:MOST_NOTES],
    }
    unread = [one for one in report.accounts if one.error]
    if unread:
        names = ", ".join(one.merchant or "the platform" for one in unread[:5])
        return Failed(f"the lists of {len(unread)} accounts could not be read ({names}): {unread[0].error}", evidence)
    said = f"Stripe lists {report.listed:,} events; {report.missing:,} were missing here"
    return Done(f"{said} and were fetched" if report.missing else said, evidence)


async def _reconciled(run: Run, stripe: StripeReader) -> Report:
    catalogue = Catalogue()
    await catalogue.refresh(run.pool)
    box = Inbox(run.pool, merchant_of=catalogue.merchant_of)
    await box.refresh_lanes(run.pool)
    async with AsyncExitStack() as stack:
        storing = asyncio.create_task(box.run())
        stack.callback(storing.cancel)
        accounts = await every_account(run.pool)
        since = run.incident.since - BEFORE
        kept = timedelta(days=run.settings.retention_days)
        reconciler = Reconciler(run.pool, box, stripe, addresses=our_addresses(run.settings), kept=kept)
        return await reconciler.compare(since, run.now, accounts, now=run.now)
