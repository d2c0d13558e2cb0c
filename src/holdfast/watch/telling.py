"""Tells of alerts through every channel: grouped by runbook, not what is silenced, again when a channel fails."""

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

        What was told just before the store went away is told again: rather twice than never.
        """
        now = now or datetime.now(UTC)
        async with pool.acquire() as connection, connection.transaction():
            due = await store.due(connection, self.names, now)
            if not due:
                return 0
            silences = await store.silences(connection, now)
            silenced = [one.id for one in due if any(one.kept.alert.key.startswith(s.matches) for s in silences)]
            if silenced:
                await store.end_notices(connection, silenced, "silenced", now)
            over = [one.id for one in due if one.what != "closed" and one.kept.alert.closed_at and one.tries == 0]
            await store.end_notices(connection, over, "over", now)
            left = [one for one in due if one.id not in {*silenced, *over}]
            sent = 0
            for group in _groups(left):
                sent += await self._tell(connection, group, now)
        return sent

    async def _tell(self, connection: store.Executor, group: list[Notice], now: datetime) -> int:
        channel, ids = self._channels[group[0].channel], [notice.id for notice in group]
        try:
            await channel.tell([(notice.what, notice.kept.alert) for notice in group], now)
        except NotTold as error:
            TOLD.inc(len(ids), channel.name, "failed")
            tries = max(notice.tries for notice in group)
            if now - min(notice.created_at for notice in group) > GIVES_UP:
                log.error("alert.not_told", channel=channel.name, reason=str(error), tries=tries + 1)
                await store.end_notices(connection, ids, f"given up: {error}", now)
            else:
                log.warning("alert.told_later", channel=channel.name, reason=str(error))
                later = now + timedelta(seconds=min(_SLOWEST, 5.0 * 2**tries))
                await store.postpone_notices(connection, ids, later, str(error))
            return 0
        TOLD.inc(len(ids), channel.name, "sent")
        await store.end_notices(connection, ids, "sent", now)
        return 1

    async def tell_now(self, alert: Alert, now: datetime) -> set[str]:
        """Without the store: through every channel at once. Returns the names of those that took it."""
        took = set()
        for channel in self._channels.values():
            try:
                await channel.tell([("opened", alert)], now)
                took.add(channel.name)
            except NotTold as error:
                log.error("alert.not_told", channel=channel.name, reason=str(error))
        return took


def _groups(notices: Sequence[Notice]) -> list[list[Notice]]:
    """What goes into one message: one channel, one runbook; opening and closing apart."""
    groups: dict[tuple[str, str, bool], list[Notice]] = defaultdict(list)
    for notice in notices:
        groups[notice.channel, notice.kept.alert.runbook, notice.what == "closed"].append(notice)
    return list(groups.values())
