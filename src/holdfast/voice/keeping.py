"""Stores callbacks, many at a time: their events, what they tell of calls, and the news of voicemails. All or none."""

import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

import asyncpg
import structlog

from holdfast.db.pool import Connection, Pool
from holdfast.voice import call_store as store
from holdfast.voice import debugger_store
from holdfast.voice.debugger_store import KeptAlert
from holdfast.voice.folding import Changes, LegChange, folded
from holdfast.voice.model import Callback
from holdfast.voice.polling import count as count_alerts
from holdfast.voice.signals import CALLS, LEGS
from holdfast.voice.voicemails import Announcer

log = structlog.get_logger()

MOST_REGIONS = 300
"""That are counted by name: more than there are countries."""
OTHER = "other"
"""The region that is counted for all above that."""
SETTLING = 5.0
"""Seconds from a call's end until it is counted: that of a leg and that of the call come in any order."""


class Keeper:
    """`store` is for the recorder and the drainer; `count_ended` is a loop's tick."""

    def __init__(
        self,
        pool: Pool,
        announcer: Announcer,
        clock: Callable[[], float] = time.time,
        test_callers: Collection[str] = (),
        public: Sequence[str] = (),
    ) -> None:
        """`clock` gives Unix time. `test_callers`: who only tests. `public`: our public URLs, also former ones."""
        self._public = tuple(public)
        self._pool = pool
        self._announcer = announcer
        self._clock = clock
        self._test_callers = frozenset(test_callers)
        self._ended: dict[str, float] = {}
        self._regions: set[str] = set()

    async def store(self, batch: Sequence[Callback]) -> list[bool]:
        """Whether each is new: neither held nor before it in the batch. Raises what `AWAY` lists, among others."""
        first: dict[str, int] = {}
        for place, callback in enumerate(batch):
            first.setdefault(callback.event_id, place)
        async with self._pool.acquire() as connection, connection.transaction():
            added = await store.add_events(connection, [batch[place] for place in first.values()])
            repeats = [one for place, one in enumerate(batch) if first[one.event_id] != place]
            if repeats:
                await store.count_duplicates(connection, repeats)
            new = [callback.event_id in added and first[callback.event_id] == n for n, callback in enumerate(batch)]
            changes = folded(one for one, is_new in zip(batch, new, strict=True) if is_new)
            ended, legs = await self._merge(connection, changes)
            alerts = await _keep_alerts(connection, changes, self._public)
        self._count(ended, legs)
        count_alerts(alerts)
        return new

    async def probe(self) -> None:
        """Raises what `recorder.NOT_NOW` lists while callbacks cannot be stored, as on a server that only reads."""
        if await store.only_reads(self._pool):
            raise asyncpg.ReadOnlySQLTransactionError("the server only reads")

    async def _merge(self, db: Connection, changes: Changes) -> tuple[list[str], list[LegChange]]:
        """The sids of the calls that ended now, and the legs that are new."""
        if not changes.calls:
            return [], []
        for call in changes.calls.values():
            call.is_test |= call.caller in self._test_callers
        calls = await store.merge_calls(db, changes.calls.values())
        merged = {one.sid for one in calls}
        for call in changes.calls.values():
            if call.sid not in merged:
                log.warning("voice.call_of_another_account", call=call.sid, account=call.account)
        told_legs = [leg for leg in changes.legs.values() if leg.call_sid in merged]
        told_voicemails = [one for one in changes.voicemails.values() if one.call_sid in merged]
        legs = await store.merge_legs(db, told_legs) if told_legs else []
        if told_voicemails:
            await store.merge_voicemails(db, told_voicemails)
        # Nothing more is asked of a call in mid-course, as most are: calls wait for this.
        changed = {one.call_sid for one in told_legs} | {one.call_sid for one in told_voicemails}
        judged = [one.sid for one in calls if one.is_over or one.sid in changed]
        ended = await store.derive(db, judged) if judged else []
        messaged = [one.sid for one in calls if one.has_voicemail or one.sid in changed]
        if messaged:
            messages = await store.complete_voicemails(db, messaged)
            await self._announcer.announce(db, messages, datetime.fromtimestamp(self._clock(), UTC))
        return ended, legs

    def _count(self, ended: Sequence[str], legs: Sequence[LegChange]) -> None:
        now = self._clock()
        self._ended |= dict.fromkeys(ended, now + SETTLING)
        for leg in legs:
            LEGS.inc(1, self._bounded(leg.region), leg.outcome)

    async def count_ended(self, now: float | None = None) -> int:
        """Count the calls that ended a moment ago. Raises what `AWAY` lists: then they are counted the next time."""
        at = self._clock() if now is None else now
        due = [sid for sid, when in self._ended.items() if when <= at]
        if due:
            found = await store.ended(self._pool, due)
            for sid in due:
                del self._ended[sid]
            for region, outcome in found:
                CALLS.inc(1, self._bounded(region), outcome)
        return 0

    def _bounded(self, region: str) -> str:
        """The region as a label: there are only so many."""
        if region not in self._regions:
            if len(self._regions) >= MOST_REGIONS:
                return OTHER
            self._regions.add(region)
        return region


async def _keep_alerts(db: Connection, changes: Changes, public: Sequence[str]) -> list[KeptAlert]:
    """Those that are new. After the calls, which say what an alert is about."""
    if not changes.alerts:
        return []
    new = await debugger_store.keep(db, list(changes.alerts.values()), public)
    await store.place_alerts(db, changes.called)
    return new
