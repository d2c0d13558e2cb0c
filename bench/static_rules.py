"""The rules that a competent user of Prometheus would write for Holdfast: thresholds, rates over windows, `for`.

They are what `watch` is compared to, and are chosen to do well: waits and thresholds as in well-known collections
(awesome-prometheus-alerts, kube-prometheus's mixins, the SRE Workbook) where these have any, guards against small
numbers, `keep_firing_for` so that nothing flaps, and settled on the tuning seeds, not on those that are judged. As with
such rules, one set of numbers serves all sizes of business. A rule has one runbook and one cause in its annotations.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil, log

from bench.traces.draw import PER_LOG
from holdfast.signals.buckets import FINEST, Counts, Levels, Spreads
from holdfast.signals.frame import Frame
from holdfast.watch.model import Alert

STORM, BACKLOG, SLOW = "stripe-retry-storm", "webhook-backlog", "performance-degradation"
TWILIO = "twilio-outage"
KEEP_FIRING = 300.0
_MINUTE, _FIVE = 60 // FINEST, 300 // FINEST


class Sum:
    """What was counted in the last minute and the last five."""

    def __init__(self) -> None:
        self._values = deque([0.0] * _FIVE, maxlen=_FIVE)
        self.minute = 0.0
        self.five = 0.0

    def add(self, value: float) -> None:
        self.five += value - self._values[0]
        self.minute += value - self._values[-_MINUTE]
        self._values.append(value)


class Slow:
    """Values of a distribution, and those above a bound: p95 is above it when more than 5 % are."""

    def __init__(self, name: str, label: str, bound: float) -> None:
        self._name = name
        self._label = label
        self._key = ceil(log(bound) * PER_LOG)
        self._all = Sum()
        self._above = Sum()

    def add(self, frame: Frame) -> None:
        found = frame.data.get(self._name)
        count = above = 0
        if isinstance(found, Spreads):
            for label, (_, bins) in found.series.items():
                if not self._label or label == self._label:
                    for key, values in bins.items():
                        count += values
                        above += values if key > self._key else 0
        self._all.add(count)
        self._above.add(above)

    def p95(self, least: int) -> bool:
        """Whether p95 over five minutes is above the bound, given that many values."""
        return self._all.five >= least and self._above.five > 0.05 * self._all.five + 1e-6


class Past:
    """The windows that the rules look at, and the frame."""

    def __init__(self) -> None:
        self.frame = Frame(datetime.min.replace(tzinfo=UTC))
        self.received, self.duplicates, self.away = Sum(), Sum(), Sum()
        self.errors, self.routed = Sum(), Sum()
        self.attempts, self.failed = Sum(), Sum()
        self.legs, self.legs_failed, self.calls, self.door_alerts = Sum(), Sum(), Sum(), Sum()
        self.called = Slow("webhook_seconds", "twilio", 5.0)
        self.answers = Slow("webhook_seconds", "stripe", 2.0)
        self.http = Slow("http_request_seconds", "", 1.0)
        self.to_delivered = Slow("event_to_delivered_seconds", "critical", 120.0)
        self.to_routed = Slow("event_to_routed_seconds", "critical", 60.0)
        self._disk = deque([0.0] * 180, maxlen=180)
        self.filling = False

    def see(self, frame: Frame) -> None:
        self.frame = frame
        found = frame.data.get("webhooks_received")
        series = found.series if isinstance(found, Counts) else {}
        again, away = series.get("stripe\x1fduplicate", 0.0), series.get("stripe\x1faway", 0.0)
        self.received.add(series.get("stripe\x1fnew", 0.0) + again + away)
        self.duplicates.add(again)
        self.away.add(away)
        self.errors.add(_counted(frame, "router_errors", "event"))
        self.routed.add(_counted(frame, "events_routed", ""))
        self.attempts.add(_counted(frame, "delivery_attempts", ""))
        self.failed.add(_counted(frame, "delivery_attempts", "retry"))
        self.legs.add(_counted(frame, "call_legs", ""))
        self.legs_failed.add(_counted(frame, "call_legs", "failed"))
        self.calls.add(_counted(frame, "call_answers", ""))
        self.door_alerts.add(sum(_counted(frame, "twilio_alerts", code) for code in ("11200", "11205", "12100")))
        for slow in (self.called, self.answers, self.http, self.to_delivered, self.to_routed):
            slow.add(frame)
        disk = self.highest("system_disk_ratio")
        before = self._disk[0]
        self._disk.append(disk or self._disk[-1])
        # As predict_linear over 15 minutes: full within an hour.
        self.filling = before > 0 and disk > 0.75 and disk + 4 * (disk - before) > 1

    def highest(self, name: str, beginning: str = "") -> float:
        """0 where nothing is said: a comparison with nothing does not fire."""
        found = self.frame.data.get(name)
        if not isinstance(found, Levels):
            return 0.0
        return max((value for key, value in found.series.items() if key.startswith(beginning)), default=0.0)

    def depth(self, stage: str) -> float:
        found = self.frame.data.get("queue_depth")
        if not isinstance(found, Levels):
            return 0.0
        return sum(value for key, value in found.series.items() if key.startswith(stage))

    def worker_is_absent(self) -> bool:
        found = self.frame.data.get("process_cpu_ratio")
        return not isinstance(found, Levels) or "worker" not in found.series


def _counted(frame: Frame, name: str, end: str) -> float:
    found = frame.data.get(name)
    if not isinstance(found, Counts):
        return 0.0
    return sum(value for key, value in found.series.items() if key.endswith(end))


@dataclass(frozen=True, slots=True)
class Rule:
    """`wait` is the `for:` of Prometheus, in seconds."""

    name: str
    runbook: str
    cause: str
    wait: float
    fires: Callable[[Past], bool]


RULES: tuple[Rule, ...] = (
    Rule(
        "StripeDuplicates",
        STORM,
        "stripe",
        60,
        lambda past: past.duplicates.five > 20 and past.duplicates.minute > 0.2 * past.received.minute,
    ),
    Rule("StripeEventsLate", STORM, "stripe", 120, lambda past: past.highest("event_lag_seconds") > 120),
    Rule("WebhooksRefused", STORM, "ours", 60, lambda past: past.away.five > max(5, 0.05 * past.received.five)),
    Rule("WebhooksSlow", STORM, "ours", 120, lambda past: past.answers.p95(20)),
    Rule(
        "RouterErrors",
        STORM,
        "ours",
        120,
        lambda past: past.errors.five > max(5, 0.05 * (past.errors.five + past.routed.five)),
    ),
    Rule(
        "QueueOldCritical",
        BACKLOG,
        "sustained",
        60,
        lambda past: past.highest("queue_oldest_age_seconds", "route\x1fcritical") > 60,
    ),
    Rule(
        "QueueOldStandard",
        BACKLOG,
        "sustained",
        60,
        lambda past: past.highest("queue_oldest_age_seconds", "route\x1fstandard") > 180,
    ),
    Rule(
        "QueueOldBulk",
        BACKLOG,
        "sustained",
        120,
        lambda past: past.highest("queue_oldest_age_seconds", "route\x1fbulk") > 1200,
    ),
    Rule("QueueDeep", BACKLOG, "spike", 120, lambda past: past.depth("route") > 5000),
    Rule("DeliveriesDeep", BACKLOG, "sustained", 300, lambda past: past.depth("deliver") > 50_000),
    Rule("RoutingLate", BACKLOG, "sustained", 120, lambda past: past.to_routed.p95(20)),
    Rule("DeliveriesLate", BACKLOG, "sustained", 300, lambda past: past.to_delivered.p95(20)),
    Rule(
        "DeliveriesFailing",
        BACKLOG,
        "sustained",
        300,
        lambda past: past.attempts.five > 40 and past.failed.five > 0.3 * past.attempts.five,
    ),
    Rule("WorkersAbsent", BACKLOG, "sustained", 120, Past.worker_is_absent),
    Rule("CpuHigh", SLOW, "cpu", 300, lambda past: past.highest("system_cpu_ratio") > 0.9),
    Rule("MemoryHigh", SLOW, "memory", 120, lambda past: past.highest("system_memory_ratio") > 0.9),
    Rule("DiskHigh", SLOW, "disk", 120, lambda past: past.highest("system_disk_ratio") > 0.9),
    Rule("DiskFilling", SLOW, "disk", 120, lambda past: past.filling),
    Rule("DatabaseSlow", SLOW, "database", 120, lambda past: past.highest("postgres_round_trip_seconds") > 0.1),
    Rule("DatabaseLocks", SLOW, "database", 120, lambda past: past.highest("postgres_lock_waits") > 5),
    Rule("DatabaseFull", SLOW, "database", 120, lambda past: past.highest("postgres_connections_ratio") > 0.8),
    Rule(
        "TransactionLong",
        SLOW,
        "database",
        60,
        lambda past: past.highest("postgres_oldest_transaction_seconds") > 1800,
    ),
    Rule("PoolExhausted", SLOW, "pool", 120, lambda past: past.highest("pool_busy_ratio") > 0.95),
    Rule("LoopLate", SLOW, "event_loop", 120, lambda past: past.highest("event_loop_lag_recent_seconds") > 0.25),
    Rule(
        "LegsFailing",
        TWILIO,
        "degraded",
        60,
        lambda past: past.legs.five >= 10 and past.legs_failed.five > 0.2 * past.legs.five,
    ),
    Rule("TwilioApiDown", TWILIO, "down", 60, lambda past: past.highest("health_check", "twilio:api") >= 2),
    Rule("NoCalls", TWILIO, "down", 900, lambda past: past.calls.five == 0 and 8 <= past.frame.at.hour < 18),
    Rule("DoorAlerts", TWILIO, "doors", 0, lambda past: past.door_alerts.five >= 5),
    Rule("DoorsSlow", TWILIO, "doors", 120, lambda past: past.called.p95(20)),
    Rule("CallbacksSpooled", TWILIO, "doors", 120, lambda past: past.highest("callbacks_spooled") > 50),
    Rule("RequestsSlow", SLOW, "database", 300, lambda past: past.http.p95(20)),
)


class StaticRules:
    """Evaluates all rules at each tick, as Prometheus does at each interval."""

    def __init__(self, rules: Sequence[Rule] = RULES) -> None:
        self._rules = rules
        self._past = Past()
        self._pending: dict[str, datetime] = {}
        self._true_at: dict[str, datetime] = {}
        self._open: dict[str, Alert] = {}

    def tick(self, frame: Frame) -> Sequence[Alert]:
        self._past.see(frame)
        for rule in self._rules:
            name = rule.name
            if rule.fires(self._past):
                since = self._pending.setdefault(name, frame.at)
                self._true_at[name] = frame.at
                if name not in self._open and (frame.at - since).total_seconds() >= rule.wait:
                    self._open[name] = _alert(rule, since, frame.at)
            elif name in self._pending or name in self._open:
                self._pending.pop(name, None)
                if name in self._open and frame.at - self._true_at[name] >= timedelta(seconds=KEEP_FIRING):
                    del self._open[name]
        return tuple(self._open.values())


def _alert(rule: Rule, since: datetime, now: datetime) -> Alert:
    return Alert(rule.name, rule.runbook, rule.cause, "critical", rule.name, "a static rule", since, now)
