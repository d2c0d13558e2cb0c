"""Turns what detectors see at every tick into alerts that open and close: with hysteresis, inhibition, flap control."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from holdfast.signals.frame import Frame
from holdfast.watch.model import Alert, Sighting
from holdfast.watch.settings import WatchSettings

_HOUR = timedelta(hours=1)
_LONGER = 4


class Detector(Protocol):
    """Sees one kind of trouble. Keeps what it needs of the past itself; the frames' time is all the time there is."""

    def see(self, frame: Frame) -> Sequence[Sighting]:
        """What is wrong at this tick, and what is not quite well yet."""
        ...


@dataclass(slots=True)
class _State:
    """What is remembered of one key."""

    in_a_row: int = 0
    seen_at: datetime | None = None
    lingers: float = 1.0
    alert: Alert | None = None
    closed_at: datetime | None = None
    openings: deque[datetime] = field(default_factory=lambda: deque(maxlen=16))


class Watcher:
    """All detectors, and the alerts that are open. The same frames make the same alerts."""

    def __init__(self, detectors: Iterable[Detector], settings: WatchSettings | None = None) -> None:
        self._detectors = tuple(detectors)
        self._settings = settings or WatchSettings()
        self._states: dict[str, _State] = {}
        self._explained: dict[str, str] = {}

    def tick(self, frame: Frame) -> Sequence[Alert]:
        """Look at one frame; returns the alerts that are open after it, oldest first."""
        sightings = {sighting.key: sighting for detector in self._detectors for sighting in detector.see(frame)}
        roots = self._roots(sightings, frame.at)
        self._explained = {}
        for key, sighting in sightings.items():
            self._take(self._states.setdefault(key, _State()), sighting, roots, frame.at)
        for key, state in list(self._states.items()):
            if key not in sightings:
                state.in_a_row = 0
                self._settle(key, state, frame.at)
        return self.open

    @property
    def open(self) -> Sequence[Alert]:
        found = [state.alert for state in self._states.values() if state.alert is not None]
        return sorted(found, key=lambda alert: (alert.opened_at, alert.key))

    @property
    def explained(self) -> Mapping[str, str]:
        """What was seen at the last tick and opens no alert of its own: key → key of what explains it."""
        return self._explained

    def is_flapping(self, key: str, now: datetime) -> bool:
        state = self._states.get(key)
        if state is None:
            return False
        return sum(now - opened <= _HOUR for opened in state.openings) >= self._settings.flapping

    def adopt(self, alerts: Iterable[Alert]) -> None:
        """Alerts that another leader opened and that are still open: they are closed when nothing is seen of them."""
        for alert in alerts:
            state = self._states.setdefault(alert.key, _State())
            if state.alert is None:
                state.seen_at = max(alert.opened_at, state.seen_at or alert.opened_at)
                state.openings.append(alert.opened_at)
            state.alert = alert if state.alert is None else replace(state.alert, opened_at=alert.opened_at)

    def _roots(self, sightings: Mapping[str, Sighting], now: datetime) -> set[str]:
        """Keys of what may explain others: seen now, open, or closed a short while ago."""
        grace = timedelta(seconds=self._settings.explained_for)
        roots = {key for key, sighting in sightings.items() if sighting.certain}
        for key, state in self._states.items():
            if state.alert is not None or (state.closed_at is not None and now - state.closed_at <= grace):
                roots.add(key)
        return roots

    def _take(self, state: _State, sighting: Sighting, roots: set[str], now: datetime) -> None:
        root = next((key for key in sorted(roots) if _explains(key, sighting)), None)
        if state.alert is not None:
            state.seen_at, state.lingers = now, sighting.lingers
            if sighting.certain:
                state.alert = _renewed(state.alert, sighting)
            return
        if root is not None:
            self._explained[sighting.key] = root
            return
        state.in_a_row = state.in_a_row + 1 if sighting.certain else 0
        if state.in_a_row >= sighting.patience:
            state.alert = _opened(sighting, now)
            state.seen_at, state.lingers = now, sighting.lingers
            state.openings.append(now)

    def _settle(self, key: str, state: _State, now: datetime) -> None:
        """Close what was not seen for long enough; forget what has been gone for an hour."""
        if state.alert is not None and state.seen_at is not None:
            wait = self._settings.closes_after * state.lingers * (_LONGER if self.is_flapping(key, now) else 1)
            if now - state.seen_at >= timedelta(seconds=wait):
                state.alert, state.closed_at = None, now
        elif not state.openings or now - state.openings[-1] > 2 * _HOUR:
            del self._states[key]


def _explains(root: str, sighting: Sighting) -> bool:
    return root != sighting.key and any(root.startswith(beginning) for beginning in sighting.explained_by)


def _opened(sighting: Sighting, now: datetime) -> Alert:
    return Alert(
        key=sighting.key,
        runbook=sighting.runbook,
        cause=sighting.cause,
        severity=sighting.severity,
        title=sighting.title,
        why=sighting.why,
        since=sighting.since,
        opened_at=now,
        evidence=sighting.evidence,
    )


def _renewed(alert: Alert, sighting: Sighting) -> Alert:
    """What is known now; how bad it was at the worst stays."""
    return replace(
        alert,
        cause=sighting.cause,
        severity="critical" if "critical" in (alert.severity, sighting.severity) else "warning",
        title=sighting.title,
        why=sighting.why,
        evidence=sighting.evidence,
    )
