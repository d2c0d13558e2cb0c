"""`health_watch` on labelled traces, beside the static rules that one would write for Prometheus, on the same frames.

Thirty normal days of six businesses of all sizes, each after a day of warm-up that is not judged, 108 faults of six
more, 72 faults of the calls of six others, and 72 of consent of six more (`bench.traces`). How soon is a fault noticed,
how often is somebody called for nothing, and does the first alert name the right runbook (`bench.verdict`)? Nothing
here knows the detectors; `--seeds tuning` gives other traces than those of the figures, for who turns their knobs.
"""

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

from bench.harness import say
from bench.static_rules import StaticRules
from bench.traces import CALL_CAUSES, CAUSES, TEXT_CAUSES, Trace, faulty, faulty_calls, faulty_texts, normal
from bench.traces.measures import TICK
from bench.verdict import Found, Recorder, Verdict, judge
from holdfast.signals.frame import Frame
from holdfast.watch.model import Alert

SEEDS = {"tuning": 1000, "held-out": 52_000}
"""Where each range begins: six for normal days, six with faults, six with faults of calls, six of consent."""
BUSINESSES = 6
LATE = 180.0
"""Seconds after which a finding is worth a line on stderr."""
TARGET = "found in <= 30 s (median), <= 0.1 false alarms a day, right runbook >= 95 %"


class Rules(Protocol):
    def tick(self, frame: Frame) -> Sequence[Alert]:
        """All alerts that are open after this frame; frames come in turn."""
        ...


@dataclass(frozen=True, slots=True)
class Play:
    """One trace to play: its seed, and either normal days or a number of faults, of calls, texts or the rest."""

    seed: int
    days: float = 0.0
    faults: int = 0
    of_calls: bool = False
    of_texts: bool = False

    def trace(self) -> Trace:
        if self.of_texts:
            return faulty_texts(self.seed, self.faults)
        if self.of_calls:
            return faulty_calls(self.seed, self.faults)
        return faulty(self.seed, self.faults) if self.faults else normal(self.seed, self.days)


@dataclass(frozen=True, slots=True)
class Played:
    play: Play
    frames: int
    verdicts: dict[str, Verdict]
    microseconds: dict[str, float]
    """That a tick of each took on average."""


def run(*, quick: bool, seeds: str = "held-out") -> dict[str, Any]:
    plays = _plays(SEEDS[seeds], quick=quick)
    played: list[Played] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for future in as_completed([pool.submit(_play, play) for play in plays]):
            done = future.result()
            played.append(done)
            what = f"{done.play.faults} faults" if done.play.faults else f"{done.play.days:g} normal days"
            say(f"{len(played)} of {len(plays)}: seed {done.play.seed}, {what}, {done.frames:,} frames")
    played.sort(key=lambda one: one.play.seed)
    figures = {name: _figures(name, played) for name in played[0].verdicts}
    ours = figures.get("ours", {})
    return {
        "value": ours.get("seconds_to_find"),
        "target": TARGET,
        "ok": bool(ours) and _is_ok(ours),
        "seeds": seeds,
        **figures,
        "frames": sum(one.frames for one in played),
    }


def _plays(first: int, *, quick: bool) -> list[Play]:
    """The long ones first, so that the cores end together."""
    if quick:
        some = [Play(first + 7 + 3 * n, faults=7) for n in (0, 1)]
        texts = Play(first + 22, faults=7, of_texts=True)
        return [
            Play(first + 1, days=1),
            Play(first + 4, days=1),
            *some,
            Play(first + 16, faults=6, of_calls=True),
            texts,
        ]
    days = [Play(first + number, days=5) for number in range(BUSINESSES)]
    calls = [Play(first + 2 * BUSINESSES + number, faults=12, of_calls=True) for number in range(BUSINESSES)]
    calls += [Play(first + 3 * BUSINESSES + number, faults=12, of_texts=True) for number in range(BUSINESSES)]
    return calls + days + [Play(first + BUSINESSES + number, faults=18) for number in range(BUSINESSES)]


def _contenders() -> dict[str, Callable[[], Rules]]:
    """By name; ours is missing where the product has no watcher yet."""
    found: dict[str, Callable[[], Rules]] = {"static": StaticRules}
    from holdfast import detectors

    ours: Callable[[], Rules] | None = getattr(detectors, "watcher", None)
    return {"ours": ours, **found} if ours is not None else found


def _play(play: Play) -> Played:
    trace = play.trace()
    rules = {name: make() for name, make in _contenders().items()}
    recorders = {name: Recorder() for name in rules}
    spent = dict.fromkeys(rules, 0.0)
    frames = 0
    for frame in trace.frames():
        frames += 1
        for name, rule in rules.items():
            began = time.perf_counter()
            alerts = rule.tick(frame)
            spent[name] += time.perf_counter() - began
            recorders[name].see(frames * TICK, alerts)
    verdicts = {
        name: judge(recorder, trace.labels, trace.warm_up, trace.seconds, TICK) for name, recorder in recorders.items()
    }
    return Played(play, frames, verdicts, {name: 1e6 * seconds / frames for name, seconds in spent.items()})


