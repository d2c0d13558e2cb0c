"""Which step of an incident comes next. Decided from the rows and the time alone."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.incidents.model import Incident, StepRow

UNDER_WAY = ("pending", "running", "uncertain")
WHILE_IT_LASTS = ("immediate", "communication")
"""The phases whose steps are of use as long as the trouble lasts: once it is over, what waits is looked at at once."""


def next_step(
    steps: Sequence[StepRow], incident: Incident, now: datetime, passed: frozenset[str] = frozenset()
) -> StepRow | None:
    """The first step that the engine has to do something about now, leaving out those it `passed` over already.

    Within a phase steps begin in their order. People and waits do not hold up what comes after them, but in Recovery
    each step waits for all before it, and Recovery for what is still to be done among the immediate actions: nothing
    is turned back while something is still being turned.
    """
    for step in steps:
        if step.key not in passed and _is_due(step, steps, incident, now):
            return step
    return None


def _is_due(step: StepRow, steps: Sequence[StepRow], incident: Incident, now: datetime) -> bool:
    match step.state:
        case "running" | "uncertain":
            return True
        case "waiting":
            over = not incident.is_open if step.kind == "every" else incident.calm_at is not None
            return step.due_at is None or step.due_at <= now or (over and step.phase in WHILE_IT_LASTS)
        case "asking":
            return is_moot(step, incident)
        case "pending":
            return is_reached(step, steps)
    return False


def is_reached(step: StepRow, steps: Sequence[StepRow]) -> bool:
    """Whether its turn has come."""
    before = [one for one in steps if one.phase == step.phase and one.position < step.position]
    if step.phase != "recovery":
        return not any(one.state in UNDER_WAY for one in before)
    immediate = [one for one in steps if one.phase == "immediate"]
    begun = not any(one.state in UNDER_WAY or (one.state == "waiting" and one.kind == "do") for one in immediate)
    return begun and all(one.is_finished for one in before)


def is_moot(step: StepRow, incident: Incident) -> bool:
    """Whether an `ask` has lost its point: the trouble was over before anybody answered."""
    return step.kind == "ask" and step.phase in WHILE_IT_LASTS and incident.calm_at is not None
