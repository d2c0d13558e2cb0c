"""Makes frames of what processes have stored: each bucket once, however late; gauges are held for a while."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from holdfast.db.pool import Pool
from holdfast.signals import store
from holdfast.signals.buckets import FINEST, Levels
from holdfast.signals.frame import Frame
from holdfast.signals.store import Stored

LATE = timedelta(seconds=30)
"""How late a bucket may come and still count."""
HELD = timedelta(seconds=13)
"""How long what a gauge said is so, if its process says nothing new."""
STEP = timedelta(seconds=FINEST)


class FrameReader:
    """Reads on from where it was. The first reading goes back as far as asked."""

    def __init__(self, since: datetime) -> None:
        self._until = since
        self._seen: dict[tuple[UUID, str, datetime], None] = {}
        self._gauges: dict[tuple[UUID, str], Stored] = {}

    async def read(self, pool: Pool, now: datetime) -> list[Frame]:
        """A frame for every interval up to `now`, oldest first. Raises what `AWAY` lists; nothing is lost by that."""
        found = await store.read(pool, FINEST, self._until - LATE, now)
        return self.take(found, now)

    def take(self, found: Iterable[Stored], now: datetime) -> list[Frame]:
        """The same from buckets at hand."""
        ends = _ends(self._until, now)
        by_end: dict[datetime, list[Stored]] = {end: [] for end in ends}
        for stored in found:
            key = (stored.source, stored.bucket.name, stored.bucket.at)
            if key not in self._seen:
                self._seen[key] = None
                by_end[next((end for end in ends if stored.bucket.at <= end), ends[-1])].append(stored)
        self._until = now
        self._seen = {key: None for key in self._seen if key[2] > now - LATE - STEP}
        return [Frame.of([*by_end[end], *self._held(end, by_end[end])], end) for end in ends]

    def _held(self, end: datetime, fresh: list[Stored]) -> list[Stored]:
        """What gauges said before, of processes that say nothing new yet."""
        spoke = set()
        for stored in fresh:
            if isinstance(stored.bucket.data, Levels):
                key = (stored.source, stored.bucket.name)
                spoke.add(key)
                held = self._gauges.get(key)
                if held is None or held.bucket.at <= stored.bucket.at:
                    self._gauges[key] = stored
        for key, held in list(self._gauges.items()):
            if end - held.bucket.at > HELD:
                del self._gauges[key]
        return [held for key, held in self._gauges.items() if key not in spoke]


def _ends(since: datetime, now: datetime) -> list[datetime]:
    """The ends of the intervals from `since` to `now`; what is less than an interval and a half is one."""
    ends = [now]
    while ends[-1] - since > STEP * 1.5:
        ends.append(ends[-1] - STEP)
    return ends[::-1]
