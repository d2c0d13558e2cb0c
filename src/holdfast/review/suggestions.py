"""What a run says about its runbook: where it failed, dragged, was not needed, or was helped by hand."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from holdfast.incidents.model import StepRow
from holdfast.review.model import Suggestion, Turn

LATE_ANSWER = timedelta(minutes=5)
"""A question to a person that waited longer was answered late."""
REVIEW = "review.draft"
"""From the step that runs this on, a run is not over yet when it is reviewed."""
_TIMES = 3
"""How many times as long as usual is unusually long."""
_LEAST = timedelta(minutes=1)
TRIES = 2
"""A step that had to wait has two tries, and nothing is wrong with that."""
_KNOWN = 3
"""Runs from which on there is a usual."""


def derive(
    steps: Sequence[StepRow], turns: Sequence[Turn], usual: Mapping[str, tuple[int, float]]
) -> tuple[Suggestion, ...]:
    """`usual`: per key how often a step was done in earlier incidents, and the median in seconds."""
    ran = [step for step in steps if step.position < _end(steps)]
    found = [one for step in ran if (one := _of_step(step, usual.get(step.key))) is not None]
    return (*found, *_by_hand(turns))


def _end(steps: Sequence[StepRow]) -> int:
    return min((step.position for step in steps if step.action == REVIEW), default=len(steps))


def _of_step(step: StepRow, usual: tuple[int, float] | None) -> Suggestion | None:
    because = f": {step.said}" if step.said else ""
    match step.state:
        case "failed":
            return Suggestion(step.key, f"“{step.text}” failed{because}", "Mend what it runs, or replace the step.")
        case "skipped":
            consider = "Say in the step when it applies, let it find out by itself, or leave it out."
            return Suggestion(step.key, f"“{step.text}” was skipped{because}", consider)
        case _ if step.kind == "every":
            return None  # it ends with the incident
        case "pending" | "asking" | "waiting" | "running" | "uncertain":
            return Suggestion(
                step.key,
                f"“{step.text}” was never finished ({step.state})",
                "Leave it out, or make it a step that is done by itself.",
            )
    if step.tries > TRIES and step.state == "done":
        consider = "Find out why, or give it more time to begin with."
        return Suggestion(step.key, f"“{step.text}” took several tries", consider)
    return _dragged(step, usual)


def _dragged(step: StepRow, usual: tuple[int, float] | None) -> Suggestion | None:
    if step.began_at is None or step.ended_at is None or step.state == "not applicable":
        return None
    took = step.ended_at - step.began_at
    if step.kind == "ask":
        if took <= LATE_ANSWER:
            return None
        consider = "Let it run by itself (do:), ask earlier, or ask more people."
        return Suggestion(step.key, f"“{step.text}” was answered only after {span(took)}", consider)
    if usual is None or usual[0] < _KNOWN or took <= _LEAST or took.total_seconds() <= _TIMES * usual[1]:
        return None
    compared = f"; usually {span(timedelta(seconds=usual[1]))}"
    return Suggestion(
        step.key, f"“{step.text}” took {span(took)}{compared}", "Begin it earlier, or split off what takes long."
    )


def _by_hand(turns: Sequence[Turn]) -> list[Suggestion]:
    """What people turned by no step: the first time each lever was, and how often."""
    times: dict[tuple[str, str], list[Turn]] = {}
    for turn in turns:
        if turn.by_hand:
            times.setdefault((turn.name, turn.target), []).append(turn)
    found = []
    for (name, target), all_ in times.items():
        first = all_[0]
        on = f"{name}{f' of {target}' if target else ''}"
        again = f", {len(all_)} times in all" if len(all_) > 1 else ""
        why = f" ({first.reason})" if first.reason else ""
        found.append(
            Suggestion(
                None,
                f"{first.actor} turned {on} from {first.before} to {first.value} by hand{again}{why}",
                f"Consider adding a step that sets {name}.",
            )
        )
    return found


def span(length: timedelta) -> str:
    """`40 s`, `12 min`, `3 h 20 min`, `2 d 3 h`."""
    seconds = round(length.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if minutes < 120:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"
