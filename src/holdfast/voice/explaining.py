"""What a call would be told, in words: for people who look at a plan, and for programs that ask."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.db.pool import Pool
from holdfast.levers.model import VOICE
from holdfast.levers.service import Levers
from holdfast.voice import store
from holdfast.voice.hours import in_words, is_open, next_change
from holdfast.voice.model import Announce, Decision, Dial, Line, TakeMessage
from holdfast.voice.plans import document_of
from holdfast.voice.routing import avoids, decide, selected, selects, shown, target_region
from holdfast.voice.snapshot import Snapshot

CALL = "CA" + "0" * 32
"""A call that stands for all: others may begin at another line or number where several stand in."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A target of the plan that is not rung, and why."""

    address: str
    why: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a call at `at` is told by and by when nobody answers.

    `levers`: those that bear on it, as they are written. `changes_at`: when it opens or closes next.
    """

    line: Line
    at: datetime
    is_open: bool
    changes_at: datetime | None
    hours: str
    steps: tuple[Decision, ...]
    skipped: tuple[Skipped, ...]
    levers: tuple[str, ...]


async def explain(pool: Pool, phone: str, at: datetime) -> Told | None:
    """With the levers that are in force then, as far as they are turned now; None where it is none of our numbers."""
    turned = Levers(routers=0, deliveries=0)
    await turned.look(pool, at)
    values = {
        key: int(value)
        for key, value in turned.snapshot.values.items()
        if key[0] in {lever.name for lever in VOICE} and not isinstance(value, str)
    }
    rows = await store.lines_around(pool, phone)
    return told(Snapshot.of(await store.version(pool), store.read_lines(rows, {}), (), values), phone, at)


def told(snapshot: Snapshot, phone: str, at: datetime) -> Told | None:
    """The same, by a snapshot."""
    line = snapshot.lines.get(phone)
    if line is None:
        return None
    steps: list[Decision] = []
    tried: tuple[str, ...] = ()
    while True:
        decision = decide(snapshot, phone, call_sid=CALL, tried=tried, now=at)
        steps.append(decision)
        if not isinstance(decision, Dial):
            break
        tried = (*tried, decision.target.address)
    return Told(
        line,
        at,
        is_open(line.plan.hours, line.time_zone, at),
        next_change(line.plan.hours, line.time_zone, at),
        in_words(line.plan.hours),
        tuple(steps),
        tuple(
            Skipped(one.address, "avoided")
            for one in line.plan.targets
            if one.address not in tried and avoids(snapshot, line, one)
        ),
        tuple(_bearing(snapshot, line)),
    )


def _bearing(snapshot: Snapshot, line: Line) -> list[str]:
    """The levers that select this line, or that its calls go round something by."""
    found = []
    around = {f"target:{one.address}" for one in line.plan.targets}
    around |= {f"region:{target_region(one)}" for one in line.plan.targets} | {f"number:{line.phone}"}
    for lever in VOICE:
        target = selected(snapshot, lever, line) if "" in lever.targets else None
        targets = [target] if target is not None else []
        if "" not in lever.targets:
            targets = sorted(around)
        for one in targets:
            percent = snapshot.levers.get((lever.name, one), 0)
            if selects(percent, line.phone):
                found.append(f"{lever.name}{f' of {shown(one, line)}' if one else ''}: {percent} %")
    return found


def sentence(decision: Decision) -> str:
    """One step, for people."""
    match decision:
        case Dial(target, caller_id=number):
            as_ = f", showing {number}" if number else ""
            return f"rings {target.address} for {target.rings} s{as_} ({decision.why})"
        case TakeMessage():
            return f"takes a message ({decision.why}): {decision.greeting}"
        case Announce():
            return f"says ({decision.why}): {decision.text}"
    return f"hangs up ({decision.why})"


def document(told: Told) -> dict[str, Any]:
    """The same for programs."""
    return {
        "number": told.line.phone,
        "merchant": told.line.merchant or None,
        "plan": document_of(told.line.plan) if told.line.plan.targets else None,
        "time_zone": told.line.time_zone,
        "at": told.at,
        "open": told.is_open,
        "changes_at": told.changes_at,
        "steps": [_step(one) for one in told.steps],
        "skipped": [{"address": one.address, "why": one.why} for one in told.skipped],
        "levers": list(told.levers),
    }


def _step(decision: Decision) -> dict[str, Any]:
    match decision:
        case Dial(target, caller_id=number):
            what = {"what": "dial", "target": target.address, "rings": target.rings, "caller_id": number}
        case TakeMessage():
            what = {"what": "voicemail", "says": decision.greeting}
        case Announce():
            what = {"what": "announcement", "says": decision.text}
        case _:
            what = {"what": "over"}
    return what | {"why": decision.why}
