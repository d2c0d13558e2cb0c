"""The audit: whatever went out is looked at again, apart from the gate, and compared with what Twilio says went out.

- **no_consent**: a text without a grant of this person, for this merchant and purpose, that held when it was tried.
- **after_stop**: a text that was tried although the person had stopped it.
- **bypassed**: a text on Twilio's list that nobody asked the gate for: somebody sent around it.

What Twilio's list has from people, and nobody told us of, is taken in (`missing`): it may be a stop.

The same may be looked at as often as wanted: a text is one finding of a kind. Findings are settled by hand.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from holdfast.consent.keys import PhoneKey
from holdfast.db.pool import Pool
from holdfast.messaging import auditing_store as store
from holdfast.messaging.auditing_store import Finding, FindingKind, Which
from holdfast.messaging.missing import Missing
from holdfast.messaging.model import ConflictError, MessagingError, UnknownError
from holdfast.messaging.signals import AUDITED, FINDINGS
from holdfast.messaging.stopping import PATIENCE
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import TwilioApiError, TwilioText

log = structlog.get_logger()

EVERY: Final = 300.0
RECENT: Final = timedelta(minutes=15)
FULL_EVERY: Final = timedelta(hours=1)
FULL: Final = timedelta(hours=25)
LONGEST: Final = timedelta(days=31)
"""How far back it may be asked for by hand."""
GRACE: Final = PATIENCE
"""A stop is acknowledged to the person within this time, and two who decide at once may write their times in either
order: what was tried less long after a stop is not held against anybody."""
SLICE: Final = timedelta(minutes=30)
LISTED_SLICE: Final = timedelta(hours=1)
OVERLAP: Final = timedelta(minutes=15)
"""Twilio lists texts by when they were sent, some late: each look begins so much before the end of the last."""
TOGETHER: Final = 500
KINDS: Final[tuple[FindingKind, ...]] = ("no_consent", "after_stop", "bypassed")
_LONGEST_WHY: Final = 1000


@dataclass(slots=True)
class Report:
    """What one audit did. `found`: ids of new findings. `refused`: accounts whose list Twilio did not give, and why."""

    since: datetime
    until: datetime
    messages: int = 0
    listed: int = 0
    found: dict[str, list[int]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    refused: dict[str, str] = field(default_factory=dict)
    heard: int = 0
    """Texts from people that were only found in Twilio's lists, and are taken in now."""
    compared: bool = False
    """Whether Twilio's list was asked for at all."""


def slices(since: datetime, until: datetime, length: timedelta) -> list[tuple[datetime, datetime]]:
    """The time in pieces, oldest first."""
    found = []
    while since < until:
        found.append((since, min(until, since + length)))
        since += length
    return found


async def look(
    pool: Pool, since: datetime, now: datetime, *, report: Report | None = None, done: Callable[[], None] = lambda: None
) -> Report:
    """Compare what we sent from `since` to `now` with the ledger and the suppressions. `done`: called after a slice."""
    report = report or Report(since, now)
    for begin, end in slices(since, now, SLICE):
        count = await store.sent(pool, begin, end)
        if count:
            report.found["no_consent"] += await store.without_consent(pool, begin, end, GRACE, now)
            report.found["after_stop"] += await store.after_stops(pool, begin, end, GRACE, now)
        report.messages += count
        AUDITED.inc(count, "ours")
        done()
    return report


