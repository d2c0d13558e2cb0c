"""`holdfast verify`"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from holdfast.commands import terminal
from holdfast.commands.asking import sure
from holdfast.commands.options import Json, Yes, read_time
from holdfast.commands.session import FAILED, with_store
from holdfast.config import Settings
from holdfast.db.notifications import hint
from holdfast.db.pool import Pool
from holdfast.payments.endpoints import our_addresses
from holdfast.payments.reconcile import every_account
from holdfast.payments.stripe import StripeReader
from holdfast.queue.channels import DELIVER, ROUTE
from holdfast.verify import replay as dead_letters
from holdfast.verify import service
from holdfast.verify.model import AtStripe, DeadLetters, LaneResult, Verification, document

_SHOWN = 50
_MERCHANTS = 20
_Window = tuple[datetime, datetime]


def verify(
    since: Annotated[str, typer.Option(help="Events received from here on: 2h, 3d (ago), 2026-11-24T15:30.")] = "24h",
    until: Annotated[str, typer.Option(help="Up to here, written likewise.")] = "now",
    replay: Annotated[bool, typer.Option("--replay", help="Give what was dead-lettered another try.")] = False,
    stripe: Annotated[bool, typer.Option(help="Compare with Stripe's list of events.")] = True,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Prove that every event received was applied and notified, or list what needs a person; counts must add up.

    Exit status 1 when the counts do not add up or something needs a person. What is on its way is neither.
    """
    now = datetime.now(UTC)
    window = (read_time(since, now), read_time(until, now))

    async def body(pool: Pool, settings: Settings) -> Verification:
        found = await _verified(pool, settings, window, now, with_stripe=stripe)
        replayed = None
        if not json:
            _print(found)
        if replay:
            replayed = await _replay(pool, found.dead_letters, yes=yes, json=json)
        if json:
            terminal.print_json(document(found) | {"replayed": replayed})
        elif replayed is not None:
            terminal.say("")
            terminal.say(f"{replayed['events']} events and {replayed['deliveries']} notifications queued again.")
            terminal.say("Verify again when they are through.")
        return found

    if not with_store(body).ok:
        raise typer.Exit(FAILED)


async def _verified(
    pool: Pool, settings: Settings, window: _Window, now: datetime, *, with_stripe: bool
) -> Verification:
    key = settings.stripe_api_key
    accounts = await every_account(pool) if with_stripe and key is not None else []
    with terminal.progress() as progress:
        task = progress.add_task("Verifying", total=len(accounts) + service.STEPS)

        def advance() -> None:
            progress.advance(task)

        if not with_stripe:
            listed = AtStripe("--no-stripe was asked for")
        elif key is None:
            listed = AtStripe("HOLDFAST_STRIPE_API_KEY is not set")
        else:
            listed = await _listed(pool, key.get_secret_value(), settings, window, accounts, now, advance)
        kept = timedelta(days=settings.retention_days)
        # Stripe's list may have taken minutes: what waits is judged by the time of the snapshot.
        at = datetime.now(UTC)
        return await service.verify(pool, *window, now=at, kept=kept, stripe=listed, advanced=advance)


async def _listed(
    pool: Pool,
    key: str,
    settings: Settings,
    window: _Window,
    accounts: list[tuple[str | None, str | None]],
    now: datetime,
    looked: Callable[[], None],
) -> AtStripe:
    async with StripeReader(key, settings.stripe_api_url) as reader:
        kept, addresses = timedelta(days=settings.retention_days), our_addresses(settings)
        return await service.compare(
            pool, reader, accounts, *window, now=now, kept=kept, addresses=addresses, looked=looked
        )


async def _replay(pool: Pool, letters: DeadLetters, *, yes: bool, json: bool) -> dict[str, int]:
    events, sent = len(letters.events), len(letters.deliveries)
    result = {"events": 0, "deliveries": 0, "held_back": letters.held_back}
    if letters.held_back:
        terminal.note(f"{letters.held_back} notifications are left alone: their destinations are disabled or gone.")
    if not events + sent:
        return result
    sure(f"replay {events} events and {sent} notifications that were given up", yes=yes, json=json)
    with terminal.progress() as progress:
        task = progress.add_task("Replaying", total=events + sent)
        async for looked, routed, delivered in dead_letters.replay(pool, letters):
            result["events"] += routed
            result["deliveries"] += delivered
            progress.advance(task, looked)
    await hint(pool, ROUTE)
    await hint(pool, DELIVER)
    return result


