"""What the alerts of a trace are worth, given what was true: found or missed, when, by which runbook, and false alarms.

A fault is found when an alert opens from a minute before its onset (for what comes by and by: from its very begin)
until its end. A false alarm opens at another time and not within 20 minutes after a fault either. An alert that was
open all along finds nothing.

What an alert says is taken two minutes after the finding, or when it closed before: time enough to see more, and not
more than people take to open it. It is right when all that opened first name the runbook, or the only one that is open
then does. The cause is right when the same alerts name it too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bench.traces import Label
from holdfast.watch.model import Alert

EARLY = 60.0
AFTERWARDS = 1200.0
CONSIDERED = 120.0
ONE_PAGE = 900.0


@dataclass(slots=True)
class Episode:
    """One alert from opening to closing; `said` are its (runbook, cause) with the second from which it says so."""

    key: str
    opened: float
    seen: float
    said: list[tuple[float, str, str]] = field(default_factory=list)

    def at(self, now: float) -> tuple[str, str]:
        """Runbook and cause then; its last words if it has closed."""
        found = self.said[0]
        for one in self.said:
            if one[0] <= now:
                found = one
        return found[1], found[2]

    def is_open(self, now: float) -> bool:
        return self.opened <= now <= self.seen


class Recorder:
    """Takes what is open after each frame and makes episodes of it."""

    def __init__(self) -> None:
        self.episodes: list[Episode] = []
        self.open_at: list[float] = []
        """The seconds of all frames after which any alert was open."""
        self._open: dict[tuple[str, datetime], Episode] = {}

    def see(self, now: float, alerts: Sequence[Alert]) -> None:
        if not alerts:
            if self._open:
                self._open = {}
            return
        self.open_at.append(now)
        before, self._open = self._open, {}
        for alert in alerts:
            name = (alert.key, alert.opened_at)
            episode = before.get(name)
            if episode is None:
                episode = Episode(alert.key, now, now)
                self.episodes.append(episode)
            episode.seen = now
            if not episode.said or episode.said[-1][1:] != (alert.runbook, alert.cause):
                episode.said.append((now, alert.runbook, alert.cause))
            self._open[name] = episode


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one fault. `after` is None when it was missed; `first` what the first alerts said."""

    label: Label
    after: float | None
    runbook: bool = False
    cause: bool = False
    first: str = ""
    others: bool = False
    """An alert of another runbook was opened during it as well."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Over one trace. `healthy` in seconds; `alarming` is how many of these had an alert open."""

    found: tuple[Found, ...]
    false_alarms: tuple[str, ...]
    """The runbook and key of each."""
    pages: int
    """The same, with those of a runbook within 15 minutes counted once."""
    healthy: float
    alarming: float


def judge(recorder: Recorder, labels: Sequence[Label], warm_up: float, seconds: float, tick: float) -> Verdict:
    found = tuple(_found(label, recorder.episodes) for label in labels)
    spans = [(_since(label), label.end + AFTERWARDS) for label in labels]
    false = [
        episode for episode in recorder.episodes if episode.opened > warm_up and not _within(episode.opened, spans)
    ]
    troubled = sum(min(seconds, until) - since for since, until in spans)
    alarming = sum(tick for now in recorder.open_at if now > warm_up and not _within(now, spans))
    names = tuple(f"{episode.said[0][1]} {episode.key}" for episode in false)
    return Verdict(found, names, _pages(false), seconds - warm_up - troubled, alarming)


def _since(label: Label) -> float:
    return min(label.begin, label.onset - EARLY)


def _within(now: float, spans: Iterable[tuple[float, float]]) -> bool:
    return any(since <= now <= until for since, until in spans)


def _found(label: Label, episodes: Iterable[Episode]) -> Found:
    opened = [one for one in episodes if _since(label) <= one.opened <= label.end]
    if not opened:
        return Found(label, None)
    at = min(one.opened for one in opened)
    then = at + CONSIDERED
    first = [one.at(then) for one in opened if one.opened == at]
    left = [one.at(then) for one in opened if one.is_open(then)]
    said = left if len(left) == 1 and left[0][0] == label.runbook else first
    return Found(
        label,
        max(0.0, at - label.onset),
        runbook=all(runbook == label.runbook for runbook, _ in said),
        cause=all(one == (label.runbook, label.cause) for one in said),
        first=" + ".join(sorted({f"{runbook}/{cause}" for runbook, cause in first})),
        others=any(runbook != label.runbook for one in opened for _, runbook, _ in one.said),
    )


def _pages(false: Sequence[Episode]) -> int:
    last: dict[str, float] = {}
    pages = 0
    for one in sorted(false, key=lambda episode: episode.opened):
        runbook = one.said[0][1]
        pages += one.opened - last.get(runbook, -1e9) > ONE_PAGE
        last[runbook] = one.opened
    return pages
