"""Claiming by lane, merchant and destination; settling; and saying how the queue is doing."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from holdfast.db.clock import CLOCK
from holdfast.db.pool import Pool
from holdfast.queue import claim_store, store
from holdfast.queue.capacity import emptied_in
from holdfast.queue.model import BucketStats, ClaimPolicy, Lane, LaneStats, Pause, Rules, Shared, Stage, Work
from holdfast.signals.registry import REGISTRY, Gauge

DEPTH = REGISTRY.add(
    Gauge("queue_depth", "Live works, by stage and lane, without messages of our own.", ("stage", "lane"))
)
IN_FLIGHT = REGISTRY.add(Gauge("queue_in_flight", "Works under a lease, by stage and lane.", ("stage", "lane")))
PAUSED = REGISTRY.add(
    Gauge("queue_paused", "Live works that a lever keeps from being claimed.", ("stage", "lane", "lever"))
)
OLDEST = REGISTRY.add(Gauge("queue_oldest_age_seconds", "Age of the oldest of these.", ("stage", "lane")))
MESSAGES = REGISTRY.add(Gauge("queue_messages", "Live messages of our own: to mailboxes and team channels.", ("lane",)))
MESSAGES_OLDEST = REGISTRY.add(
    Gauge("queue_messages_oldest_age_seconds", "Age of the oldest live message of our own.", ("lane",))
)

START: claim_store.Bucket = (-1, -1)
UNLIMITED = 1 << 30
MOST_PAGES = 8
"""Statements of one claim: with very many merchants or blocked destinations, the walk goes on in the next one.

