"""Calls under their conditions, tick by tick, under the product's names: what comes, is put through, and how it ends.

A call rings its number's targets one after the other until one answers; who reaches none leaves a message. What fails
at our doors ends with an error, and Twilio's Debugger tells of it when it is asked, every half minute. What is ill is
judged as the product does (`holdfast.voice.health.judged`), over the same windows.
"""

from collections import Counter, defaultdict, deque
from datetime import datetime
from random import Random

from bench.traces.conditions import Conditions
from bench.traces.draw import QUICK, Bins, poisson
from bench.traces.measures import TICK
from bench.traces.phones import Line, Phones, Target
from holdfast.signals.buckets import Counts, Data, Levels, Spreads, joined, parted
from holdfast.voice.health import LIMIT, accumulated, judged
from holdfast.voice.health_store import LegCount

_WINDOWS = (180, 48, 12)
"""Ticks: a quarter of an hour, four minutes, one."""
_LEAST = 4
"""Failures that make anything ill."""
Legs = list[tuple[str, str, str, str]]
"""Target, region, number, outcome."""


class Calling:
    """`tick` gives the signals of five seconds."""

    def __init__(self, rng: Random, phones: Phones) -> None:
        self._rng = rng
        self._of = phones
        self._number = 0
        self._past: deque[Legs] = deque(maxlen=_WINDOWS[0])
        self._cumulative = _cumulative(phones.lines)
        self._told: Counter[tuple[str, str, str]] = Counter()
        self._spooled = 0.0
        self._failing: dict[str, tuple[float, int]] = {}

    def tick(self, at: datetime, now: Conditions) -> dict[str, Data]:
        self._number += 1
        rng, of, calls = self._rng, self._of, now.calls
        came = poisson(rng, of.rate * of.rhythm(at) * calls.demand_x * TICK) if rng.random() >= calls.lost else 0
        ended: Counter[tuple[str, str]] = Counter()
        legs: Legs = []
        answers: Counter[tuple[str, str]] = Counter()
        for _ in range(came):
            line = self._line()
            if now.web_gone or rng.random() < calls.doors:
                self._told["ours", "voice", rng.choice(("11200", "11205"))] += 1
                ended[line.region, "failed"] += 1
                continue
            ended[line.region, self._put_through(line, now, legs, answers)] += 1
        self._past.append(legs)
        for leg in legs:
            for name in leg[:3]:
                self._note(name, failed=leg[3] == "failed")
        for code, rate in ((("customer", "messaging", "30003"), of.alerts), (calls.code, calls.alerts)):
            self._told[code] += poisson(rng, rate * TICK)
        return {} if now.web_gone else self._data(now, ended, legs, answers)

    def _put_through(self, line: Line, now: Conditions, legs: Legs, answers: Counter[tuple[str, str]]) -> str:
        for target in line.targets:
            answers["dial", "plan"] += 1
            outcome = self._outcome(line, target, now)
            legs.append((target.name, target.region, line.phone, outcome))
            if outcome == "answered":
                answers["over", "answered"] += 1
                return "person"
        answers["voicemail", "nobody answered"] += 1
        return "voicemail" if self._rng.random() < 0.6 else "abandoned"

    def _outcome(self, line: Line, target: Target, now: Conditions) -> str:
        of, calls, draw = self._of, now.calls, self._rng.random
        failing = max(
            of.failing,
            calls.failing,
            calls.of_region if target.region == calls.region else 0.0,
            calls.of_number if line.phone == calls.number else 0.0,
            calls.of_target if target.name == calls.target else 0.0,
            0.97 if target == of.forgotten else 0.0,
        )
        if draw() < failing:
            if draw() < 0.4:
                self._told["carrier", "voice", "32011"] += 1
            return "failed"
        if draw() < of.answered and draw() >= calls.ringing:
            return "answered"
        return "busy" if draw() < 0.15 else "no-answer"

    def _line(self) -> Line:
        draw = self._rng.random()
        return next((line for limit, line in self._cumulative if draw <= limit), self._of.lines[-1])

    def _data(
        self, now: Conditions, ended: Counter[tuple[str, str]], legs: Legs, answers: Counter[tuple[str, str]]
    ) -> dict[str, Data]:
        data: dict[str, Data] = {}
        counted = (
            ("calls", ended),
            ("call_answers", answers),
            ("call_legs", Counter((leg[1], leg[3]) for leg in legs)),
        )
        for name, series in counted:
            if series:
                data[name] = Counts({joined(labels): float(count) for labels, count in series.items()})
        told = {joined(labels): float(count) for labels, count in self._told.items() if count}
        if told and self._number % 6 == 0:
            data["twilio_alerts"] = Counts(told)
            self._told.clear()
        ill = self._ill()
        if ill:
            data["voice_ill"] = Levels(ill)
            ages = {name: TICK * (self._number - self._failing[parted(name)[1]][1]) for name in ill}
            data["voice_ill_seconds"] = Levels(ages)
        asked = sum(answers.values()) + sum(ended.values())
        if asked:
            bins: Bins = {}
            total = QUICK.observe(self._rng, bins, asked, 0.006 + now.calls.door_seconds)
            data["webhook_seconds"] = Spreads({"twilio": (total, bins)})
        self._spooled = self._spooled + asked if now.calls.spools else max(0.0, self._spooled - 500)
        data["callbacks_spooled"] = Levels({"": self._spooled}, "sum")
        return data

    def _note(self, name: str, *, failed: bool) -> None:
        """When it began to fail, as the product finds it."""
        total, since = self._failing.get(name, (0.0, self._number))
        since = since if total else self._number
        self._failing[name] = (accumulated(total, failed=failed), since)

    def _ill(self) -> dict[str, float]:
        """As the product's gauge: of the shortest window that says something."""
        verdicts: dict[tuple[str, str], tuple[str, float]] = {}
        for ticks in _WINDOWS:
            recent = list(self._past)[-ticks:]
            failed = Counter(name for legs in recent for leg in legs if leg[3] == "failed" for name in leg[:3])
            if ticks == _WINDOWS[0] and max(failed.values(), default=0) < _LEAST:
                return {}
            for line in judged(_counted(recent)):
                if line.verdict != "unknown" or (line.kind, line.key) not in verdicts:
                    verdicts[line.kind, line.key] = (line.verdict, line.low)
        return {joined(name): low for name, (said, low) in verdicts.items() if said == "ill" and low > LIMIT}


def _counted(recent: list[Legs]) -> list[LegCount]:
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for legs in recent:
        for target, region, phone, outcome in legs:
            group = groups[target, region, phone]
            group[0] += 1
            group[1] += outcome == "answered"
            group[2] += outcome == "failed"
    return [LegCount(*name, *counts) for name, counts in groups.items()]


def _cumulative(lines: tuple[Line, ...]) -> list[tuple[float, Line]]:
    found, total = [], 0.0
    for line in lines:
        total += line.share
        found.append((total, line))
    return found
