"""The platform under its conditions, tick by tick: what comes in, waits, is done, and what that costs.

What is modelled, each as plainly as it can be while cause and effect hold:

- Events come as a Poisson process whose rate follows the hour, the weekday and slow noise, and is over-dispersed.
- The router has a capacity, shared by lanes as the product's claims are; above it, a real line forms and ages. The
  capacity falls with the database's round trips (a batch is a dozen of them), with a starved processor, a late event
  loop and gone workers. Failed events are tried again with the product's back-off, at most a quarter of an hour later.
- Deliveries have slots; each try holds one for as long as the destination takes. One destination may be down: its
  deliveries wait by themselves (as behind a breaker) and are worked off at a bounded rate when it is back.
- Answers that are refused or come after Stripe hung up bring the event back later (`senders`).
- Processors, memory, disk, pools, event loops and Postgres follow load and conditions, with noise.
"""

from collections import deque
from datetime import datetime
from math import exp, sqrt
from random import Random

from bench.traces.business import Business
from bench.traces.conditions import Conditions
from bench.traces.draw import AGES, QUICK, REMOTE, Bins, binomial, poisson
from bench.traces.lines import Line, Served, serve
from bench.traces.senders import HELD, LANES, EventLag, Resends

TICK = 5.0
HANGS_UP = 10.0
"""Seconds after which Stripe counts an answer as a failure."""
LONGEST_BACKOFF = 900.0
PATIENCE = 15.0
"""Seconds that a try to deliver may take."""
ROUND_TRIPS, BATCH = 12, 0.05
"""Of a batch in the router: statements, and seconds of the server's own work."""
DEAD_AFTER = 36 * 3600.0
KINDS = ("webhook", "application", "email")

Spread = tuple[float, Bins]


class Tick:
    """What was measured in five seconds; `frames` gives it the product's names."""

    __slots__ = (
        "answer_seconds",
        "answers",
        "api",
        "attempt_seconds",
        "attempts",
        "batches_failed",
        "connections",
        "cpu_web",
        "cpu_worker",
        "deliver_depth",
        "deliver_oldest",
        "delivered_seconds",
        "disk",
        "events_failed",
        "http",
        "in_flight",
        "io",
        "lag",
        "lag_web",
        "lag_worker",
        "locks",
        "loop_web",
        "loop_worker",
        "memory_web",
        "memory_worker",
        "planned",
        "pools",
        "process_cpu",
        "process_memory",
        "round_trip",
        "route_depth",
        "route_in_flight",
        "route_oldest",
        "routed",
        "routed_seconds",
        "settled",
        "store_errors",
        "transaction",
    )  # fmt: skip
    answers: dict[str, int]
    answer_seconds: Spread
    routed: list[int]
    routed_seconds: list[Spread]
    events_failed: int
    batches_failed: int
    planned: int
    attempts: dict[str, int]
    attempt_seconds: dict[str, Spread]
    settled: dict[str, int]
    delivered_seconds: list[Spread]
    route_depth: list[int]
    route_oldest: list[float]
    route_in_flight: list[int]
    deliver_depth: list[int]
    deliver_oldest: list[float]
    in_flight: list[int]
    http: Spread
    cpu_web: float
    cpu_worker: float
    memory_web: float
    memory_worker: float
    process_cpu: tuple[float, float]
    process_memory: tuple[float, float]
    disk: float
    io: float
    round_trip: float
    locks: float
    transaction: float
    connections: float
    store_errors: int
    pools: dict[str, float]
    lag_web: float
    lag_worker: float
    loop_web: Spread
    loop_worker: Spread
    lag: float | None
    api: int


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


