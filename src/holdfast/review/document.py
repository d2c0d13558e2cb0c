"""The review as one document of plain parts, which Markdown, HTML and PDF are made of. All times are UTC."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from holdfast.incidents.model import Obligation, StepRow
from holdfast.money import money
from holdfast.review.blocks import Block, Diff, Document, Facts, Paragraph, Plot, Prose, Section, Table
from holdfast.review.call_impact import call_summary, of_calls
from holdfast.review.complaint_impact import complaint_summary, of_complaints
from holdfast.review.model import Impact, LaneImpact
from holdfast.review.service import Case
from holdfast.review.suggestions import span
from holdfast.review.timeline import Line

MOST_LINES = 500
MOST_MERCHANTS = 50
MOST_MESSAGES = 100
MOST_TURNS = 100
MOST_VERIFIED = 20
MOST_DIFF = 400
_LONGEST_CELL = 600


def build(case: Case, now: datetime) -> Document:
    """The document of a review."""
    incident, review = case.incident, case.review
    closed = f"closed by {review.closed_by} on {review.closed_at:%Y-%m-%d}" if review.closed_at else "draft"
    sections = (
        Section("Summary", tuple(_summary(case))),
        Section("Root cause", (_written(review.root_cause),)),
        Section("Lessons", (_written(review.lessons),)),
        Section("Action items", (_items(case.items, now),)),
        Section("Impact", tuple(_impact(case))),
        Section("Signals", tuple(_signals(case))),
        Section("Timeline", tuple(_timeline(case.lines))),
        Section("Alerts", (_alerts(case),)),
        Section("Levers", (_levers(case),)),
        Section("Messages", (_messages(case.lines),)),
        Section("Steps", (_steps(case.steps),)),
        Section("What the run says about the runbook", (_suggestions(case),)),
        Section("Change of the runbook", tuple(_change(case))),
    )
    subtitle = f"Incident {incident.id} · {incident.runbook} · {incident.severity} · {_period(case)}"
    return Document(f"Review: {incident.title}", subtitle, closed, sections)


def day(at: datetime | None) -> str:
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def seconds(value: float | None) -> str:
    """A length of time, or that it did not happen."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if 0 < value < 1 else span(timedelta(seconds=value))


def summary(case: Case) -> str:
    """The incident in a few sentences."""
    incident, figures = case.incident, case.review.figures
    times, impact = figures.times, figures.impact
    parts = [f"{incident.title}. It began at {day(incident.since)} UTC and was detected after {seconds(times.detect)}"]
    if times.mitigate is not None:
        parts[0] += f", mitigated after {seconds(times.mitigate)}"
    if times.recover is not None:
        parts[0] += f", over after {seconds(times.recover)}"
    parts[0] += f" and resolved after {seconds(times.resolve)}."
    if impact.failed:
        parts.append(f"Its impact could not be counted: {impact.failed}.")
    elif impact.calls is not None:
        parts.append(call_summary(impact.calls))
    elif impact.complaints is not None:
        parts.append(complaint_summary(impact.complaints))
    elif not impact.late and not impact.merchants_affected:
        parts.append(f"Of {impact.received:,} events received meanwhile none was late.")
    else:
        worst = max((lane.worst or 0.0 for lane in impact.events), default=0.0)
        merchants = (
            "1 merchant was" if impact.merchants_affected == 1 else f"{impact.merchants_affected:,} merchants were"
        )
        parts.append(
            f"Of {impact.received:,} events received meanwhile {impact.late:,} were routed late"
            f"{f', the worst by {seconds(worst)}' if impact.late else ''}; {merchants} affected."
        )
    return " ".join(parts)


def _period(case: Case) -> str:
    since, until = case.incident.since.astimezone(UTC), case.review.figures.resolved_at.astimezone(UTC)
    end = f"{until:%H:%M}" if since.date() == until.date() else f"{until:%Y-%m-%d %H:%M}"
    return f"{since:%Y-%m-%d %H:%M} to {end} UTC"


def _summary(case: Case) -> Iterable[Block]:
    incident, times = case.incident, case.review.figures.times
    yield Paragraph(summary(case))
    yield Facts(
        (
            ("Cause, as far as signals tell", incident.cause or "-"),
            ("Commander", incident.commander or "nobody"),
            ("Opened", f"{day(incident.opened_at)}, by {incident.opened_by}"),
            ("Runbook", f"{incident.runbook}, version {incident.version}"),
        )
    )
    rows = (
        ("Detect", times.detect, "from when the trouble began to the first alert"),
        ("Acknowledge", times.acknowledge, "from the first alert until somebody took it on"),
        ("Mitigate", times.mitigate, "from the beginning to the first step that changed something"),
        ("Recover", times.recover, "from the beginning until the last alert closed"),
        ("Resolve", times.resolve, "from the beginning until everything was checked and back in its place"),
    )
    shown = tuple((name, seconds(value), what) for name, value, what in rows)
    yield Table(("Time to", "Took", "Measured"), shown, (2, 2, 8), frozenset((1,)))


