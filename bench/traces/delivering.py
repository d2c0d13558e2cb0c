"""Deliveries: slots that each try holds for as long as it takes, more tries, destinations that are down."""

from collections import deque
from random import Random

from bench.traces.business import Business
from bench.traces.conditions import Conditions
from bench.traces.draw import AGES, QUICK, REMOTE, Bins, binomial, poisson, whole
from bench.traces.lines import Line, backoff, serve
from bench.traces.measures import LANES, TICK, Moment, Received, Tick

PATIENCE = 15.0
"""Seconds that a try may take."""
DEAD_AFTER = 36 * 3600.0
"""Seconds after which the last try has failed."""
KINDS = ("webhook", "application", "email")


class Parked:
    """Deliveries to a destination that is down, oldest first: beside the line, since nobody else waits for them."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[float, int]] = deque()
        self.depth = 0

    def put(self, at: float, count: int) -> None:
        self.waiting.append((at, count))
        self.depth += count

    def take(self, most: int, before: float = 1e18) -> list[tuple[float, int]]:
        """Up to `most` of the oldest that were received before then."""
        taken = []
        while self.waiting and most > 0 and self.waiting[0][0] < before:
            at, count = self.waiting.popleft()
            if count > most:
                self.waiting.appendleft((at, count - most))
                count = most
            taken.append((at, count))
            most -= count
            self.depth -= count
        return taken

    def oldest(self, now: float) -> float:
        return now - self.waiting[0][0] if self.waiting else 0.0


class Delivering:
    def __init__(self, rng: Random, business: Business) -> None:
        self._rng = rng
        self._of = business
        self._lines = [Line() for _ in LANES]
        self._down = [Parked() for _ in LANES]
        self._chronic = [Parked() for _ in LANES]

    def deliver(self, tick: Tick, moment: Moment, planned: list[Received]) -> None:
        rng, of, lines = self._rng, self._of, self._lines
        now, cond = moment.now, moment.conditions
        for line in lines:
            line.wake(moment.number)
        planned = self._park(now, planned, cond)
        seconds = max(of.destination_seconds, cond.deliver_seconds)
        failing = max(of.failing, cond.deliver_failing)
        mean = min(PATIENCE, 1.3 * seconds) * (1 - cond.deliver_failing) + PATIENCE * 0.8 * cond.deliver_failing
        budget = self._budget(moment, mean)
        served = serve(lines, planned, budget, now)
        tried = delivered = again = 0
        tick.settled, tick.delivered_seconds = {}, []
        for lane, works in enumerate(served):
            bins: Bins = {}
            total, good_here, dead = 0.0, 0, 0
            for work in works:
                bad = poisson(rng, work.count * failing) if failing < 0.05 else binomial(rng, work.count, failing)
                bad = min(bad, work.count)
                if bad:
                    halves = ((bad + 1) // 2, bad // 2) if work.tried < 3 else (bad, 0)
                    for part in halves:
                        if part:
                            lines[lane].again(work, part, moment.number + backoff(rng, work.tried))
                rejected = int(rng.random() < (work.count - bad) * 0.0003)
                good = work.count - bad - rejected
                lines[lane].done(work, good + rejected)
                tried, again, dead, good_here = tried + work.count, again + bad, dead + rejected, good_here + good
                if good:
                    age = now - work.at
                    shape = AGES if age > 10 else REMOTE
                    total += shape.observe(rng, bins, good, age + seconds + 0.6 * moment.batch + 0.5 * cond.lag_worker)
            for at, count in self._unpark(lane, cond):
                total += AGES.observe(rng, bins, count, now - at + seconds)
                tried, good_here = tried + count, good_here + count
            given_up = sum(count for _, count in self._chronic[lane].take(1_000_000, now - DEAD_AFTER))
            delivered += good_here
            for outcome, count in (("delivered", good_here), ("dead", dead + given_up)):
                if count:
                    tick.settled[f"{LANES[lane]}\x1f{outcome}"] = count
            tick.delivered_seconds.append((total, bins))
        again += self._probes(cond)
        self._tell_attempts(tick, delivered, again, tried - delivered, seconds, cond)
        self._gauges(tick, moment, tried, mean)

    def _park(self, now: float, planned: list[Received], cond: Conditions) -> list[Received]:
        """Set aside what goes to destinations that are down."""
        if not cond.down_share and not self._of.chronic:
            return planned
        kept: list[Received] = [[], [], []]
        for lane, new in enumerate(planned):
            for at, count in new:
                down = binomial(self._rng, count, cond.down_share)
                never = binomial(self._rng, count - down, self._of.chronic)
                if down:
                    self._down[lane].put(at, down)
                if never:
                    self._chronic[lane].put(at, never)
                if count > down + never:
                    kept[lane].append((at, count - down - never))
        return kept

    def _unpark(self, lane: int, cond: Conditions) -> Received:
        """The destination is back: at most 64 at once, and at most 50 a second."""
        parked = self._down[lane]
        if cond.down_share or cond.workers_gone or not parked.depth:
            return []
        return parked.take(int(TICK * min(50.0, 64 / self._of.destination_seconds) / len(LANES)))

    def _probes(self, cond: Conditions) -> int:
        """Tries behind an open breaker: one every half minute for each destination that is down."""
        if cond.workers_gone:
            return 0
        down = bool(cond.down_share) + any(parked.depth for parked in self._chronic)
        return sum(self._rng.random() < TICK / 30 for _ in range(down))

    def _budget(self, moment: Moment, mean: float) -> int:
        cond = moment.conditions
        if cond.workers_gone:
            return 0
        of = self._of
        usual = 0.05 + 4 * of.round_trip
        database = usual / (0.05 + 4 * moment.round_trip)
        capacity = of.slots / mean * database * moment.worker_speed
        limit = max(0.02, moment.rate * of.deliveries) * cond.deliver_limit
        return whole(self._rng, min(capacity, limit) * TICK)

    def _tell_attempts(
        self, tick: Tick, delivered: int, again: int, rejected: int, seconds: float, cond: Conditions
    ) -> None:
        rng, of = self._rng, self._of
        tick.attempts, tick.attempt_seconds = {}, {}
        left = {"delivered": delivered, "retry": again, "rejected": max(0, rejected - again)}
        for kind, share in zip(KINDS, (of.kinds[0], of.kinds[1] / (1 - of.kinds[0]), 1.0), strict=True):
            bins: Bins = {}
            total = 0.0
            prompt = 0
            for outcome, all_left in left.items():
                count = binomial(rng, all_left, share)
                if not count:
                    continue
                left[outcome] -= count
                tick.attempts[f"{kind}\x1f{outcome}"] = count
                if outcome == "retry" and cond.deliver_failing:
                    total += QUICK.observe(rng, bins, count, PATIENCE)
                else:
                    prompt += count
            total += REMOTE.observe(rng, bins, prompt, seconds)
            if bins:
                tick.attempt_seconds[kind] = (total, bins)

    def _gauges(self, tick: Tick, moment: Moment, tried: int, mean: float) -> None:
        rng, of, now = self._rng, self._of, moment.now
        tick.deliver_depth, tick.deliver_oldest, tick.in_flight = [], [], []
        under_way = 0.0 if moment.conditions.workers_gone else min(of.slots, tried / TICK * mean)
        for lane, line in enumerate(self._lines):
            caught = poisson(rng, under_way * of.lanes[lane]) if under_way else 0
            aside, never = self._down[lane], self._chronic[lane]
            tick.deliver_depth.append(line.depth + aside.depth + never.depth + caught)
            age = max(line.oldest(now), aside.oldest(now), never.oldest(now))
            tick.deliver_oldest.append(max(age, mean * rng.random() * 1.5) if caught else age)
            tick.in_flight.append(caught)
