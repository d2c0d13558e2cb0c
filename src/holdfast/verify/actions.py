"""Actions that prove that nothing was lost, and list what needs a person."""

from datetime import datetime, timedelta
from typing import Any

from holdfast.db.notifications import hint
from holdfast.payments.endpoints import our_addresses
from holdfast.payments.reconcile import every_account
from holdfast.payments.stripe import StripeReader
from holdfast.queue.channels import DELIVER, ROUTE
from holdfast.queue.model import Lane
from holdfast.runbooks.actions import Done, Failed, NotApplicable, Outcome, Run, Waiting, action
from holdfast.verify import replay
from holdfast.verify.model import AtStripe, Need, Verification, VerifyError
from holdfast.verify.service import NOT_COMPARED, compare, verify

MOST_NEEDS = 20
MOST_NOTES = 3
BEFORE = timedelta(minutes=5)
"""How long before the trouble began the window starts: what came just before may have been caught in it."""


@action("verify.critical_payments", proof=True, patience=timedelta(minutes=10))
async def critical_payments(run: Run) -> Outcome:
    """Prove that every critical event since the trouble began is in the ledger, and that Stripe has no other."""
    found = await _verified(run, with_stripe=True)
    if isinstance(found, Failed):
        return found
    lane = next(one for one in found.lanes if one.lane == Lane.CRITICAL.label)
    needs = [one for one in found.needs if one.lane in (None, lane.lane) and _is_of_events(one)]
    sums = [one for one in found.sums if one.what.startswith((lane.lane, "events"))]
    evidence = {**_evidence(found), "critical": {"received": lane.events.received, "in_ledger": lane.in_ledger}}
    if lane.events.waiting:
        return Waiting(f"{lane.events.waiting:,} critical events are still to be routed", evidence=evidence)
    if needs or not all(one.holds for one in sums):
        return Failed("needs a person: " + "; ".join(_said(one) for one in needs or found.needs), evidence)
    applied = f"{lane.events.applied:,} critical payment events were applied, all of them are in the ledger"
    return Done(applied + _said_of_stripe(found.stripe), evidence)


def _said_of_stripe(stripe: AtStripe) -> str:
    if stripe.why:
        return f"; not compared with Stripe: {stripe.why}"
    listed = f"; Stripe lists {stripe.listed:,} events, none that is missing here is critical" if stripe.listed else ""
    return listed + "".join(f"; {note}" for note in stripe.notes[:MOST_NOTES])


@action("verify.integrity", proof=True, patience=timedelta(minutes=10))
async def integrity(run: Run, *, patience: timedelta = timedelta(minutes=30)) -> Outcome:
    """Prove that every event of the trouble was applied and notified, or list what needs a person.

    `patience`: how long after the trouble notifications may still be on their way, to destinations that are down.
    """
    found = await _verified(run, with_stripe=False)
    if isinstance(found, Failed):
        return found
    evidence = _evidence(found)
    events, sent = found.events, found.notifications
    since_calm = run.now - (run.incident.calm_at or run.now)
    if not found.settled and since_calm < patience:
        return Waiting(f"{events.waiting:,} events and {sent.waiting:,} notifications are under way", evidence=evidence)
    if not found.ok:
        return Failed("needs a person: " + "; ".join(_said(one) for one in found.needs), evidence)
    rest = f"; {sent.waiting:,} are tried again until their destinations are back" if sent.waiting else ""
    return Done(
        f"{events.received:,} events and {sent.planned:,} notifications accounted for, {sent.delivered:,} "
        f"delivered{rest}",
        evidence,
    )


@action("verify.replay_missed")
async def replay_missed(run: Run) -> Outcome:
    """Give notifications that were given up since the trouble began another try."""
    letters = await replay.dead_letters(run.pool, run.incident.since - BEFORE, run.now)
    count = len(letters.events) + len(letters.deliveries)
    if not count:
        return NotApplicable(_none(letters.held_back), {"held_back": letters.held_back})
    events = deliveries = 0
    async for _, routed, sent in replay.replay(run.pool, letters):
        events, deliveries = events + routed, deliveries + sent
    await hint(run.pool, ROUTE)
    await hint(run.pool, DELIVER)
    said = f"{events:,} events and {deliveries:,} notifications queued again"
    return Done(said, {"events": events, "deliveries": deliveries, "held_back": letters.held_back})


@replay_missed.offer
async def _(run: Run) -> Outcome | None:
    letters = await replay.dead_letters(run.pool, run.incident.since - BEFORE, run.now)
    if letters.events or letters.deliveries:
        return None
    return NotApplicable(_none(letters.held_back), {"held_back": letters.held_back})


@replay_missed.draft
async def _(run: Run) -> str:
    letters = await replay.dead_letters(run.pool, run.incident.since - BEFORE, run.now)
    held = f" {letters.held_back:,} go to destinations that are disabled or gone." if letters.held_back else ""
    return (
        f"{len(letters.events):,} events and {len(letters.deliveries):,} notifications were given up and would be "
        f"queued again.{held}"
    )


def _none(held_back: int) -> str:
    more = f"; {held_back:,} are for destinations that are disabled or gone" if held_back else ""
    return f"no notification was given up that could be sent again{more}"


async def _verified(run: Run, *, with_stripe: bool) -> Verification | Failed:
    try:
        listed = await _at_stripe(run) if with_stripe else NOT_COMPARED
        kept = timedelta(days=run.settings.retention_days)
        return await verify(run.pool, *_window(run), now=run.now, kept=kept, stripe=listed)
    except VerifyError as error:
        return Failed(str(error))


async def _at_stripe(run: Run) -> AtStripe:
    key = run.settings.stripe_api_key
    if key is None:
        return AtStripe("HOLDFAST_STRIPE_API_KEY is not set")
    accounts = await every_account(run.pool)
    async with StripeReader(key.get_secret_value(), run.settings.stripe_api_url) as reader:
        kept = timedelta(days=run.settings.retention_days)
        addresses = our_addresses(run.settings)
        return await compare(run.pool, reader, accounts, *_window(run), now=run.now, kept=kept, addresses=addresses)


def _window(run: Run) -> tuple[datetime, datetime]:
    """From just before the trouble until it was over: what comes after it is as usual, and always some under way."""
    return run.incident.since - BEFORE, run.incident.calm_at or run.now


def _is_of_events(need: Need) -> bool:
    """Whether it is about events, not about notifications of them."""
    return "notification" not in need.what


def _said(need: Need) -> str:
    return f"{need.count:,} {need.what}: {need.why}"


def _evidence(found: Verification) -> dict[str, Any]:
    return {
        "since": found.since,
        "until": found.until,
        "events": {"received": found.events.received, "applied": found.events.applied, "stored": found.events.stored},
        "notifications": {"planned": found.notifications.planned, "delivered": found.notifications.delivered},
        "repeated": found.repeated,
        "sums": [{"what": one.what, "holds": one.holds} for one in found.sums],
        "stripe": found.stripe.why
        or {
            "listed": found.stripe.listed,
            "missing": found.stripe.missing,
            "mode": found.stripe.mode,
            "notes": found.stripe.notes[:MOST_NEEDS],
        },
        "needs": [
            {"what": one.what, "count": one.count, "why": one.why, "do": one.do, "examples": list(one.examples)}
            for one in found.needs[:MOST_NEEDS]
        ],
    }