def _written(text: str) -> Block:
    return Prose(text.strip()) if text.strip() else Paragraph("Not written yet.", quiet=True)


def _items(items: Sequence[Obligation], now: datetime) -> Block:
    if not items:
        return Paragraph("None yet.", quiet=True)
    rows = tuple(
        (str(one.id), _cut(one.text), one.owner or "nobody", f"{one.due_at:%Y-%m-%d}", item_state(one, now))
        for one in items
    )
    return Table(("#", "What", "Owner", "Due", "State"), rows, (1, 8, 2, 2, 2), frozenset((0,)))


def item_state(item: Obligation, now: datetime) -> str:
    if item.met_at is not None:
        return f"done {item.met_at:%Y-%m-%d}"
    return "overdue" if item.due_at <= now else "open"


def _impact(case: Case) -> Iterable[Block]:
    impact = case.review.figures.impact
    if impact.complaints is not None:
        yield from of_complaints(impact.complaints)
        return
    yield Paragraph(f"Of what was received from {day(impact.since)} to {day(impact.until)} UTC.", quiet=True)
    if impact.failed:
        yield Paragraph(f"Not counted: {impact.failed}.")
        return
    if impact.counted_to is not None:
        yield Paragraph(f"Only what came until {day(impact.counted_to)} was counted: there was too much.")
    yield from of_calls(impact.calls)
    if not impact.events:
        yield Paragraph("No event was received.")
    if impact.events:
        yield _lanes("Events", impact.events, "ended otherwise")
    if impact.notifications:
        yield _lanes("Notifications", impact.notifications, "given up")
        yield Paragraph(
            "A notification is late if it took longer from the event's receipt to the merchant than its lane promises, "
            "whosever fault that was.",
            quiet=True,
        )
    yield Paragraph(f"Redeliveries of events that were held already: {impact.duplicates:,}.")
    yield from _merchants(impact)
    yield from _money(impact)
    yield from _verified(case)


def _lanes(what: str, lanes: Sequence[LaneImpact], failed: str) -> Table:
    columns = (what, "Promise", "Count", "Late", "Median", "95 %", "Worst", "Waiting", failed.capitalize())
    rows = tuple(
        (
            one.lane,
            seconds(one.promise),
            f"{one.count:,}",
            f"{one.late:,}",
            seconds(one.median),
            seconds(one.p95),
            seconds(one.worst),
            f"{one.waiting:,}",
            f"{one.failed:,}",
        )
        for one in lanes
    )
    return Table(columns, rows, (3, 2, 2, 2, 2, 2, 2, 2, 2), frozenset(range(1, 9)))


def _merchants(impact: Impact) -> Iterable[Block]:
    if not impact.merchants:
        yield Paragraph("No merchant was affected.")
        return
    shown = impact.merchants[:MOST_MERCHANTS]
    rows = tuple(
        (
            one.merchant or "-",
            one.name,
            f"{one.events_late:,}",
            f"{one.notifications_late:,}",
            seconds(one.worst),
            f"{one.given_up:,}",
        )
        for one in shown
    )
    columns = ("Merchant", "Name", "Events late", "Notifications late", "Worst", "Given up")
    left = impact.merchants_affected - len(shown)
    yield Table(columns, rows, (3, 4, 2, 3, 2, 2), frozenset((2, 3, 4, 5)), f"and {left:,} more" if left else "")


def _money(impact: Impact) -> Iterable[Block]:
    if not impact.money:
        return
    rows = tuple(
        (
            money(one.amount, one.currency) if one.currency else "amount not known",
            f"{one.payments:,}",
            "" if one.livemode else "test mode: no money",
        )
        for one in impact.money
    )
    yield Table(("Money concerned", "Payments", ""), rows, (4, 2, 4), frozenset((1,)))
    yield Paragraph(
        "Payments of which critical events were routed late: concerned, not lost. The ledger has what became of each.",
        quiet=True,
    )


def _verified(case: Case) -> Iterable[Block]:
    """What the steps that verify said; where they waited, only the last word of it."""
    keys = {step.key for step in case.steps if (step.action or "").startswith("verify.")}
    said = [line for line in case.lines if line.kind == "step" and line.step in keys]
    if said:
        rows = tuple((day(line.until), _cut("; ".join((line.text, *line.details)))) for line in said[-MOST_VERIFIED:])
        yield Table(("Verified", "Result"), rows, (2, 8))


