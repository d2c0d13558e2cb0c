"""How an incident looks in a terminal: what somebody reads at 3 a.m., in 80 columns."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby

from rich.text import Text

from holdfast.commands import terminal
from holdfast.commands.terminal import duration, moment
from holdfast.incidents.model import ENGINE, Entry, Incident, StepRow
from holdfast.runbooks.actions import Mitigation
from holdfast.runbooks.model import PHASES
from holdfast.runbooks.needs import Need
from holdfast.runbooks.page import Line, Page

WIDEST = 100
MOST_OF_A_DRAFT = 8
"""Lines of a text that would go out; `approve --edit` shows all of it."""
MARKS = {
    "pending": ("·", "dim"),
    "running": ("▶", "cyan"),
    "waiting": ("…", "cyan"),
    "asking": ("?", "bold yellow"),
    "done": ("✓", "green"),
    "not applicable": ("-", "dim"),
    "failed": ("✗", "bold red"),
    "skipped": ("»", "dim"),
    "undone": ("↶", "green"),
    "uncertain": ("!", "yellow"),
}
_NEEDS = {
    "acknowledge": "Acknowledge",
    "command": "Take command",
    "failed": "Failed",
    "decide": "Decide",
    "overdue": "Overdue",
    "do": "Do",
    "calm": "Calm?",
    "resolve": "Resolve",
}
_LATE = "bold red"


def print_page(page: Page, *, actor: str, now: datetime) -> None:
    """The whole page, for whoever looks at it."""
    for block in (
        _head(page.incident, now),
        _facts(page, now),
        _needs(page, actor, now),
        *_checklist(page, actor, now),
        _ledger(page.ledger, now),
        _obstacles(page),
        _log(page),
    ):
        lines = list(block)
        if lines:
            terminal.lines([*lines, Text("")])


def print_lines(lines: Sequence[Line], now: datetime) -> None:
    """Incidents, three lines each."""
    for line in lines:
        one = line.incident
        commander = one.commander or "nobody in command"
        head = (
            Text(f"{one.id:>4}  ", style="bold")
            .append_text(_severity(one))
            .append(f"  {_state(one, now)}, {commander}")
        )
        what = [Text(" " * 6 + part) for part in _wrapped(f"{one.title} ({one.runbook})", 6)]
        waits = Text(" " * 6).append_text(_waits(line, now))
        terminal.lines([head, *what, *([waits] if waits.plain.strip() else [])])


def print_entry(entry: Entry) -> None:
    terminal.lines(_entry(entry, whole=True))


# Parts


def _head(incident: Incident, now: datetime) -> Iterator[Text]:
    first = Text(f"Incident {incident.id}  ", style="bold").append_text(_severity(incident))
    yield first.append(f"  {_state(incident, now)}")
    yield from (Text(line, style="bold") for line in _wrapped(incident.title))


def _facts(page: Page, now: datetime) -> Iterator[Text]:
    one = page.incident
    yield _fact("commander", one.commander or Text(f"nobody: holdfast incidents take {one.id}", style=_LATE))
    yield _fact("runbook", f"{one.runbook}, version {one.version}")
    yield _fact(
        "began", f"{moment(one.since)}, {_ago(one.since, now)}; opened {_ago(one.opened_at, now)} by {one.opened_by}"
    )
    if one.acknowledged_at is not None:
        yield _fact("acknowledged", f"after {_long(one.acknowledged_at, one.opened_at)}")
    elif one.is_open:
        yield _fact("acknowledged", Text("not yet, ").append_text(_due(page.due("acknowledge"), now)))
    update = page.due("update")
    if update is not None:
        yield _fact("next update", _due(update, now))
    if one.is_open and page.alerts:
        calm = f"all over since {moment(one.calm_at)}" if one.calm_at else "not all over"
        yield _fact("alerts", f"{', '.join(str(number) for number in page.alerts)}: {calm}")
    for what, rows in one.affected.items():
        yield _fact(what, _names(rows))
    if one.merged_into is not None:
        yield _fact("merged into", f"incident {one.merged_into}: work on that one")
    if page.merged:
        yield _fact("with", ", ".join(f"incident {number}" for number in page.merged))


def _needs(page: Page, actor: str, now: datetime) -> Iterator[Text]:
    if not page.needs:
        if page.incident.is_open:
            yield Text("Nothing waits for a person now.", style="green")
        return
    yield Text("NEEDS YOU NOW", style="bold reverse")
    for need in page.needs:
        whose = "" if need.role != "commander" or actor == page.incident.commander else _for_commander(page.incident)
        head = f"{_NEEDS[need.what]}: {need.text}{whose}"
        style = _LATE if need.what in ("failed", "overdue") or (need.due_at and need.due_at <= now) else "bold"
        yield from (Text(f"  {part}", style=style) for part in _wrapped(head, 4, "  "))
        yield from _known(need, now)
        yield from (Text(f"      {command}") for command in need.commands)


def _known(need: Need, now: datetime) -> Iterator[Text]:
    if need.due_at is not None:
        yield Text("    ").append_text(_due(need.due_at, now)).append(f", {need.said}" if need.said else "")
    elif need.said:
        yield from (Text(f"    {part}") for part in _wrapped(need.said, 4))
    if need.draft:
        lines = [part for line in need.draft.splitlines() for part in _wrapped(line, 8) or [""]]
        yield from (Text(f"    │ {line}", style="dim") for line in lines[:MOST_OF_A_DRAFT])
        if len(lines) > MOST_OF_A_DRAFT:
            yield Text(f"    │ … {len(lines) - MOST_OF_A_DRAFT} lines more: --edit shows all", style="dim")


def _checklist(page: Page, actor: str, now: datetime) -> Iterator[list[Text]]:
    for phase, of_phase in groupby(page.steps, key=lambda step: step.phase):
        heading = {str(name): text for name, text in PHASES.items()}.get(phase, phase)
        lines = [Text(heading.upper(), style="bold")]
        for group, steps in groupby(of_phase, key=lambda step: step.group):
            if group:
                lines.append(Text(f"  {group}", style="underline"))
            for step in steps:
                lines += _step(step, page.incident, actor, now)
        yield lines


def _step(step: StepRow, incident: Incident, actor: str, now: datetime) -> Iterator[Text]:
    mark, style = MARKS[step.state]
    first, *rest = _wrapped(step.text, 9)
    yield Text(f"  {mark} ", style=style).append(f"{step.position + 1:>3}  ", style="dim").append(first)
    yield from (Text(" " * 9 + part) for part in rest)
    said = _said(step, incident, actor, now)
    if said:
        loud = step.state in ("failed", "asking", "uncertain")
        yield from (Text(" " * 9 + part, style=style if loud else "dim") for part in _wrapped(said, 9))


def _said(step: StepRow, incident: Incident, actor: str, now: datetime) -> str:
    """What became of it, in a line."""
    is_for_another = step.role == "commander" and actor != incident.commander
    again = f"; again {_in(step.due_at, now)}" if step.due_at is not None else ""
    said = {
        "asking": f"asks{_for_commander(incident)}" if is_for_another else "asks YOU",
        "not applicable": f"not needed: {step.said}",
        "skipped": f"skipped: {step.said}",
        "failed": f"FAILED: {step.said}",
        "running": f"is running, {_ago(step.began_at or now, now)}",
        "waiting": f"{step.said or 'waits'}{again}",
        "uncertain": "was interrupted: what it did is looked at first",
    }.get(step.state, step.said)
    by_hand = step.is_finished and step.actor not in (None, ENGINE)
    return f"{said}, {step.actor}" if by_hand else said


def _ledger(found: Sequence[Mitigation], now: datetime) -> Iterator[Text]:
    if found:
        yield Text("NOT AS USUAL BECAUSE OF IT", style="bold")
    for one in found:
        yield from ledger_lines(one, now)


def ledger_lines(one: Mitigation, now: datetime) -> Iterator[Text]:
    """One thing that is not as usual: what, by whom, until when, and how it ends."""
    yield from (Text(f"  {part}") for part in _wrapped(one.what, 4, "  "))
    since = f", {_ago(one.since, now)}" if one.since is not None else ""
    until = f"; ends by itself {_in(one.expires_at, now)}" if one.expires_at is not None else ""
    yield Text(f"    by {one.actor}{since}{until}", style="dim")
    yield Text(f"      {one.undo}")


def _obstacles(page: Page) -> Iterator[Text]:
    if page.incident.calm_at is None or not page.obstacles:
        return
    yield Text("IN THE WAY OF ITS END", style="bold")
    for one in page.obstacles:
        yield from (Text(f"  {part}") for part in _wrapped(one, 4, "  "))


def _log(page: Page) -> Iterator[Text]:
    yield Text("LATEST", style="bold").append(f"  (all: holdfast incidents log {page.incident.id})", style="dim")
    for entry in page.log:
        yield from _entry(entry, whole=False)


def _entry(entry: Entry, *, whole: bool) -> Iterator[Text]:
    at = moment(entry.at) if whole else moment(entry.at)[11:]
    indent = len(at) + 4
    text = entry.text if whole else entry.text.partition("\n")[0]
    who = "" if entry.actor == ENGINE else f"{entry.actor}: "
    style = {"note": "bold", "state": "bold", "obligation": "yellow"}.get(entry.kind, "")
    first, *rest = [part for line in f"{who}{text}".splitlines() for part in _wrapped(line, indent)] or [who]
    yield Text(f"  {at}  ", style="dim").append(first, style=style)
    yield from (Text(" " * indent + part, style=style) for part in rest)


# Words


def _severity(incident: Incident) -> Text:
    return Text(incident.severity.upper(), style="bold white on red" if incident.severity == "critical" else "yellow")


def _state(incident: Incident, now: datetime) -> str:
    if incident.merged_into is not None:
        return f"merged into {incident.merged_into}"
    times = {
        "detected": incident.opened_at,
        "acknowledged": incident.acknowledged_at,
        "mitigating": incident.mitigating_at,
        "monitoring": incident.monitoring_at,
        "resolved": incident.resolved_at,
        "reviewed": incident.reviewed_at,
    }
    at = times[incident.state] or incident.opened_at
    if incident.is_open:
        return f"{incident.state} for {_long(now, at)}"
    return f"{incident.state} {moment(at)}, after {_long(incident.resolved_at or at, incident.opened_at)}"


def _waits(line: Line, now: datetime) -> Text:
    found = Text()
    parts: list[tuple[str, str]] = []
    if line.incident.is_open and line.incident.state == "detected":
        parts.append(("nobody has acknowledged it", _LATE))
    if line.overdue:
        parts.append((f"{line.overdue} OVERDUE", _LATE))
    if line.failed:
        parts.append((f"{line.failed} failed", _LATE))
    if line.waiting:
        parts.append((f"{line.waiting} {'waits' if line.waiting == 1 else 'wait'} for people", "bold yellow"))
    if line.update_due is not None and line.update_due > now:
        parts.append((f"next update {_in(line.update_due, now)}", ""))
    for number, (text, style) in enumerate(parts):
        found.append(", " if number else "").append(text, style=style)
    return found


def _fact(label: str, value: str | Text) -> Text:
    shown = Text(f"{label:<13} ", style="dim")
    if isinstance(value, Text):
        return shown.append_text(value)
    first, *rest = _wrapped(value, 14) or [""]
    return shown.append(first).append("".join(f"\n{' ' * 14}{part}" for part in rest))


def _due(at: datetime | None, now: datetime) -> Text:
    if at is None:
        return Text("at no set time")
    if at <= now:
        return Text(f"OVERDUE by {_long(now, at)}", style=_LATE)
    return Text(f"due {_in(at, now)} ({moment(at)[11:16]})")


def _for_commander(incident: Incident) -> str:
    return f" the commander ({incident.commander or 'nobody yet'})"


def _names(rows: Sequence[object]) -> str:
    """The worst ones by name, and how many there are."""
    names = [_name(row) if isinstance(row, dict) else str(row) for row in rows]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (", ".join(names[:8]) or "none known") + more


def _name(row: Mapping[str, object]) -> str:
    """`import 18 of bakery`, `form web of cafe`; else what it is called."""
    for key, word in (("batch", "import"), ("form", "form")):
        if key in row:
            return f"{word} {row[key]} of {row.get('merchant', 'unknown')}"
    return str(next((row[key] for key in ("merchant", "destination", "lane", "name") if key in row), row))


def _ago(at: datetime, now: datetime) -> str:
    return f"{_long(now, at)} ago"


def _in(at: datetime, now: datetime) -> str:
    return f"in {_long(at, now)}" if at > now else "now"


def _long(end: datetime, begin: datetime) -> str:
    return duration(max(0.0, (end - begin).total_seconds()))


def _wrapped(text: str, indent: int = 0, hanging: str = "") -> list[str]:
    width = max(30, min(terminal.width(), WIDEST) - indent)
    return textwrap.wrap(text, width, subsequent_indent=hanging, break_on_hyphens=False)
