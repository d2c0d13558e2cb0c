"""Processors, memory, disk, pools and event loops: they follow what is done, and what else happens to them."""

from math import exp
from random import Random

from bench.traces.business import Business
from bench.traces.conditions import Conditions
from bench.traces.draw import QUICK, Bins, poisson
from bench.traces.measures import TICK, Moment, Spread, Tick

_POOLS = (
    ("web\x1finbox", 3),
    ("web\x1fgeneral", 4),
    ("worker\x1frouter", 32),
    ("worker\x1fdelivery", 4),
    ("worker\x1fgeneral", 3),
)
"""Kind of process and name, and how many connections."""


class Machines:
    """`cpu` is the share in use on the web process's host and on the workers'."""

    def __init__(self, rng: Random, business: Business) -> None:
        self._rng = rng
        self._of = business
        self.cpu = (business.cpu, business.cpu)
        self._noise = [0.0, 0.0, 0.0]
        self._lags = [0.01, 0.01]
        self._since = [-rng.uniform(0, 86400.0), -rng.uniform(0, 86400.0)]
        self._calm = [self._calm_loop() for _ in range(64)]

    def measure(self, tick: Tick, moment: Moment) -> None:
        rng, of, noise = self._rng, self._of, self._noise
        now, cond = moment.now, moment.conditions
        for number in range(3):
            noise[number] += -0.1 * noise[number] + 0.012 * rng.gauss(0, 1)
        web = 0.6 * sum(tick.answers.values()) / TICK / of.web_capacity
        worker = 0.35 * sum(tick.routed) / TICK / of.route_capacity + 0.15 * sum(tick.in_flight) / of.slots
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
        tick.cpu_web, tick.cpu_worker = self.cpu = (
            min(1.0, max(0.01, used[0] + abs(noise[0]) + 0.05 * swapping[0])),
            min(1.0, max(0.01, used[1] + abs(noise[1]) + 0.05 * swapping[1])),
        )
        tick.io = io
        self._memories(tick, now, cond, max(swapping))
        tick.disk = min(1.0, of.disk + cond.disk + 0.002 * now / 86400.0)
        tick.process_cpu = (own_web * 4 + 0.02, 0.0 if cond.workers_gone else own_worker * 4 + 0.02)
        self._loops(tick, cond, swapping)
        self._pools(tick, moment)
        bins: Bins = {}
        requests = poisson(rng, 2.0)
        tick.http = (
            QUICK.observe(rng, bins, requests, 0.006 + 2 * moment.round_trip + cond.http_more + 0.5 * cond.lag_web),
            bins,
        )
        tick.api = cond.api

    def _memory(self, base: float, leak: float) -> float:
        return min(0.995, base + leak)

    def _memories(self, tick: Tick, now: float, cond: Conditions, swapping: float) -> None:
        """Processes grow a little over a day and are small again after a restart."""
        of = self._of
        if cond.web_gone:
            self._since[0] = now
        if cond.workers_gone:
            self._since[1] = now
        grown = [0.03 * min(1.0, max(0.0, now - since) / 86400.0) for since in self._since]
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
            starved = 0.6 * max(0.0, self.cpu[number] - 0.85) + 0.3 * swapping[number]
            if not starved and not lag:
                worst, calm = rng.choice(self._calm)
                self._lags[number] = max(worst, self._lags[number] * 0.315) * rng.uniform(0.6, 1.0)
                spreads.append(calm)
                continue
            bins: Bins = {}
            worst = (0.004 + starved * 2) * exp(rng.gauss(0, 0.4)) + lag * rng.uniform(0.6, 1.2)
            total = QUICK.observe(rng, bins, 9, 0.0008 + starved) + QUICK.observe(rng, bins, 1, worst)
            if lag > 0.2:
                total += QUICK.observe(rng, bins, 2, lag * 0.7)
            self._lags[number] = max(worst, self._lags[number] * 0.315) * rng.uniform(0.6, 1.0)
            spreads.append((total, bins))
        tick.lag_web, tick.lag_worker = self._lags
        tick.loop_web, tick.loop_worker = spreads

    def _calm_loop(self) -> tuple[float, Spread]:
        """Ten measurements of a loop that nothing holds up, and the worst of them: drawn once, since most are such."""
        bins: Bins = {}
        worst = 0.004 * exp(self._rng.gauss(0, 0.4))
        total = QUICK.observe(self._rng, bins, 9, 0.0008) + QUICK.observe(self._rng, bins, 1, worst)
        return worst, (total, bins)

    def _pools(self, tick: Tick, moment: Moment) -> None:
        """One look at each pool: how many of its connections are in use at that moment."""
        rng, trip, cond = self._rng, moment.round_trip, moment.conditions
        received = sum(tick.answers.values()) / TICK
        commits = min(60.0, received) * (0.003 + 3 * trip)
        stalled = 1.0 if cond.slow_answers > 0.3 else 0.0
        batches = 1.2 if sum(tick.route_depth) > 100 else min(4.0, sum(tick.routed) / TICK) * moment.batch
        settles = min(20.0, sum(tick.in_flight) / 2) * (0.005 + 4 * trip)
        waits = 0.08 + 30 * trip
        # Of those that wait for a lock, some are ours; other sessions of the database wait as well.
        stuck = min(2.5, 0.1 * cond.locks)
        means = (commits + stalled, waits + stuck, batches + stuck, settles + stuck, waits + stuck)
        tick.pools = {}
        for (pool, size), mean in zip(_POOLS, means, strict=True):
            busy = 1.0 if pool == cond.pool else min(size, poisson(rng, min(mean, 40.0))) / size
            tick.pools[pool] = busy