def _print(found: Verification) -> None:
    terminal.say(
        f"{found.events.received} events received from {terminal.moment(found.since)} to "
        f"{terminal.moment(found.until)}, and {found.repeated} redeliveries of events held already."
    )
    terminal.say("")
    _print_events(found)
    terminal.say("")
    _print_notifications(found)
    _print_merchants(found)
    terminal.say("")
    terminal.say("The counts add up:" if found.adds_up else "THE COUNTS DO NOT ADD UP:")
    for one in found.sums:
        terminal.say(f"  {one.what}: {one.whole} {'=' if one.holds else '≠'} {one.parts}")
    terminal.say("")
    terminal.say(_stripe(found.stripe))
    for note in (*found.stripe.notes, *found.notes):
        terminal.say(f"Note: {note}.")
    terminal.say("")
    _print_needs(found)


def _print_events(found: Verification) -> None:
    def row(name: str, lanes: tuple[LaneResult, ...]) -> tuple[object, ...]:
        events = [lane.events for lane in lanes]
        return (
            name,
            sum(one.received for one in events),
            sum(one.applied for one in events),
            sum(lane.in_ledger for lane in lanes),
            sum(one.stored for one in events),
            sum(one.waiting for one in events),
            sum(one.unmatched for one in events),
            sum(one.unreadable + one.unfetched for one in events),
            sum(one.dead for one in events),
            sum(one.lost for one in events),
        )

    terminal.print_table(
        (
            "EVENTS",
            ">RECEIVED",
            ">APPLIED",
            ">IN LEDGER",
            ">STORED",
            ">WAITING",
            ">UNMATCHED",
            ">UNREAD",
            ">DEAD",
            ">LOST",
        ),
        (*(row(lane.lane, (lane,)) for lane in found.lanes), row("all", found.lanes)),
        empty="",
    )


def _print_notifications(found: Verification) -> None:
    rows = [(lane.lane, lane.notifications) for lane in found.lanes] + [("all", found.notifications)]
    terminal.print_table(
        ("NOTIFICATIONS", ">PLANNED", ">DELIVERED", ">WAITING", ">DEAD", ">LOST"),
        ((name, one.planned, one.delivered, one.waiting, one.dead, one.lost) for name, one in rows),
        empty="",
    )
    by_event = found.notified
    terminal.say(
        f"Of the events, {by_event.all_delivered} are notified, {by_event.on_their_way} on their way, "
        f"{by_event.given_up} given up; {by_event.none} have no notification planned."
    )


def _print_merchants(found: Verification) -> None:
    """Only those with something that is not done."""
    ill = [
        one
        for one in found.merchants
        if one.events.applied + one.events.stored < one.events.received
        or one.notifications.delivered < one.notifications.planned
    ]
    if not ill:
        return
    ill.sort(key=lambda one: one.notifications.delivered - one.notifications.planned)
    terminal.say("")
    terminal.print_table(
        ("MERCHANT", ">RECEIVED", ">DONE", ">NOTIFICATIONS", ">DELIVERED", ">WAITING", ">DEAD"),
        (
            (
                one.merchant or "(company or unknown)",
                one.events.received,
                one.events.applied + one.events.stored,
                one.notifications.planned,
                one.notifications.delivered,
                one.notifications.waiting,
                one.notifications.dead,
            )
            for one in ill[:_MERCHANTS]
        ),
        empty="",
    )
    if len(ill) > _MERCHANTS:
        terminal.say(f"… and {len(ill) - _MERCHANTS} more (--json shows all)")


def _stripe(stripe: AtStripe) -> str:
    if stripe.why or stripe.since is None or stripe.until is None:
        return f"NOT compared with Stripe's list of events: {stripe.why}."
    unread = sum(account.error is not None for account in stripe.accounts)
    return (
        f"Stripe ({stripe.mode} mode) lists {stripe.listed} events made from {terminal.moment(stripe.since)} to "
        f"{terminal.moment(stripe.until)}; {stripe.missing} of them are not here"
        + (f"; the lists of {unread} accounts could not be read." if unread else ".")
    )


def _print_needs(found: Verification) -> None:
    if found.needs:
        terminal.say(f"{sum(need.count for need in found.needs)} need a person:")
        terminal.print_table(
            (">COUNT", "WHAT", "WHY", "WHAT TO DO", "SUCH AS"),
            ((need.count, need.what, need.why, need.do, ", ".join(need.examples[:3])) for need in found.needs[:_SHOWN]),
            empty="",
        )
        if len(found.needs) > _SHOWN:
            terminal.say(f"… and {len(found.needs) - _SHOWN} more lines (--json shows all)")
    elif not found.adds_up:
        terminal.say("Something is lost: see above.")
    elif found.settled:
        terminal.say("Nothing was lost, and nothing needs a person.")
    else:
        waiting = found.events.waiting + found.notifications.waiting
        terminal.say(f"Nothing was lost and nothing needs a person; {waiting} are still on their way.")
