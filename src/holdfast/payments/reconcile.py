"""Compares Stripe's own list of events with the inbox, takes in what is missing, and checks what became of it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg
import msgspec

from holdfast.db.pool import Pool
from holdfast.delivery import store as deliveries
from holdfast.inbox import store as inbox
from holdfast.inbox.model import EventError, NewEvent, parse_stripe
from holdfast.inbox.service import Inbox
from holdfast.inbox.store import TROUBLE
from holdfast.merchants import store as merchants
from holdfast.payments.model import StripeApiError
from holdfast.payments.stripe import ListedEvent, StripeReader
from holdfast.queue.model import Lane

LISTED_FOR = timedelta(days=30)
"""How far back Stripe lists events."""
ACCOUNTS_AT_ONCE = 4
_CHUNK = 500
_SOURCE = '{"holdfast-source":"reconcile"}'


class ReconcileError(Exception):
    """The comparison cannot be made; the message says why and what to write instead."""


async def every_account(pool: Pool) -> list[tuple[str | None, str | None]]:
    """The (account, merchant key) pairs there are: the platform, and the merchants that have one."""
    known = await merchants.merchants(pool)
    return [(None, None), *((item.stripe_account, item.key) for item in known if item.stripe_account)]


@dataclass(slots=True)
class AccountReport:
    """One account's part: `account` None is the platform itself. `error`: why its list could not be read."""

    account: str | None
    merchant: str | None
    listed: int = 0
    missing: int = 0
    taken_in: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that needs a person: `what` it is, `why`, and what to `do`."""

    what: str
    why: str
    do: str


@dataclass(slots=True)
class Report:
    """What came of it. Events add up: critical = applied + waiting + in trouble; so do their notifications."""

    since: datetime
    until: datetime
    accounts: list[AccountReport] = field(default_factory=list)
    critical: int = 0
    critical_applied: int = 0
    critical_waiting: int = 0
    critical_trouble: int = 0
    notifications: int = 0
    notifications_delivered: int = 0
    notifications_waiting: int = 0
    notifications_dead: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def listed(self) -> int:
        return sum(account.listed for account in self.accounts)

    @property
    def missing(self) -> int:
        return sum(account.missing for account in self.accounts)

    @property
    def taken_in(self) -> int:
        return sum(account.taken_in for account in self.accounts)

    @property
    def ok(self) -> bool:
        """Nothing needs a person, and nothing is still on its way."""
        return not self.findings and not self.critical_waiting and not self.notifications_waiting


class Reconciler:
    """Compares a window of time. `take_in` False only looks."""

    def __init__(self, pool: Pool, box: Inbox, stripe: StripeReader, *, take_in: bool = True) -> None:
        self._pool = pool
        self._inbox = box
        self._stripe = stripe
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
    ) -> Report:
        """Compare, take in what is missing, and check what became of the critical ones.

        `wait`: seconds that what was taken in may need to be routed and delivered. The rest is as in `compare`.
        """
        report = await self.compare(since, until, accounts, now=now, looked=looked, advanced=advanced)
        await self._settle(wait)
        await self._check(report)
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

        `looked` is called when an account is done, `advanced` with the number of events after each page. Raises
        ReconcileError.
        """
        if since >= until:
            raise ReconcileError("the window is empty: --since must be before --until")
        if since < now - LISTED_FOR:
            oldest = (now - LISTED_FOR).isoformat(timespec="minutes")
            raise ReconcileError(f"Stripe lists events for 30 days only: begin at {oldest} or later")
        report = Report(since, until, [AccountReport(*account) for account in accounts])
        turn = asyncio.Semaphore(ACCOUNTS_AT_ONCE)

        async def one(account: AccountReport) -> None:
            async with turn:
                await self._compare(account, report, advanced)
            looked(account)

        await asyncio.gather(*(one(account) for account in report.accounts))
        return report

    async def _compare(self, account: AccountReport, report: Report, advanced: Callable[[int], None]) -> None:
        try:
            async for page in self._stripe.events(account.account, report.since, report.until):
                await self._compare_page(account, page)
                advanced(len(page))
        except StripeApiError as error:
            account.error = str(error)
            where = account.account or "the platform"
            report.findings.append(
                Finding(where, f"its events could not be listed: {error}", "mend this, then reconcile again")
            )

    async def _compare_page(self, account: AccountReport, page: Sequence[ListedEvent]) -> None:
        account.listed += len(page)
        held = await inbox.held(self._pool, "stripe", [event.id for event in page])
        missing = [event for event in page if event.id not in held]
        account.missing += len(missing)
        for event in page:
            if self._inbox.lane(event.type) is Lane.CRITICAL:
                self._critical[event.id] = None
        if self._take_in and missing:
            received = datetime.now().timestamp()  # noqa: DTZ005 - Unix time
            await asyncio.gather(*(self._inbox.append(_new(event, account.account, received)) for event in missing))
            account.taken_in += len(missing)

    async def _settle(self, wait: float) -> None:
        """Give the workers time to route and deliver what was taken in."""
        end = asyncio.get_running_loop().time() + wait
        while asyncio.get_running_loop().time() < end:
            if not await self._on_their_way():
                return
            await asyncio.sleep(0.5)

    async def _on_their_way(self) -> bool:
        for ids in self._chunks():
            chosen = inbox.Filter(ids=ids)
            rows = await inbox.listing(self._pool, chosen, limit=len(ids), before=None)
            if any(row["state"] == "live" for row in rows):
                return True
            unsettled = await deliveries.unsettled(self._pool, [row["seq"] for row in rows])
            if any(row["state"] == "live" for row in unsettled):
                return True
        return False

    async def _check(self, report: Report) -> None:
        for ids in self._chunks():
            rows = await inbox.listing(self._pool, inbox.Filter(ids=ids), limit=len(ids), before=None)
            report.critical += len(ids)
            self._check_events(report, ids, {row["event_id"]: row for row in rows})
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
        undelivered = report.notifications_waiting + report.notifications_dead
        report.notifications_delivered = report.notifications - undelivered

    def _check_events(self, report: Report, ids: Sequence[str], rows: dict[str, asyncpg.Record]) -> None:
        for event_id in ids:
            row = rows.get(event_id)
            state = row["state"] if row is not None else "missing"
            if state == "live":
                report.critical_waiting += 1
            elif row is not None and state not in TROUBLE:
                report.critical_applied += 1
            else:
                report.critical_trouble += 1
                why = f"{state}: {row['note']}" if row is not None else "it is not in the inbox"
                report.findings.append(
                    Finding(event_id, why, _remedy(state, row["account"] if row else None, event_id))
                )

    def _chunks(self) -> list[list[str]]:
        ids = list(self._critical)
        return [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]


def _new(event: ListedEvent, account: str | None, received: float) -> NewEvent:
    """As the gateway would hand it over. A connected account's list need not name the account in each event."""
    try:
        made = parse_stripe(event.body, _SOURCE, received)
    except EventError as error:
        raise ReconcileError(f"Stripe lists {event.id} in a form that is no event: {error}") from None
    return msgspec.structs.replace(made, account=made.account or account)


def _remedy(state: str, account: str | None, event_id: str) -> str:
    match state:
        case "unmatched":
            return f"holdfast merchants add … --stripe-account {account}; then: holdfast events replay {event_id}"
        case "unfetched":
            return f"set HOLDFAST_STRIPE_API_KEY; then: holdfast events replay {event_id}"
        case "missing":
            return "reconcile without --dry-run"
    return f"holdfast events show {event_id}; then: holdfast events replay {event_id}"
