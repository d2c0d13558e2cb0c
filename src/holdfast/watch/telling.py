"""Tells of alerts through every channel: grouped by runbook, not what is silenced, again when a channel fails."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog

from holdfast.db.pool import Pool
from holdfast.signals.registry import REGISTRY, Counter
from holdfast.watch import store
from holdfast.watch.channels import Channel, NotTold
from holdfast.watch.model import Alert, Notice

log = structlog.get_logger()

TOLD = REGISTRY.add(Counter("alert_notices", "Notices of alerts by channel and outcome.", ("channel", "outcome")))
GIVES_UP = timedelta(hours=24)
LEASE = timedelta(seconds=60)
"""How long a notice is one process's to tell; half of it is what a channel may take."""
_SLOWEST = 900.0


class Teller:
    """Sends what the store has to be told. Any number of processes may do so: each notice is taken by one."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = {channel.name: channel for channel in channels}

    @property
    def names(self) -> list[str]:
        return list(self._channels)

    async def tick(self, pool: Pool, now: datetime | None = None) -> int:
        """Tell what is due; returns how many messages went out. Raises what `AWAY` lists.

        What was told just before the store or the process went away is told again: rather twice than never.
        """
        now = now or datetime.now(UTC)
        if not self._channels:
            return 0
        claimed = await store.claim_notices(pool, self.names, LEASE, now)
        if not claimed:
            return 0
        silences = await store.silences(pool, now)
        silenced = [one.id for one in claimed if any(one.kept.alert.key.startswith(s.matches) for s in silences)]
        over = [one.id for one in claimed if one.what != "closed" and one.kept.alert.closed_at and one.tries == 0]
        for ids, outcome in ((silenced, "silenced"), (over, "over")):
            if ids:
                await store.end_notices(pool, ids, outcome, now)
        left = [one for one in claimed if one.id not in {*silenced, *over}]
        told = await asyncio.gather(*(self._tell(pool, group, now) for group in _groups(left)))
        return sum(told)

    async def _tell(self, pool: Pool, group: list[Notice], now: datetime) -> int:
        channel, ids = self._channels[group[0].channel], [notice.id for notice in group]
        try:
            async with asyncio.timeout(LEASE.total_seconds() / 2):
                await channel.tell([(notice.what, notice.kept.alert) for notice in group], now)
        except (NotTold, TimeoutError) as error:
            why = str(error) or "it took too long"
            TOLD.inc(len(ids), channel.name, "failed")
            tries = max(notice.tries for notice in group)
            if now - min(notice.created_at for notice in group) > GIVES_UP:
                log.error("alert.not_told", channel=channel.name, reason=why, tries=tries + 1)
                await store.end_notices(pool, ids, f"given up: {why}", now)
            else:
                log.warning("alert.told_later", channel=channel.name, reason=why)
                later = now + timedelta(seconds=min(_SLOWEST, 5.0 * 2 ** min(tries, 10)))
                await store.postpone_notices(pool, ids, later, why)
            return 0
        TOLD.inc(len(ids), channel.name, "sent")
        await store.end_notices(pool, ids, "sent", now)
        return 1

    async def tell_now(self, alert: Alert, now: datetime) -> set[str]:
        """Without the store: through every channel at once. Returns the names of those that took it."""
        took = set()
        for channel in self._channels.values():
            try:
                async with asyncio.timeout(LEASE.total_seconds() / 2):
                    await channel.tell([("opened", alert)], now)
                took.add(channel.name)
            except (NotTold, TimeoutError) as error:
                log.error("alert.not_told", channel=channel.name, reason=str(error) or "it took too long")
        return took


def _groups(notices: Sequence[Notice]) -> list[list[Notice]]:
    """What goes into one message: one channel, one runbook; opening and closing apart."""
    groups: dict[tuple[str, str, bool], list[Notice]] = defaultdict(list)
    for notice in notices:
        groups[notice.channel, notice.kept.alert.runbook, notice.what == "closed"].append(notice)
    return list(groups.values())