def _figures(name: str, played: Sequence[Played]) -> dict[str, Any]:
    verdicts = [one.verdicts[name] for one in played]
    normal_days = [one.verdicts[name] for one in played if not one.play.faults]
    found = [one for verdict in verdicts for one in verdict.found]
    seen = [one for one in found if one.after is not None]
    days = sum(verdict.healthy for verdict in verdicts) / 86400
    false = Counter(alarm for verdict in verdicts for alarm in verdict.false_alarms)
    _tell(name, found, false, days)
    _tell_poor(played, name)
    healthy = sum(verdict.healthy for verdict in verdicts)
    return {
        "faults": len(found),
        "missed": len(found) - len(seen),
        "seconds_to_find": _finite(_middle(found)),
        "seconds_to_find_p95": _finite(_p95(found)),
        "false_alarms_a_day": round(sum(false.values()) / days, 3),
        "pages_for_nothing_a_day": round(sum(verdict.pages for verdict in verdicts) / days, 3),
        "false_alarms_on_normal_days": sum(len(verdict.false_alarms) for verdict in normal_days),
        "false_alarms_between_faults": sum(len(one.verdicts[name].false_alarms) for one in played if one.play.faults),
        "normal_days": round(sum(verdict.healthy for verdict in normal_days) / 86400, 1),
        "healthy_days": round(days, 1),
        "healthy_time_with_an_alert": round(sum(verdict.alarming for verdict in verdicts) / healthy, 4),
        "right_runbook": _share(sum(one.runbook for one in seen), len(seen)),
        "right_cause": _share(sum(one.cause for one in seen), len(seen)),
        "right_runbook_of_all": _share(sum(one.runbook for one in found), len(found)),
        "with_alerts_of_another_runbook": _share(sum(one.others for one in seen), len(seen)),
        "microseconds_a_frame": round(
            sum(one.microseconds[name] * one.frames for one in played) / sum(one.frames for one in played), 1
        ),
    }


def _is_ok(figures: dict[str, Any]) -> bool:
    seconds, right = figures["seconds_to_find"], figures["right_runbook"]
    return seconds is not None and seconds <= 30 and figures["false_alarms_a_day"] <= 0.1 and right >= 0.95


def _times(found: Sequence[Found]) -> list[float]:
    """What was missed is found never."""
    return sorted(math.inf if one.after is None else one.after for one in found)


def _middle(found: Sequence[Found]) -> float:
    times = _times(found)
    return median(times) if times else math.nan


def _p95(found: Sequence[Found]) -> float:
    times = _times(found)
    return times[min(len(times) - 1, math.ceil(0.95 * len(times)) - 1)] if times else math.nan


def _finite(seconds: float) -> float | None:
    """JSON knows no infinity: None is never."""
    return round(seconds, 1) if math.isfinite(seconds) else None


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None


def _tell(name: str, found: Sequence[Found], false: Counter[str], days: float) -> None:
    heads = f"{'faults':>7}{'missed':>7}{'median s':>9}{'p95 s':>8}{'runbook':>9}{'cause':>7}{'others':>8}"
    say(f"\n{name}\n{'cause':<12}{heads}")
    for cause in (*CAUSES, *CALL_CAUSES, *TEXT_CAUSES, "all"):
        these = [one for one in found if cause in (one.label.cause, "all")]
        seen = [one for one in these if one.after is not None]
        if not these:
            continue
        right, exact, others = (
            f"{sum(values) / len(seen):.0%}" if seen else "-"
            for values in (
                [one.runbook for one in seen],
                [one.cause for one in seen],
                [one.others for one in seen],
            )
        )
        say(
            f"{cause:<12}{len(these):>7}{len(these) - len(seen):>7}{_seconds(_middle(these)):>9}"
            f"{_seconds(_p95(these)):>8}{right:>9}{exact:>7}{others:>8}"
        )
    say(f"{sum(false.values())} false alarms in {days:.1f} healthy days")
    for alarm, count in false.most_common(12):
        say(f"  {count:>4}  {alarm}")


def _tell_poor(played: Sequence[Played], name: str) -> None:
    """The faults that were missed, found late, or called by another name: where to look."""
    for one in played:
        for found in one.verdicts[name].found:
            if found.after is None or found.after > LATE or not found.runbook:
                label, after = found.label, "missed" if found.after is None else f"{found.after:.0f} s"
                say(
                    f"  seed {one.play.seed} at {label.onset:.0f} s: {label.cause} ({label.kind}) {after} {found.first}"
                )


def _seconds(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "never"