class Plant:
    """`tick` it with the conditions of each five seconds, in turn."""

    def __init__(self, rng: Random, business: Business, start: datetime) -> None:
        self._rng = rng
        self._of = business
        self._start = start
        self._number = 0
        self._mood = 0.0
        self._resends = Resends(rng, business.stripe_patience)
        self._lag = EventLag()
        self._route = [Line() for _ in range(LANES)]
        self._deliver = [Line() for _ in range(LANES)]
        self._down = [Parked() for _ in range(LANES)]
        self._chronic = [Parked() for _ in range(LANES)]
        self._cpu = [business.cpu, business.cpu]
        self._noise = [0.0, 0.0, 0.0]
        self._lags = [0.01, 0.01]
        self._age = [rng.uniform(0, 86400.0), rng.uniform(0, 86400.0)]
        self._round_trip = business.round_trip
        self._routing = 0.0

    @property
    def waiting(self) -> int:
        """Works in both lines that could be done now."""
        return sum(line.waiting for line in (*self._route, *self._deliver))

    def tick(self, now: float, at: datetime, conditions: Conditions) -> Tick:
        """The five seconds that end `now` (seconds of the trace), at `at`."""
        self._number += 1
        tick = Tick()
        rate = self._demand(at, conditions)
        self._database(tick, conditions, now)
        new = self._receive(tick, now, rate, conditions)
        planned = self._do_route(tick, now, rate, new, conditions)
        self._do_deliver(tick, now, rate, planned, conditions)
        self._machines(tick, now, conditions)
        return tick

    def _demand(self, at: datetime, now: Conditions) -> float:
        """Events a second that the world has for us: rhythm, and noise that lasts for about half an hour."""
        self._mood += -self._mood * TICK / 1800 + 0.15 * sqrt(2 * TICK / 1800) * self._rng.gauss(0, 1)
        return self._of.rate * self._of.rhythm(at) * exp(self._mood) * now.demand_x

    # Postgres

    def _database(self, tick: Tick, now: Conditions, seconds: float) -> None:
        rng, of = self._rng, self._of
        self._round_trip = trip = of.round_trip * exp(rng.gauss(0, 0.25)) * now.round_trip_x + (
            now.round_trip_more * rng.uniform(0.7, 1.3)
        )
        self._batch = BATCH + ROUND_TRIPS * trip + now.route_more
        tick.round_trip = trip
        tick.locks = float(poisson(rng, 0.03 + now.locks)) if now.locks else float(rng.random() < 0.03)
        tick.transaction = max(now.transaction, rng.expovariate(1 / 0.15))
        load = 0.05 * rng.random()
        tick.connections = min(1.0, of.connections + now.connections + load)
        tick.store_errors = poisson(rng, 5 * now.store_errors) if now.store_errors else 0

    # Receiving

    def _receive(self, tick: Tick, now: float, rate: float, cond: Conditions) -> list[int]:
        """Returns the new events of each lane."""
        rng, of, number = self._rng, self._of, self._number
        spread = rng.gammavariate(12, 1 / 12)  # over-dispersed: events come in company
        usual = rate * spread * TICK
        new, away, late, ages = [0, 0, 0], 0, 0, 0.0
        refused = cond.refused
        for lane, share in enumerate(of.lanes):
            mean = (usual + cond.extra * TICK) * share + (cond.extra_bulk * TICK if lane == 2 else 0.0)
            count = poisson(rng, mean)
            if refused or cond.web_gone:
                lost = count if cond.web_gone else binomial(rng, count, refused)
                if lost:
                    self._resends.again(number, lane, 1, lost, now)
                    away += lost
                    count -= lost
            new[lane] = count
        fresh = sum(new)
        if cond.late_share:
            late = binomial(rng, fresh, cond.late_share)
            ages = late * cond.late_age * rng.uniform(0.8, 1.2)
        again = poisson(rng, usual * of.duplicates + cond.resent * TICK)
        if again and refused:
            lost = binomial(rng, again, refused)
            away += lost
            again -= lost
        slow = self._slow_share(cond)
        late_answers = binomial(rng, fresh + again, slow)
        if late_answers:
            self._resends.again(number, HELD, 1, late_answers, now)
        for lane, tried, count, created in self._resends.due(number):
            share = 1.0 if cond.web_gone else refused
            lost = binomial(rng, count, share)
            if lost:
                self._resends.again(number, lane, tried, lost, created)
                away += lost
            taken = count - lost
            if lane == HELD:
                again += taken
            else:
                new[lane] += taken
                late += taken
                ages += taken * (now - created)
            unheard = binomial(rng, taken, slow)
            if unheard:
                late_answers += unheard
                self._resends.again(number, HELD, tried, unheard, created)
        if cond.web_gone:
            away = again = 0
        self._answer(tick, new, again, away, late_answers, cond)
        self._lag.add(sum(new), late, ages / late if late else 0.0)
        tick.lag = self._lag.median(rng.uniform(0.6, 1.6)) if number % 3 == 0 else None
        return new

    def _slow_share(self, cond: Conditions) -> float:
        """Share of answers that come after Stripe hung up."""
        median = self._answer_seconds(cond)
        from_load = 0.0 if median < HANGS_UP / 4 else min(1.0, (median - HANGS_UP / 4) / HANGS_UP)
        return max(cond.slow_answers, from_load)

    def _answer_seconds(self, cond: Conditions) -> float:
        base = self._of.answer_seconds
        starved = 1 + 30 * max(0.0, self._cpu[0] - 0.8) ** 2 / 0.04
        trips = 3 * max(0.0, self._round_trip - self._of.round_trip)
        return base * starved + trips + cond.answer_more + 0.5 * cond.lag_web

    def _answer(self, tick: Tick, new: list[int], again: int, away: int, slow: int, cond: Conditions) -> None:
        rng, fresh = self._rng, sum(new)
        tick.answers = {}
        for answer, count in (("new", fresh), ("duplicate", again), ("away", away)):
            if count:
                tick.answers[answer] = count
        if rng.random() < 0.0005:
            tick.answers["bad_signature"] = rng.randint(1, 3)  # somebody tries the door
        bins: Bins = {}
        answered = fresh + again - slow
        total = QUICK.observe(rng, bins, max(0, answered), self._answer_seconds(cond))
        total += QUICK.observe(rng, bins, away, 0.002 + 0.5 * cond.lag_web)
        total += QUICK.observe(rng, bins, slow, 16.0)
        tick.answer_seconds = (total, bins)

    # Routing

    def _do_route(
        self, tick: Tick, now: float, rate: float, new: list[int], cond: Conditions
    ) -> list[list[tuple[float, int]]]:
        """Returns the deliveries planned in each lane: received when, how many."""
        rng, of, lines = self._rng, self._of, self._route
        for line in lines:
            line.wake(self._number)
        budget = self._route_budget(rate, cond)
        tick.routed, tick.routed_seconds = [0, 0, 0], []
        planned: list[list[tuple[float, int]]] = [[], [], []]
        failed = tick.planned = 0
        latency = 0.6 * self._batch + 0.005 + 0.5 * cond.lag_worker
        served = serve(lines, [[(now, count)] if count else [] for count in new], budget, now)
        single = cond.router_errors
        for lane, works in enumerate(served):
            bins: Bins = {}
            total = 0.0
            for work in works:
                bad = binomial(rng, work.count, cond.router_failing) if cond.router_failing else 0
                if single and work.count > bad:
                    bad, single = bad + 1, single - 1
                if bad:
                    failed += bad
                    lines[lane].again(work, bad, self._number + self._backoff(work.tried))
                good = work.count - bad
                if not good:
                    continue
                lines[lane].done(work, good)
                tick.routed[lane] += good
                age = now - work.at
                shape = AGES if age > 10 else QUICK
                total += shape.observe(rng, bins, good, age + latency)
                count = poisson(rng, good * of.planned[lane])
                if count:
                    planned[lane].append((work.at, count))
                    tick.planned += count
            tick.routed_seconds.append((total, bins))
        tick.events_failed = failed
        tick.batches_failed = min(failed, 1 + poisson(rng, min(40, failed / 4))) if failed else 0
        self._routing = sum(tick.routed) / TICK
        self._route_gauges(tick, now, latency, cond)
        return planned

    def _route_budget(self, rate: float, cond: Conditions) -> int:
        if cond.workers_gone:
            return 0
        of = self._of
        usual = BATCH + ROUND_TRIPS * of.round_trip
        capacity = of.route_capacity * usual / self._batch * self._worker_speed(cond)
        # The smallest machine is still better than one event a batch.
        limit = max(0.02, rate) * cond.route_limit
        return self._whole(min(capacity, limit) * TICK)

    def _worker_speed(self, cond: Conditions) -> float:
        """How much of its usual speed a worker has left: a starved processor, a loop that is blocked."""
        starved = 1 - 6 * max(0.0, self._cpu[1] - 0.9)
        return max(0.1, starved) / (1 + 1.5 * cond.lag_worker)

    def _whole(self, amount: float) -> int:
        """A rate below one in a tick is one in some of them."""
        whole = int(amount)
        return whole + (self._rng.random() < amount - whole)

    def _backoff(self, tried: int) -> int:
        """Ticks until the next try: full jitter below 5 s times 4 to the power of the tries before."""
        return 1 + int(self._rng.uniform(0, min(LONGEST_BACKOFF, 5.0 * 4.0 ** min(6, tried - 1))) / TICK)

    def _route_gauges(self, tick: Tick, now: float, latency: float, cond: Conditions) -> None:
        rng = self._rng
        tick.route_depth, tick.route_oldest, tick.route_in_flight = [], [], []
        for lane, line in enumerate(self._route):
            caught = 0 if cond.workers_gone else poisson(rng, min(2000.0, tick.routed[lane] / TICK * latency))
            tick.route_depth.append(line.depth + caught)
            age = line.oldest(now)
            tick.route_oldest.append(max(age, latency * rng.random() * 1.5) if caught else age)
            tick.route_in_flight.append(0 if cond.workers_gone else min(line.depth, 500) + caught)

    # Delivering

    def _do_deliver(
        self, tick: Tick, now: float, rate: float, planned: list[list[tuple[float, int]]], cond: Conditions
    ) -> None:
        rng, of, lines = self._rng, self._of, self._deliver
        for line in lines:
            line.wake(self._number)
        planned = self._park(now, planned, cond)
        seconds = max(of.destination_seconds, cond.deliver_seconds)
        failing = max(of.failing, cond.deliver_failing)
        mean = min(PATIENCE, 1.3 * seconds) * (1 - cond.deliver_failing) + PATIENCE * 0.8 * cond.deliver_failing
        budget = self._deliver_budget(rate, mean, cond)
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
                            lines[lane].again(work, part, self._number + self._backoff(work.tried))
                rejected = int(rng.random() < (work.count - bad) * 0.0003)
                good = work.count - bad - rejected
                lines[lane].done(work, good + rejected)
                tried, again, dead, good_here = tried + work.count, again + bad, dead + rejected, good_here + good
                if good:
                    age = now - work.at
                    shape = AGES if age > 10 else REMOTE
                    total += shape.observe(rng, bins, good, age + seconds + 0.6 * self._batch + 0.5 * cond.lag_worker)
            for at, count in self._unpark(lane, cond):
                total += AGES.observe(rng, bins, count, now - at + seconds)
                tried, good_here = tried + count, good_here + count
            given_up = sum(count for _, count in self._chronic[lane].take(1_000_000, now - DEAD_AFTER))
            delivered += good_here
            for outcome, count in (("delivered", good_here), ("dead", dead + given_up)):
                if count:
                    tick.settled[f"{_LANES[lane]}\x1f{outcome}"] = count
            tick.delivered_seconds.append((total, bins))
        again += self._probes(cond)
        self._tell_attempts(tick, delivered, again, tried - delivered, seconds, cond)
        self._deliver_gauges(tick, now, tried, mean, cond)

    def _park(
        self, now: float, planned: list[list[tuple[float, int]]], cond: Conditions
    ) -> list[list[tuple[float, int]]]:
        """Set aside what goes to destinations that are down."""
        if not cond.down_share and not self._of.chronic:
            return planned
        kept: list[list[tuple[float, int]]] = [[], [], []]
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

    def _unpark(self, lane: int, cond: Conditions) -> list[tuple[float, int]]:
        """The destination is back: at most 64 at once, and at most 50 a second."""
        parked = self._down[lane]
        if cond.down_share or cond.workers_gone or not parked.depth:
            return []
        return parked.take(int(TICK * min(50.0, 64 / self._of.destination_seconds) / LANES))

    def _probes(self, cond: Conditions) -> int:
        """Tries behind an open breaker: one every half minute for each destination that is down."""
        if cond.workers_gone:
            return 0
        down = bool(cond.down_share) + any(parked.depth for parked in self._chronic)
        return sum(self._rng.random() < TICK / 30 for _ in range(down))

    def _deliver_budget(self, rate: float, mean: float, cond: Conditions) -> int:
        if cond.workers_gone:
            return 0
        of = self._of
        usual = 0.05 + 4 * of.round_trip
        database = usual / (0.05 + 4 * self._round_trip)
        capacity = of.slots / mean * database * self._worker_speed(cond)
        return self._whole(min(capacity, max(0.02, rate * of.deliveries) * cond.deliver_limit) * TICK)

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

    def _deliver_gauges(self, tick: Tick, now: float, tried: int, mean: float, cond: Conditions) -> None:
        rng, of = self._rng, self._of
        tick.deliver_depth, tick.deliver_oldest, tick.in_flight = [], [], []
        under_way = 0.0 if cond.workers_gone else min(of.slots, tried / TICK * mean)
        for lane, line in enumerate(self._deliver):
            caught = poisson(rng, under_way * of.lanes[lane]) if under_way else 0
            aside, never = self._down[lane], self._chronic[lane]
            tick.deliver_depth.append(line.depth + aside.depth + never.depth + caught)
            age = max(line.oldest(now), aside.oldest(now), never.oldest(now))
            tick.deliver_oldest.append(max(age, mean * rng.random() * 1.5) if caught else age)
            tick.in_flight.append(caught)

    # Machines and processes

    def _machines(self, tick: Tick, now: float, cond: Conditions) -> None:
        rng, of, noise = self._rng, self._of, self._noise
        for number in range(3):
            noise[number] += -0.1 * noise[number] + 0.012 * rng.gauss(0, 1)
        web = 0.6 * sum(tick.answers.values()) / TICK / of.web_capacity
        worker = 0.35 * self._routing / of.route_capacity + 0.15 * sum(tick.in_flight) / of.slots
        own_web = web + (0.25 * min(1.0, cond.lag_web) if cond.lag_web > 0.2 else 0.0)
        own_worker = worker + (0.25 * min(1.0, cond.lag_worker) if cond.lag_worker > 0.2 else 0.0)
        io = min(1.0, max(0.0, cond.io + 0.02 + abs(noise[2])))
        swapping = [8 * max(0.0, self._memory(of.memory, leak) - 0.92) for leak in (cond.leak_web, cond.leak_worker)]
        if of.hosts[0] == of.hosts[1]:
            both = of.cpu + own_web + own_worker + cond.cpu_web + cond.cpu_worker
            used = [both, both]
            swapping = [max(swapping)] * 2
        else:
            used = [of.cpu + own_web + cond.cpu_web, of.cpu + own_worker + cond.cpu_worker]
        self._cpu = [
            min(1.0, max(0.01, use + abs(at) + 0.05 * swap))
            for use, at, swap in zip(used, noise[:2], swapping, strict=True)
        ]
        tick.cpu_web, tick.cpu_worker = self._cpu
        tick.io = io
        self._memories(tick, now, cond, max(swapping))
        tick.disk = min(1.0, of.disk + cond.disk + 0.002 * now / 86400.0)
        tick.process_cpu = (own_web * 4 + 0.02, 0.0 if cond.workers_gone else own_worker * 4 + 0.02)
        self._loops(tick, cond, swapping)
        self._pools(tick, cond)
        bins: Bins = {}
        requests = poisson(rng, 2.0)
        tick.http = (
            QUICK.observe(rng, bins, requests, 0.006 + 2 * self._round_trip + cond.http_more + 0.5 * cond.lag_web),
            bins,
        )
        tick.api = cond.api

    def _memory(self, base: float, leak: float) -> float:
        return min(0.995, base + leak)

    def _memories(self, tick: Tick, now: float, cond: Conditions, swapping: float) -> None:
        """Processes grow a little over a day and are small again after a restart."""
        of = self._of
        if cond.web_gone:
            self._age[0] = now
        if cond.workers_gone:
            self._age[1] = now
        grown = [0.03 * min(1.0, max(0.0, now - since) / 86400.0) for since in self._age]
        held = 0.00002 * sum(tick.route_depth) ** 0.5
        if of.hosts[0] == of.hosts[1]:
            whole = self._memory(of.memory, cond.leak_web + cond.leak_worker + sum(grown) / 2 + held)
            tick.memory_web = tick.memory_worker = whole
        else:
            tick.memory_web = self._memory(of.memory, cond.leak_web + grown[0])
            tick.memory_worker = self._memory(of.memory, cond.leak_worker + grown[1] + held)
        tick.process_memory = (
            1.2e8 + (cond.leak_web + grown[0] * 0.5) * of.host_bytes,
            1.8e8 + (cond.leak_worker + grown[1] * 0.5 + held) * of.host_bytes,
        )

    def _loops(self, tick: Tick, cond: Conditions, swapping: list[float]) -> None:
        """Ten measurements in five seconds; the recent worst fades by half in 3 s."""
        rng = self._rng
        spreads = []
        for number, lag in enumerate((cond.lag_web, cond.lag_worker)):
            starved = 0.6 * max(0.0, self._cpu[number] - 0.85) + 0.3 * swapping[number]
            bins: Bins = {}
            total = QUICK.observe(rng, bins, 9, 0.0008 + starved)
            worst = (0.004 + starved * 2) * exp(rng.gauss(0, 0.4)) + lag * rng.uniform(0.6, 1.2)
            total += QUICK.observe(rng, bins, 1, worst)
            if lag > 0.2:
                total += QUICK.observe(rng, bins, 2, lag * 0.7)
            self._lags[number] = max(worst, self._lags[number] * 0.315) * rng.uniform(0.6, 1.0)
            spreads.append((total, bins))
        tick.lag_web, tick.lag_worker = self._lags
        tick.loop_web, tick.loop_worker = spreads

    def _pools(self, tick: Tick, cond: Conditions) -> None:
        """One look at each pool: how many of its connections are in use at that moment."""
        rng, trip = self._rng, self._round_trip
        received = sum(tick.answers.values()) / TICK
        commits = min(60.0, received) * (0.003 + 3 * trip)
        stalled = 1.0 if cond.slow_answers > 0.3 else 0.0
        batches = 1.2 if any(line.waiting for line in self._route) else min(4.0, self._routing) * self._batch
        settles = min(20.0, sum(tick.in_flight) / 2) * (0.005 + 4 * trip)
        waits = 0.08 + 30 * trip
        # Of those that wait for a lock, some are ours; other sessions of the database wait as well.
        stuck = min(2.5, 0.1 * cond.locks)
        means = (commits + stalled, waits + stuck, batches + stuck, settles + stuck, waits + stuck)
        tick.pools = {}
        for (pool, size), mean in zip(_POOLS, means, strict=True):
            busy = 1.0 if pool == cond.pool else min(size, poisson(rng, min(mean, 40.0))) / size
            tick.pools[pool] = busy


_LANES = ("critical", "standard", "bulk")
_POOLS = (
    ("web\x1finbox", 3),
    ("web\x1fgeneral", 4),
    ("worker\x1frouter", 32),
    ("worker\x1fdelivery", 4),
    ("worker\x1fgeneral", 3),
)

__all__ = ["Plant", "Served", "Tick"]
