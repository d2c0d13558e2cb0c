"""A runbook gone through without an incident: what each step would do, and what its checks find now."""

import asyncio
import getpass
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from holdfast import durations, logs
from holdfast.commands import terminal
from holdfast.commands.phrases import call
from holdfast.commands.session import with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.incidents.model import Incident, UnknownError
from holdfast.runbooks.actions import Action, Done, Failed, NotApplicable, Outcome, Registry, Run, Waiting
from holdfast.runbooks.model import PHASES, Runbook, Step

_LONGEST = 60.0
"""Seconds that a check may take."""
_PROOF = "; the incident does not resolve before it is done"
_WORDS: Mapping[type[Outcome], str] = {
    Done: "done",
    NotApplicable: "not applicable",
    Waiting: "not yet",
    Failed: "failed",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """A step and what would come of it. `how`: by itself, or who is asked; `undo`: None where nothing changes."""

    key: str
    phase: str
    group: str
    kind: str
    text: str
    call: str
    what: str
    how: str
    undo: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """What a check came to."""

    outcome: str
    said: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_bad(self) -> bool:
        return self.outcome == _WORDS[Failed]


def plan(runbook: Runbook, registry: Registry) -> list[Planned]:
    """Its steps in order."""
    found = []
    for step in runbook.steps:
        action = registry.get(step.action) if step.action else None
        found.append(
            Planned(
                key=step.key,
                phase=step.phase,
                group=step.group,
                kind=step.kind,
                text=step.text,
                call=call(step),
                what=action.what if action else "",
                how=_how(step, action) + (_PROOF if action is not None and action.is_proof else ""),
                undo=_undo(action) if action else None,
            )
        )
    return found


def _how(step: Step, action: Action | None) -> str:
    who = "the commander" if step.role == "commander" else "a responder"
    match step.kind:
        case "person":
            return f"{who} does it and ticks it off"
        case "check":
            return "looks by itself"
        case "every":
            assert step.every is not None
            return f"runs by itself every {durations.write(step.every)} while the incident is open"
        case "ask":
            shown = " and shown the text, to change it" if action is not None and action.drafts else ""
            unless = ", unless it sees that there is nothing to decide" if action is not None and action.offers else ""
            return f"{who} is asked first{shown}{unless}"
    return "runs by itself"


def _undo(action: Action) -> str | None:
    if action.expires is None:
        return None
    return f"changes something: it is verified, can be undone, and expires after {durations.write(action.expires)}"


def run_checks(runbook: Runbook, registry: Registry) -> dict[str, Found]:
    """What the `check` steps find now, by their keys. The incident that they are given is stored nowhere."""

    async def body(pool: Pool, settings: Settings) -> dict[str, Found]:
        now = terminal.utc_now()
        incident = _made_up(runbook, now)
        found = {}
        for step in runbook.steps:
            if step.kind == "check" and step.action is not None:
                run = Run(pool, settings, incident, step.key, 1, now, actor=incident.opened_by)
                found[step.key] = await _run(registry.get(step.action), run, step)
        return found

    return with_store(body)


async def _run(action: Action, run: Run, step: Step) -> Found:
    try:
        async with asyncio.timeout(_LONGEST) as limit:
            outcome = await action.run(run, **action.read(step.parameters))
    except UnknownError as error:
        return Found(_WORDS[NotApplicable], f"it wants what a dry run has not: {error}")
    except Exception as error:  # noqa: BLE001 - actions may be anybody's; the others are looked at all the same
        late = limit.expired()
        return Found(_WORDS[Failed], f"it took over {_LONGEST:.0f} s" if late else logs.said(error))
    if not isinstance(outcome, Outcome):
        return Found(_WORDS[Failed], f"it returned {outcome!r}, not Done, NotApplicable, Waiting or Failed")
    return Found(_WORDS[type(outcome)], outcome.said, outcome.evidence)


def _made_up(runbook: Runbook, now: datetime) -> Incident:
    return Incident(
        id=0,
        runbook=runbook.id,
        version=runbook.version,
        scope="",
        title=runbook.title,
        severity=runbook.severity,
        state="detected",
        cause="a dry run",
        commander=None,
        since=now,
        opened_at=now,
        opened_by=getpass.getuser(),
    )


def say(runbook: Runbook, planned: list[Planned], found: Mapping[str, Found]) -> None:
    """Print it for people."""
    phase = ""
    for number, one in enumerate(planned, 1):
        if one.phase != phase:
            phase = one.phase
            terminal.say(next(heading for name, heading in PHASES.items() if name == phase))
        group = f"{one.group}: " if one.group else ""
        terminal.say(f"{number:>3}. {group}{one.text}")
        what = f"{one.kind}: {one.call}" if one.call else f"{one.kind}: id={one.key}"
        terminal.say(f"     {what} - {one.how}")
        if one.what:
            terminal.say(f"     {one.what}")
        if one.undo:
            terminal.say(f"     {one.undo}")
        if one.key in found:
            result = found[one.key]
            terminal.say(f"     -> {result.outcome}: {result.said}")
            for name, value in result.evidence.items():
                terminal.say(f"        {name}: {value}")
    terminal.say("")
