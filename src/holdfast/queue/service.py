"""Claiming by lane, merchant and destination; settling; and saying how the queue is doing."""

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from holdfast.db.pool import Pool
from holdfast.queue import store
from holdfast.queue.model import BucketStats, ClaimPolicy, Lane, LaneStats, Stage, Work
from holdfast.signals.registry import REGISTRY, Gauge

DEPTH = REGISTRY.add(Gauge("queue_depth", "Live works, by stage and lane.", ("stage", "lane")))
IN_FLIGHT = REGISTRY.add(Gauge("queue_in_flight", "Works under a lease, by stage and lane.", ("stage", "lane")))
OLDEST = REGISTRY.add(Gauge("queue_oldest_age_seconds", "Age of the oldest live work.", ("stage", "lane")))

START: store.Bucket = (-1, -1)
UNLIMITED = 1 << 30
WINDOW = timedelta(minutes=1)
"""What rates are of."""


class Claimer:
    """One claiming loop's view of a stage: where its walk over the merchants stands, and which lanes are late.

    Both are hints that another process can do without: a fresh claimer starts anywhere and learns within a batch.
    """

    def __init__(self, pool: Pool, stage: Stage, policy: ClaimPolicy, lanes: Iterable[Lane] = tuple(Lane)) -> None:
        self._pool = pool
        self._stage = stage
        self._policy = policy
        self._lanes = tuple(lanes)
        self._cursors: dict[tuple[Lane, bool], store.Bucket] = {}
        self._late: set[Lane] = set()

    async def claim(
        self,
        limit: int,
        *,
        slots: Mapping[int, int] | None = None,
        default_slots: int = UNLIMITED,
        lanes: Iterable[Lane] | None = None,
        now: datetime | None = None,
    ) -> list[Work]:
        """Up to `limit` due works, the lanes by weight, each lane fair across merchants; leased to the caller.

        `slots`: destination id → how many it may take now, 0 to skip it; a destination not named may take
        `default_slots`. Fewer than `limit` means that nothing else is due and allowed (or that others hold it).
        """
        open_lanes = [lane for lane in self._lanes if lanes is None or lane in set(lanes)]
        lease = secrets.randbits(62)
        works: list[Work] = []
        wrapped: set[tuple[Lane, bool]] = set()
        while open_lanes and len(works) < limit:
            parts = self._parts(open_lanes, limit - len(works))
            found, ends = await store.claim(
                self._pool,
                self._stage,
                parts,
                lease=lease,
                lasts=self._policy.lease,
                buckets=self._policy.buckets,
                slots=dict(slots or {}),
                default_slots=default_slots,
                now=now,
            )
            for index, part in enumerate(parts):
                works.extend(found[index])
                if self._advance(part, found[index], ends.get(index), wrapped) and part.lane in open_lanes:
                    open_lanes.remove(part.lane)
            self._notice_age([work for group in found for work in group], now)
        return works

    def _advance(
        self, part: store.LaneClaim, found: list[Work], end: store.Bucket | None, wrapped: set[tuple[Lane, bool]]
    ) -> bool:
        """Move the walk on behind what was served; True when it has been all around and found too little."""
        key = (part.lane, part.newest)
        full = len(found) >= part.quota
        merchants = {work.merchant_id for work in found}
        if full and len(merchants) == len(found):
            # The batch ended within the first round: those behind the last one served come first next time.
            self._cursors[key] = max((work.merchant_id, work.destination_id) for work in found)
            return False
        self._cursors[key] = end or START
        if full or end is not None:
            return False
        if part.after == START or key in wrapped:
            return True
        wrapped.add(key)
        return False

    def _parts(self, lanes: list[Lane], limit: int) -> list[store.LaneClaim]:
        """Divide a batch: every lane its weight's share, at least one; what one leaves goes around again."""
        total = sum(self._policy.weights[lane] for lane in lanes)
        left = limit
        parts = []
        for lane in lanes:
            quota = min(max(1, limit * self._policy.weights[lane] // total), left)
            left -= quota
            if quota == 0:
                break
            oldest = max(1, round(quota * self._policy.late_oldest_share)) if lane in self._late else quota
            parts.append(self._part(lane, oldest, newest=False))
            if quota > oldest:
                parts.append(self._part(lane, quota - oldest, newest=True))
        return parts

    def _part(self, lane: Lane, quota: int, *, newest: bool) -> store.LaneClaim:
        return store.LaneClaim(lane, quota, newest, self._cursors.get((lane, newest), START))

    def _notice_age(self, works: list[Work], now: datetime | None) -> None:
        """A lane is late when what was claimed from its old end is older than its promise; until all is young."""
        clock = now or datetime.now().astimezone()
        for lane in {work.lane for work in works}:
            first_tries = [clock - work.received_at for work in works if work.lane is lane and work.attempts == 1]
            if not first_tries:
                continue
            age = max(first_tries)
            promise = self._policy.promises[lane]
            if age > promise:
                self._late.add(lane)
            elif age < promise / 2:
                self._late.discard(lane)

    @property
    def lease(self) -> timedelta:
        return self._policy.lease

    @property
    def late(self) -> frozenset[Lane]:
        return frozenset(self._late)


async def measure(pool: Pool) -> None:
    """Set the gauges of depth, work in flight and oldest age."""
    rows = {(row["stage"], row["lane"]): row for row in await store.depths(pool)}
    for gauge, column in ((DEPTH, "depth"), (IN_FLIGHT, "in_flight"), (OLDEST, "oldest_age")):
        gauge.replace(
            ((stage.name.lower(), lane.label), float(rows[stage, lane][column]) if (stage, lane) in rows else 0.0)
            for stage in Stage
            for lane in Lane
        )


async def lane_stats(pool: Pool, *, window: timedelta = WINDOW, now: datetime | None = None) -> list[LaneStats]:
    """Every stage and lane, empty ones included."""
    rows = {(row["stage"], row["key"]): row for row in await store.lane_stats(pool, window, now=now)}
    stats = []
    for stage in Stage:
        for lane in Lane:
            row = rows.get((stage, lane))
            depth = row["depth"] if row else 0
            arrival = (row["arrived"] if row else 0) / window.total_seconds()
            service = (row["served"] if row else 0) / window.total_seconds()
            stats.append(
                LaneStats(
                    stage=stage,
                    lane=lane,
                    depth=depth,
                    waiting=row["waiting"] if row else 0,
                    in_flight=row["in_flight"] if row else 0,
                    delayed=row["delayed"] if row else 0,
                    oldest_age=max(0.0, (row["oldest_age"] if row else None) or 0.0),
                    arrival_rate=arrival,
                    service_rate=service,
                    drain_seconds=drain_seconds(depth, arrival, service),
                )
            )
    return stats


async def bucket_stats(
    pool: Pool, key: str, *, window: timedelta = WINDOW, now: datetime | None = None
) -> list[BucketStats]:
    """Live work and rates by `merchant_id` or `destination_id`, deepest first."""
    return [
        BucketStats(
            stage=Stage(row["stage"]),
            key=row["key"],
            depth=row["depth"],
            in_flight=row["in_flight"],
            oldest_age=max(0.0, row["oldest_age"] or 0.0),
            arrival_rate=row["arrived"] / window.total_seconds(),
            service_rate=row["served"] / window.total_seconds(),
            drain_seconds=drain_seconds(
                row["depth"],
                row["arrived"] / window.total_seconds(),
                row["served"] / window.total_seconds(),
            ),
        )
        for row in await store.bucket_stats(pool, key, window, now=now)
        if key == "merchant_id" or row["stage"] == Stage.DELIVER
    ]


def drain_seconds(depth: int, arrival: float, service: float) -> float | None:
    """Seconds until the backlog is gone if both rates (works/s) stay; None when it does not shrink."""
    if depth == 0:
        return 0.0
    return depth / (service - arrival) if service > arrival else None
