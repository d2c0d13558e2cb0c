"""Verifies a window of time: what was received in it was applied and notified, waits, or needs a person."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.delivery import store as deliveries
from holdfast.health.probes import AGE_SECONDS
from holdfast.inbox import window_store
from holdfast.inbox.service import Inbox
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY
from holdfast.payments import store as payments
from holdfast.payments.reconcile import UNDER_WAY as LEFT_OUT
from holdfast.payments.reconcile import Reconciler, oldest
from holdfast.payments.stripe import StripeReader
from holdfast.queue.model import Lane
from holdfast.verify import needs
from holdfast.verify.model import (
    AtStripe,
    Events,
    LaneResult,
    ListedAccount,
    MerchantResult,
    Notifications,
    Notified,
    Sum,
    Verification,
    VerifyError,
)
from holdfast.verify.replay import dead_letters

UNDER_WAY = LEFT_OUT + timedelta(minutes=2)
"""Events that Stripe made so lately may still be on their way to us; longer than for `holdfast reconcile`, so that what
was just reconciled is not missed again for having grown older."""
FAILING = timedelta(hours=1)
"""A notification that has been tried in vain for so long needs a person: who looks after that destination?"""
STEPS = 4
"""How often `advanced` is called by `verify`."""
NOT_COMPARED = AtStripe("nobody asked to compare")


async def compare(
    pool: Pool,
    stripe: StripeReader,
    accounts: Sequence[tuple[str | None, str | None]],
    since: datetime,
    until: datetime,
    *,
    now: datetime,
    kept: timedelta | None = None,
    addresses: Sequence[str] = (),
    looked: Callable[[], None] = lambda: None,
) -> AtStripe:
    """Stripe's list of events created in the window against the inbox, for each (account, merchant key).

    Takes nothing in: `holdfast reconcile` does. Stripe lists 30 days; `kept` is how long events are kept here, and
    `addresses` are as in `payments.endpoints.subscription`. `looked` is called after each account.
    """
    since, until = max(since, oldest(now, kept)), min(until, now - UNDER_WAY)
    if since >= until:
        return AtStripe(
            "Stripe lists the events of 30 days, and those of the last "
            f"{UNDER_WAY.seconds // 60} minutes may still be on their way"
        )
    box = Inbox(pool, merchant_of=lambda _: COMPANY)
    await box.refresh_lanes(pool)
    reconciler = Reconciler(pool, box, stripe, addresses=addresses, take_in=False)
    report = await reconciler.compare(since, until, accounts, now=now, looked=lambda _: looked())
    found = (ListedAccount(a.account, a.merchant, a.listed, a.missing_by_lane, a.error) for a in report.accounts)
    return AtStripe("", since, until, tuple(found), report.mode, tuple(report.notes))


async def verify(
    pool: Pool,
    since: datetime,
    until: datetime,
    *,
    now: datetime,
    kept: timedelta | None = None,
    stripe: AtStripe = NOT_COMPARED,
    advanced: Callable[[], None] = lambda: None,
) -> Verification:
    """What became of the events received in [since, until), all as of one instant.

    `kept`: how long events are kept; a window that begins before is refused. `stripe` is what `compare` found.
    `advanced` is called after each of `STEPS` steps. Raises VerifyError.
    """
    if since >= until:
        raise VerifyError("the window is empty: --since must be before --until")
    if kept is not None and since < now - kept:
        oldest = (now - kept).isoformat(timespec="minutes")
        raise VerifyError(f"events are kept for {kept.days} days: begin at {oldest} or later")
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        return await _verify(connection, since, until, now, stripe=stripe, advanced=advanced)


async def _verify(
    db: Connection, since: datetime, until: datetime, now: datetime, *, stripe: AtStripe, advanced: Callable[[], None]
) -> Verification:
    late_since = [now - timedelta(seconds=AGE_SECONDS[lane].fail) for lane in Lane]
    received = await window_store.gather(db, since, until)
    routed = await window_store.tally(db, late_since)
    advanced()
    proofs = {Lane(row["lane"]): row for row in await payments.proofs(db)}
    advanced()
    planned = await deliveries.gather(db)
    sent = await deliveries.tally(db, late_since, now - FAILING)
    advanced()
    names = needs.Names(
        {merchant.id: merchant for merchant in await merchants.merchants(db)},
        {destination.id: destination for destination in await merchants.destinations(db)},
    )
    letters = await dead_letters(db, since, until)
    window = needs.options(since, until)
    lanes = tuple(_lane(lane, routed, sent, proofs.get(lane)) for lane in Lane)
    events = _events(routed, received)
    notifications = _notifications(sent, planned)
    found = needs.events_in_trouble(await window_store.trouble(db, needs.MOST_GROUPS), window)
    found += needs.not_in_ledger(lanes, {lane.label: row["examples"] for lane, row in proofs.items()})
    found += needs.late_events(routed, now)
    found += needs.notifications(sent, names, now)
    found += needs.missing_here(stripe) + needs.earlier(letters)
    disabled = [key for key, destination in names.destinations.items() if not destination.enabled]
    types = await window_store.routed_types(db) if disabled else []
    unsent, notes = needs.while_disabled(types, sent, names, window)
    repeated = await window_store.redelivered(db, since, until)
    advanced()
    return Verification(
        since,
        until,
        now,
        events,
        repeated,
        notifications,
        _notified(sent, received),
        lanes,
        _merchants(routed, sent, names),
        stripe,
        _sums(events, notifications, lanes),
        needs.ordered(found + unsent),
        tuple(notes),
        letters,
    )


def _sums(events: Events, notifications: Notifications, lanes: Sequence[LaneResult]) -> tuple[Sum, ...]:
    applied = (
        Sum(f"{lane.lane} events applied = in the ledger", lane.events.applied, lane.in_ledger) for lane in lanes
    )
    return (
        Sum(
            "events received = applied + stored + waiting + unmatched + unreadable + unfetched + dead",
            events.received,
            events.accounted_for,
        ),
        *applied,
        Sum("notifications planned = delivered + waiting + dead", notifications.planned, notifications.accounted_for),
    )


def _events(rows: Iterable[asyncpg.Record], received: int | None = None) -> Events:
    states, late = _counted(rows)
    return Events.of(states, sum(states.values()) if received is None else received, late)


def _notifications(rows: Iterable[asyncpg.Record], planned: int | None = None) -> Notifications:
    states, late = _counted(row for row in rows if row["destination_id"] is not None)
    return Notifications.of(states, sum(states.values()) if planned is None else planned, late)


def _counted(rows: Iterable[asyncpg.Record]) -> tuple[Counter[str], int]:
    states: Counter[str] = Counter()
    late = 0
    for row in rows:
        states[row["state"]] += row["count"]
        late += row["late"]
    return states, late


def _notified(sent: Iterable[asyncpg.Record], received: int) -> Notified:
    states, _ = _counted(row for row in sent if row["destination_id"] is None)
    given_up = states["dead"] + states["lost"]
    return Notified(received - states.total(), states["delivered"], states["live"], given_up)


def _lane(
    lane: Lane, routed: Iterable[asyncpg.Record], sent: Iterable[asyncpg.Record], proof: asyncpg.Record | None
) -> LaneResult:
    return LaneResult(
        lane.label,
        _events(row for row in routed if row["lane"] == lane),
        _notifications(row for row in sent if row["lane"] == lane),
        proof["missing"] if proof else 0,
        proof["behind"] if proof else 0,
    )


def _merchants(
    routed: Iterable[asyncpg.Record], sent: Iterable[asyncpg.Record], names: needs.Names
) -> tuple[MerchantResult, ...]:
    """By key, the company last."""
    of: dict[str | None, tuple[list[asyncpg.Record], list[asyncpg.Record]]] = defaultdict(lambda: ([], []))
    for row in routed:
        of[names.merchant(row["merchant_id"])][0].append(row)
    for row in sent:
        if row["destination_id"] is not None:
            of[names.merchant(row["merchant_id"])][1].append(row)
    in_order = sorted(of.items(), key=lambda item: (item[0] is None, item[0] or ""))
    return tuple(MerchantResult(key, _events(some), _notifications(others)) for key, (some, others) in in_order)