@dataclass(slots=True)
class Comparison:
    """Twilio's lists beside ours. What it finds goes into the report. `missing` None: texts from people are left."""

    pool: Pool
    client: TwilioClient
    key: PhoneKey
    now: datetime
    report: Report
    missing: Missing | None = None

    async def run(
        self,
        accounts: Iterable[str | None],
        since: datetime | None = None,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """From `since`, or (None) from where each was left. None of the accounts is the main one.

        An account that refuses keeps the others from nothing, and goes on from where it was. Where nobody answers at
        all, the others are not waited for. `done`: called after an account.
        """
        self.report.compared = True
        for account in accounts:
            sid = account or self.client.account_sid
            try:
                await self._account(account, sid, since)
            except TwilioApiError as error:
                self.report.refused[sid] = str(error)
                log.warning("audit.cannot_be_asked", account=sid, error=str(error))
                if error.status is None:
                    break
            done()

    async def _account(self, account: str | None, sid: str, since: datetime | None) -> None:
        """Hour by hour, oldest first: what was compared stays so when it is broken off. Raises TwilioApiError."""
        left = await store.mark(self.pool, sid)
        begin = since or max(self.now - LONGEST, left - OVERLAP if left is not None else self.now - FULL)
        for start, end in slices(begin, self.now, LISTED_SLICE):
            batch: list[TwilioText] = []
            from_people: list[TwilioText] = []
            async for text in self.client.texts(start, end, account=account):
                self.report.listed += 1
                (batch if text.direction.startswith("outbound") else from_people).append(text)
                if len(batch) >= TOGETHER:
                    await self._keep(batch, sid)
                    batch = []
                if len(from_people) >= TOGETHER:
                    await self._hear(from_people, sid)
                    from_people = []
            await self._hear(from_people, sid)
            await self._keep(batch, sid)
            if since is None:  # else there may be a gap before it
                await store.put_mark(self.pool, sid, end)

    async def _hear(self, texts: Sequence[TwilioText], sid: str) -> None:
        if texts and self.missing is not None:
            is_main = sid == self.client.account_sid
            self.report.heard += await self.missing.take(texts, sid, is_main=is_main, now=self.now)

    async def _keep(self, texts: Sequence[TwilioText], sid: str) -> None:
        if texts:
            AUDITED.inc(len(texts), "twilio")
            listed = store.Listed(texts, sid, [self.key.of(text.to) for text in texts], sid == self.client.account_sid)
            self.report.found["bypassed"] += await store.bypassing(self.pool, listed, self.now)


class Auditor:
    """Looks every five minutes at the last quarter of an hour, every hour at the last 25, and on in Twilio's lists."""

    def __init__(self, missing: Missing | None = None) -> None:
        self._missing = missing
        self._full_at: datetime | None = None
        self._looked_until: datetime | None = None

    async def tick(
        self, pool: Pool, now: datetime, client: TwilioClient | None, subaccounts: Sequence[str], key: PhoneKey
    ) -> Report:
        """`client` None: no Twilio account is set, and its list is not asked for."""
        is_full = self._full_at is None or now - self._full_at >= FULL_EVERY
        since = now - FULL if is_full else min(now - RECENT, self._looked_until or now)
        report = await look(pool, since, now)
        self._looked_until = now
        if is_full:
            self._full_at = now
        if client is not None:
            await Comparison(pool, client, key, now, report, self._missing).run((None, *subaccounts))
        if any(report.found.values()):
            log.error("audit.found", **{kind: len(ids) for kind, ids in report.found.items()})
        return report


async def measure(pool: Pool) -> None:
    """Say in a gauge what is not settled."""
    found = await store.open_findings(pool)
    FINDINGS.replace(
        ((kind, "critical" if is_critical else "warning"), float(count)) for (kind, is_critical), count in found.items()
    )


def forget() -> None:
    """Somebody else says it from now on."""
    FINDINGS.replace(())


async def settle(pool: Pool, finding_id: int, *, actor: str, why: str, now: datetime) -> Finding:
    """A person has looked at it. Raises UnknownError, ConflictError, and MessagingError without a reason."""
    found = await store.settle(pool, finding_id, actor=actor, why=_reason(why), now=now)
    if found is not None:
        return found
    before = await store.finding(pool, finding_id)
    if before is None:
        raise UnknownError(f"there is no finding {finding_id}; see holdfast audit findings list")
    raise ConflictError(f"finding {finding_id} was settled by {before.settled_by}: {before.settled_why}")


async def settle_many(pool: Pool, which: Which, *, actor: str, why: str, now: datetime) -> list[int]:
    """All of these that are open, since they have one reason; their ids. Raises MessagingError without a reason."""
    return await store.settle_many(pool, which, actor=actor, why=_reason(why), now=now)


def _reason(why: str) -> str:
    """Raises MessagingError."""
    why = why.strip()
    if not why or len(why) > _LONGEST_WHY or "\0" in why:
        raise MessagingError(f"say in at most {_LONGEST_WHY} characters why it is settled")
    return why
