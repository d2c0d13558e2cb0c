"""The plant's ticks under the product's names: signals, labels and types as the processes say them."""

from collections.abc import Iterable
from datetime import datetime
from random import Random

from bench.traces.business import Business
from bench.traces.conditions import Conditions
from bench.traces.measures import LANES, Spread, Tick
from holdfast.health import probes
from holdfast.queue.model import Lane
from holdfast.signals.buckets import Counts, Data, Levels, Spreads
from holdfast.signals.frame import Frame

_ROUTE = tuple(f"route\x1f{lane}" for lane in LANES)
_DELIVER = tuple(f"deliver\x1f{lane}" for lane in LANES)
_AGES = tuple((probes.AGE_SECONDS[lane].warn, probes.AGE_SECONDS[lane].fail) for lane in Lane)
_AGE_CHECKS = tuple((f"inbox:oldestAge.{lane}", f"delivery:oldestAge.{lane}") for lane in LANES)
_OUTCOMES = {lane: (f"{lane}\x1fapplied", f"{lane}\x1fstored", f"{lane}\x1funmatched") for lane in LANES}
_LEDGER_SHARE = (0.97, 0.5, 0.1)
"""Events of a lane that concern payments, so are applied to the ledger; the others are stored only."""
_DISK_BYTES = 2e11


