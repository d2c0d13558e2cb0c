"""Compares Stripe's own lists of events with the inbox, takes in what is missing, and checks what became of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta

import asyncpg
import msgspec

from holdfast import durations
from holdfast.db.pool import Pool
from holdfast.delivery import store as deliveries
from holdfast.inbox import store as inbox
from holdfast.inbox.model import EventError, NewEvent, parse_stripe
from holdfast.inbox.service import Inbox
from holdfast.merchants import store as merchants
from holdfast.payments import store as ledger
from holdfast.payments.endpoints import Subscription, subscription
from holdfast.payments.model import Entry, StripeApiError
from holdfast.payments.report import AccountReport, Finding, Report
from holdfast.payments.stripe import ListedEvent, RevokedError, StripeReader
from holdfast.queue.model import Lane

LISTED_FOR = timedelta(days=30)
"""How far back Stripe lists events."""
UNDER_WAY = timedelta(minutes=3)
"""Events that Stripe made so lately may still be on their way to us: taken in now, their webhooks would count as
redeliveries."""
ACCOUNTS_AT_ONCE = 4
_CHUNK = 500
_SOURCE = '{"holdfast-source":"reconcile"}'
_LISTED_MARGIN = timedelta(minutes=1)
_KEPT_MARGIN = timedelta(hours=1)


class ReconcileError(Exception):
    """The comparison cannot be made; the message says why and what to write instead."""


async def every_account(pool: Pool) -> list[tuple[str | None, str | None]]:
    """The (account, merchant key) pairs there are: the platform, and the merchants that have one."""
    known = await merchants.merchants(pool)
    return [(None, None), *((item.stripe_account, item.key) for item in known if item.stripe_account)]


def oldest(now: datetime, kept: timedelta | None) -> datetime:
    """From when on events can be compared: those that Stripe still lists and that were not deleted here, where events
    are `kept` so long; with a margin, since a comparison takes its time.
    """
    listed = now - LISTED_FOR + _LISTED_MARGIN
    return max(listed, now - kept + _KEPT_MARGIN) if kept is not None else listed


def window(
    since: datetime, until: datetime, *, now: datetime, kept: timedelta | None = None, margin: timedelta = UNDER_WAY
) -> tuple[datetime, datetime, list[str]]:
    """The part of [since, until) that can be compared, and what to say about the rest. Raises ReconcileError.

    What was deleted here after `kept` would look as if it had never come. `margin`: how young events are left out.
    """
    if since >= until:
        raise ReconcileError("the window is empty: --since must be before --until")
    begin, notes = oldest(now, kept), []
    too_old = "Stripe lists events for 30 days only"
    if kept is not None and kept < LISTED_FOR:
        too_old = f"events are kept for {kept.days} days here (HOLDFAST_RETENTION_DAYS), older ones would come twice"
    if since < now - min(LISTED_FOR, kept or LISTED_FOR) or until <= begin:
        raise ReconcileError(f"{too_old}: begin at {begin.isoformat(timespec='minutes')} or later")
    since = max(since, begin)
    if until > now - margin:
        until, young = now - margin, durations.lasted(margin)
        notes.append(f"events of the last {young} are left out, for their webhooks may still be on their way")
        if since >= until:
            raise ReconcileError(f"the window is empty: {notes[0]}")
    return since, until, notes


class Reconciler:
    """Compares a window of time. `take_in` False only looks.

    `addresses`: where our door is, as in `endpoints.subscription`; `kept` and `margin` as in `window`.
    """

    def __init__(
        self,
        pool: Pool,
        box: Inbox,
        stripe: StripeReader,
        *,
        addresses: Sequence[str] = (),
        kept: timedelta | None = None,
        margin: timedelta = UNDER_WAY,
        take_in: bool = True,
    ) -> None:
        self._pool = pool
        self._inbox = box
        self._stripe = stripe
        self._addresses = addresses
        self._kept = kept
        self._margin = margin
        self._take_in = take_in
        self._critical: dict[str, None] = {}

    async def run(
        self,
        since: datetime,
        until: datetime,
        accounts: Sequence[tuple[str | None, str | None]],
        *,
        now: datetime,
        wait: float = 30.0,
        looked: Callable[[AccountReport], None] = lambda _: None,
        advanced: Callable[[int], None] = lambda _: None,
        followed: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
    ) -> Report:
        """Compare, take in what is missing, and check what became of the critical ones.

        `wait`: seconds that what was taken in may need to be routed and delivered. `followed` is called with what is
        done, for how many critical events, and of how many. The rest is as in `compare`.
        """
        report = await self.compare(since, until, accounts, now=now, looked=looked, advanced=advanced)
        await self._settle(wait, followed)
        await self._check(report, followed)
        return report

    async def compare(
        self,
        since: datetime,
        until: datetime,
        accounts: Sequence[tuple[str | None, str | None]],
        *,
        now: datetime,
        looked: Callable[[AccountReport], None] = lambda _: None,
        advanced: Callable[[int], None] = lambda _: None,
    ) -> Report:
        """Events created in [since, until) of each (account, merchant key): which are listed, and which missing here.

        Of those that Stripe sends us. `looked` is called when an account is done, `advanced` with the number of events
        after each page. Raises ReconcileError, InboxAway.
        """
        since, until, notes = window(since, until, now=now, kept=self._kept, margin=self._margin)
        asked = await subscription(self._stripe, self._addresses)
        report = Report(since, until, self._stripe.mode, [AccountReport(*account) for account in accounts])
        report.notes += [*notes, *asked.notes]
        turn = asyncio.Semaphore(ACCOUNTS_AT_ONCE)

        async def one(account: AccountReport) -> None:
            async with turn:
                await self._compare(account, report, asked, advanced)
            looked(account)

        try:
            async with asyncio.TaskGroup() as group:
                for account in report.accounts:
                    group.create_task(one(account))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        if asked.connected or asked.connected_thin:
            await self._note_connections(report, now)
        _say_what_was_not_read(report)
        return report

    async def _compare(
        self, account: AccountReport, report: Report, asked: Subscription, advanced: Callable[[int], None]
    ) -> None:
        try:
            async for page in self._pages(account.account, report, asked):
                await self._compare_page(account, page)
                advanced(len(page))
        except RevokedError:
            account.revoked = True
        except StripeApiError as error:
            account.error = str(error)

    async def _pages(
        self, account: str | None, report: Report, asked: Subscription
    ) -> AsyncIterator[list[ListedEvent]]:
        if types := asked.snapshot(account):
            async for page in self._stripe.events(account, report.since, report.until, types):
                yield page
        if types := asked.thin(account):
            async for page in self._stripe.thin_events(account, report.since, report.until, types):
                yield page

    async def _compare_page(self, account: AccountReport, page: Sequence[ListedEvent]) -> None:
        account.listed += len(page)
        held = await inbox.held(self._pool, "stripe", [event.id for event in page])
        missing = [event for event in page if event.id not in held]
        account.missing += len(missing)
        lanes = Counter(self._inbox.lane(event.type).label for event in missing)
        account.missing_by_lane = dict(lanes + Counter(account.missing_by_lane))
        for event in page:
            if self._inbox.lane(event.type) is Lane.CRITICAL:
                self._critical[event.id] = None
        if self._take_in and missing:
            received = datetime.now().timestamp()  # noqa: DTZ005 - Unix time
            await asyncio.gather(*(self._inbox.append(_new(event, account.account, received)) for event in missing))
            account.taken_in += len(missing)

    async def _note_connections(self, report: Report, now: datetime) -> None:
        """Whom Stripe refuses as a whole is a matter of the key, not of the accounts."""
        accounts = [one for one in report.accounts if one.account]
        revoked = [one for one in accounts if one.revoked]
        if len(revoked) > 1 and len(revoked) == len(accounts):
            for one in revoked:
                one.revoked, one.error = False, "the API key has none of the accounts: is it the platform's?"
            return
        read = [one.account for one in accounts if one.account and not one.revoked and one.error is None]
        await merchants.note_connections(self._pool, [one.account for one in revoked if one.account], read, now)

    async def _settle(self, wait: float, followed: Callable[[str, int, int], None]) -> None:
        """Give the workers time to route and deliver what was taken in."""
        end = asyncio.get_running_loop().time() + wait
        settled = 0
        for ids in self._chunks():
            while await self._on_their_way(ids):
                if asyncio.get_running_loop().time() >= end:
                    return
                await asyncio.sleep(0.5)
            settled += len(ids)
            followed("settled", settled, len(self._critical))

    async def _on_their_way(self, ids: Sequence[str]) -> bool:
        rows = await inbox.listing(self._pool, inbox.Filter(ids=ids), limit=len(ids), before=None)
        if any(row["state"] == "live" for row in rows):
            return True
        unsettled = await deliveries.unsettled(self._pool, [row["seq"] for row in rows])
        return any(row["state"] == "live" for row in unsettled)

    async def _check(self, report: Report, followed: Callable[[str, int, int], None]) -> None:
        for ids in self._chunks():
            rows = await inbox.listing(self._pool, inbox.Filter(ids=ids), limit=len(ids), before=None)
            report.critical += len(ids)
            entries = await ledger.find(self._pool, [row["object_id"] for row in rows if row["state"] == "applied"])
            _check_events(report, ids, {row["event_id"]: row for row in rows}, entries)
            names = {row["seq"]: row["event_id"] for row in rows}
            report.notifications += await deliveries.count(self._pool, deliveries.Filter(event_seqs=list(names)))
            for row in await deliveries.unsettled(self._pool, list(names)):
                if row["state"] == "live":
                    report.notifications_waiting += 1
                    continue
                report.notifications_dead += 1
                report.findings.append(
                    Finding(
                        names[row["event_seq"]],
                        f"its notification {row['id']} to destination {row['destination_id']} was given up",
                        f"holdfast deliveries show {row['id']}; then: holdfast deliveries replay {row['id']}",
                    )
                )
            followed("checked", report.critical, len(self._critical))
        undelivered = report.notifications_waiting + report.notifications_dead
        report.notifications_delivered = report.notifications - undelivered

    def _chunks(self) -> list[list[str]]:
        ids = list(self._critical)
        return [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]


def _check_events(
    report: Report, ids: Sequence[str], rows: dict[str, asyncpg.Record], entries: dict[str, Entry]
) -> None:
    for event_id in ids:
        row = rows.get(event_id)
        state = (row["state"] or "lost") if row is not None else "missing"
        why = _trouble(state, row, entries)
        if state == "live":
            report.critical_waiting += 1
        elif why is None:
            report.critical_applied += 1
        else:
            report.critical_trouble += 1
            report.findings.append(Finding(event_id, why, _remedy(state, row, event_id)))


def _trouble(state: str, row: asyncpg.Record | None, entries: dict[str, Entry]) -> str | None:
    """What is wrong with an event that is not on its way, or None."""
    if row is None:
        return "it is not in the inbox"
    if state == "lost":
        return "it is neither queued nor done"
    if state == "applied":
        entry = entries.get(row["object_id"])
        if entry is None:
            return "it counts as applied, but has no ledger entry"
        reaches = entry.first_event_at <= row["created_at"] <= entry.last_event_at
        return None if reaches else "it counts as applied, but its ledger entry never took it in"
    return None if state in ("live", "stored") else f"{state}: {row['note']}"


def _say_what_was_not_read(report: Report) -> None:
    for one in report.accounts:
        if one.error is not None:
            why = f"its events could not be listed: {one.error}"
            report.findings.append(Finding(one.name, why, "mend this, then reconcile again"))
        if one.revoked:
            report.notes.append(
                f"{one.account} of {one.merchant} has revoked our access, so its events are not compared; if that is "
                f"for good: holdfast merchants set {one.merchant} --no-stripe-account"
            )


def _new(event: ListedEvent, account: str | None, received: float) -> NewEvent:
    """As the gateway would hand it over. A connected account's list need not name the account in each event."""
    try:
        made = parse_stripe(event.body, _SOURCE, received)
    except EventError as error:
        raise ReconcileError(f"Stripe lists {event.id} in a form that is no event: {error}") from None
    return msgspec.structs.replace(made, account=made.account or account)


def _remedy(state: str, row: asyncpg.Record | None, event_id: str) -> str:
    again = f"holdfast events replay {event_id}"
    if row is None:
        return "reconcile without --dry-run"
    match state:
        case "unmatched":
            return f"holdfast merchants add … --stripe-account {row['account']}; then: {again}"
        case "unfetched":
            return f"{fetchable(row['note'])}; then: {again}"
        case "lost" | "applied":
            return f"{again}; applying an event again does no harm"
    return f"holdfast events show {event_id}; then: {again}"


def fetchable(note: str | None) -> str:
    """What to do about a thin event whose object could not be had from Stripe, by what the router noted."""
    note = note or ""
    if "HOLDFAST_STRIPE_API_KEY" in note:
        return "set HOLDFAST_STRIPE_API_KEY to a key that Stripe accepts, and restart the workers"
    if "may not read" in note:
        return "let the API key read such objects, at Stripe"
    if "revoked" in note:
        return "let the merchant connect its account again"
    if "answered 404" in note:
        return "see at Stripe whether the object still exists, in the mode of HOLDFAST_STRIPE_API_KEY"
    return "wait until Stripe's API answers again"
