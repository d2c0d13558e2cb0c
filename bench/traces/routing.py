"""The router: a capacity that the lanes share, a line above it, and events that fail and are tried again."""

from random import Random

from bench.traces.business import Business
from bench.traces.draw import AGES, QUICK, Bins, binomial, poisson, whole
from bench.traces.lines import Line, backoff, serve
from bench.traces.measures import BATCH, LANES, ROUND_TRIPS, TICK, Moment, Received, Tick


class Routing:
    def __init__(self, rng: Random, business: Business) -> None:
        self._rng = rng
        self._of = business
        self._lines = [Line() for _ in LANES]

    def route(self, tick: Tick, moment: Moment, new: list[int]) -> list[Received]:
        """Returns the deliveries planned in each lane."""
        rng, of, lines = self._rng, self._of, self._lines
        now, cond = moment.now, moment.conditions
        for line in lines:
            line.wake(moment.number)
        budget = self._budget(moment)
        tick.routed, tick.routed_seconds = [0, 0, 0], []
        planned: list[Received] = [[], [], []]
        failed = tick.planned = 0
        latency = 0.6 * moment.batch + 0.005 + 0.5 * cond.lag_worker
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
                    lines[lane].again(work, bad, moment.number + backoff(rng, work.tried))
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
        self._gauges(tick, moment, latency)
        return planned

    def _budget(self, moment: Moment) -> int:
        cond = moment.conditions
        if cond.workers_gone:
            return 0
        of = self._of
        usual = BATCH + ROUND_TRIPS * of.round_trip
        capacity = of.route_capacity * usual / moment.batch * moment.worker_speed
        limit = max(0.02, moment.rate) * cond.route_limit
        return whole(self._rng, min(capacity, limit) * TICK)

    def _gauges(self, tick: Tick, moment: Moment, latency: float) -> None:
        rng, now, cond = self._rng, moment.now, moment.conditions
        tick.route_depth, tick.route_oldest, tick.route_in_flight = [], [], []
        for lane, line in enumerate(self._lines):
            caught = 0 if cond.workers_gone else poisson(rng, min(2000.0, tick.routed[lane] / TICK * latency))
            tick.route_depth.append(line.depth + caught)
            age = line.oldest(now)
            tick.route_oldest.append(max(age, latency * rng.random() * 1.5) if caught else age)
            tick.route_in_flight.append(0 if cond.workers_gone else min(line.depth, 500) + caught)