class Teller:
    """Turns ticks into frames. Keeps what gauges hold between two settings."""

    def __init__(self, rng: Random, business: Business) -> None:
        self._rng = rng
        self._of = business
        self._number = 0
        self._lag: float | None = None
        self._api = 0
        self._page = 0
        self._offset = rng.randrange(12)
        self._web: dict[str, Data] = {}

    def frame(self, at: datetime, tick: Tick, now: Conditions) -> Frame:
        self._number += 1
        if tick.event_lag is not None:
            self._lag = tick.event_lag
        # What lasts for one probe only is seen by one; each status page is asked once a minute.
        if (self._number + self._offset) % 6 == 0 or now.api > self._api:
            self._api = tick.api
        if (self._number + self._offset) % 12 == 0:
            self._page = now.page
        data: dict[str, Data] = {}
        if not now.web_gone:
            self._receiving(data, tick)
            self._gauges(data, tick)
        if not now.workers_gone:
            self._working(data, tick)
        self._system(data, tick, now)
        return Frame(at, data)

    def _receiving(self, data: dict[str, Data], tick: Tick) -> None:
        if tick.answers:
            data["webhooks_received"] = Counts({f"stripe\x1f{answer}": float(n) for answer, n in tick.answers.items()})
            data["webhook_seconds"] = Spreads({"stripe": tick.answer_seconds})
        if tick.http[1]:
            route = "report\x1f200" if self._number % 3 == 0 else "metrics\x1f200"
            data["http_request_seconds"] = Spreads({route: tick.http})

    def _working(self, data: dict[str, Data], tick: Tick) -> None:
        routed: dict[str, float] = {}
        for lane, count, share in zip(LANES, tick.routed, _LEDGER_SHARE, strict=True):
            if count:
                applied, stored, unmatched = _OUTCOMES[lane]
                nobody = int(self._rng.random() < 0.002)
                rest = int(count * (1 - share) + self._rng.random())
                for outcome, amount in ((applied, count - rest - nobody), (stored, rest), (unmatched, nobody)):
                    if amount > 0:
                        routed[outcome] = float(amount)
        if routed:
            data["events_routed"] = Counts(routed)
        spreads = _spreads(zip(LANES, tick.routed_seconds, strict=True))
        if spreads:
            data["event_to_routed_seconds"] = Spreads(spreads)
        if tick.events_failed:
            errors = {"event": float(tick.events_failed), "batch": float(tick.batches_failed)}
            data["router_errors"] = Counts(errors)
        if tick.planned:
            data["deliveries_planned"] = Counts({"": float(tick.planned)})
        if tick.attempts:
            data["delivery_attempts"] = Counts({key: float(count) for key, count in tick.attempts.items()})
            data["delivery_attempt_seconds"] = Spreads(tick.attempt_seconds)
        if tick.settled:
            data["deliveries_settled"] = Counts({key: float(count) for key, count in tick.settled.items()})
        spreads = _spreads(zip(LANES, tick.delivered_seconds, strict=True))
        if spreads:
            data["event_to_delivered_seconds"] = Spreads(spreads)

    def _gauges(self, data: dict[str, Data], tick: Tick) -> None:
        """What the web process looks up: the queue, Postgres, and what its probes find."""
        depth, flight, oldest = {}, {}, {}
        for lane in range(3):
            route, deliver = _ROUTE[lane], _DELIVER[lane]
            depth[route], depth[deliver] = float(tick.route_depth[lane]), float(tick.deliver_depth[lane])
            flight[route], flight[deliver] = float(tick.route_in_flight[lane]), float(tick.in_flight[lane])
            oldest[route], oldest[deliver] = tick.route_oldest[lane], tick.deliver_oldest[lane]
        data["queue_depth"] = Levels(depth)
        data["queue_in_flight"] = Levels(flight)
        data["queue_oldest_age_seconds"] = Levels(oldest)
        data["postgres_connections_ratio"] = Levels({"": tick.connections})
        data["postgres_lock_waits"] = Levels({"": tick.locks})
        data["postgres_oldest_transaction_seconds"] = Levels({"": tick.transaction})
        data["postgres_cache_hit_ratio"] = Levels({"": 0.993 - 0.01 * tick.io})
        data["postgres_size_bytes"] = Levels({"": self._of.database_bytes * (1 + 1e-7 * self._number)})
        data["postgres_round_trip_seconds"] = Levels({"": tick.round_trip})
        if self._lag is not None:
            data["event_lag_seconds"] = Levels({"stripe": self._lag})
        checks = self._checks(tick)
        data["health_check"] = Levels(checks)
        components = dict.fromkeys(("stripe", "database", "inbox", "delivery", "system"), 0.0)
        for check, value in checks.items():
            if value:
                component = check.partition(":")[0]
                components[component] = max(value, components[component])
        data["health_status"] = Levels(components)

    def _checks(self, tick: Tick) -> dict[str, float]:
        checks = {
            "stripe:statusPage": float(self._page),
            "database:roundTrip": _judged(tick.round_trip, 0.1, 1.0),
            "database:connections": _judged(tick.connections, 0.8, 0.95),
            "database:lockWaits": _judged(tick.locks, 5, 50),
            "database:oldestTransaction": _judged(tick.transaction, 60, 600),
            "inbox:ready": 2.0 if tick.answers.get("away", 0) > sum(tick.answers.values()) / 2 else 0.0,
            "system:cpu": _judged(tick.cpu_web, 0.9, 0.98),
            "system:memory": _judged(tick.memory_web, 0.9, 0.97),
            "system:disk": _judged(tick.disk, 0.85, 0.95),
            "system:eventLoopLag": _judged(tick.lag_web, 0.1, 1.0),
        }
        if self._of.api_key:
            checks["stripe:api"] = float(self._api)
        if self._lag is not None:
            checks["stripe:eventLag"] = _judged(self._lag, 60, 600)
        for lane, (inbox, delivery) in enumerate(_AGE_CHECKS):
            warn, fail = _AGES[lane]
            checks[inbox] = _judged(tick.route_oldest[lane], warn, fail)
            checks[delivery] = _judged(tick.deliver_oldest[lane], warn, fail)
        return checks

    def _system(self, data: dict[str, Data], tick: Tick, now: Conditions) -> None:
        """A machine is seen while one of its processes is there; processes only while they are."""
        web, worker = self._of.hosts
        cpu, memory, disk, free, pressure = {}, {}, {}, {}, {}
        for host, gone, used, held in (
            (web, now.web_gone, tick.cpu_web, tick.memory_web),
            (worker, now.workers_gone, tick.cpu_worker, tick.memory_worker),
        ):
            if gone:
                continue
            cpu[host], memory[host] = used, held
            pressure[f"{host}\x1fcpu"] = min(1.0, max(0.0, used - 0.6) * 1.8 + 0.01)
            pressure[f"{host}\x1fio"] = tick.io
            pressure[f"{host}\x1fmemory"] = min(1.0, max(0.0, held - 0.92) * 6)
        if cpu:
            # One disk that counts: the one of the data, with the web process.
            host = web if web in cpu else worker
            disk[host] = tick.disk
            free[host] = _DISK_BYTES * (1 - tick.disk)
            data["system_cpu_ratio"], data["system_memory_ratio"] = Levels(cpu), Levels(memory)
            data["system_disk_ratio"], data["system_disk_free_bytes"] = Levels(disk), Levels(free, "min")
            data["system_pressure_ratio"] = Levels(pressure)
        kinds = [(0, "web", now.web_gone), (1, "worker", now.workers_gone)]
        there = [(number, kind) for number, kind, gone in kinds if not gone]
        if there:
            lags, loops = (tick.lag_web, tick.lag_worker), (tick.loop_web, tick.loop_worker)
            data["process_cpu_ratio"] = Levels({kind: tick.process_cpu[number] for number, kind in there}, "sum")
            data["process_memory_bytes"] = Levels({kind: tick.process_memory[number] for number, kind in there}, "sum")
            data["event_loop_lag_recent_seconds"] = Levels({kind: lags[number] for number, kind in there})
            data["event_loop_lag_seconds"] = Spreads({kind: loops[number] for number, kind in there})
            pools = {
                pool: busy for pool, busy in tick.pools.items() if pool.partition("\x1f")[0] in {k for _, k in there}
            }
            data["pool_busy_ratio"] = Levels(pools)
        if tick.store_errors:
            data["loop_errors"] = Counts({"probe_database\x1faway": float(tick.store_errors)})
        elif self._rng.random() < 0.00003:
            data["loop_errors"] = Counts({"retention\x1ferror": 1.0})


def _judged(value: float, warn: float, fail: float) -> float:
    return 2.0 if value > fail else 1.0 if value > warn else 0.0


def _spreads(series: Iterable[tuple[str, Spread]]) -> dict[str, Spread]:
    return {key: spread for key, spread in series if spread[1]}
