"""What an incident needs from people now. Decided from its rows and the time alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from holdfast.incidents.model import Incident, Obligation, StepRow

What = Literal["acknowledge", "command", "failed", "decide", "overdue", "do", "calm", "resolve"]
"""In the order of how much they press."""
_STEPS: tuple[tuple[What, str, tuple[str, ...]], ...] = (
    ("failed", "failed", ("do", "check", "ask", "every", "person")),
    ("decide", "asking", ("ask",)),
    ("do", "asking", ("person",)),
)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that waits for somebody, and the commands that answer it.

    `role`: who may, as of a step. `said`: what is known of it. `draft`: the text that goes out on approval.
    """

    what: What
    text: str
    commands: tuple[str, ...]
    step: str | None = None
    role: str = "responder"
    due_at: datetime | None = None
    said: str = ""
    draft: str | None = None


def of(
    incident: Incident,
    steps: Sequence[StepRow],
    obligations: Sequence[Obligation],
    obstacles: Sequence[str],
    *,
    has_alerts: bool,
    now: datetime,
) -> tuple[Need, ...]:
    """What it needs, the most pressing first. `obligations` are those that are not met."""
    if incident.merged_into is not None or incident.state == "reviewed":
        return ()
    whole = list(_of_all(incident, obligations)) if incident.is_open else []
    late = [_overdue(one) for one in obligations if one.kind != "acknowledge" and one.due_at <= now]
    failed, asked, to_do = (
        [_of_step(incident, what, step) for step in steps if step.state == state and step.kind in kinds]
        for what, state, kinds in _STEPS
    )
    end = list(_of_end(incident, obstacles, has_alerts=has_alerts)) if incident.is_open else []
    return (*whole, *failed, *asked, *late, *to_do, *end)


def _of_all(incident: Incident, obligations: Sequence[Obligation]) -> Iterator[Need]:
    if incident.state == "detected":
        due = next((one.due_at for one in obligations if one.kind == "acknowledge"), None)
        yield Need("acknowledge", "Nobody has said that they are on it", (_command("ack", incident),), due_at=due)
    elif incident.commander is None:
        yield Need("command", "Nobody is in command", (_command("take", incident),))


def _of_step(incident: Incident, what: What, step: StepRow) -> Need:
    commands: tuple[str, ...]
    because = _command("skip", incident, f"{step.key} --because …")
    if what == "failed":
        by_hand = _command("done", incident, f"{step.key} --note …")
        commands = (_command("retry", incident, step.key), by_hand, because)
    elif what == "decide":
        edit = (_command("approve", incident, f"{step.key} --edit"),) if step.draft else ()
        commands = (_command("approve", incident, step.key), *edit, because)
    else:
        commands = (_command("done", incident, f"{step.key} --note …"), because)
    said = step.said if what == "failed" else ""
    draft = step.draft if what == "decide" else None
    return Need(what, step.text, commands, step.key, step.role, said=said, draft=draft)


def _overdue(one: Obligation) -> Need:
    step = one.step if one.kind != "reply" else None  # which names what is to be answered
    return Need("overdue", one.text, (), step, due_at=one.due_at, said=f"of {one.owner}" if one.owner else "")


def _of_end(incident: Incident, obstacles: Sequence[str], *, has_alerts: bool) -> Iterator[Need]:
    if not obstacles:
        yield Need("resolve", "Nothing is in the way of its end", (_command("resolve", incident),))
    elif incident.calm_at is None and not has_alerts and incident.state != "detected":
        text = "No alert will say when the trouble is over: say so when it is"
        yield Need("calm", text, (_command("calm", incident, "--because …"),))


def _command(name: str, incident: Incident, rest: str = "") -> str:
    return f"holdfast incidents {name} {incident.id} {rest}".rstrip()