def _signals(case: Case) -> Iterable[Block]:
    plots = case.review.figures.plots
    if plots is None:
        yield Paragraph("No signals were kept.", quiet=True)
        return
    yield Plot(f"A point every {span(timedelta(seconds=plots.step))}. The numbers are those of the timeline.")


def _timeline(lines: Sequence[Line]) -> Iterable[Block]:
    shown = lines[:MOST_LINES]
    rows = tuple(
        (
            "" if line.mark is None else str(line.mark),
            f"{day(line.at)}{f' to {line.until.astimezone(UTC):%H:%M:%S}' if line.count > 1 else ''}",
            line.actor,
            _cut("; ".join([f"{line.text}{f' ({line.count} times)' if line.count > 1 else ''}", *line.details])),
        )
        for line in shown
    )
    left = len(lines) - len(shown)
    yield Table(("", "UTC", "Who", "What"), rows, (1, 4, 2, 12), frozenset((0,)), f"and {left:,} more" if left else "")


def _alerts(case: Case) -> Block:
    if not case.review.figures.alerts:
        return Paragraph("No alert: the incident was opened by hand.", quiet=True)
    rows = tuple(
        (
            f"{one.title} ({one.key})",
            f"{day(one.opened_at)} to {day(one.closed_at)}",
            _cut("; ".join((f"{one.cause}: {one.why}", *one.evidence))),
        )
        for one in case.review.figures.alerts
    )
    return Table(("Alert", "Open", "Evidence"), rows, (4, 3, 8))


def _levers(case: Case) -> Block:
    turns = case.review.figures.turns
    if not turns:
        return Paragraph("No lever was turned.", quiet=True)
    rows = tuple(
        (
            day(one.at),
            f"{one.name}{f' of {one.target}' if one.target else ''}",
            one.moved,
            one.step or ("by hand" if one.by_hand else one.what),
            one.actor,
            _cut(one.reason),
        )
        for one in turns[:MOST_TURNS]
    )
    left = len(turns) - MOST_TURNS
    columns = ("UTC", "Lever", "Turned", "By step", "Who", "Why")
    return Table(columns, rows, (3, 4, 4, 3, 2, 5), more=f"and {left} more" if left > 0 else "")


def _messages(lines: Sequence[Line]) -> Block:
    sent = [line for line in lines if line.kind == "message"]
    if not sent:
        return Paragraph("None was sent.", quiet=True)
    rows = tuple(
        (day(line.at), line.actor, _cut("; ".join((line.text, *line.details)))) for line in sent[:MOST_MESSAGES]
    )
    left = len(sent) - MOST_MESSAGES
    return Table(("UTC", "Who", "Message"), rows, (3, 2, 12), more=f"and {left} more" if left > 0 else "")


def _steps(steps: Sequence[StepRow]) -> Block:
    if not steps:
        return Paragraph("The runbook had no steps.", quiet=True)
    rows = tuple(
        (
            step.phase.capitalize(),
            _cut(step.text),
            step.kind,
            step.state,
            seconds((step.ended_at - step.began_at).total_seconds()) if step.ended_at and step.began_at else "-",
            step.actor or "-",
            _cut(step.said),
        )
        for step in steps
    )
    columns = ("Phase", "Step", "Kind", "State", "Took", "Who", "Said")
    return Table(columns, rows, (4, 6, 2, 3, 2, 2, 6), frozenset((4,)))


def _suggestions(case: Case) -> Block:
    found = case.review.figures.suggestions
    if not found:
        return Paragraph("Every step did what it was there for, in time, and nobody had to help by hand.", quiet=True)
    rows = tuple((one.step or "-", _cut(one.what), _cut(one.consider)) for one in found)
    return Table(("Step", "What happened", "Consider"), rows, (3, 7, 6))


def _change(case: Case) -> Iterable[Block]:
    review = case.review
    if review.verdict:
        yield Paragraph(f"Verdict: {review.verdict}, because {review.verdict_why.rstrip('.')}.")
    else:
        yield Paragraph("No verdict yet: does the runbook stay as it is, or change?", quiet=True)
    if case.patch:
        lines = [f"{line}\n" for line in case.patch.removesuffix("\n").split("\n")]
        left = len(lines) - MOST_DIFF
        more = f"and {left} more lines: holdfast reviews diff {case.incident.id}" if left > 0 else ""
        yield Diff("".join(lines[:MOST_DIFF]), more)
    elif review.proposal is None:
        yield Paragraph("No change is proposed.", quiet=True)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"