A page is taken again while it has more and the batch has room: at least half of its buckets have no more each time."""
MOST_TURNS = 4096
"""Destinations remembered as having had their turn at what is shared."""
WINDOW = timedelta(minutes=1)
"""What rates are of."""


class Claimer:
    """One claiming loop's view of a stage: where its walk over the merchants stands, and which lanes are late.

    Both are hints that another process can do without: a fresh claimer starts anywhere and learns within a batch.
    """

    def __init__(
        self, pool: store.Executor, stage: Stage, policy: ClaimPolicy, rules: Callable[[], Rules] = Rules
    ) -> None:
        """`rules` are asked for at every statement of a claim."""
        self._pool = pool
        self._stage = stage
        self._policy = policy
        self._rules = rules
        self._cursors: dict[tuple[Lane, bool], claim_store.Bucket] = {}
        self._from_start: set[tuple[Lane, bool]] = set()
        self._ended: set[Lane] = set()
        """Lanes of which all was seen since there was last nothing left to share."""
        self._offered: set[Lane] = set()
        """Lanes of which all up to the cursor was."""
        self._had_turn: set[int] = set()
        """Destinations that took what is shared, in this round: the others come first."""
        self._late: set[Lane] = set()
        self.exhausted = True
        """Whether the last claim saw all there is: if not, another one may find more."""

    async def claim(
        self,
        limit: int,
        *,
        slots: Mapping[int, int] | None = None,
        default_slots: int = UNLIMITED,
        lanes: Iterable[Lane] = tuple(Lane),
        most: Mapping[Lane, int] | None = None,
        shared: Shared | None = None,
        now: datetime | None = None,
    ) -> list[Work]:
        """Up to `limit` due works, the lanes by weight, each lane fair across merchants; leased to the caller.

        `slots`: destination id → how many it may take now, 0 to skip it; a destination not named may take
        `default_slots`. `most`: the most works of a lane; one that is not named may fill the claim.
        `shared`: what destinations of some kinds may take together.

        Few or none means that nothing else is due and allowed, unless `exhausted` is False.
        """
        wanted, free, room = sorted(set(lanes)), dict(slots or {}), dict(most or {})
        lease, lanes_asked = secrets.randbits(62), tuple(wanted)
        works: list[Work] = []
        for _ in range(MOST_PAGES):
            rules = self._rules()  # what is paused meanwhile is not claimed any more
            lanes_open = [
                lane
                for lane in (wanted if self._stage not in rules.paused_stages else ())
                if lane not in rules.paused_lanes and room.get(lane, 1) > 0
            ]
            if not lanes_open:
                self.exhausted = True
                return works
            free |= dict.fromkeys(rules.paused_destinations, 0)
            if shared is not None:
                free |= dict.fromkeys(self._had_turn, 0)
            parts = self._parts(lanes_open, limit - len(works), rules, room)
            asked = CLOCK.now()
            found, pages, clock = await claim_store.claim(
                self._pool,
                self._stage,
                parts,
                limit=limit - len(works),
                lease=lease,
                lasts=self._policy.lease,
                buckets=self._policy.buckets,
                slots=free,
                default_slots=default_slots,
                paused_merchants=rules.paused_merchants,
                shared=shared,
                now=now,
            )
            works += found
            if shared is not None:
                shared = self._share(shared, parts, pages)
            if clock is not None:
                self._notice_age(found, clock)
                if now is None:
                    CLOCK.compare(clock, asked)
            if len(works) > limit // 2:  # the rest is for the next claim; looking for it costs as much
                self._walk_on(parts, pages)
                self._begins_anew(lanes_asked)
                self.exhausted = False
                return works
            for work in found:
                if work.lane in room:
                    room[work.lane] -= 1
            wanted = self._unseen(parts, pages, full={lane for lane, left in room.items() if left <= 0})
            if not wanted:
                self.exhausted = not self._begins_anew(lanes_asked)
                return works
            for work in found:
                if work.destination_id or free:
                    free[work.destination_id] = free.get(work.destination_id, default_slots) - 1
        self.exhausted = False
        return works

    def _walk_on(self, parts: list[claim_store.Part], pages: list[claim_store.Page]) -> None:
        """The batch is full: next time, those come first who had no turn in this one."""
        for part, page in zip(parts, pages, strict=True):
            self._from_start.discard((part.lane, part.newest))  # something may be left behind the cursor
            if page.second_turn or page.served >= page.offered:
                self._move(part, page)
            elif page.last_served is not None:
                self._cursors[part.lane, part.newest] = page.last_served

    def _unseen(self, parts: list[claim_store.Part], pages: list[claim_store.Page], full: set[Lane]) -> list[Lane]:
        """There is room left: go on to the next page, or take one that has more again; returns the lanes that were not
        seen from beginning to end.

        Not those that are `full`: as with a full batch, those come first next time who had no turn in this one.
        """
        lanes = set()
        for part, page in zip(parts, pages, strict=True):
            if part.lane in full:
                self._walk_on([part], [page])
                continue
            if page.more and page.served:  # none served: others are just taking it
                lanes.add(part.lane)
                continue
            key = (part.lane, part.newest)
            if part.after == START:
                self._from_start.add(key)
            self._move(part, page)
            if page.full or key not in self._from_start:
                lanes.add(part.lane)
            else:
                self._from_start.discard(key)
        return sorted(lanes)

    def _share(self, shared: Shared, parts: list[claim_store.Part], pages: list[claim_store.Page]) -> Shared:
        """What is left to share by those who had no turn yet."""
        taken = [destination for page in pages for destination in page.shared]
        left = replace(shared, free=shared.free - len(taken))
        if len(self._had_turn) > MOST_TURNS:
            self._had_turn.clear()
        self._had_turn.update(taken)
        if left.free <= 0:
            self._offered.clear()
            self._ended.clear()
        else:
            self._offered.update(part.lane for part in parts if part.after == START)
        return left

    def _begins_anew(self, lanes: Iterable[Lane]) -> bool:
        """A round is over when all of all lanes was seen with something left to share: the next one may begin."""
        if not self._had_turn or not self._ended.issuperset(lanes):
            return False
        self._offered.clear()
        self._ended.clear()
        self._had_turn.clear()
        return True

    def _move(self, part: claim_store.Part, page: claim_store.Page) -> None:
        """To the next page; behind the last one, to the beginning."""
        end = page.end if page.full and page.end is not None else START
        if end == START and part.lane in self._offered:
            self._ended.add(part.lane)
        self._cursors[part.lane, part.newest] = end

    def _parts(self, lanes: list[Lane], limit: int, rules: Rules, room: Mapping[Lane, int]) -> list[claim_store.Part]:
        """Divide a batch: every lane its weight's share, at least one. Late lanes give most of theirs to the newest."""
        weights = {lane: rules.weights.get(lane, self._policy.weights[lane]) for lane in lanes}
        total = sum(weights.values())
        late = self._late | rules.newest_first
        parts = []
        for lane in lanes:
            most = room.get(lane)
            share = max(1, min(limit * weights[lane] // total, limit if most is None else most))
            oldest = max(1, round(share * self._policy.late_oldest_share)) if lane in late else share
            newest = share - oldest
            # What the lane may take beyond its share is for the new end, if that is served at all.
            at_old_end = most if most is None or not newest else oldest
            parts.append(self._part(lane, oldest, newest=False, most=at_old_end))
            if newest:
                parts.append(self._part(lane, newest, newest=True, most=None if most is None else most - oldest))
        return parts

    def _part(self, lane: Lane, share: int, *, newest: bool, most: int | None) -> claim_store.Part:
        return claim_store.Part(lane, share, newest, self._cursors.get((lane, newest), START), most)

    def _notice_age(self, works: list[Work], clock: datetime) -> None:
        """A lane is late when what was claimed from its old end is older than its promise; until all is young.

        `clock`: the store's, as that of `received_at` is; processes on several machines have clocks of their own.
        """
        oldest: dict[Lane, datetime] = {}
        for work in works:
            if work.attempts == 1 and work.received_at < oldest.get(work.lane, clock):
                oldest[work.lane] = work.received_at
        for lane, received in oldest.items():
            promise = self._policy.promises[lane]
            if clock - received > promise:
                self._late.add(lane)
            elif clock - received < promise / 2:
                self._late.discard(lane)

    @property
    def lease(self) -> timedelta:
        return self._policy.lease

    @property
    def late(self) -> frozenset[Lane]:
        return frozenset(self._late)


async def measure(pool: Pool, pauses: Sequence[Pause] = ()) -> None:
    """Set the gauges of depth, work in flight, oldest age, messages of our own, and what these pauses hold."""
    rows = {(row["stage"], row["lane"]): row for row in await store.depths(pool)}
    for gauge, column in ((DEPTH, "depth"), (IN_FLIGHT, "in_flight"), (OLDEST, "oldest_age")):
        gauge.replace(
            ((stage.name.lower(), lane.label), float(rows[stage, lane][column]) if (stage, lane) in rows else 0.0)
            for stage in Stage
            for lane in Lane
        )
    for gauge, column in ((MESSAGES, "messages"), (MESSAGES_OLDEST, "messages_age")):
        gauge.replace(
            ((lane.label,), float(row[column]) if (row := rows.get((Stage.DELIVER, lane))) is not None else 0.0)
            for lane in Lane
        )
    depths = {(Stage(stage), Lane(lane)): row["depth"] for (stage, lane), row in rows.items()}
    PAUSED.replace((await _held(pool, pauses, depths)).items())


async def _held(
    pool: Pool, pauses: Sequence[Pause], depths: Mapping[tuple[Stage, Lane], int]
) -> Mapping[tuple[str, str, str], float]:
    """Works by stage, lane and lever. Each counts once: for what holds its whole lane, else its merchant, else it."""
    held: Counter[tuple[str, str, str]] = Counter()
    whole = {
        (stage, lane): one.lever
        for one in pauses
        if one.is_whole
        for stage in Stage
        for lane in Lane
        if one.stage in (None, stage) and one.lane in (None, lane)
    }
    for (stage, lane), lever in whole.items():
        held[stage.name.lower(), lane.label, lever] = depths.get((stage, lane), 0)
    merchants = {
        (one.merchant_id, stage): one.lever
        for one in pauses
        if one.merchant_id is not None
        for stage in Stage
        if one.stage in (None, stage)
    }
    destinations = {one.destination_id: one.lever for one in pauses if one.destination_id is not None}
    if merchants or destinations:
        ids = sorted({merchant for merchant, _ in merchants})
        for stage, lane, merchant, destination, depth in await store.depths_of(pool, ids, [*destinations]):
            by = destinations.get(destination or 0) if merchant is None else merchants.get((merchant, stage))
            if by is not None and (stage, lane) not in whole:
                held[stage.name.lower(), lane.label, by] += depth
    return {key: float(depth) for key, depth in held.items() if depth}


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
                    drain_seconds=emptied_in(depth, arrival, service),
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
            drain_seconds=emptied_in(
                row["depth"],
                row["arrived"] / window.total_seconds(),
                row["served"] / window.total_seconds(),
            ),
        )
        for row in await store.bucket_stats(pool, key, window, now=now)
        if key == "merchant_id" or row["stage"] == Stage.DELIVER
    ]
