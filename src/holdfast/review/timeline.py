"""The log as people read it: one line an entry, runs of the same told once, the marks of the plots numbered."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from holdfast.incidents.model import Entry, Kind
from holdfast.review.model import AlertFacts, Turn

MOST_MARKS = 24
"""Lines in the plots: more would not be told apart."""
_NUMBER = re.compile(r"\d[\d.,:]*")
_FOLDED: frozenset[Kind] = frozenset(("step", "obligation"))
"""What comes again and again with other numbers: a step that still waits, an obligation that is still overdue."""
_MARKED: tuple[Kind, ...] = ("opened", "state", "lever", "step", "alert")
"""What is marked in the plots, what matters most first."""
_SCALARS = (str, int, float, bool)
_DETAILS = 6
_OWN_KEY = "key"
"""What something is called by the engine itself says nothing to people."""
_CLOSE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Line:
    """One or several entries of the log that say the same. `text` is what the last of them says.

    `entries` are their numbers; empty for what is not from the log. `details`: evidence, each a short line.
    """

    at: datetime
    until: datetime
    kind: Kind
    actor: str
    text: str
    entries: tuple[int, ...]
    step: str | None = None
    details: tuple[str, ...] = ()
    mark: int | None = None

    @property
    def count(self) -> int:
        return max(len(self.entries), 1)


def fold(entries: Iterable[Entry]) -> list[Line]:
    """Runs of entries that differ in numbers at most become one line; none is left out, and the order stays."""
    lines: list[Line] = []
    previous: object = None
    for entry in entries:
        key = _shape(entry)
        if lines and key == previous:
            last = lines[-1]
            lines[-1] = replace(
                last, until=entry.at, text=entry.text, entries=(*last.entries, entry.id), details=_details(entry)
            )
        else:
            lines.append(
                Line(entry.at, entry.at, entry.kind, entry.actor, entry.text, (entry.id,), entry.step, _details(entry))
            )
        previous = key
    return lines


def timeline(
    entries: Sequence[Entry], alerts: Sequence[AlertFacts], turns: Sequence[Turn], acting: frozenset[str]
) -> list[Line]:
    """The log with the evidence of its alerts and what its levers were before; levers that it does not tell are added.

    `acting`: the keys of the steps that did something, whose ends are marked.
    """
    lines = [_with_alert(line, alerts) if line.kind == "alert" else line for line in fold(entries)]
    for turn in turns:
        place = next((place for place, line in enumerate(lines) if told(line.kind, line.text, line.at, turn)), None)
        if place is None:
            lines.append(_lever(turn))
        else:
            line = lines[place]
            lines[place] = replace(line, details=(*line.details, f"{turn.name} {turn.moved}"))
    lines.sort(key=lambda line: line.at)
    return _marked(lines, acting)


def told(kind: Kind, text: str, at: datetime, turn: Turn) -> bool:
    """Whether a line is about this turn: it names the lever, and was written when it was turned."""
    return kind in ("lever", "step") and turn.name in text and abs(at - turn.at) <= _CLOSE


def marks(lines: Sequence[Line]) -> list[Line]:
    """The marked lines, by number."""
    return sorted((line for line in lines if line.mark is not None), key=lambda line: line.mark or 0)


def _shape(entry: Entry) -> tuple[object, ...]:
    if entry.kind in _FOLDED:
        return (entry.kind, entry.actor, entry.step, _NUMBER.sub("#", entry.text))
    return (entry.kind, entry.actor, entry.step, entry.text, repr(dict(entry.evidence)))


def _details(entry: Entry) -> tuple[str, ...]:
    return scalars(entry.evidence)


def scalars(evidence: Mapping[str, object]) -> tuple[str, ...]:
    """What evidence says in a few words; lists and tables stay in the log."""
    shown = [(name, value) for name, value in evidence.items() if isinstance(value, _SCALARS) and name != _OWN_KEY]
    found = [f"{name}: {value}" for name, value in shown]
    return tuple(one if len(one) <= 200 else f"{one[:199]}…" for one in found[:_DETAILS])


def _with_alert(line: Line, alerts: Sequence[AlertFacts]) -> Line:
    named = [alert for alert in alerts if alert.title in line.text or alert.key in line.text]
    if not named:
        return line
    alert = min(named, key=lambda one: abs(line.at - one.opened_at))
    if alert.closed_at is not None and abs(line.at - alert.closed_at) < abs(line.at - alert.opened_at):
        return line
    why = () if alert.why in line.text else (f"{alert.cause}: {alert.why}",)
    return replace(line, details=(*alert.evidence, *why))


def _lever(turn: Turn) -> Line:
    text = f"{turn.name}{f' of {turn.target}' if turn.target else ''}: {turn.moved}"
    reason = (turn.reason,) if turn.reason else ()
    return Line(turn.at, turn.at, "lever", turn.actor, text, (), turn.step, reason)


def _marked(lines: list[Line], acting: frozenset[str]) -> list[Line]:
    """Number what the plots show, in the order of time."""
    ends = {line.step: place for place, line in enumerate(lines) if line.kind == "step" and line.step in acting}
    wanted = [
        (_MARKED.index(line.kind), place)
        for place, line in enumerate(lines)
        if line.kind in _MARKED and (line.kind != "step" or place in ends.values())
    ]
    chosen = sorted(place for _, place in sorted(wanted)[:MOST_MARKS])
    for number, place in enumerate(chosen, 1):
        lines[place] = replace(lines[place], mark=number)
    return lines
